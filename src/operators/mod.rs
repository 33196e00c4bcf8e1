//! The operators, side by side, and their registry.
pub mod manifests;
pub mod redis;

use k8s_openapi::api::rbac::v1::PolicyRule;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::manager::Registration;

/// The definition of every kind that Hera serves.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![redis::api::Redis::crd()]
}

/// What each operator must be allowed to do: its name and its rules.
pub fn rbac() -> Vec<(&'static str, Vec<PolicyRule>)> {
    vec![(redis::NAME, redis::rbac::rules())]
}

/// Every operator, as the process starts it.
pub fn registry() -> Vec<Registration> {
    vec![redis::registration()]
}
