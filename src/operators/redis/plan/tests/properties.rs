//! What holds for every observation, also stale and partial ones.

use proptest::prelude::*;

use super::*;

fn any_server() -> impl Strategy<Value = Server> {
    let history = prop_oneof![Just("aaaa"), Just("bbbb"), Just("cccc")];
    let up = (
        any::<bool>(),
        history.clone(),
        proptest::option::of(history),
        0_u64..3,
        0_u64..4,
        any::<bool>(),
        0_i32..3,
        0_u64..20,
    )
        .prop_map(
            |(primary, replid, replid2, keys, offset, link_up, of, last_io)| {
                let base = server(1, primary);
                Server::Up(Box::new(Info {
                    replid: replid.into(),
                    replid2: replid2.map(str::to_owned),
                    keys,
                    offset,
                    link_up: link_up && !primary,
                    primary_host: (!primary).then(|| ip(of)),
                    last_io_seconds: (link_up && !primary).then_some(last_io),
                    ..base
                }))
            },
        );
    prop_oneof![
        4 => up,
        1 => Just(Server::Down),
        1 => (0_u64..60).prop_map(|s| Server::Silent(Duration::from_secs(s))),
        1 => Just(Server::Busy),
        1 => Just(Server::Loading),
    ]
}

fn any_instance(ordinal: i32) -> impl Strategy<Value = Instance> {
    (
        any_server(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            move |(mut server, terminating, disrupted, outdated, recreated)| {
                if let Server::Up(info) = &mut server {
                    info.run_id = format!("run-{ordinal}");
                }
                Instance {
                    terminating,
                    disrupted,
                    outdated,
                    server,
                    uid: if recreated {
                        format!("new-{ordinal}")
                    } else {
                        format!("pod-{ordinal}")
                    },
                    ..instance(ordinal, Info::default())
                }
            },
        )
}

fn any_election() -> impl Strategy<Value = Option<Election>> {
    let kind = prop_oneof![
        Just(ElectionKind::Failover),
        Just(ElectionKind::HandOver),
        Just(ElectionKind::Bootstrap),
        Just(ElectionKind::Adopted)
    ];
    proptest::option::weighted(
        0.9,
        (kind, 0_i32..3, any::<bool>(), 0_i64..30).prop_map(|(kind, ordinal, completed, age)| {
            Election {
                from: Some(format!("db-{}", (ordinal + 1) % 3)),
                decided_at: Time(now() - SignedDuration::from_secs(age)),
                ..decision(5, kind, ordinal, completed)
            }
        }),
    )
}

prop_compose! {
    pub(super) fn any_observation()(
        a in any_instance(0), b in any_instance(1), c in any_instance(2),
        election in any_election(), synced in any::<[bool; 3]>(), known in proptest::option::of(prop_oneof![Just("aaaa"), Just("bbbb")]),
    ) -> Observed {
        let mut o = Observed { uid: "uid".into(), instances: vec![a, b, c], may_roll: true, ..Observed::default() };
        o.status.election = election;
        o.status.instances = (0..3).map(|n| crate::operators::redis::api::InstanceStatus {
            pod: format!("db-{n}"), uid: Some(format!("pod-{n}")), in_sync: synced[n], ..Default::default()
        }).collect();
        o.status.replication_id = known.map(str::to_owned);
        o
    }
}

fn keys(i: &Instance) -> u64 {
    i.info().map_or(0, |i| i.keys)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// A promotion is only ever of the pod, process and decision that were written down before.
    #[test]
    fn nobody_is_promoted_without_a_decision_that_was_written_down(o in any_observation(), durable: bool) {
        let v = spec_of(durable);
        if let Some(Step::Promote(e)) = run(&v, &o).step {
            let recorded = o.status.election.clone().expect("a decision");
            prop_assert_eq!(&e, &recorded);
            prop_assert!(!e.completed);
            let chosen = o.instances.iter().find(|i| i.pod == e.candidate && i.uid == e.candidate_uid).expect("the pod");
            prop_assert_eq!(&chosen.info().expect("it answers").run_id, &e.run_id);
        }
    }

    /// No decision while another live primary is the recorded one, but a hand-over to a replica in sync with it.
    #[test]
    fn a_live_recorded_primary_is_never_replaced_by_force(o in any_observation(), durable: bool) {
        let v = spec_of(durable);
        let Some(e) = o.status.election.clone().filter(|e| e.completed) else { return Ok(()) };
        let Some(primary) = o.instances.iter().find(|i| i.pod == e.candidate && i.uid == e.candidate_uid && i.is_primary()) else { return Ok(()) };
        if let Some(Step::Decide(new, _)) = run(&v, &o).step {
            prop_assert_eq!(new.kind, ElectionKind::HandOver);
            let to = o.instances.iter().find(|i| i.pod == new.candidate).expect("the pod");
            prop_assert!(to.in_sync_with(primary));
        }
    }

    /// An empty instance is not chosen while one with data answers, unless the empty one is proven to continue the known history.
    #[test]
    fn an_empty_instance_is_never_chosen_over_one_with_data(o in any_observation(), durable: bool) {
        let v = spec_of(durable);
        let Some(Step::Decide(e, _)) = run(&v, &o).step else { return Ok(()) };
        if e.kind == ElectionKind::Adopted || e.kind == ElectionKind::Abandoned || e.kind == ElectionKind::HandOver {
            return Ok(()); // these are live primaries, or in sync with one
        }
        let chosen = o.instances.iter().find(|i| i.pod == e.candidate).expect("the pod");
        let known = o.status.replication_id.as_deref();
        let synced = o.status.instances.iter().any(|s| s.pod == chosen.pod && s.in_sync && s.uid.as_deref() == Some(&chosen.uid));
        let former = o.status.election.as_ref().is_some_and(|e| e.candidate_uid == chosen.uid || e.from.as_deref() == Some(&chosen.pod));
        let proven = (synced || former) && chosen.info().is_some_and(|i| known.is_some_and(|k| i.replid == k || i.replid2.as_deref() == Some(k)));
        let full = o.instances.iter().any(|i| keys(i) > 0);
        prop_assert!(keys(chosen) > 0 || !full || proven, "{:?}", e);
    }

    /// Nobody with data follows an empty primary of another history.
    #[test]
    fn data_is_never_overwritten_by_an_unrelated_empty_primary(o in any_observation(), durable: bool) {
        let v = spec_of(durable);
        let p = run(&v, &o);
        for step in p.step.iter().chain(&p.chores) {
            let Step::Follow { pods, primary } = step else { continue };
            let primary = o.instances.iter().find(|i| &i.pod == primary).expect("the primary");
            prop_assert!(primary.is_primary());
            for pod in pods {
                let i = o.instances.iter().find(|i| &i.pod == pod).expect("the pod");
                let related = super::super::election::related(i, primary);
                prop_assert!(keys(primary) > 0 || keys(i) == 0 || related, "{} over {}", primary.pod, i.pod);
            }
        }
    }

    /// A pod is deleted only when nothing is lost by it: not the primary while there is another way, one at a time.
    #[test]
    fn a_pod_that_leads_is_never_deleted_without_a_volume(o in any_observation()) {
        let v = spec_of(false);
        let p = run(&v, &o);
        let deleted: Vec<&str> = p.step.iter().chain(&p.chores).filter_map(|s| match s {
            Step::DeletePod { pod, .. } => Some(pod.as_str()),
            _ => None,
        }).collect();
        prop_assert!(deleted.len() <= 1);
        for pod in deleted {
            prop_assert_ne!(p.primary.as_deref(), Some(pod));
            let i = o.instances.iter().find(|i| i.pod == pod).expect("the pod");
            prop_assert!(!i.is_primary());
        }
    }

    /// Whatever is seen, there is a next look when there is no primary.
    #[test]
    fn it_never_gets_stuck(o in any_observation(), durable: bool) {
        let v = spec_of(durable);
        let p = run(&v, &o);
        let serving = p.primary.as_ref().and_then(|pod| o.instances.iter().find(|i| &i.pod == pod)).is_some_and(Instance::is_primary);
        prop_assert!(serving || p.step.is_some() || p.requeue.is_some());
        prop_assert!(serving || p.step.is_some() || p.findings.primary.is_some(), "a reason is told");
    }
}

fn spec_of(durable: bool) -> Validated {
    let v = spec(Mode::Replication, 3);
    if durable {
        super::elections::with_storage(v)
    } else {
        v
    }
}
