//! Volumes.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The volume of each pod.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Size of each volume. It can grow, but not become smaller than a volume is.
    #[x_kube(validation = Rule::new("isQuantity(string(self)) && quantity(string(self)).isGreaterThan(quantity('0'))").message("spec.storage.size: must be a positive quantity such as 10Gi"))]
    pub size: Quantity,
    /// Storage class; absent: the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
    /// What happens to the volumes when this Redis is deleted.
    #[serde(default)]
    pub when_deleted: Retention,
    /// What happens to the volumes of pods that scaling in removes.
    #[serde(default)]
    pub when_scaled: Retention,
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
