//! Decisions under sentinels: they fail over, Hera follows, and decides only where they cannot.

use super::super::super::model::{Sentinel, SentinelStep, SentinelView, Sentinels, UserEntry};
use super::super::super::users;
use super::*;
use crate::engines::redis::{
    AclUser, Address, MonitoredPrimary, MonitoredReplica, QuorumCheck, SentinelFailoverState,
    SentinelFlags, SentinelPeer,
};
use k8s_openapi::api::apps::v1::StatefulSet;

mod hand_over;
mod keep;
mod properties;

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
    o.may_roll = false;
    let p = run(&v, &o);
    let told = p.findings.progress.as_ref().map(|p| p.reason);
    assert_eq!(
        (deleted(&p), told),
        (None, Some(reasons::RolloutBudgetExhausted))
    );
    o.may_roll = true;
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
