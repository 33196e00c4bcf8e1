//! Claims.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{Resource, ResourceExt};

use super::super::api::Redis;
use super::super::model::{Claim, DATA_VOLUME};
use crate::k8s::names;
use crate::k8s::quantity::Amount;

/// A claim of the pods of this StatefulSet, named after their pods.
pub(super) fn claim(claim: &PersistentVolumeClaim, name: &str, redis: &Redis) -> Option<Claim> {
    let prefix = format!("{DATA_VOLUME}-{name}");
    let ordinal = i32::try_from(names::ordinal(&prefix, &claim.name_any())?).ok()?;
    let size = |quantity: Option<&k8s_openapi::apimachinery::pkg::api::resource::Quantity>| {
        quantity
            .and_then(|q| Amount::parse(&q.0).ok())
            .map(Amount::bytes)
            .unwrap_or_default()
    };
    let status = claim.status.clone().unwrap_or_default();
    let spec = claim.spec.clone().unwrap_or_default();
    let requests = spec.resources.and_then(|r| r.requests);
    let infeasible = status
        .allocated_resource_statuses
        .as_ref()
        .is_some_and(|s| s.values().any(|v| v.ends_with("Infeasible")));
    let failed = status.conditions.iter().flatten().find(|c| {
        c.status == "True" && (c.type_ == "ControllerResizeError" || c.type_ == "NodeResizeError")
    });
    Some(Claim {
        name: claim.name_any(),
        ordinal,
        shard: 0,
        uid: claim.uid().unwrap_or_default(),
        bound: status.phase.as_deref().is_some_and(|p| p != "Pending")
            || spec.volume_name.is_some(),
        class: spec.storage_class_name,
        requested: size(requests.as_ref().and_then(|r| r.get("storage"))),
        capacity: size(status.capacity.as_ref().and_then(|c| c.get("storage"))),
        failed: failed
            .and_then(|c| c.message.clone())
            .or_else(|| infeasible.then(|| "the storage cannot provide this size".to_owned())),
        adopted: claim
            .meta()
            .creation_timestamp
            .as_ref()
            .zip(redis.meta().creation_timestamp.as_ref())
            .is_some_and(|(c, r)| c.0 < r.0),
        owned: claim
            .owner_references()
            .iter()
            .any(|o| Some(&o.uid) == redis.metadata.uid.as_ref()),
    })
}
