use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use prometheus::core::Collector;
use serde_json::json;

use super::*;
use crate::engines::redis::ReplicaLink;
use crate::operators::redis::api::{Election, Redis};
use crate::operators::redis::model::{Certificate, Instance};
use crate::operators::redis::validate::validate;

const KEY: &str = "shop/db";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

fn database() -> (Validated, Observed) {
    let spec = serde_json::from_value(json!({})).unwrap();
    let mut redis = Redis::new("db", spec);
    redis.metadata.namespace = Some("shop".into());
    redis.metadata.uid = Some("uid".into());
    let o = Observed {
        key: KEY.into(),
        ..Observed::default()
    };
    (validate(&redis, &o).unwrap(), o)
}

fn status(serves: bool, election: Option<(ElectionKind, i64)>) -> RedisStatus {
    let mut status = RedisStatus::default();
    conditions::set(
        &mut status.conditions,
        PRIMARY_AVAILABLE,
        serves,
        "Any",
        "",
        None,
        at(0),
    );
    status.election = election.map(|(kind, decided)| Election {
        epoch: 1,
        kind,
        candidate: "db-1".into(),
        candidate_uid: "uid".into(),
        run_id: "run".into(),
        from: None,
        decided_at: Time(at(decided)),
        completed: true,
    });
    status
}

fn gaps(figures: &Figures) -> (u64, f64) {
    let of_mode = figures.gaps.with_label_values(&["Replication"]);
    (of_mode.get_sample_count(), of_mode.get_sample_sum())
}

fn failovers(figures: &Figures) -> u64 {
    let of_mode = figures.failovers.with_label_values(&["Replication"]);
    of_mode.get_sample_count()
}

fn series(gauge: &impl Collector) -> usize {
    gauge.collect().iter().map(|f| f.get_metric().len()).sum()
}

#[test]
fn a_loss_is_measured_from_the_last_answer_until_the_next_primary_serves() {
    let figures = Figures::register(&Catalog::default()).unwrap();
    let (v, mut o) = database();
    let bootstrap = Some((ElectionKind::Bootstrap, 0));
    figures.seen(&v, &o, &status(false, None), at(0));
    let mut first = status(false, bootstrap);
    if let Some(election) = &mut first.election {
        election.completed = false;
    }
    figures.seen(&v, &o, &first, at(1));
    figures.seen(&v, &o, &status(true, bootstrap), at(50));
    assert_eq!(gaps(&figures).0, 0, "it is made, it has lost nothing");

    o.status.primary = Some("db-0".into());
    o.instances = vec![Instance {
        pod: "db-0".into(),
        server: Server::Silent(Duration::from_secs(10)),
        ..Instance::default()
    }];
    figures.seen(&v, &o, &status(false, bootstrap), at(100));
    figures.seen(&v, &o, &status(false, bootstrap), at(101));
    let failover = Some((ElectionKind::Failover, 101));
    figures.seen(&v, &o, &status(true, failover), at(102));
    assert_eq!(gaps(&figures), (1, 12.0));
    assert_eq!(failovers(&figures), 1);
    figures.seen(&v, &o, &status(true, failover), at(200));
    assert_eq!(gaps(&figures).0, 1, "once");

    // The same server comes back: no failover.
    o.instances[0].server = Server::Down;
    figures.seen(&v, &o, &status(false, failover), at(300));
    figures.seen(&v, &o, &status(true, failover), at(303));
    assert_eq!(gaps(&figures), (2, 15.0));
    assert_eq!(failovers(&figures), 1);
}

#[test]
fn sleep_is_no_loss() {
    let figures = Figures::register(&Catalog::default()).unwrap();
    let (mut v, o) = database();
    let served = Some((ElectionKind::Bootstrap, 0));
    v.hibernate = true;
    figures.seen(&v, &o, &status(false, served), at(0));
    v.hibernate = false;
    figures.seen(&v, &o, &status(true, served), at(9999));
    assert_eq!(gaps(&figures).0, 0);
}

fn server(run_id: &str, role: Role) -> Info {
    Info {
        run_id: run_id.into(),
        role,
        offset: 1000,
        used_memory: 60,
        uncounted_memory: 10,
        maxmemory: 100,
        ..Info::default()
    }
}

#[test]
fn lag_and_memory_are_those_of_the_worst_server() {
    let mut primary = server("a", Role::Primary);
    primary.replicas = [(400, "online"), (900, "online"), (0, "wait_bgsave")]
        .map(|(offset, state)| ReplicaLink {
            offset,
            state: state.into(),
            ..ReplicaLink::default()
        })
        .to_vec();
    let mut replica = server("b", Role::Replica);
    replica.used_memory = 90;
    let servers = [primary, replica];
    assert_eq!(lag(&servers), Some(600));
    assert!((memory_left(&servers).unwrap() - 0.2).abs() < 1e-9);
    let unlimited = Info::default();
    assert_eq!(memory_left(&[unlimited]), None);
    assert_eq!(lag(&servers[1..]), None, "nobody follows a replica here");
}

#[test]
fn full_synchronizations_are_counted_from_the_first_look_on_and_over_restarts() {
    let figures = Figures::register(&Catalog::default()).unwrap();
    let count = || figures.full_syncs.with_label_values(&["Replication"]).get();
    let (v, o) = database();
    let with = |run_id: &str, given: u64| Info {
        sync_full: given,
        ..server(run_id, Role::Primary)
    };
    figures.refresh(KEY, &[with("a", 7)]);
    figures.seen(&v, &o, &status(true, None), at(0));
    figures.refresh(KEY, &[with("a", 7)]);
    assert_eq!(count(), 0, "they may be old");
    figures.refresh(KEY, &[with("a", 9), with("b", 0)]);
    assert_eq!(count(), 2);
    figures.refresh(KEY, &[with("c", 1), with("b", 0)]);
    assert_eq!(count(), 3, "another process begins at zero");
}

/// Between two reconciles of a database at rest lie ten minutes, in which it may fill up.
#[test]
fn growth_asks_for_a_reconcile() {
    let figures = Figures::register(&Catalog::default()).unwrap();
    let (v, mut o) = database();
    let of = |memory: u64, files: u64| Info {
        used_memory: memory << 20,
        aof_size: files << 20,
        ..server("a", Role::Primary)
    };
    o.instances = vec![Instance {
        server: Server::Up(Box::new(of(40, 100))),
        ..Instance::default()
    }];
    figures.seen(&v, &o, &status(true, None), at(0));
    for (memory, files, grew) in [
        (40, 100, false),
        (50, 125, false),
        (51, 100, true),
        (40, 126, true),
        (10, 10, false),
    ] {
        assert_eq!(
            figures.refresh(KEY, &[of(memory, files)]),
            grew,
            "{memory} {files}"
        );
    }
    o.instances.clear();
    figures.seen(&v, &o, &status(true, None), at(0));
    assert!(!figures.refresh(KEY, &[of(1, 0)]), "too little to count");
}

/// The number of series grows with the number of databases, not with time.
#[test]
fn the_series_of_a_database_go_with_it() {
    let figures = Figures::register(&Catalog::default()).unwrap();
    let (v, mut o) = database();
    o.certificate = Some(Certificate {
        serial: "1".into(),
        not_before: at(0),
        not_after: at(77),
        ca: String::new(),
    });
    let elected = status(true, Some((ElectionKind::Bootstrap, 5)));
    figures.seen(&v, &o, &elected, at(9));
    figures.refresh(KEY, &[server("a", Role::Primary)]);
    let expiry = figures.certificate.with_label_values(&["shop", "db"]);
    assert_eq!(expiry.get(), at(77).as_second());
    assert_eq!(series(&figures.election) + series(&figures.memory), 2);
    assert_eq!(series(&figures.volume), 0, "it has none");
    figures.gone(KEY);
    figures.refresh(KEY, &[server("a", Role::Primary)]);
    let left = [&figures.lag, &figures.certificate, &figures.election].map(series);
    assert_eq!(left, [0, 0, 0]);
    assert_eq!(series(&figures.memory) + series(&figures.volume), 0);
}
