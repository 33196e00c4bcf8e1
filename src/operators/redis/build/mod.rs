//! From a [`Validated`] to the objects in the cluster: pure, the same input gives the same bytes.

mod access;
mod certificate;
mod config;
mod exporter;
mod external;
mod monitoring;
mod network;
pub mod patch;
mod policy;
mod probes;
mod sentinel;
mod statefulset;
#[cfg(test)]
mod tests;
pub mod tls;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;

use super::GROUP;
use super::api::Engine;
use super::model::{Credentials, Observed, SHARD_LABEL, Validated};
use crate::k8s::labels::Identity;
use crate::k8s::prometheus::{PodMonitor, PrometheusRule};

pub use access::{
    OPERATOR_USER, PROBE_USER, REPLICATION_USER, credentials_secret, rotation_secret,
    unused_user_secrets, user_connection_secret,
};
pub use certificate::certificate;
pub use exporter::EXPORTER_USER;
pub use network::{Published, SERVICE_NAME_LABEL, endpoint_slices, families, published};
pub use patch::PatchError;
pub use sentinel::sentinel_identity;

/// Everything that one `Redis` owns, but its endpoint slices and claims.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Resources {
    pub server_secret: Secret,
    pub connection_secret: Secret,
    pub user_connection_secrets: Vec<Secret>,
    pub config_map: ConfigMap,
    pub start_config_map: ConfigMap,
    /// Configuration and users of the sentinels.
    pub sentinel_secret: Option<Secret>,
    pub services: Vec<Service>,
    pub network_policy: Option<NetworkPolicy>,
    pub pod_monitor: Option<PodMonitor>,
    pub prometheus_rule: Option<PrometheusRule>,
    pub disruption_budgets: Vec<PodDisruptionBudget>,
    /// One, in mode Cluster one for each shard, and in mode Sentinel that of the sentinels.
    pub statefulsets: Vec<StatefulSet>,
}

/// Builds all objects. Fails only when `spec.podTemplate` does not give a pod template.
pub fn build(
    v: &Validated,
    o: &Observed,
    credentials: &Credentials,
) -> Result<Resources, PatchError> {
    let groups = groups(v, o);
    Ok(Resources {
        server_secret: access::server_secret(v, o, credentials),
        connection_secret: access::connection_secret(v, o, credentials),
        user_connection_secrets: access::user_connection_secrets(v, o),
        config_map: config::config_map(v, o),
        start_config_map: config::start_config_map(v),
        sentinel_secret: sentinel::secret(v, o, credentials),
        services: network::services(v, o)
            .into_iter()
            .chain(sentinel::service(v))
            .chain(external::services(v, o))
            .collect(),
        network_policy: policy::network_policy(v, o),
        pod_monitor: monitoring::pod_monitor(v),
        prometheus_rule: monitoring::prometheus_rule(v),
        disruption_budgets: groups
            .iter()
            .filter_map(|(v, _)| network::disruption_budget(v))
            .chain(sentinel::disruption_budget(v))
            .collect(),
        statefulsets: groups
            .iter()
            .map(|(v, o)| statefulset::statefulset(v, o))
            .chain(sentinel::statefulset(v))
            .collect::<Result<_, _>>()?,
    })
}

/// The groups of pods with the same data: one, or in mode Cluster one for each shard. A shard that is to be removed stays as long as
/// its StatefulSet is there.
fn groups(v: &Validated, o: &Observed) -> Vec<(Validated, Observed)> {
    if !v.clustered() {
        return vec![(v.clone(), o.clone())];
    }
    let extra = o.cluster.sets.keys().copied().filter(|n| *n >= v.shards);
    (0..v.shards)
        .chain(extra)
        .map(|shard| (v.of_shard(shard), o.of_shard(shard)))
        .collect()
}

/// Labels that select the pods with the same data.
fn selector(v: &Validated) -> BTreeMap<String, String> {
    let mut labels = identity(v).selector();
    labels.extend(shard_label(v));
    labels
}

fn shard_label(v: &Validated) -> Option<(String, String)> {
    v.shard.map(|n| (SHARD_LABEL.to_owned(), n.to_string()))
}

/// Labels of everything that belongs to this `Redis`.
pub fn identity(v: &Validated) -> Identity<'_> {
    let name = match v.engine {
        Engine::Redis => "redis",
        Engine::Valkey => "valkey",
    };
    Identity {
        group: GROUP,
        name,
        instance: &v.name,
        component: "server",
    }
}

/// Labels of a claim.
pub fn claim_labels(v: &Validated) -> BTreeMap<String, String> {
    metadata(v, String::new()).labels.unwrap_or_default()
}

fn metadata(v: &Validated, name: String) -> ObjectMeta {
    let mut labels = identity(v).standard();
    labels.extend(shard_label(v));
    ObjectMeta {
        name: Some(name),
        namespace: Some(v.namespace.clone()),
        labels: Some(labels),
        owner_references: Some(vec![v.owner.clone()]),
        ..ObjectMeta::default()
    }
}

fn non_empty<V>(map: BTreeMap<String, V>) -> Option<BTreeMap<String, V>> {
    (!map.is_empty()).then_some(map)
}
