//! Clusters of nodes that gossip at once, with faults of all kinds: whatever happens, the plan heals it, and no step of it destroys the
//! last copy of anything.

mod simulation;

use proptest::prelude::*;

use self::simulation::{Fault, Simulation};
use super::super::super::model::{ClusterStep, Step, Takeover};
use super::super::super::reasons;

fn formed(shards: i32, replicas: i32, storage: bool) -> Simulation {
    let mut s = Simulation::new(shards, replicas, storage);
    s.settle();
    s.whole();
    s
}

#[test]
fn a_new_cluster_is_formed_in_order_and_evenly() {
    let mut s = Simulation::new(3, 2, false);
    let steps = s.settle();
    let kinds: Vec<&str> = steps
        .iter()
        .map(|step| match step {
            Step::Cluster(ClusterStep::SetEpochs(_)) => "epochs",
            Step::Cluster(ClusterStep::Meet { .. }) => "meet",
            Step::Cluster(ClusterStep::AddSlots { lost: false, .. }) => "slots",
            Step::Cluster(ClusterStep::Replicate(_)) => "replicate",
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(kinds, ["epochs", "meet", "slots", "replicate"]);
    s.whole();
    let mut epochs: Vec<u64> = s.nodes.iter().map(|n| n.epoch).collect();
    epochs.dedup();
    assert_eq!(epochs, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn nothing_is_formed_before_every_pod_answers() {
    let mut s = Simulation::new(3, 2, false);
    s.nodes[4].up = false;
    assert!(s.settle().is_empty());
    s.nodes[4].up = true;
    s.settle();
    s.whole();
}

/// The server came back empty at the address of the primary that it was: its replica takes over at once.
#[test]
fn a_primary_that_restarts_empty_is_replaced_by_force() {
    let mut s = formed(3, 2, false);
    s.inflict(Fault::Restart(0));
    let first = s.plan().step;
    let Some(Step::Cluster(ClusterStep::FailOver { pod, how, .. })) = first else {
        panic!("{first:?}")
    };
    assert_eq!((pod.as_str(), how), ("db-s0-1", Takeover::Forced));
    s.settle();
    s.whole();
    assert!(s.lost.is_empty(), "{}", s.lost);
}

#[test]
fn a_majority_that_is_lost_for_good_is_replaced_without_a_vote() {
    let mut s = formed(3, 2, false);
    s.inflict(Fault::Restart(0));
    s.inflict(Fault::Restart(2));
    let first = s.plan().step;
    assert!(
        matches!(
            first,
            Some(Step::Cluster(ClusterStep::FailOver {
                how: Takeover::Alone,
                ..
            }))
        ),
        "{first:?}"
    );
    s.settle();
    s.whole();
    assert!(s.lost.is_empty(), "{}", s.lost);
}

#[test]
fn a_majority_with_volumes_is_waited_for() {
    let mut s = formed(3, 2, true);
    s.nodes[0].up = false;
    s.nodes[2].up = false;
    let plan = s.plan();
    assert!(plan.step.is_none(), "{:?}", plan.step);
    let why = plan.findings.primary.unwrap();
    assert_eq!(why.reason, reasons::QuorumLost);
    s.nodes[0].up = true;
    s.nodes[2].up = true;
    s.settle();
    s.whole();
}

/// Both are restarted, the replica is back first, and its volume lacks what the primary took after it was gone.
#[test]
fn a_replica_that_was_started_anew_waits_for_the_primary() {
    let mut s = formed(3, 2, true);
    assert!(s.nodes.iter().all(|n| !n.held_back));
    s.inflict(Fault::Restart(1));
    s.nodes[0].up = false;
    s.inflict(Fault::Vote);
    let plan = s.plan();
    assert!(plan.step.is_none(), "{:?}", plan.step);
    assert_eq!(
        plan.findings.primary.unwrap().reason,
        reasons::NoLineageProof
    );

    let waiting = s.clone();
    s.nodes[0].up = true;
    s.settle();
    s.whole();
    assert_eq!(s.nodes[0].primary, None);

    let mut s = waiting;
    s.v.approved_primary = Some("db-s0-1".into());
    let step = s.plan().step;
    assert!(
        matches!(&step, Some(Step::Cluster(ClusterStep::FailOver { pod, how: Takeover::Forced, .. })) if pod == "db-s0-1"),
        "{step:?}"
    );
}

#[test]
fn a_replica_in_sync_takes_over_rather_than_one_that_was_started_anew() {
    let mut s = formed(3, 3, false);
    s.inflict(Fault::Restart(0));
    s.nodes[1].held_back = true;
    let step = s.plan().step;
    assert!(
        matches!(&step, Some(Step::Cluster(ClusterStep::FailOver { pod, .. })) if pod == "db-s0-2"),
        "{step:?}"
    );
}

#[test]
fn all_pods_restart_with_other_addresses() {
    let mut s = formed(3, 2, true);
    for n in 0..6 {
        s.inflict(Fault::Delete(n));
    }
    s.settle();
    s.whole();
    assert!(s.lost.is_empty(), "{}", s.lost);
}

#[test]
fn all_pods_restart_without_volumes() {
    let mut s = formed(3, 2, false);
    for n in 0..6 {
        s.inflict(Fault::Delete(n));
    }
    s.settle();
    s.whole();
}

#[test]
fn nothing_is_forgotten_while_a_pod_has_no_address() {
    let mut s = formed(3, 2, false);
    s.inflict(Fault::Restart(1));
    s.nodes[5].up = false;
    s.nodes[5].addressless = true;
    let steps = s.settle();
    let forgets = |s: &Step| matches!(s, Step::Cluster(ClusterStep::Forget { .. }));
    assert!(!steps.iter().any(forgets), "{steps:?}");
    s.nodes[5].up = true;
    s.nodes[5].addressless = false;
    s.settle();
    s.whole();
    assert!(s.dead.is_empty(), "{:?}", s.dead);
}

#[test]
fn slots_move_out_and_back_and_the_shard_goes() {
    let mut s = formed(3, 2, false);
    s.scale(5);
    s.settle();
    s.whole();
    s.scale(3);
    s.settle();
    s.whole();
    assert_eq!(s.nodes.len(), 6);
    assert!(s.dead.is_empty() && s.lost.is_empty());
}

/// Roles do not follow the numbers of the pods.
#[test]
fn slots_move_after_every_shard_failed_over() {
    let mut s = formed(3, 2, false);
    for n in [0, 2, 4] {
        s.inflict(Fault::Restart(n));
        s.settle();
    }
    assert!(
        s.nodes
            .iter()
            .all(|n| (n.ordinal == 1) == n.primary.is_none())
    );
    s.scale(4);
    s.settle();
    s.whole();
    s.scale(3);
    s.settle();
    s.whole();
    assert!(s.lost.is_empty());
}

#[test]
fn a_primary_that_leaves_hands_over_before() {
    let mut s = formed(3, 2, false);
    s.nodes[2].disrupted = true;
    let first = s.plan().step;
    let Some(Step::Cluster(ClusterStep::FailOver { pod, how, .. })) = first else {
        panic!("{first:?}")
    };
    assert_eq!((pod.as_str(), how), ("db-s1-1", Takeover::Planned));
}

#[test]
fn a_roll_restarts_replicas_first_and_primaries_after_a_hand_over() {
    let mut s = formed(3, 2, false);
    for n in &mut s.nodes {
        n.outdated = true;
    }
    let steps = s.settle();
    s.whole();
    let words: Vec<String> = steps
        .iter()
        .filter_map(|step| match step {
            Step::DeletePod { pod, .. } => Some(pod.clone()),
            Step::Cluster(ClusterStep::FailOver { pod, how, .. }) => Some(format!("{how:?} {pod}")),
            _ => None,
        })
        .collect();
    assert_eq!(
        words,
        [
            "db-s2-1",
            "db-s1-1",
            "db-s0-1",
            "Planned db-s0-1",
            "db-s0-0",
            "Planned db-s1-1",
            "db-s1-0",
            "Planned db-s2-1",
            "db-s2-0"
        ]
    );
    assert!(s.lost.is_empty() && s.dead.is_empty());
}

#[test]
fn no_slot_begins_to_move_during_a_roll() {
    let mut s = formed(3, 2, false);
    s.nodes[1].outdated = true;
    s.scale(4);
    let steps = s.settle();
    let at = |found: &dyn Fn(&Step) -> bool| steps.iter().position(found).unwrap();
    let restart = at(&|s| matches!(s, Step::DeletePod { .. }));
    let moved = at(&|s| matches!(s, Step::Cluster(ClusterStep::MoveSlots { .. })));
    assert!(restart < moved, "{steps:?}");
    s.whole();
}

#[test]
fn an_open_slot_is_moved_to_its_end() {
    let mut s = formed(3, 2, false);
    let ids: Vec<String> = s.nodes.iter().map(|n| n.id.clone()).collect();
    s.nodes[0].migrating.insert(7, ids[2].clone());
    s.nodes[2].importing.insert(9, ids[0].clone());
    s.nodes[4].importing.insert(16_000, ids[0].clone());
    let steps = s.settle();
    s.whole();
    assert!(
        s.nodes
            .iter()
            .all(|n| n.migrating.is_empty() && n.importing.is_empty()),
        "{steps:?}"
    );
}

#[test]
fn two_clusters_are_not_joined() {
    let mut s = formed(3, 1, true);
    // The volume of a pod was exchanged for one of another cluster.
    s.nodes[0].id = "other".into();
    let own = s.nodes[0].id.clone();
    s.nodes[0].knows = [own].into();
    for n in &mut s.nodes[1..] {
        n.knows.remove("id-1");
    }
    let plan = s.plan();
    assert_eq!(plan.findings.risk.unwrap().reason, reasons::ForeignCluster);
    assert!(!matches!(
        plan.step,
        Some(Step::Cluster(ClusterStep::Meet { .. }))
    ));
}

fn faults() -> impl Strategy<Value = Vec<(Fault, usize)>> {
    let fault = prop_oneof![
        (0..8_usize).prop_map(Fault::Restart),
        (0..8_usize).prop_map(Fault::Delete),
        (0..8_usize).prop_map(Fault::Down),
        Just(Fault::AllUp),
        Just(Fault::Vote),
        (3..6_i32).prop_map(Fault::Scale),
    ];
    prop::collection::vec((fault, 0..6_usize), 0..12)
}

proptest! {
    /// After any faults at any time it comes to rest whole, once all pods run. With volumes nothing is ever lost; without them only
    /// what no pod held any more.
    #[test]
    fn it_always_heals(faults in faults(), storage: bool, replicas in 1..4_i32) {
        let mut s = Simulation::new(3, replicas, storage);
        for (fault, passes) in faults {
            for _ in 0..passes {
                s.pass();
            }
            s.inflict(fault);
        }
        s.inflict(Fault::AllUp);
        s.settle();
        s.whole();
        if storage {
            prop_assert!(s.lost.is_empty(), "{}", s.lost);
        }
    }
}
