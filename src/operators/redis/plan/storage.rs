//! Volumes: growth, retention, claims that cannot be bound.

use std::time::Duration;

use super::super::api::Retention;
use super::super::model::{
    Claim, Observed, Plan, PodState, Problem, Step, ValidStorage, Validated,
};
use super::super::reasons;
use crate::k8s::quantity;

/// Plans what concerns the claims.
pub fn plan(v: &Validated, o: &Observed, plan: &mut Plan) {
    let Some(storage) = &v.storage else { return };
    adopt(o, storage, plan);
    if let Some(class) = &o.missing_storage_class {
        plan.findings.storage = Some(Problem::of(
            reasons::StorageClassNotFound,
            format!("StorageClass/{class}"),
            format!("the storage class {class} does not exist"),
        ));
        plan.again(Duration::from_secs(10));
    }
    if !wrong_class(o, storage, plan) {
        grow(o, storage, plan);
        templates(o, storage, plan);
    }
    retention(o, storage, plan);
    mark(v, o, plan);
    removed(v, o, storage, plan);
    pending(v, o, plan);
}

/// A claim of other origin is taken over when the user names it and nobody else uses it. Until then no pod is made on it.
fn adopt(o: &Observed, storage: &ValidStorage, plan: &mut Plan) {
    for f in &o.foreign {
        let about = |reason, message: String| {
            Problem::of(reason, format!("PersistentVolumeClaim/{}", f.name), message)
        };
        let problem = if !storage.existing.contains(&f.name) {
            about(
                reasons::ForeignClaim,
                format!("{} exists and was not made for this Redis", f.name),
            )
        } else if let Some(obstacle) = &f.obstacle {
            about(reasons::ClaimInUse, format!("{}: {obstacle}", f.name))
        } else {
            plan.chores.push(Step::AdoptClaim {
                claim: f.name.clone(),
            });
            about(
                reasons::VolumePending,
                format!("{} is being taken over", f.name),
            )
        };
        plan.findings.storage.get_or_insert(problem);
        // Claims and pods of others are not watched.
        plan.again(Duration::from_secs(5));
    }
}

/// Claims that were never bound and ask for another class than the spec: they hold nothing, so they are made anew.
fn wrong_class(o: &Observed, storage: &ValidStorage, plan: &mut Plan) -> bool {
    if o.missing_storage_class.is_some() {
        return false;
    }
    // Without a class in the spec the cluster's default is asked for, whose name is not known: then only a class that does not
    // exist is wrong.
    let is_wrong = |c: &Claim| match &storage.class {
        Some(_) => c.class != storage.class,
        None => c.class.is_some() && c.class == o.missing_claim_class,
    };
    let wrong: Vec<&Claim> = o
        .claims
        .iter()
        .filter(|c| !c.bound && is_wrong(c))
        .collect();
    if wrong.is_empty() {
        return false;
    }
    if template_differs(o, storage) {
        plan.propose(Step::RecreateStatefulSet(
            "the storage class of new claims changed".into(),
        ));
        return true;
    }
    for claim in &wrong {
        plan.propose(Step::DeleteClaim {
            claim: claim.name.clone(),
            uid: claim.uid.clone(),
            why: "it was never bound and asks for another storage class".into(),
        });
    }
    let blocked = o.instances.iter().find(|i| {
        !i.terminating
            && wrong.iter().any(|c| c.ordinal == i.ordinal)
            && matches!(i.pod_state, PodState::Unscheduled(_))
    });
    if let Some(i) = blocked {
        plan.chores.push(Step::DeletePod {
            pod: i.pod.clone(),
            uid: i.uid.clone(),
            reason: reasons::VolumePending,
            why: format!("{} waits for a claim of another storage class", i.pod),
        });
    }
    true
}

fn grow(o: &Observed, storage: &ValidStorage, plan: &mut Plan) {
    let growing: Vec<&Claim> = o
        .claims
        .iter()
        .filter(|c| c.bound && (c.requested < storage.bytes || c.capacity < storage.bytes))
        .collect();
    for claim in &growing {
        if claim.requested == storage.bytes {
            continue;
        }
        let larger = claim.requested < storage.bytes;
        // A request that the storage cannot fulfil may be lowered again. Kubernetes refuses to lower it to what the volume has or
        // less; then the volume is as it should be, and only the request stays too large.
        let lowered = claim.requested > storage.bytes;
        if larger && o.expandable == Some(false) {
            let message = format!(
                "{} cannot grow to {}: its storage class does not allow it",
                claim.name, storage.size.0
            );
            plan.findings.storage = Some(Problem::of(
                reasons::VolumeExpansionUnsupported,
                format!("PersistentVolumeClaim/{}", claim.name),
                message,
            ));
        } else if lowered || (larger && o.expandable == Some(true)) {
            plan.chores.push(Step::GrowClaim {
                claim: claim.name.clone(),
                size: storage.size.clone(),
            });
        }
    }
    if plan.findings.storage.is_some() {
        return;
    }
    if let Some(claim) = growing.iter().find(|c| c.failed.is_some()) {
        let message = format!(
            "{}: {}",
            claim.name,
            claim.failed.clone().unwrap_or_default()
        );
        plan.findings.storage = Some(Problem::of(
            reasons::VolumeExpansionFailed,
            format!("PersistentVolumeClaim/{}", claim.name),
            message,
        ));
    } else if let Some(claim) = growing.iter().find(|c| c.capacity < storage.bytes) {
        let how = match claim.file_system_behind {
            Some(_) => "; its file system follows, or when the pod is restarted",
            None => "",
        };
        plan.findings.storage = Some(Problem::of(
            reasons::VolumeExpanding,
            format!("PersistentVolumeClaim/{}", claim.name),
            format!("{} grows to {}{how}", claim.name, storage.size.0),
        ));
    }
    if plan.findings.storage.is_some() {
        plan.again(Duration::from_secs(30));
    }
}

/// A StatefulSet's claim templates cannot be changed, so it is made anew around its pods, once the claims themselves are right.
fn templates(o: &Observed, storage: &ValidStorage, plan: &mut Plan) {
    let claims_asked = o.claims.iter().all(|c| c.requested >= storage.bytes);
    if claims_asked && template_differs(o, storage) {
        plan.propose(Step::RecreateStatefulSet(
            "the size or class of new claims changed".into(),
        ));
    }
}

fn template_differs(o: &Observed, storage: &ValidStorage) -> bool {
    let template = o
        .objects
        .statefulset
        .as_ref()
        .and_then(|s| s.spec.as_ref())
        .and_then(|s| s.volume_claim_templates.as_ref())
        .and_then(|t| t.first());
    let Some(spec) = template.and_then(|t| t.spec.as_ref()) else {
        return false;
    };
    let size = spec
        .resources
        .as_ref()
        .and_then(|r| r.requests.as_ref())
        .and_then(|r| r.get("storage"))
        .and_then(|q| quantity::Amount::parse(&q.0).ok())
        .map(quantity::Amount::bytes);
    size != Some(storage.bytes) || spec.storage_class_name != storage.class
}

fn retention(o: &Observed, storage: &ValidStorage, plan: &mut Plan) {
    let owned = storage.when_deleted == Retention::Delete;
    plan.chores.extend(
        o.claims
            .iter()
            .filter(|c| c.owned != owned)
            .map(|c| Step::OwnClaim {
                claim: c.name.clone(),
                owned,
            }),
    );
}

/// The volume of the primary is told from the others. In a cluster its nodes know by themselves.
fn mark(v: &Validated, o: &Observed, plan: &mut Plan) {
    let election = o.status.election.as_ref().filter(|e| e.completed);
    let Some((e, primary)) = election
        .zip(plan.primary.as_ref())
        .filter(|_| !v.clustered())
    else {
        return;
    };
    let i = o
        .instances
        .iter()
        .find(|i| i.pod == *primary && i.pod == e.candidate);
    let claim = i.and_then(|i| o.claims.iter().find(|c| c.ordinal == i.ordinal));
    // Seconds, as the status keeps it.
    let at = e.decided_at.0.strftime("%Y-%m-%dT%H:%M:%SZ");
    let since = format!("{at} {:010}", e.epoch);
    if let Some(claim) = claim.filter(|c| c.primary_since.as_ref() != Some(&since)) {
        plan.chores.push(Step::MarkClaim {
            claim: claim.name.clone(),
            since,
        });
    }
}

/// What was there before the `Redis` was not made by scaling out, and does not go by scaling in.
fn removed(v: &Validated, o: &Observed, storage: &ValidStorage, plan: &mut Plan) {
    if storage.when_scaled != Retention::Delete || plan.primary.is_none() {
        return;
    }
    let pod_gone = |ordinal| {
        o.instances
            .iter()
            .all(|i| i.ordinal != ordinal || i.uid.is_empty())
    };
    for claim in o
        .claims
        .iter()
        .filter(|c| c.ordinal >= v.replicas && !c.adopted && pod_gone(c.ordinal))
    {
        plan.propose(Step::DeleteClaim {
            claim: claim.name.clone(),
            uid: claim.uid.clone(),
            why: "its pod was removed by scaling in, and spec.storage.whenScaled is Delete".into(),
        });
    }
}

fn pending(v: &Validated, o: &Observed, plan: &mut Plan) {
    let unbound = o.claims.iter().find(|c| !c.bound && c.ordinal < v.replicas);
    if let Some(claim) = unbound.filter(|_| plan.findings.storage.is_none()) {
        plan.findings.storage = Some(Problem::of(
            reasons::VolumePending,
            format!("PersistentVolumeClaim/{}", claim.name),
            format!("{} is not bound yet", claim.name),
        ));
    }
}
