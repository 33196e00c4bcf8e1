//! Whatever the sentinels say.

use proptest::prelude::*;

use super::*;

fn any_view(ordinal: i32) -> impl Strategy<Value = Option<SentinelView>> {
    let failover = prop_oneof![
        6 => Just(SentinelFailoverState::None),
        1 => Just(SentinelFailoverState::WaitPromotion),
    ];
    let words = prop_oneof![4 => Just(""), 1 => Just("s_down,o_down,"), 1 => Just("disconnected,")];
    proptest::option::weighted(
        0.8,
        (
            -1_i32..4,
            0_i32..4,
            0_u64..3,
            failover,
            words,
            proptest::collection::vec((0_i32..4, 0_u32..3, 0_u64..4), 0..4),
        )
            .prop_map(move |(primary, told, epoch, failover, words, replicas)| {
                let mut v = view(ordinal, primary.max(0));
                v.told = Some(address(told));
                v.monitored[0].config_epoch = epoch;
                v.monitored[0].failover = failover;
                v.monitored[0].flags = flags(&format!("{words}master"));
                v.replicas = replicas
                    .into_iter()
                    .map(|(n, priority, offset)| MonitoredReplica {
                        priority,
                        offset,
                        ..known(n, 0)
                    })
                    .collect();
                if primary < 0 {
                    v.monitored.clear();
                }
                v
            }),
    )
}

fn any_sentinel(ordinal: i32) -> impl Strategy<Value = Sentinel> {
    let silence = prop_oneof![
        Just(Server::Down),
        (0_u64..30).prop_map(|s| Server::Silent(Duration::from_secs(s)))
    ];
    (any_view(ordinal), silence, any::<bool>()).prop_map(move |(view, server, outdated)| {
        let mut s = sentinel(ordinal);
        s.pod.outdated = outdated;
        if view.is_none() {
            s.pod.server = server;
        }
        s.view = view;
        s
    })
}

prop_compose! {
    fn any_watched()(
        mut o in super::super::properties::any_observation(),
        a in any_sentinel(0), b in any_sentinel(1), c in any_sentinel(2),
    ) -> Observed {
        o.sentinels = Sentinels { set: Some(StatefulSet::default()), pods: vec![a, b, c], login: Some("s3cret".into()), ..Sentinels::default() };
        o
    }
}

fn watching(o: &Observed) -> usize {
    o.sentinels
        .pods
        .iter()
        .filter(|s| s.watches(NAME).is_some())
        .count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// Two never decide at the same time: while a sentinel watches, Hera promotes nobody and decides nothing but to follow, or to hand
    /// over by the sentinels.
    #[test]
    fn hera_decides_only_when_no_sentinel_watches(o in any_watched()) {
        let v = spec(Mode::Sentinel, 3);
        let p = run(&v, &o);
        let silent = o.sentinels.pods.iter().filter(|s| s.is_silent()).count();
        let held = watching(&o) > 0 || (silent >= 2 && o.status.election.is_some());
        match &p.step {
            Some(Step::Promote(_) | Step::AbortHandOver { .. }) => prop_assert!(!held),
            Some(Step::Decide(e, _)) if matches!(e.kind, ElectionKind::Failover | ElectionKind::Bootstrap) => {
                let chosen = o.instances.iter().find(|i| i.pod == e.candidate).expect("the pod");
                prop_assert!(!held || chosen.is_primary(), "{:?}", e);
            }
            _ => {}
        }
    }

    /// Sentinels are told to watch a primary that serves, and nobody else; one at most is reset.
    #[test]
    fn sentinels_watch_a_primary_that_serves(o in any_watched()) {
        let v = spec(Mode::Sentinel, 3);
        let p = run(&v, &o);
        let mut resets = 0;
        for step in sentinel_chores(&p) {
            if let SentinelStep::Watch { primary, .. } = step {
                prop_assert_eq!(p.primary.as_ref(), Some(primary));
                let i = o.instances.iter().find(|i| &i.pod == primary).expect("the pod");
                prop_assert!(i.is_primary());
                let e = o.status.election.as_ref().expect("a decision");
                prop_assert!(e.completed && e.candidate_uid == i.uid);
            }
            resets += usize::from(matches!(step, SentinelStep::Reset { .. }));
        }
        prop_assert!(resets <= 1);
    }

    /// A sentinel is only asked to choose who was in sync with the history that was served last.
    #[test]
    fn sentinels_are_asked_only_for_a_proven_replica(o in any_watched()) {
        let v = spec(Mode::Sentinel, 3);
        let p = run(&v, &o);
        let Some(to) = fails_over(&p) else { return Ok(()) };
        let i = o.instances.iter().find(|i| i.pod == to).expect("the pod");
        let full = o.instances.iter().any(|i| i.info().is_some_and(|i| i.keys > 0));
        let proven = crate::operators::redis::model::was_in_sync(&o, i)
            || o.status.election.as_ref().is_some_and(|e| e.candidate_uid == i.uid || e.from.as_deref() == Some(to));
        prop_assert!(proven || !full || i.info().is_some_and(|i| i.keys > 0), "{to}");
    }

    /// At most one pod of a sentinel is deleted by a step, and none in the middle of a failover.
    #[test]
    fn it_never_gets_stuck_under_sentinels(o in any_watched()) {
        let v = spec(Mode::Sentinel, 3);
        let p = run(&v, &o);
        prop_assert!(p.requeue.is_some());
        let serving = p.primary.as_ref().and_then(|pod| o.instances.iter().find(|i| &i.pod == pod)).is_some_and(Instance::is_primary);
        prop_assert!(serving || p.step.is_some() || p.findings.primary.is_some(), "a reason is told");
    }
}
