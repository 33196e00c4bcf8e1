//! What Prometheus reads, and who is told.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Metrics of the servers, and the objects by which a Prometheus operator finds them.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.exporter) || !(has(self.podMonitor) || has(self.rules))").message("spec.monitoring: podMonitor and rules need exporter, whose metrics they are about")
)]
pub struct Monitoring {
    /// A second container in each pod that serves the metrics of its server on port 9121. Adding or removing it restarts the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exporter: Option<Exporter>,
    /// A PodMonitor that leads Prometheus to the exporters. Made when the cluster has that kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_monitor: Option<PodMonitorTemplate>,
    /// A PrometheusRule with alerts on this database. Made when the cluster has that kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<RulesTemplate>,
}

/// The exporter's container.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exporter {
    /// Image with redis_exporter as its entry point. Default: docker.io/oliver006/redis_exporter:v1.80.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Resources of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// More flags of redis_exporter, such as `--include-system-metrics`. Its user on the servers reads no key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(length(max = 1024), regex(pattern = r"^-[^\r\n]+$"))
    )]
    pub args: Vec<String>,
}

/// What a user sets on the PodMonitor.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodMonitorTemplate {
    /// Time between two scrapes, such as 30s. Default: that of the Prometheus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[1-9][0-9]{0,5}(ms|s|m|h)$"))]
    pub interval: Option<String>,
    /// Labels of the PodMonitor, beside Hera's own: those by which a Prometheus chooses what it scrapes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What a user sets on the PrometheusRule.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RulesTemplate {
    /// Labels of the PrometheusRule, beside Hera's own: those by which a Prometheus chooses its rules.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}
