//! Planned changes of the primary under sentinels.

use super::super::super::leader;
use super::*;

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
fn a_hand_over_of_sentinels_is_no_failover() {
    let (v, mut o) = watched();
    let mut open = decision(2, ElectionKind::HandOver, 1, false);
    open.from = Some("db-0".into());
    open.decided_at = Time(now());
    o.status.election = Some(open);
    view_of(&mut o, 0).monitored[0].failover = SentinelFailoverState::WaitPromotion;
    assert_eq!(reason(&run(&v, &o)), Some(reasons::HandingOver));
    // The old primary follows already, and the sentinels name it still.
    o.instances[0].server = Server::Up(Box::new(server(0, false)));
    assert_eq!(reason(&run(&v, &o)), Some(reasons::HandingOver));
}

#[test]
fn any_sentinel_leads_a_hand_over_to_a_pod_that_nobody_asked_for() {
    let (mut v, mut o) = watched();
    for n in 0..3 {
        view_of(&mut o, n).replicas[0].offset += 100;
    }
    let name = |leader: Option<&Sentinel>| leader.map(|s| s.name().to_owned());
    assert_eq!(name(leader(&v, &o, "db-2")), Some("db-sentinel-0".into()));
    v.switchover = Some("db-2".into());
    assert_eq!(name(leader(&v, &o, "db-2")), None);
    view_of(&mut o, 1).replicas[1].priority = 10;
    assert_eq!(name(leader(&v, &o, "db-2")), Some("db-sentinel-1".into()));
}
