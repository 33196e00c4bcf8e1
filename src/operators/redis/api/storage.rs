//! Volumes.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The volume of each pod.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.claimTemplate) || !(self.claimTemplate in ['config', 'exporter', 'tls'])").message("spec.storage.claimTemplate: is the name of another volume of the pods"),
    validation = Rule::new("(has(self.claimTemplate) ? self.claimTemplate : 'data') == (has(oldSelf.claimTemplate) ? oldSelf.claimTemplate : 'data')").message("spec.storage.claimTemplate: cannot be changed; create another Redis and move the data")
)]
pub struct Storage {
    /// Size of each volume. It can grow, but not become smaller than a volume is.
    #[x_kube(validation = Rule::new("isQuantity(string(self)) && quantity(string(self)).isGreaterThan(quantity('0'))").message("spec.storage.size: must be a positive quantity such as 10Gi"))]
    pub size: Quantity,
    /// Storage class; absent: the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
    /// Name of the claim template; the claim of the pod `POD` is `TEMPLATE-POD`. Default: data. Another one lets a Redis use the
    /// claims that another StatefulSet left behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub claim_template: Option<String>,
    /// Claims that exist already, with data, and that may be taken over. One that is not named here is not touched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 384), inner(length(min = 1, max = 253)))]
    pub existing_claims: Vec<String>,
    /// What happens to the volumes when this Redis is deleted.
    #[serde(default)]
    pub when_deleted: Retention,
    /// What happens to the volumes of pods that scaling in removes.
    #[serde(default)]
    pub when_scaled: Retention,
}

impl Storage {
    /// Name of the claim template.
    pub fn template(&self) -> &str {
        self.claim_template.as_deref().unwrap_or("data")
    }
}

/// What happens to a volume that is no longer used.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Retention {
    /// It is kept with its data.
    #[default]
    Retain,
    /// It is deleted with its data.
    Delete,
}
