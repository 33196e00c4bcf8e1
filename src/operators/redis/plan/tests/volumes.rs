//! Volumes.

use super::super::super::api::Retention;
use super::super::super::model::Foreign;
use super::elections::{claim, with_storage};
use super::*;

fn with_claims() -> (Validated, Observed) {
    let (v, mut o) = healthy(3);
    o.claims = (0..3).map(|ordinal| claim(ordinal, false)).collect();
    (with_storage(v), o)
}

fn grown(v: Validated) -> Validated {
    let mut v = v;
    if let Some(storage) = &mut v.storage {
        storage.bytes = 2 << 30;
        storage.size.0 = "2Gi".into();
    }
    v
}

fn grows(p: &Plan) -> usize {
    p.chores
        .iter()
        .filter(|s| matches!(s, Step::GrowClaim { .. }))
        .count()
}

#[test]
fn claims_grow_where_the_class_allows_it_and_say_where_it_does_not() {
    let (v, mut o) = with_claims();
    let v = grown(v);
    o.expandable = Some(true);
    assert_eq!(grows(&run(&v, &o)), 3);
    o.expandable = Some(false);
    let p = run(&v, &o);
    assert_eq!(
        (grows(&p), p.findings.storage.map(|f| f.reason)),
        (0, Some(reasons::VolumeExpansionUnsupported))
    );
    o.expandable = None;
    assert_eq!(grows(&run(&v, &o)), 0, "the class is not known yet");
}

#[test]
fn a_request_that_the_storage_cannot_fulfil_is_lowered_again() {
    let (v, mut o) = with_claims();
    for c in &mut o.claims {
        c.requested = 8 << 30;
        c.failed = Some("too large".into());
    }
    assert_eq!(grows(&run(&grown(v.clone()), &o)), 3);
    let p = run(&v, &o);
    assert_eq!(grows(&p), 0, "Kubernetes refuses what the volume has");
    assert_eq!(p.findings.storage, None, "the volume has its size");
    o.claims.iter_mut().for_each(|c| c.capacity = 4 << 30);
    assert_eq!(grows(&run(&v, &o)), 0, "never below what the volume has");
}

#[test]
fn a_refused_expansion_is_told() {
    let (v, mut o) = with_claims();
    for c in &mut o.claims {
        c.requested = 2 << 30;
        c.failed = Some("no space in the pool".into());
    }
    let found = run(&grown(v), &o).findings.storage.unwrap();
    assert_eq!(found.reason, reasons::VolumeExpansionFailed);
    assert!(found.message.contains("no space in the pool"));
}

#[test]
fn claims_of_removed_pods_go_only_when_asked_and_only_when_the_pod_is_gone() {
    let (v, mut o) = with_claims();
    o.claims.push(claim(3, false));
    let step = |v: &Validated, o: &Observed| run(v, o).step;
    assert_eq!(step(&v, &o), None);
    let mut v = v;
    v.storage.as_mut().unwrap().when_scaled = Retention::Delete;
    assert!(matches!(step(&v, &o), Some(Step::DeleteClaim { claim, .. }) if claim == "data-db-3"));
    o.instances.push(Instance {
        uid: "still".into(),
        ordinal: 3,
        terminating: true,
        ..Instance::default()
    });
    assert_eq!(step(&v, &o), None);
}

#[test]
fn claims_that_were_there_before_the_redis_are_never_deleted() {
    let (mut v, mut o) = with_claims();
    v.storage.as_mut().unwrap().when_scaled = Retention::Delete;
    o.claims.push(claim(3, true));
    assert_eq!(run(&v, &o).step, None);
}

#[test]
fn the_claim_of_the_primary_is_told_from_the_others() {
    let (v, mut o) = with_claims();
    let marks = |o: &Observed| -> Vec<Step> {
        let chores = run(&v, o).chores.into_iter();
        chores
            .filter(|s| matches!(s, Step::MarkClaim { .. }))
            .collect()
    };
    let since = "2023-11-14T21:13:20Z 0000000001".to_owned();
    assert_eq!(
        marks(&o),
        [Step::MarkClaim {
            claim: "data-db-0".into(),
            since: since.clone(),
        }]
    );
    o.claims[0].primary_since = Some(since);
    assert_eq!(marks(&o), []);
    o.status.election.as_mut().unwrap().epoch = 2;
    assert_eq!(marks(&o).len(), 1, "by another decision");
    o.status.election.as_mut().unwrap().completed = false;
    assert_eq!(marks(&o), []);
}

#[test]
fn claims_that_never_bound_are_made_anew_when_the_default_class_is_wanted_again() {
    let (mut v, mut o) = with_claims();
    v.storage.as_mut().unwrap().class = None;
    for c in &mut o.claims {
        (c.bound, c.class) = (false, Some("default".into()));
    }
    assert_eq!(run(&v, &o).step, None, "it is provisioned at the moment");
    o.claims[0].class = Some("wrong".into());
    o.missing_claim_class = Some("wrong".into());
    assert!(
        matches!(run(&v, &o).step, Some(Step::DeleteClaim { claim, .. }) if claim == o.claims[0].name)
    );
}

#[test]
fn claims_that_never_bound_are_made_anew_with_the_corrected_class() {
    let (mut v, mut o) = with_claims();
    v.storage.as_mut().unwrap().class = Some("fast".into());
    for c in &mut o.claims {
        (c.bound, c.class) = (false, Some("wrong".into()));
    }
    o.missing_storage_class = Some("wrong".into());
    let p = run(&v, &o);
    assert_eq!(
        (p.step, p.findings.storage.map(|f| f.reason)),
        (None, Some(reasons::StorageClassNotFound))
    );
    o.missing_storage_class = None;
    assert!(matches!(run(&v, &o).step, Some(Step::DeleteClaim { .. })));
    o.claims.iter_mut().for_each(|c| c.bound = true);
    assert_eq!(
        run(&v, &o).step,
        None,
        "a bound claim is never deleted for its class"
    );
}

/// Claims of other origin: only one that is named, and that nobody uses, is taken over; until then the pod is not made.
#[test]
fn a_claim_of_other_origin_is_taken_over_only_when_it_is_named_and_free() {
    let free = || Foreign {
        name: "data-db-2".into(),
        ordinal: 2,
        ..Foreign::default()
    };
    let used = || Foreign {
        obstacle: Some("Pod/other uses it".into()),
        ..free()
    };
    for (named, foreign, reason, adopted) in [
        (false, free(), reasons::ForeignClaim, false),
        (false, used(), reasons::ForeignClaim, false),
        (true, used(), reasons::ClaimInUse, false),
        (true, free(), reasons::VolumePending, true),
    ] {
        let (mut v, mut o) = with_claims();
        if named {
            let storage = v.storage.as_mut().unwrap();
            storage.existing.push("data-db-2".into());
        }
        o.foreign.push(foreign);
        let p = run(&v, &o);
        let adopts = |s: &Step| matches!(s, Step::AdoptClaim { .. });
        assert_eq!(p.chores.iter().any(adopts), adopted, "{reason}");
        assert_eq!(p.findings.storage.map(|f| f.reason), Some(reason));
        assert!(p.requeue.is_some());
    }
}
