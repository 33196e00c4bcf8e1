//! The Services for clients, inside and outside of the Kubernetes cluster.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The Services for clients.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.ipFamilies) || self.ipFamilies.size() != 2 || self.ipFamilies[0] != self.ipFamilies[1]").message("spec.services.ipFamilies: names a family twice"),
    validation = Rule::new("!has(self.ipFamilies) || self.ipFamilies.size() != 2 || (has(self.ipFamilyPolicy) && self.ipFamilyPolicy != 'SingleStack')").message("spec.services.ipFamilies: two families need ipFamilyPolicy PreferDualStack or RequireDualStack"),
    validation = Rule::new("!has(self.ipFamilies) || !has(oldSelf.ipFamilies) || self.ipFamilies[0] == oldSelf.ipFamilies[0]").message("spec.services.ipFamilies: the first family cannot be changed")
)]
pub struct Services {
    /// The Service that leads to the primary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<ServiceTemplate>,
    /// The Service that leads to the replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<ServiceTemplate>,
    /// A Service for each pod, for clients outside of the Kubernetes cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalServices>,
    /// Whether the Services have addresses of one family or of both. Default: SingleStack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_family_policy: Option<IpFamilyPolicy>,
    /// Families of the addresses of the Services, the first one in use for what has one address only; default: the cluster's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    pub ip_families: Vec<IpFamily>,
}

/// What a user sets on a Service.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.nodePort) || (has(self.type) && self.type != 'ClusterIP')").message("nodePort: only with type NodePort or LoadBalancer"),
    validation = Rule::new("!has(self.externalTrafficPolicy) || (has(self.type) && self.type != 'ClusterIP')").message("externalTrafficPolicy: only with type NodePort or LoadBalancer"),
    validation = Rule::new("!has(self.loadBalancerClass) || (has(self.type) && self.type == 'LoadBalancer')").message("loadBalancerClass: only with type LoadBalancer"),
    validation = Rule::new("!has(self.loadBalancerSourceRanges) || (has(self.type) && self.type == 'LoadBalancer')").message("loadBalancerSourceRanges: only with type LoadBalancer"),
    validation = Rule::new("!(has(self.type) && self.type == 'LoadBalancer' && has(oldSelf.type) && oldSelf.type == 'LoadBalancer') || (has(self.loadBalancerClass) ? self.loadBalancerClass : '') == (has(oldSelf.loadBalancerClass) ? oldSelf.loadBalancerClass : '')").message("loadBalancerClass: cannot be changed while type is LoadBalancer; set type to ClusterIP first")
)]
pub struct ServiceTemplate {
    /// Type of the Service. Default: ClusterIP.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "type")]
    pub type_: Option<ServiceType>,
    /// Annotations of the Service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Labels of the Service, beside Hera's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The port on each node; default: one that Kubernetes chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub node_port: Option<i32>,
    /// Who makes the load balancer; default: the cluster's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub load_balancer_class: Option<String>,
    /// Address ranges that the load balancer lets in, such as `192.0.2.0/24`; default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 64)))]
    pub load_balancer_source_ranges: Vec<String>,
    /// Whether nodes without the pod pass traffic on. Default: Cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<TrafficPolicy>,
}

/// A Service for each pod, reached from outside of the Kubernetes cluster.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.loadBalancerClass) || self.type == 'LoadBalancer'").message("loadBalancerClass: only with type LoadBalancer"),
    validation = Rule::new("!has(self.loadBalancerSourceRanges) || self.type == 'LoadBalancer'").message("loadBalancerSourceRanges: only with type LoadBalancer"),
    validation = Rule::new("!(self.type == 'LoadBalancer' && oldSelf.type == 'LoadBalancer') || (has(self.loadBalancerClass) ? self.loadBalancerClass : '') == (has(oldSelf.loadBalancerClass) ? oldSelf.loadBalancerClass : '')").message("loadBalancerClass: cannot be changed while type is LoadBalancer; set type to NodePort first")
)]
pub struct ExternalServices {
    /// Type of the Services. Default: LoadBalancer.
    #[serde(default, rename = "type")]
    pub type_: ExternalType,
    /// The name or IPv4 address that clients are told in place of the one that the Service has; `{pod}` stands for the name of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 190),
        regex(pattern = r"^([A-Za-z0-9.-]|\{pod\})+$")
    )]
    pub host: Option<String>,
    /// Annotations of the Services; `{pod}` in a value stands for the name of the pod.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Labels of the Services, beside Hera's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Who makes the load balancers; default: the cluster's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub load_balancer_class: Option<String>,
    /// Address ranges that the load balancers let in, such as `192.0.2.0/24`; default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 64)))]
    pub load_balancer_source_ranges: Vec<String>,
    /// Whether nodes without the pod pass traffic on. Default: Cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<TrafficPolicy>,
}

/// Families of the addresses of a Service.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum IpFamilyPolicy {
    /// One.
    #[default]
    SingleStack,
    /// Both where the cluster has both.
    PreferDualStack,
    /// Both.
    RequireDualStack,
}

/// A family of addresses.
#[derive(
    Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema,
)]
#[allow(missing_docs)]
pub enum IpFamily {
    IPv4,
    IPv6,
}

impl IpFamily {
    /// As Kubernetes writes it, also as the address type of an endpoint slice.
    pub fn word(self) -> &'static str {
        match self {
            Self::IPv4 => "IPv4",
            Self::IPv6 => "IPv6",
        }
    }
    /// That of an address.
    pub fn of(address: &str) -> Self {
        if address.contains(':') {
            Self::IPv6
        } else {
            Self::IPv4
        }
    }
}

/// Type of a Service.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[allow(missing_docs)]
pub enum ServiceType {
    #[default]
    ClusterIP,
    NodePort,
    LoadBalancer,
}

/// Type of a Service for clients outside.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[allow(missing_docs)]
pub enum ExternalType {
    #[default]
    LoadBalancer,
    NodePort,
}

/// Which nodes take traffic from outside.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum TrafficPolicy {
    /// Every node; the address of the client is lost.
    #[default]
    Cluster,
    /// The node of the pod only; the address of the client is kept.
    Local,
}
