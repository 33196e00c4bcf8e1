//! Decisions under sentinels: they fail over, Hera follows, and decides only where they cannot.

use proptest::prelude::*;

use super::super::super::model::{Sentinel, SentinelStep, SentinelView, Sentinels, UserEntry};
use super::super::super::users;
use super::*;
use crate::engines::redis::{
    AclUser, Address, MonitoredPrimary, MonitoredReplica, QuorumCheck, SentinelFailoverState,
    SentinelFlags, SentinelPeer,
};
use k8s_openapi::api::apps::v1::StatefulSet;

const NAME: &str = "default.db";

fn flags(words: &str) -> SentinelFlags {
    words.split(',').map(str::to_owned).collect()
}

fn address(ordinal: i32) -> Address {
    Address::new(ip(ordinal), PORT)
}

fn monitored(primary: i32, epoch: u64) -> MonitoredPrimary {
    MonitoredPrimary {
        name: NAME.into(),
        address: address(primary),
        run_id: format!("run-{primary}"),
        flags: flags("master"),
        role_reported: Some(Role::Primary),
        config_epoch: epoch,
        replicas: 2,
        other_sentinels: 2,
        quorum: 2,
        down_after: Duration::from_secs(5),
        failover_timeout: Duration::from_secs(60),
        parallel_syncs: 1,
        failover: SentinelFailoverState::None,
        last_ok_ping: Duration::ZERO,
        info_age: Duration::ZERO,
    }
}

fn known(ordinal: i32, primary: i32) -> MonitoredReplica {
    MonitoredReplica {
        address: address(ordinal),
        run_id: format!("run-{ordinal}"),
        flags: flags("slave"),
        role_reported: Some(Role::Replica),
        primary: Some(address(primary)),
        link_up: true,
        link_down: Duration::ZERO,
        priority: 50,
        offset: 1000,
        last_ok_ping: Duration::ZERO,
        info_age: Duration::from_secs(3),
    }
}

fn id(ordinal: i32) -> String {
    format!("id-{ordinal}")
}

fn view(ordinal: i32, primary: i32) -> SentinelView {
    SentinelView {
        id: id(ordinal),
        monitored: vec![monitored(primary, 0)],
        told: Some(address(primary)),
        replicas: (0..3)
            .filter(|n| *n != primary)
            .map(|n| known(n, primary))
            .collect(),
        peers: (0..3)
            .filter(|n| *n != ordinal)
            .map(|n| SentinelPeer {
                address: Address::new(format!("10.0.1.{n}"), 26379),
                id: id(n),
                flags: flags("sentinel"),
                last_hello: Duration::ZERO,
                last_ok_ping: Duration::ZERO,
            })
            .collect(),
        quorum: Some(QuorumCheck {
            is_reachable: true,
            usable: 3,
            message: String::new(),
        }),
        users: std::collections::BTreeMap::new(),
    }
}

fn sentinel(ordinal: i32) -> Sentinel {
    Sentinel {
        pod: Instance {
            pod: format!("db-sentinel-{ordinal}"),
            ordinal,
            uid: format!("sentinel-{ordinal}"),
            ip: Some(format!("10.0.1.{ordinal}")),
            pod_state: PodState::Running,
            pod_ready: true,
            server: Server::Up(Box::default()),
            ..Instance::default()
        },
        view: Some(view(ordinal, 0)),
    }
}

/// Three servers and three sentinels that agree; pod 0 is the primary.
fn watched() -> (Validated, Observed) {
    let (_, mut o) = healthy(3);
    let v = spec(Mode::Sentinel, 3);
    o.sentinels = Sentinels {
        set: Some(k8s_openapi::api::apps::v1::StatefulSet::default()),
        pods: (0..3).map(sentinel).collect(),
        login: Some("s3cret".into()),
        ..Sentinels::default()
    };
    for n in 0..3 {
        admit(&mut o, n);
        info(&mut o, n).priority = if n == 0 { 100 } else { 50 };
    }
    (v, o)
}

fn admit(o: &mut Observed, ordinal: usize) {
    let UserEntry { hashes, .. } = users::of_sentinels(&"s3cret".into());
    let user = AclUser {
        flags: vec!["on".into()],
        passwords: hashes,
        ..AclUser::default()
    };
    let users = &mut o.instances[ordinal].users;
    users.insert(users::SENTINEL_USER.into(), Some(user));
}

fn view_of(o: &mut Observed, ordinal: usize) -> &mut SentinelView {
    o.sentinels.pods[ordinal].view.as_mut().unwrap()
}

/// Its pod starts, and its process does not listen yet.
fn starting(o: &mut Observed, ordinal: usize) {
    o.sentinels.pods[ordinal].view = None;
    o.sentinels.pods[ordinal].pod.server = Server::Down;
}

/// It answers, and watches nobody.
fn forgetful(o: &mut Observed, ordinal: usize) {
    *view_of(o, ordinal) = SentinelView {
        id: id(i32::try_from(ordinal).unwrap()),
        ..SentinelView::default()
    };
}

fn fails_over(p: &Plan) -> Option<&str> {
    match &p.step {
        Some(Step::Sentinel(SentinelStep::FailOver { to, .. })) => Some(to),
        _ => None,
    }
}

fn forgets(p: &Plan) -> bool {
    matches!(&p.step, Some(Step::Sentinel(SentinelStep::Forget { .. })))
}

fn sentinel_chores(p: &Plan) -> Vec<&SentinelStep> {
    p.chores
        .iter()
        .filter_map(|s| match s {
            Step::Sentinel(step) => Some(step),
            _ => None,
        })
        .collect()
}

#[test]
fn nothing_is_done_while_all_is_well() {
    let (v, o) = watched();
    let p = run(&v, &o);
    assert_eq!((p.primary.as_deref(), &p.step), (Some("db-0"), &None));
    assert_eq!(p.chores, []);
    assert_eq!((p.findings.sentinels, p.sentinels), (None, 3));
}

/// Other operators reset sentinels in every pass, which left them blind for 23 hours.
#[test]
fn sentinels_are_not_reset_for_a_few_pods_that_are_gone() {
    let (v, mut o) = watched();
    for n in 0..3 {
        for gone in 50..58 {
            view_of(&mut o, n).replicas.push(MonitoredReplica {
                flags: flags("s_down,slave,disconnected"),
                ..known(gone, 0)
            });
        }
    }
    assert_eq!(run(&v, &o).chores, []);
    for n in 0..3 {
        for gone in 60..64 {
            view_of(&mut o, n).replicas.push(known(gone, 0));
        }
    }
    let p = run(&v, &o);
    let first = SentinelStep::Reset {
        sentinel: "db-sentinel-0".into(),
    };
    assert_eq!(sentinel_chores(&p), [&first], "one at a time");
}

#[test]
fn a_sentinel_that_was_removed_is_forgotten_by_one_after_the_other() {
    let (v, mut o) = watched();
    for n in 1..3 {
        let mut gone = view(0, 0).peers.remove(0);
        gone.id = "id-4".into();
        gone.flags = flags("s_down,sentinel,disconnected");
        view_of(&mut o, n).peers.push(gone);
    }
    let p = run(&v, &o);
    let second = SentinelStep::Reset {
        sentinel: "db-sentinel-1".into(),
    };
    assert_eq!(sentinel_chores(&p), [&second]);
    view_of(&mut o, 0).peers.clear();
    assert_eq!(run(&v, &o).chores, [], "not while another one is blind");
}

#[test]
fn a_new_database_is_watched_when_its_replicas_are_in_sync() {
    let (v, mut o) = watched();
    for n in 0..3 {
        forgetful(&mut o, n);
    }
    o.status.election.as_mut().unwrap().decided_at = Time(now());
    info(&mut o, 2).link_up = false;
    assert_eq!(sentinel_chores(&run(&v, &o)), [] as [&SentinelStep; 0]);
    info(&mut o, 2).link_up = true;
    let p = run(&v, &o);
    assert_eq!(sentinel_chores(&p).len(), 3);
    assert!(
        p.findings
            .sentinels
            .is_some_and(|f| f.reason == reasons::SentinelsLearning)
    );
}

#[test]
fn without_sentinels_the_first_primary_is_chosen_and_promoted_by_hera() {
    let (v, mut o) = watched();
    o.status.election = None;
    for n in 0..3 {
        starting(&mut o, n);
        o.instances[n].server = Server::Up(Box::new(Info {
            priority: 0,
            ..restarted(i32::try_from(n).unwrap(), 0)
        }));
    }
    assert_eq!(
        decided(&run(&v, &o)),
        Some((ElectionKind::Bootstrap, "db-0"))
    );
}

/// Other operators' sentinels, and those without one, lose everything here: it restarts in place, empty, before anybody notices.
#[test]
fn a_primary_that_restarted_empty_is_replaced_at_once() {
    let (v, mut o) = watched();
    o.instances[0].server = Server::Up(Box::new(restarted(0, 0)));
    cut_links(&mut o);
    let p = run(&v, &o);
    assert_eq!(fails_over(&p), Some("db-1"));
    assert_eq!(reason(&p), Some(reasons::FailingOver));
    assert!(p.chores.iter().all(|s| !matches!(s, Step::Follow { .. })));
}

#[test]
fn the_sentinels_are_asked_for_the_replica_that_hera_would_choose() {
    let (v, mut o) = watched();
    lose_primary(&mut o);
    info(&mut o, 2).offset = 2000;
    // They have not heard of the newer offset, and would choose the other one.
    assert!(forgets(&run(&v, &o)), "Hera decides");
    view_of(&mut o, 1).replicas[1].offset = 1500;
    let p = run(&v, &o);
    assert_eq!(fails_over(&p), Some("db-2"));
    let Some(Step::Sentinel(SentinelStep::FailOver { sentinel, .. })) = p.step else {
        panic!()
    };
    assert_eq!(sentinel, "db-sentinel-1", "one that knows it leads");
}

#[test]
fn a_failover_by_the_sentinels_is_waited_for_and_followed() {
    let (v, mut o) = watched();
    lose_primary(&mut o);
    view_of(&mut o, 2).monitored[0].failover = SentinelFailoverState::WaitStart;
    let p = run(&v, &o);
    assert_eq!((&p.step, reason(&p)), (&None, Some(reasons::FailingOver)));

    // One was promoted; the leader knows, the others not yet.
    let promoted = server(1, true);
    o.instances[1].server = Server::Up(Box::new(promoted));
    let leader = view_of(&mut o, 2);
    leader.told = Some(address(1));
    leader.monitored[0].config_epoch = 1;
    let p = run(&v, &o);
    assert_eq!(decided(&p), Some((ElectionKind::Failover, "db-1")));

    o.status.election = Some(decision(2, ElectionKind::Failover, 1, false));
    let p = run(&v, &o);
    assert!(matches!(p.step, Some(Step::Complete(_))));
    assert_eq!(p.primary.as_deref(), Some("db-1"));
}

/// Hera was away meanwhile: it must not lead everybody back to the old primary.
#[test]
fn an_old_primary_that_comes_back_follows_the_one_of_the_sentinels() {
    let (v, mut o) = watched();
    o.instances[1].server = Server::Up(Box::new(server(1, true)));
    for n in 0..3 {
        *view_of(&mut o, n) = view(i32::try_from(n).unwrap(), 1);
        view_of(&mut o, n).monitored[0].config_epoch = 3;
    }
    assert_eq!(
        decided(&run(&v, &o)),
        Some((ElectionKind::Failover, "db-1"))
    );
    o.status.election = Some(decision(2, ElectionKind::Failover, 1, true));
    let p = run(&v, &o);
    assert_eq!(p.primary.as_deref(), Some("db-1"));
    assert!(
        matches!(&p.step, Some(Step::Follow { pods, primary }) if pods == &["db-0"] && primary == "db-1")
    );
}

/// Sentinels that hold addresses that are gone, and a primary that is gone with them.
#[test]
fn all_sentinels_and_the_primary_are_lost() {
    let (v, mut o) = watched();
    lose_primary(&mut o);
    o.instances[0].uid = "pod-0-again".into();
    for n in 0..3 {
        starting(&mut o, n);
    }
    let p = run(&v, &o);
    assert_eq!(decided(&p), Some((ElectionKind::Failover, "db-1")));
    assert!(
        p.findings
            .sentinels
            .is_some_and(|f| f.reason == reasons::SentinelQuorumLost)
    );
}

#[test]
fn sentinels_without_a_fit_replica_forget_before_hera_decides() {
    let (v, mut o) = watched();
    lose_primary(&mut o);
    for n in 0..3 {
        view_of(&mut o, n).replicas.clear();
    }
    let p = run(&v, &o);
    assert!(forgets(&p), "{:?}", p.step);
    // One did not answer: it is a minority, and cannot fail over.
    for n in 0..2 {
        forgetful(&mut o, n);
    }
    o.sentinels.pods[2].view = None;
    o.sentinels.pods[2].pod.server = Server::Silent(Duration::from_secs(3));
    assert_eq!(
        decided(&run(&v, &o)),
        Some((ElectionKind::Failover, "db-1"))
    );
    // Two did not: they may.
    o.sentinels.pods[1] = o.sentinels.pods[2].clone();
    let p = run(&v, &o);
    assert_eq!(
        (&p.step, reason(&p)),
        (&None, Some(reasons::SentinelUnavailable))
    );
}

/// Hera is cut off from the sentinels alone: what they do is not known, and the primary serves.
#[test]
fn a_primary_that_serves_is_served_while_the_sentinels_are_silent() {
    let (v, mut o) = watched();
    for s in &mut o.sentinels.pods {
        s.view = None;
        s.pod.server = Server::Silent(Duration::from_secs(3));
    }
    let p = run(&v, &o);
    assert_eq!((p.primary.as_deref(), &p.step), (Some("db-0"), &None));
}

#[test]
fn a_silent_sentinel_is_replaced() {
    let (v, mut o) = watched();
    o.sentinels.pods[1].view = None;
    o.sentinels.pods[1].pod.server = Server::Silent(Duration::from_secs(20));
    let p = run(&v, &o);
    assert!(matches!(
        sentinel_chores(&p)[..],
        [SentinelStep::DeletePod { pod, .. }] if pod == "db-sentinel-1"
    ));
}

#[test]
fn a_stale_sentinel_is_told_anew() {
    let (v, mut o) = watched();
    view_of(&mut o, 1).monitored[0].address = Address::new("127.0.0.1", 6379);
    view_of(&mut o, 1).told = Some(Address::new("127.0.0.1", 6379));
    let p = run(&v, &o);
    assert_eq!((p.primary.as_deref(), &p.step), (Some("db-0"), &None));
    assert!(matches!(
        sentinel_chores(&p)[..],
        [SentinelStep::Watch { sentinel, primary }] if sentinel == "db-sentinel-1" && primary == "db-0"
    ));
    assert!(
        p.findings
            .sentinels
            .is_some_and(|f| f.reason == reasons::SentinelsDisagree)
    );
}

#[test]
fn a_sentinel_with_other_options_or_other_primaries_is_put_right() {
    let (v, mut o) = watched();
    view_of(&mut o, 0).monitored[0].down_after = Duration::from_secs(30);
    view_of(&mut o, 1).monitored[0].flags = flags("s_down,master,disconnected");
    view_of(&mut o, 2).monitored.push(MonitoredPrimary {
        name: "mymaster".into(),
        ..monitored(0, 9)
    });
    let p = run(&v, &o);
    let steps = sentinel_chores(&p);
    let set = |n: usize| SentinelStep::Set {
        sentinel: format!("db-sentinel-{n}"),
    };
    assert!(
        steps.contains(&&set(0)) && steps.contains(&&set(1)),
        "{steps:?}"
    );
    assert!(steps.contains(&&SentinelStep::Drop {
        sentinel: "db-sentinel-2".into(),
        names: vec!["mymaster".into()],
    }));
}

/// A server starts as one that nobody promotes, and is promotable when Hera has seen it in sync.
#[test]
fn only_replicas_in_sync_may_be_promoted() {
    let priorities = |p: &Plan| -> Vec<(String, String)> {
        p.chores
            .iter()
            .filter_map(|s| match s {
                Step::Configure { pod, directives } => {
                    Some((pod.clone(), directives.get("replica-priority")?.clone()))
                }
                _ => None,
            })
            .collect()
    };
    let set = |pod: &str, value: &str| (pod.to_owned(), value.to_owned());
    let (v, mut o) = watched();
    info(&mut o, 1).priority = 0;
    assert_eq!(priorities(&run(&v, &o)), [set("db-1", "50")]);
    info(&mut o, 1).priority = 50;
    info(&mut o, 1).link_up = false;
    info(&mut o, 1).link_down_seconds = Some(3);
    assert_eq!(
        priorities(&run(&v, &o)),
        [],
        "it may be the primary that is lost"
    );
    info(&mut o, 1).link_down_seconds = Some(30);
    assert_eq!(priorities(&run(&v, &o)), [set("db-1", "0")]);
    info(&mut o, 1).link_down_seconds = None;
    assert_eq!(priorities(&run(&v, &o)), [set("db-1", "0")], "it restarted");
    let (mut v, mut o) = watched();
    o.instances[2].outdated = true;
    assert_eq!(priorities(&run(&v, &o)), [set("db-2", "100")]);
    o.instances[2].outdated = false;
    v.switchover = Some("db-2".into());
    assert_eq!(priorities(&run(&v, &o)), [set("db-2", "10")]);
}

#[test]
fn a_hand_over_waits_until_a_sentinel_would_choose_the_pod() {
    let (mut v, mut o) = watched();
    v.switchover = Some("db-2".into());
    info(&mut o, 2).priority = 10;
    let p = run(&v, &o);
    assert_eq!(p.step, None, "no sentinel knows the priority yet");
    assert!(
        p.findings
            .progress
            .is_some_and(|f| f.reason == reasons::HandingOver)
    );
    view_of(&mut o, 1).replicas[1].priority = 10;
    assert_eq!(
        decided(&run(&v, &o)),
        Some((ElectionKind::HandOver, "db-2"))
    );

    let mut open = decision(2, ElectionKind::HandOver, 2, false);
    open.from = Some("db-0".into());
    open.decided_at = Time(now());
    o.status.election = Some(open.clone());
    let p = run(&v, &o);
    assert!(matches!(&p.step, Some(Step::HandOver { from, to }) if from == "db-0" && to == "db-2"));
    open.decided_at = Time(now() - SignedDuration::from_secs(60));
    o.status.election = Some(open);
    assert_eq!(
        decided(&run(&v, &o)),
        Some((ElectionKind::Abandoned, "db-0"))
    );
}

#[test]
fn the_pod_that_took_over_is_published_when_the_sentinels_say_so() {
    let (v, mut o) = watched();
    let mut open = decision(2, ElectionKind::HandOver, 1, false);
    open.from = Some("db-0".into());
    open.decided_at = Time(now());
    o.status.election = Some(open);
    o.instances[0].server = Server::Up(Box::new(Info {
        primary_host: Some(ip(1)),
        ..server(0, false)
    }));
    o.instances[1].server = Server::Up(Box::new(server(1, true)));
    let p = run(&v, &o);
    assert_eq!((&p.step, reason(&p)), (&None, Some(reasons::HandingOver)));
    view_of(&mut o, 0).told = Some(address(1));
    view_of(&mut o, 0).monitored[0].config_epoch = 1;
    assert!(matches!(run(&v, &o).step, Some(Step::Complete(_))));
}

#[test]
fn sentinels_are_rolled_one_by_one_after_the_servers() {
    let (v, mut o) = watched();
    for s in &mut o.sentinels.pods {
        s.pod.outdated = true;
    }
    let deleted = |p: &Plan| match &p.step {
        Some(Step::Sentinel(SentinelStep::DeletePod { pod, .. })) => Some(pod.clone()),
        _ => None,
    };
    assert_eq!(deleted(&run(&v, &o)), Some("db-sentinel-2".into()));
    view_of(&mut o, 0).peers.pop();
    assert_eq!(deleted(&run(&v, &o)), None, "one does not see all others");
    *view_of(&mut o, 0) = view(0, 0);
    info(&mut o, 2).link_up = false;
    assert_eq!(deleted(&run(&v, &o)), None, "a server is not back yet");
    info(&mut o, 2).link_up = true;
    o.instances[2].outdated = true;
    let p = run(&v, &o);
    assert!(matches!(&p.step, Some(Step::DeletePod { pod, .. }) if pod == "db-2"));
    assert_eq!(deleted(&p), None);
}

#[test]
fn a_database_that_is_not_watched_any_more_is_forgotten_before_the_sentinels_go() {
    let (_, mut o) = watched();
    let v = spec(Mode::Replication, 3);
    assert!(forgets(&run(&v, &o)));
    for n in 0..3 {
        forgetful(&mut o, n);
    }
    assert_eq!(run(&v, &o).step, Some(Step::Sentinel(SentinelStep::Remove)));
    o.sentinels = Sentinels::default();
    let p = run(&v, &o);
    assert_eq!(p.step, None);
    assert_eq!(
        p.chores.len(),
        5,
        "a user of three, a priority of two: {:?}",
        p.chores
    );
}

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
        mut o in super::properties::any_observation(),
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
