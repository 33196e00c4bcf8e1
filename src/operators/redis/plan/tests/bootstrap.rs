//! Copying an external server, and taking over from it.

use super::*;
use crate::engines::redis::{Address, Credentials, Engine};
use crate::operators::redis::api::{
    Bootstrap, BootstrapState, BootstrapStatus, External, InstanceStatus,
};
use crate::operators::redis::model::{BootstrapStep, Claim, PrimaryLogin, Source};

type Change<T> = fn(&mut T);

const SOURCE: &str = "old.example.org";

/// A database of three pods that were just started, and the spec to copy `old:6379`.
fn fresh() -> (Validated, Observed) {
    let (v, mut o) = (wanting(false), healthy(3).1);
    for (n, i) in o.instances.iter_mut().enumerate() {
        let ordinal = i32::try_from(n).unwrap();
        i.server = Server::Up(Box::new(restarted(ordinal, 0)));
        i.login = Some(PrimaryLogin::Own);
        i.gate = Some(false);
    }
    o.status = RedisStatus::default();
    o.source = Some(source(Info {
        role: Role::Primary,
        offset: 5000,
        ..server(9, true)
    }));
    (v, o)
}

fn wanting(cut_over: bool) -> Validated {
    let mut redis = Redis::new(
        "db",
        RedisSpec {
            replicas: Some(3),
            bootstrap: Some(Bootstrap {
                external: External {
                    host: SOURCE.into(),
                    ..External::default()
                },
                cut_over,
            }),
            ..RedisSpec::default()
        },
    );
    redis.metadata.uid = Some("uid".into());
    redis.metadata.namespace = Some("default".into());
    redis.metadata.generation = Some(1);
    validate(&redis, &Observed::default()).unwrap()
}

fn source(info: Info) -> Source {
    Source {
        address: Address::new(SOURCE, PORT),
        login: Some(Credentials::new("", "")),
        server: Ok(Box::new(info)),
    }
}

/// The same with pod 0 in sync with the external server, and the others with pod 0.
fn copying() -> (Validated, Observed) {
    let (v, mut o) = fresh();
    o.status.bootstrap = Some(record(BootstrapState::Replicating));
    for n in 0..3 {
        o.instances[n].server = Server::Up(Box::new(server(i32::try_from(n).unwrap(), false)));
        o.instances[n].gate = Some(true);
        info(&mut o, n).offset = 5000;
    }
    info(&mut o, 0).primary_host = Some(SOURCE.into());
    o.instances[0].login = Some(PrimaryLogin::Source);
    (v, o)
}

fn record(state: BootstrapState) -> BootstrapStatus {
    BootstrapStatus {
        source: "old.example.org:6379".into(),
        pod: "db-0".into(),
        state,
        completed_at: None,
    }
}

fn step(p: &Plan) -> &BootstrapStep {
    match &p.step {
        Some(Step::Bootstrap(step)) => step,
        other => panic!("{other:?} {:?}", p.findings),
    }
}

fn open(o: &mut Observed) {
    o.status.election = Some(decision(1, ElectionKind::Bootstrap, 0, false));
}

fn is_replicate(p: &Plan) -> bool {
    let is = |s: &Step| matches!(s, Step::Bootstrap(BootstrapStep::Replicate { .. }));
    p.step.iter().chain(&p.chores).any(is)
}

#[test]
fn it_is_written_down_first_who_copies() {
    let (v, mut o) = fresh();
    let p = run(&v, &o);
    assert_eq!(
        step(&p),
        &BootstrapStep::Begin(record(BootstrapState::Replicating))
    );
    assert_eq!(p.primary, None);

    o.status.bootstrap = Some(record(BootstrapState::Replicating));
    let p = run(&v, &o);
    assert_eq!(step(&p), &BootstrapStep::Replicate { pod: "db-0".into() });
    // A copy that is not there yet is no reason for the others to copy it.
    assert!(
        !p.chores.iter().any(|s| matches!(s, Step::Follow { .. })),
        "{:?}",
        p.chores
    );
}

#[test]
fn data_that_is_there_is_never_overwritten() {
    let (v, mut o) = fresh();
    info(&mut o, 2).keys = 1;
    o.instances[2].outdated = true;
    let p = run(&v, &o);
    assert_eq!(
        (p.step.as_ref(), reason(&p)),
        (None, Some(reasons::BootstrapNotEmpty))
    );
    assert!(p.findings.risk.is_some());

    // A volume that may hold data is waited for.
    let (v, mut o) = fresh();
    o.instances[1].server = Server::Down;
    o.claims.push(Claim {
        name: "data-db-1".into(),
        ordinal: 1,
        shard: 0,
        uid: "claim".into(),
        bound: true,
        class: None,
        requested: 1,
        capacity: 1,
        failed: None,
        file_system_behind: None,
        adopted: true,
        owned: false,
        primary_since: None,
    });
    let p = run(&v, &o);
    assert_eq!(
        (p.step.as_ref(), reason(&p)),
        (None, Some(reasons::WaitingForInstance))
    );

    // A database that serves, or served, is no copy, whatever its spec says.
    for primary in [true, false] {
        let (v, mut o) = (wanting(true), healthy(3).1);
        o.source = fresh().1.source;
        if !primary {
            lose_primary(&mut o);
        }
        assert!(!is_replicate(&run(&v, &o)));
    }
}

#[test]
fn a_server_that_cannot_be_copied_is_told_and_left_alone() {
    let changes: [(&str, Change<Info>, &str); 5] = [
        (
            "a replica",
            |i| i.role = Role::Replica,
            reasons::BootstrapSourceUnusable,
        ),
        (
            "a cluster",
            |i| i.cluster_enabled = true,
            reasons::BootstrapSourceUnusable,
        ),
        (
            "loading",
            |i| i.loading = true,
            reasons::BootstrapSourceUnavailable,
        ),
        (
            "newer",
            |i| i.version = "8.2.0".into(),
            reasons::IncompatibleVersion,
        ),
        (
            "Valkey",
            |i| i.engine = Engine::Valkey,
            reasons::IncompatibleVersion,
        ),
    ];
    for (name, change, wanted) in changes {
        for begun in [false, true] {
            let (v, mut o) = fresh();
            if begun {
                o.status.bootstrap = Some(record(BootstrapState::Replicating));
            }
            let Some(Ok(info)) = o.source.as_mut().map(|s| &mut s.server) else {
                panic!()
            };
            change(info);
            let p = run(&v, &o);
            assert_eq!(
                (p.step.as_ref(), reason(&p)),
                (None, Some(wanted)),
                "{name}"
            );
        }
    }
    let (v, mut o) = copying();
    let problem = Problem::of(
        reasons::BootstrapSourceUnavailable,
        "old.example.org:6379",
        "refused",
    );
    o.source.as_mut().unwrap().server = Err(problem);
    let p = run(&v, &o);
    assert_eq!(
        (p.step.as_ref(), reason(&p)),
        (None, Some(reasons::BootstrapSourceUnavailable))
    );
    assert_eq!(
        p.primary.as_deref(),
        Some("db-0"),
        "the copy is served for reading"
    );
}

#[test]
fn a_copy_is_served_and_nobody_is_promoted_before_it_is_asked_for() {
    let (v, mut o) = copying();
    let p = run(&v, &o);
    assert_eq!(
        (p.step.as_ref(), reason(&p)),
        (None, Some(reasons::BootstrapFollowing))
    );
    assert_eq!(
        (p.primary.as_deref(), p.readers.as_slice()),
        (Some("db-0"), &["db-1".to_owned(), "db-2".to_owned()][..])
    );
    let text = &p.findings.bootstrap.as_ref().unwrap().message;
    assert!(text.contains("less than 1 MiB behind"), "{text}");

    // What was in sync before makes no election either.
    o.status.instances = o
        .instances
        .iter()
        .map(|i| InstanceStatus {
            pod: i.pod.clone(),
            uid: Some(i.uid.clone()),
            in_sync: true,
            ..Default::default()
        })
        .collect();
    assert_eq!(run(&v, &o).step, None);
}

#[test]
fn the_others_follow_the_copy_with_their_own_login() {
    let (v, mut o) = copying();
    *info(&mut o, 1) = restarted(1, 0);
    o.instances[2].login = Some(PrimaryLogin::Source);
    let p = run(&v, &o);
    let follow = Step::Follow {
        pods: vec!["db-1".into()],
        primary: "db-0".into(),
    };
    let login = Step::Bootstrap(BootstrapStep::OwnLogin { pod: "db-2".into() });
    assert!(
        p.chores.contains(&follow) && p.chores.contains(&login),
        "{:?}",
        p.chores
    );
}

#[test]
fn the_cut_over_is_decided_then_carried_out() {
    let (_, mut o) = copying();
    let v = wanting(true);
    assert_eq!(
        decided(&run(&v, &o)),
        Some((ElectionKind::Bootstrap, "db-0"))
    );
    open(&mut o);
    let p = run(&v, &o);
    assert!(
        matches!(step(&p), BootstrapStep::CutOver(e) if e.epoch == 1),
        "{:?}",
        p.step
    );
    assert_eq!(
        p.primary, None,
        "clients are led to it after that was written down"
    );

    // A server that was restarted meanwhile is not the one that was chosen.
    info(&mut o, 0).run_id = "another".into();
    assert_eq!(
        decided(&run(&v, &o)),
        Some((ElectionKind::Bootstrap, "db-0"))
    );
}

#[test]
fn the_cut_over_waits_for_what_it_needs() {
    let v = wanting(true);
    let cases: [(&str, Change<Observed>, &str); 4] = [
        (
            "far behind",
            |o| info(o, 0).offset = 0,
            reasons::BootstrapCuttingOver,
        ),
        (
            "no replica",
            |o| cut_links_of(o),
            reasons::BootstrapCuttingOver,
        ),
        (
            "link down",
            |o| info(o, 0).link_up = false,
            reasons::BootstrapCopying,
        ),
        (
            "another history",
            |o| info(o, 0).replid = OTHER_HISTORY.into(),
            reasons::BootstrapCopying,
        ),
    ];
    for (name, change, wanted) in cases {
        let (_, mut o) = copying();
        if let Some(Ok(info)) = o.source.as_mut().map(|s| &mut s.server) {
            info.offset = 3 << 20;
        }
        for n in 0..3 {
            info(&mut o, n).offset = 3 << 20;
        }
        change(&mut o);
        let p = run(&v, &o);
        assert_eq!(
            (p.step.as_ref(), reason(&p)),
            (None, Some(wanted)),
            "{name}"
        );
    }
}

fn cut_links_of(o: &mut Observed) {
    for n in 1..3 {
        info(o, n).link_up = false;
    }
}

#[test]
fn a_promotion_whose_record_was_lost_is_written_down_before_clients_come() {
    let v = wanting(true);
    let (_, mut o) = copying();
    open(&mut o);
    info(&mut o, 0).role = Role::Primary;
    let p = run(&v, &o);
    assert_eq!(
        (step(&p), p.primary.as_deref()),
        (&BootstrapStep::Finish, None)
    );

    // After that it is an open decision like any other, and the login is set right.
    o.status.bootstrap = Some(record(BootstrapState::Completed));
    let p = run(&v, &o);
    assert!(matches!(p.step, Some(Step::Complete(_))), "{:?}", p.step);
    let login = Step::Bootstrap(BootstrapStep::OwnLogin { pod: "db-0".into() });
    assert!(p.chores.contains(&login));
}

#[test]
fn after_it_the_external_server_is_never_copied_again() {
    let v = wanting(true);
    for empty in [false, true] {
        let (_, mut o) = copying();
        o.status.bootstrap = Some(record(BootstrapState::Completed));
        o.status.election = Some(decision(1, ElectionKind::Bootstrap, 0, true));
        for n in 0..3 {
            *info(&mut o, n) = restarted(i32::try_from(n).unwrap(), if empty { 0 } else { 10 });
        }
        let p = run(&v, &o);
        assert!(!is_replicate(&p), "{:?}", p.step);
        assert_eq!(p.findings.bootstrap, None);
    }
}

#[test]
fn without_the_field_what_was_copied_is_served() {
    let v = spec(Mode::Replication, 3);
    let (_, mut o) = copying();
    o.source = None;
    info(&mut o, 0).link_up = false;
    assert_eq!(
        decided(&run(&v, &o)),
        Some((ElectionKind::Bootstrap, "db-0"))
    );
    open(&mut o);
    assert!(matches!(step(&run(&v, &o)), BootstrapStep::CutOver(_)));
}

#[test]
fn another_pod_copies_on_when_the_first_is_lost() {
    let (v, mut o) = copying();
    o.instances[0].server = Server::Down;
    let p = run(&v, &o);
    assert_eq!(
        (p.step.as_ref(), reason(&p)),
        (None, Some(reasons::BootstrapCopying)),
        "it comes back"
    );

    o.instances[0].node_lost = true;
    info(&mut o, 2).offset = 6000;
    let p = run(&v, &o);
    let next = BootstrapStatus {
        pod: "db-2".into(),
        ..record(BootstrapState::Replicating)
    };
    assert_eq!(step(&p), &BootstrapStep::Begin(next));
}

#[test]
fn pods_of_another_revision_are_replaced_so_that_a_version_can_be_corrected() {
    let (v, mut o) = fresh();
    let Some(Ok(external)) = o.source.as_mut().map(|s| &mut s.server) else {
        panic!()
    };
    external.version = "8.2.0".into();
    for i in &mut o.instances {
        i.outdated = true;
    }
    let deleted = |p: &Plan| match &p.step {
        Some(Step::DeletePod { pod, .. }) => Some(pod.clone()),
        _ => None,
    };
    assert_eq!(deleted(&run(&v, &o)).as_deref(), Some("db-2"));
    o.status.bootstrap = Some(record(BootstrapState::Replicating));
    assert_eq!(deleted(&run(&v, &o)).as_deref(), Some("db-2"));
    o.instances[2].terminating = true;
    assert_eq!(deleted(&run(&v, &o)), None, "one after the other");
    o.instances[2].terminating = false;
    o.instances[2].outdated = false;
    o.instances[1].outdated = false;
    assert_eq!(deleted(&run(&v, &o)).as_deref(), Some("db-0"));
}
