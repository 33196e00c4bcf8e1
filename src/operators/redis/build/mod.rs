//! From a [`Validated`] to the objects in the cluster: pure, the same input gives the same bytes.

mod access;
mod config;
mod network;
pub mod patch;
mod statefulset;
#[cfg(test)]
mod tests;
pub mod tls;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;

use super::GROUP;
use super::api::Engine;
use super::model::{Credentials, Observed, Validated};
use crate::k8s::labels::Identity;

pub use access::{
    OPERATOR_USER, PROBE_USER, REPLICATION_USER, credentials_secret, rotation_secret,
    unused_user_secrets, user_connection_secret,
};
pub use network::{Published, SERVICE_NAME_LABEL, endpoint_slices, published};
pub use patch::PatchError;

/// Everything that one `Redis` owns, but its endpoint slices and claims.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Resources {
    pub server_secret: Secret,
    pub connection_secret: Secret,
    pub user_connection_secrets: Vec<Secret>,
    pub config_map: ConfigMap,
    pub start_config_map: ConfigMap,
    pub services: Vec<Service>,
    pub disruption_budget: Option<PodDisruptionBudget>,
    pub statefulset: StatefulSet,
}

/// Builds all objects. Fails only when `spec.podTemplate` does not give a pod template.
pub fn build(
    v: &Validated,
    o: &Observed,
    credentials: &Credentials,
) -> Result<Resources, PatchError> {
    Ok(Resources {
        server_secret: access::server_secret(v, o, credentials),
        connection_secret: access::connection_secret(v, o, credentials),
        user_connection_secrets: access::user_connection_secrets(v, o),
        config_map: config::config_map(v, o),
        start_config_map: config::start_config_map(v),
        services: network::services(v),
        disruption_budget: network::disruption_budget(v),
        statefulset: statefulset::statefulset(v, o)?,
    })
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

fn metadata(v: &Validated, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(v.namespace.clone()),
        labels: Some(identity(v).standard()),
        owner_references: Some(vec![v.owner.clone()]),
        ..ObjectMeta::default()
    }
}

fn non_empty<V>(map: BTreeMap<String, V>) -> Option<BTreeMap<String, V>> {
    (!map.is_empty()).then_some(map)
}
