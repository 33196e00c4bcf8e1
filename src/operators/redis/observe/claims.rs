//! Claims: those of the pods, and those of other origin that stand in their place.

use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::ListParams;
use kube::{Api, Resource, ResourceExt};

use super::super::Operator;
use super::super::api::{Mode, PRIMARY_SINCE_ANNOTATION, Redis, Storage};
use super::super::model::{Claim, DATA_VOLUME, Foreign, NAME_LABEL, Observed};
use super::age;
use crate::k8s::quantity::Amount;
use crate::k8s::{names, owner};

/// Name of the claim template.
pub(super) fn data_volume(redis: &Redis) -> &str {
    redis
        .spec
        .storage
        .as_ref()
        .map_or(DATA_VOLUME, Storage::template)
}

/// The spec names the claim as one to be taken over.
fn named(redis: &Redis, claim: &str) -> bool {
    let storage = redis.spec.storage.as_ref();
    storage.is_some_and(|s| s.existing_claims.iter().any(|c| c == claim))
}

/// Name of the StatefulSet of a shard.
pub(super) fn set_name(redis: &str, shard: i32) -> String {
    format!("{redis}-s{shard}")
}

/// Shard, ordinal and pod of all that the spec asks for.
fn wanted(redis: &Redis) -> Vec<(i32, i32, String)> {
    let (spec, name) = (&redis.spec, redis.name_any());
    let pods = |shard: i32, set: String, count: i32| {
        (0..count).map(move |ordinal| (shard, ordinal, format!("{set}-{ordinal}")))
    };
    if spec.mode == Mode::Cluster {
        let each = spec.replicas_per_shard.unwrap_or(1).saturating_add(1);
        let shards = 0..spec.shards.unwrap_or(3);
        return shards
            .flat_map(|shard| pods(shard, set_name(&name, shard), each))
            .collect();
    }
    let by_default = if spec.mode == Mode::Standalone { 1 } else { 3 };
    pods(0, name, spec.replicas.unwrap_or(by_default)).collect()
}

impl Operator {
    /// Looks the storage class up, but only when a claim waits or is to grow.
    pub(super) async fn storage_class(&self, redis: &Redis, observed: &mut Observed) {
        let Some(storage) = &redis.spec.storage else {
            return;
        };
        let wanted = Amount::parse(&storage.size.0)
            .map(Amount::bytes)
            .unwrap_or_default();
        let growing = observed
            .claims
            .iter()
            .find(|c| c.bound && c.requested < wanted);
        let waiting = observed.claims.iter().find(|c| !c.bound);
        let named = storage.storage_class_name.clone();
        // Without a class in the spec, the one that the claim was made with is looked at.
        let class = match (growing, waiting) {
            (Some(growing), _) => growing.class.clone().or(named.clone()),
            (None, Some(waiting)) => named.clone().or(waiting.class.clone()),
            (None, None) => return,
        };
        let Some(class) = class else { return };
        match Api::<StorageClass>::all(self.ctx.client.clone())
            .get_opt(&class)
            .await
        {
            Ok(None) if named.is_none() && growing.is_none() => {
                observed.missing_claim_class = Some(class);
            }
            Ok(None) => observed.missing_storage_class = Some(class),
            Ok(Some(found)) => {
                observed.expandable = Some(found.allow_volume_expansion == Some(true));
            }
            Err(error) => {
                // Without the right to read storage classes the API server itself judges each claim.
                tracing::warn!(%class, %error, "the storage class could not be read");
                observed.expandable = Some(true);
            }
        }
    }

    /// Looks for claims of other origin, but only where a pod is to be made and no claim of ours is there yet.
    pub(super) async fn foreign_claims(&self, redis: &Redis, observed: &mut Observed) {
        if redis.spec.storage.is_none() {
            return;
        }
        let namespace = redis.namespace().unwrap_or_default();
        let open = |(shard, ordinal, pod): &(i32, i32, String)| {
            let place = |s: i32, o: i32| s == *shard && o == *ordinal;
            let has_pod = observed
                .instances
                .iter()
                .any(|i| &i.pod == pod && !i.uid.is_empty());
            !has_pod && !observed.claims.iter().any(|c| place(c.shard, c.ordinal))
        };
        let places: Vec<_> = wanted(redis).into_iter().filter(open).collect();
        let api = Api::<PersistentVolumeClaim>::namespaced(self.ctx.client.clone(), &namespace);
        let looks = places.into_iter().map(|(shard, ordinal, pod)| {
            let (api, name) = (api.clone(), format!("{}-{pod}", data_volume(redis)));
            async move {
                let found = api.get_opt(&name).await;
                (
                    Foreign {
                        name,
                        ordinal,
                        shard,
                        obstacle: None,
                    },
                    found,
                )
            }
        });
        for (mut foreign, found) in join_all(looks).await {
            match found {
                Ok(None) => continue,
                Ok(Some(claim)) if is_of(&claim, &redis.name_any()) => continue,
                Ok(Some(claim)) => {
                    foreign.obstacle = self.obstacle(redis, &claim).await;
                    observed.objects.foreign_claims.push(claim);
                }
                Err(error) => foreign.obstacle = Some(format!("it could not be read: {error}")),
            }
            observed.foreign.push(foreign);
        }
    }

    /// Why a claim cannot be taken over: two servers on one volume would destroy its data.
    async fn obstacle(&self, redis: &Redis, claim: &PersistentVolumeClaim) -> Option<String> {
        if !named(redis, &claim.name_any()) {
            return None;
        }
        if claim.meta().deletion_timestamp.is_some() {
            return Some("it is being deleted".to_owned());
        }
        if let Some(owner) = owner::controller_of(claim.meta()) {
            return Some(format!("it belongs to {}/{}", owner.kind, owner.name));
        }
        let namespace = redis.namespace().unwrap_or_default();
        let pods = Api::<Pod>::namespaced(self.ctx.client.clone(), &namespace);
        match pods.list(&ListParams::default()).await {
            Ok(pods) => pods
                .iter()
                .find(|pod| uses(pod, &claim.name_any()))
                .map(|pod| format!("Pod/{} uses it", pod.name_any())),
            Err(error) => Some(format!("the pods could not be listed: {error}")),
        }
    }
}

/// A claim with the labels of this `Redis`, which the cache has not shown yet.
fn is_of(claim: &PersistentVolumeClaim, redis: &str) -> bool {
    claim.labels().get(NAME_LABEL).is_some_and(|n| n == redis)
}

fn uses(pod: &Pod, claim: &str) -> bool {
    let ended = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    let mut claims = volumes.filter_map(|v| v.persistent_volume_claim.as_ref());
    !matches!(ended, Some("Succeeded" | "Failed")) && claims.any(|c| c.claim_name == claim)
}

/// How long the kubelet may take to grow the file system of a volume in use. Storage that cannot do that grows it when a pod
/// mounts the volume anew (CSI `VolumeExpansion` of type `OFFLINE`, or `NodeExpandVolume` that refuses a volume in use).
const ONLINE_GROWTH: Duration = Duration::from_secs(60);

/// A pod that has run since before its volume grew is outdated when the file system did not follow.
pub(super) fn outdate(observed: &mut Observed) {
    for i in &mut observed.instances {
        let claim = observed
            .claims
            .iter()
            .find(|c| (c.shard, c.ordinal) == (i.shard, i.ordinal));
        let behind = claim.and_then(|c| c.file_system_behind);
        i.outdated |= behind.is_some_and(|behind| behind > ONLINE_GROWTH && i.age > behind);
    }
}

/// A claim of the pods of this StatefulSet, named after their pods.
pub(super) fn claim(
    claim: &PersistentVolumeClaim,
    name: &str,
    redis: &Redis,
    now: Timestamp,
) -> Option<Claim> {
    let prefix = format!("{}-{name}", data_volume(redis));
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
    let behind = status
        .conditions
        .iter()
        .flatten()
        .find(|c| c.status == "True" && c.type_ == "FileSystemResizePending");
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
        file_system_behind: behind.map(|c| age(c.last_transition_time.as_ref().map(|t| t.0), now)),
        adopted: named(redis, &claim.name_any())
            || claim
                .meta()
                .creation_timestamp
                .as_ref()
                .zip(redis.meta().creation_timestamp.as_ref())
                .is_some_and(|(c, r)| c.0 < r.0),
        primary_since: claim.annotations().get(PRIMARY_SINCE_ANNOTATION).cloned(),
        owned: claim
            .owner_references()
            .iter()
            .any(|o| Some(&o.uid) == redis.metadata.uid.as_ref()),
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::model::Instance;
    use super::*;

    #[test]
    fn a_pod_is_outdated_when_its_file_system_does_not_follow_its_volume() {
        let seconds = Duration::from_secs;
        for (behind, age, outdated) in [
            (None, 900, false),
            (Some(30), 900, false),
            (Some(90), 900, true),
            // It was restarted since: doing so again would not help.
            (Some(90), 80, false),
        ] {
            let claim = Claim {
                file_system_behind: behind.map(seconds),
                ..Claim::default()
            };
            let instance = Instance {
                age: seconds(age),
                ..Instance::default()
            };
            let mut o = Observed {
                claims: vec![claim],
                instances: vec![instance],
                ..Observed::default()
            };
            outdate(&mut o);
            assert_eq!(o.instances[0].outdated, outdated, "{behind:?} {age}");
        }
    }
}
