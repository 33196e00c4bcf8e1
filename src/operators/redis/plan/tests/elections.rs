//! Failover, adoption, bootstrap, hand-over.

use super::*;
use crate::operators::redis::model::Findings;

#[test]
fn a_healthy_database_is_left_alone() {
    let (v, o) = healthy(3);
    let p = run(&v, &o);
    assert_eq!((p.step, p.chores, p.requeue), (None, vec![], None));
    assert_eq!(p.primary.as_deref(), Some("db-0"));
    assert_eq!(p.readers, ["db-1", "db-2"]);
    assert_eq!(p.findings, Findings::default());
}

#[test]
fn a_killed_primary_is_replaced_by_the_replica_with_the_most_data() {
    let (v, mut o) = healthy(3);
    lose_primary(&mut o);
    info(&mut o, 2).offset = 1500;
    assert_eq!(
        decided(&run(&v, &o)),
        Some((ElectionKind::Failover, "db-2"))
    );
}

#[test]
fn a_primary_that_restarted_in_place_and_empty_does_not_empty_the_replicas() {
    let (v, mut o) = healthy(3);
    o.instances[0].server = Server::Up(Box::new(restarted(0, 0)));
    cut_links(&mut o);
    let p = run(&v, &o);
    assert_eq!(decided(&p), Some((ElectionKind::Failover, "db-1")));
    assert!(
        p.chores.is_empty(),
        "nobody follows the empty server: {:?}",
        p.chores
    );
}

#[test]
fn a_decision_is_carried_out_only_on_the_server_that_was_chosen() {
    let (v, mut o) = healthy(3);
    lose_primary(&mut o);
    o.status.election = Some(decision(2, ElectionKind::Failover, 1, false));
    assert!(matches!(run(&v, &o).step, Some(Step::Promote(e)) if e.candidate == "db-1"));

    o.instances[1].server = Server::Up(Box::new(restarted(1, 0)));
    let p = run(&v, &o);
    assert_eq!(
        decided(&p),
        Some((ElectionKind::Failover, "db-2")),
        "the chosen server restarted empty"
    );
    assert!(matches!(p.step, Some(Step::Decide(e, _)) if e.epoch == 3));
}

#[test]
fn an_eviction_asks_for_a_hand_over_before_the_pod_is_deleted() {
    let (v, mut o) = healthy(3);
    o.instances[0].disrupted = true;
    assert_eq!(
        decided(&run(&v, &o)),
        Some((ElectionKind::HandOver, "db-1"))
    );
}

#[test]
fn what_was_done_by_hand_while_hera_was_away_is_followed() {
    let (v, mut o) = healthy(3);
    *info(&mut o, 1) = Info {
        role: Role::Primary,
        replid: OTHER_HISTORY.into(),
        replid2: Some(HISTORY.into()),
        ..server(1, true)
    };
    for ordinal in [0, 2] {
        *info(&mut o, ordinal) = Info {
            replid: OTHER_HISTORY.into(),
            primary_host: Some(ip(1)),
            run_id: format!("run-{ordinal}"),
            ..server(2, false)
        };
    }
    assert_eq!(decided(&run(&v, &o)), Some((ElectionKind::Adopted, "db-1")));
}

#[test]
fn an_old_primary_that_comes_back_alone_is_not_followed() {
    let (v, mut o) = healthy(3);
    o.status.election = Some(decision(2, ElectionKind::Failover, 1, true));
    o.status.replication_id = Some(OTHER_HISTORY.into());
    o.instances[1].server = Server::Silent(Duration::from_secs(1));
    o.instances[2].server = Server::Silent(Duration::from_secs(1));
    let p = run(&v, &o);
    assert_eq!(p.step, None);
    assert_eq!(
        p.primary.as_deref(),
        Some("db-1"),
        "clients are not led to the old one"
    );
}

#[test]
fn a_second_primary_is_demoted_and_never_the_recorded_one() {
    let (v, mut o) = healthy(3);
    o.status.election = Some(decision(2, ElectionKind::Failover, 1, true));
    *info(&mut o, 1) = Info {
        replid: OTHER_HISTORY.into(),
        replid2: Some(HISTORY.into()),
        ..server(1, true)
    };
    let p = run(&v, &o);
    assert_eq!(
        p.step,
        Some(Step::Follow {
            pods: vec!["db-0".into()],
            primary: "db-1".into()
        })
    );
    assert_eq!(p.primary.as_deref(), Some("db-1"));
}

#[test]
fn replicas_that_hold_a_dead_address_are_re_pointed() {
    let (v, mut o) = healthy(3);
    info(&mut o, 2).primary_host = Some("10.9.9.9".into());
    assert_eq!(
        run(&v, &o).chores,
        [
            Step::Follow {
                pods: vec!["db-2".into()],
                primary: "db-0".into()
            },
            Step::Gate {
                pod: "db-2".into(),
                ready: false
            }
        ]
    );
}

#[test]
fn a_replica_that_could_not_read_the_data_is_not_attached() {
    let (v, mut o) = healthy(2);
    *info(&mut o, 1) = Info {
        version: "7.0.15".into(),
        ..restarted(1, 0)
    };
    let p = run(&v, &o);
    assert!(
        !p.chores.iter().any(|s| matches!(s, Step::Follow { .. })),
        "{:?}",
        p.chores
    );
    assert_eq!(
        p.findings.replication.map(|f| f.reason),
        Some(reasons::IncompatibleVersion)
    );
}

#[test]
fn a_replica_that_is_pending_or_unreachable_does_not_stop_a_failover() {
    for pending in [
        PodState::Unscheduled(Some("0/1 nodes".into())),
        PodState::Waiting("ContainerCreating".into(), String::new()),
        PodState::Missing,
    ] {
        let (v, mut o) = healthy(3);
        lose_primary(&mut o);
        o.instances[2] = Instance {
            pod_state: pending.clone(),
            server: Server::Down,
            ..instance(2, Info::default())
        };
        assert_eq!(
            decided(&run(&v, &o)),
            Some((ElectionKind::Failover, "db-1")),
            "{pending:?}"
        );
    }
}

#[test]
fn a_replica_that_was_in_sync_and_is_silent_is_waited_for_but_not_for_ever() {
    let (v, mut o) = healthy(3);
    lose_primary(&mut o);
    o.instances[2].server = Server::Silent(Duration::from_secs(1));
    let p = run(&v, &o);
    assert_eq!(
        (decided(&p), reason(&p)),
        (None, Some(reasons::WaitingForInstance))
    );
    assert!(p.requeue.is_some());
    o.instances[2].server = Server::Silent(Duration::from_secs(6));
    assert_eq!(
        decided(&run(&v, &o)),
        Some((ElectionKind::Failover, "db-1"))
    );
}

#[test]
fn a_slow_primary_is_not_a_dead_one() {
    for (state, expected) in [
        (Server::Busy, reasons::PrimaryBusy),
        (
            Server::Silent(Duration::from_secs(9)),
            reasons::PrimaryUnreachable,
        ),
        (Server::Denied("WRONGPASS".into()), reasons::AccessDenied),
    ] {
        let (v, mut o) = healthy(3);
        o.instances[0].server = state;
        cut_links(&mut o);
        let p = run(&v, &o);
        assert_eq!((decided(&p), reason(&p)), (None, Some(expected)));
        assert_eq!(p.primary.as_deref(), Some("db-0"), "clients stay with it");
        assert!(p.requeue.is_some());
    }
}

#[test]
fn a_primary_that_is_silent_too_long_is_replaced_and_then_deleted() {
    let (v, mut o) = healthy(3);
    o.instances[0].server = Server::Silent(Duration::from_secs(11));
    for ordinal in [1, 2] {
        info(&mut o, ordinal).last_io_seconds = Some(11);
    }
    assert_eq!(
        decided(&run(&v, &o)),
        Some((ElectionKind::Failover, "db-1"))
    );

    let (v, mut o) = healthy(3);
    let from = Some("db-0".to_owned());
    o.status.election = Some(Election {
        from,
        ..decision(2, ElectionKind::Failover, 1, true)
    });
    *info(&mut o, 1) = server(1, true);
    *info(&mut o, 2) = Info {
        primary_host: Some(ip(1)),
        ..server(2, false)
    };
    for (silence, deleted) in [(0, false), (11, true)] {
        o.instances[0].server = Server::Silent(Duration::from_secs(silence));
        let step = run(&v, &o).step;
        assert_eq!(
            matches!(step, Some(Step::DeletePod { ref pod, .. }) if pod == "db-0"),
            deleted,
            "after {silence} s: {step:?}"
        );
    }
}

#[test]
fn a_primary_that_only_hera_cannot_reach_stays() {
    for server in [Server::Silent(Duration::from_secs(600)), Server::Down] {
        let (v, mut o) = healthy(3);
        o.instances[0].server = server;
        let p = run(&v, &o);
        assert_eq!(
            (decided(&p), reason(&p)),
            (None, Some(reasons::PrimaryUnreachable))
        );
    }
}

#[test]
fn all_pods_restarted_with_volumes_the_last_primary_leads_again() {
    let (v, mut o) = healthy(3);
    let v = with_storage(v);
    for ordinal in 0..3 {
        o.instances[ordinal].server =
            Server::Up(Box::new(restarted(i32::try_from(ordinal).unwrap(), 10)));
    }
    assert_eq!(
        decided(&run(&v, &o)),
        Some((ElectionKind::Failover, "db-0"))
    );

    o.instances[0].server = Server::Loading;
    assert_eq!(reason(&run(&v, &o)), Some(reasons::PrimaryLoading));

    o.instances[0].server = Server::Down;
    let p = run(&v, &o);
    assert_eq!(
        (decided(&p), reason(&p)),
        (None, Some(reasons::WaitingForInstance)),
        "the newest volume is not there"
    );
    assert!(p.findings.risk.is_some());

    let approved = Validated {
        approved_primary: Some("db-2".into()),
        ..v
    };
    assert_eq!(
        decided(&run(&approved, &o)),
        Some((ElectionKind::Failover, "db-2")),
        "the way out"
    );
}

#[test]
fn an_approval_that_was_left_behind_does_no_harm() {
    let (v, mut o) = healthy(3);
    let v = Validated {
        approved_primary: Some("db-2".into()),
        ..v
    };
    assert_eq!(run(&v, &o).step, None, "a healthy database");
    lose_primary(&mut o);
    info(&mut o, 1).offset = 2000;
    assert_eq!(
        decided(&run(&v, &o)),
        Some((ElectionKind::Failover, "db-1")),
        "proof comes first"
    );
    o.instances[1].server = Server::Up(Box::new(restarted(1, 5)));
    o.instances[2].server = Server::Up(Box::new(restarted(2, 0)));
    assert_eq!(
        decided(&run(&v, &o)),
        Some((ElectionKind::Failover, "db-1")),
        "an empty server is not taken over one with data"
    );
}

#[test]
fn all_pods_restarted_empty_start_anew_and_say_so() {
    let (v, mut o) = healthy(3);
    for ordinal in 0..3 {
        o.instances[ordinal].server =
            Server::Up(Box::new(restarted(i32::try_from(ordinal).unwrap(), 0)));
    }
    let p = run(&v, &o);
    assert_eq!(decided(&p), Some((ElectionKind::Bootstrap, "db-0")));
}

#[test]
fn two_unrelated_data_sets_without_proof_are_left_to_the_user() {
    let (v, mut o) = healthy(3);
    o.instances[0].server = Server::Down;
    o.instances[1].server = Server::Up(Box::new(restarted(1, 10)));
    o.instances[2].server = Server::Up(Box::new(restarted(2, 20)));
    let p = run(&v, &o);
    assert_eq!(
        (decided(&p), reason(&p)),
        (None, Some(reasons::NoLineageProof))
    );
    let v = Validated {
        approved_primary: Some("db-1".into()),
        ..v
    };
    assert_eq!(
        decided(&run(&v, &o)),
        Some((ElectionKind::Failover, "db-1"))
    );
}

#[test]
fn a_hand_over_is_started_watched_and_completed() {
    let (v, mut o) = healthy(3);
    let open = |age: i64| Election {
        from: Some("db-0".into()),
        decided_at: Time(now() - SignedDuration::from_secs(age)),
        ..decision(2, ElectionKind::HandOver, 1, false)
    };
    o.status.election = Some(open(0));
    assert_eq!(
        run(&v, &o).step,
        Some(Step::HandOver {
            from: "db-0".into(),
            to: "db-1".into()
        })
    );

    info(&mut o, 0).failover_state = FailoverState::WaitingForSync;
    assert_eq!(run(&v, &o).step, None, "it runs");
    o.status.election = Some(open(20));
    assert_eq!(
        run(&v, &o).step,
        Some(Step::AbortHandOver {
            from: "db-0".into()
        }),
        "it hangs"
    );

    info(&mut o, 0).failover_state = FailoverState::None;
    assert_eq!(
        decided(&run(&v, &o)),
        Some((ElectionKind::Abandoned, "db-0")),
        "it was given up"
    );

    *info(&mut o, 1) = server(1, true);
    *info(&mut o, 0) = Info {
        primary_host: Some(ip(1)),
        ..server(0, false)
    };
    assert!(matches!(run(&v, &o).step, Some(Step::Complete(_))));
}

#[test]
fn a_primary_that_dies_during_a_hand_over_is_failed_over() {
    let (v, mut o) = healthy(3);
    o.status.election = Some(Election {
        from: Some("db-0".into()),
        decided_at: Time(now()),
        ..decision(2, ElectionKind::HandOver, 1, false)
    });
    lose_primary(&mut o);
    info(&mut o, 2).offset = 3000;
    assert_eq!(
        decided(&run(&v, &o)),
        Some((ElectionKind::Failover, "db-2"))
    );
}

#[test]
fn a_hand_over_needs_a_replica_that_the_primary_hears() {
    let (v, mut o) = healthy(3);
    o.instances[0].terminating = true;
    for link in &mut info(&mut o, 0).replicas {
        link.lag = 30;
    }
    let p = run(&v, &o);
    assert_eq!(p.step, None);
    assert_eq!(
        p.findings.progress.map(|f| f.reason),
        Some(reasons::HandingOver)
    );
}

#[test]
fn a_switch_over_goes_to_the_named_pod_only() {
    let (v, o) = healthy(3);
    let v = Validated {
        switchover: Some("db-2".into()),
        ..v
    };
    assert_eq!(
        decided(&run(&v, &o)),
        Some((ElectionKind::HandOver, "db-2"))
    );
    let v = Validated {
        switchover: Some("db-9".into()),
        ..v
    };
    assert_eq!(run(&v, &o).step, None);
}

#[test]
fn scaling_in_moves_the_primary_off_a_pod_that_goes() {
    let (_, mut o) = healthy(3);
    let v = spec(Mode::Replication, 2);
    *info(&mut o, 2) = server(2, true);
    for ordinal in [0, 1] {
        *info(&mut o, ordinal) = Info {
            primary_host: Some(ip(2)),
            ..server(1, false)
        };
    }
    info(&mut o, 2).replicas = [0, 1]
        .map(|n| ReplicaLink {
            ip: ip(n),
            port: PORT,
            state: "online".into(),
            offset: 1000,
            lag: 0,
        })
        .into();
    o.status.election = Some(decision(2, ElectionKind::Failover, 2, true));
    assert_eq!(
        decided(&run(&v, &o)),
        Some((ElectionKind::HandOver, "db-0"))
    );
}

#[test]
fn a_single_server_is_followed_wherever_it_restarts() {
    let v = spec(Mode::Standalone, 1);
    let mut o = Observed {
        instances: vec![instance(0, server(0, true))],
        ..Observed::default()
    };
    assert_eq!(decided(&run(&v, &o)), Some((ElectionKind::Adopted, "db-0")));
    o.status.election = Some(Election {
        candidate_uid: "former-pod".into(),
        ..decision(1, ElectionKind::Adopted, 0, true)
    });
    assert_eq!(decided(&run(&v, &o)), Some((ElectionKind::Adopted, "db-0")));
}

pub(super) fn with_storage(v: Validated) -> Validated {
    Validated {
        storage: Some(super::super::super::model::ValidStorage {
            size: k8s_openapi::apimachinery::pkg::api::resource::Quantity("1Gi".into()),
            bytes: 1 << 30,
            class: None,
            when_deleted: super::super::super::api::Retention::Retain,
            when_scaled: super::super::super::api::Retention::Retain,
            template: "data".into(),
            existing: vec![],
        }),
        ..v
    }
}

pub(super) fn claim(ordinal: i32, adopted: bool) -> super::super::super::model::Claim {
    super::super::super::model::Claim {
        name: format!("data-db-{ordinal}"),
        ordinal,
        shard: 0,
        uid: format!("claim-{ordinal}"),
        bound: true,
        class: None,
        requested: 1 << 30,
        capacity: 1 << 30,
        failed: None,
        file_system_behind: None,
        adopted,
        owned: false,
        primary_since: None,
    }
}

#[test]
fn a_pod_that_was_deleted_by_force_is_not_replaced_while_its_server_is_heard() {
    let (v, mut o) = healthy(3);
    o.instances[0] = Instance {
        pod: "db-0".into(),
        ..Instance::default()
    };
    assert_eq!(
        reason(&run(&v, &o)),
        Some(reasons::PrimaryUnreachable),
        "the replicas hear from it"
    );
    cut_links(&mut o);
    assert_eq!(
        decided(&run(&v, &o)),
        Some((ElectionKind::Failover, "db-1"))
    );
}

#[test]
fn a_replica_that_never_finished_its_first_synchronization_is_not_promoted() {
    let (v, mut o) = healthy(2);
    let v = with_storage(v);
    // It has the primary's history already, but no data: the synchronization was cut off.
    *info(&mut o, 1) = Info {
        keys: 0,
        offset: 1,
        ..server(1, false)
    };
    o.status.instances[1].in_sync = false;
    lose_primary(&mut o);
    let p = run(&v, &o);
    assert_eq!(
        (decided(&p), reason(&p)),
        (None, Some(reasons::WaitingForInstance))
    );
    o.instances[0].server = Server::Up(Box::new(restarted(0, 10)));
    assert_eq!(
        decided(&run(&v, &o)),
        Some((ElectionKind::Failover, "db-0"))
    );
}

#[test]
fn a_primary_that_may_have_its_replicas_with_it_is_not_replaced() {
    let (v, mut o) = healthy(3);
    let long = Duration::from_secs(60);
    o.instances[0].server = Server::Silent(long);
    o.instances[1].server = Server::Silent(long);
    info(&mut o, 2).last_io_seconds = Some(60);
    assert_eq!(
        reason(&run(&v, &o)),
        Some(reasons::PrimaryUnreachable),
        "db-0 and db-1 may serve on the other side of a cut"
    );
    o.instances[1].terminating = true;
    assert_eq!(
        decided(&run(&v, &o)),
        Some((ElectionKind::Failover, "db-2"))
    );
}
