//! The sentinels of mode Sentinel.

use k8s_openapi::api::core::v1::ResourceRequirements;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PodTemplatePatch;

/// The sentinels: they watch the primary, agree on its loss, and make a replica the primary, also while Hera is away.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sentinel {
    /// Number of sentinels. A majority of them has to live for a failover. Default: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 3, max = 9))]
    pub replicas: Option<i32>,
    /// How many sentinels have to take the primary for lost before they fail over. Default: the majority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 9))]
    pub quorum: Option<i32>,
    /// Silence after which a sentinel takes the primary for lost, such as `5s` or `1500ms`; 1 s to 10 min. Default: 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]{1,6}(ms|s|m)$"))]
    pub down_after: Option<String>,
    /// How long a failover by the sentinels may take, such as `60s`; 5 s to 60 min. They try again after twice this time. Default: 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]{1,6}(ms|s|m)$"))]
    pub failover_timeout: Option<String>,
    /// Resources of the sentinel's container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Merged over the pod template of the sentinels, as `spec.podTemplate` is over that of the servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<PodTemplatePatch>,
}
