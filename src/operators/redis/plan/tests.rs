//! The decisions, case by case. Each test names the trouble that users of other operators had.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::api::{Election, ElectionKind, Mode, Redis, RedisSpec, RedisStatus};
use super::super::model::{
    Info, Instance, Observed, PORT, Plan, PodState, Problem, Role, Server, Step, Validated,
};
use super::super::reasons;
use super::super::validate::validate;
use super::plan;
use crate::engines::redis::{FailoverState, ReplicaLink};

mod bootstrap;
mod capacity;
mod certificates;
mod configuration;
mod elections;
mod first;
mod permissions;
mod properties;
mod rolls;
mod sentinels;
mod surge;
mod users;
mod volumes;

const HISTORY: &str = "aaaa";
const OTHER_HISTORY: &str = "bbbb";

fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap()
}

fn spec(mode: Mode, replicas: i32) -> Validated {
    let mut redis = Redis::new(
        "db",
        RedisSpec {
            mode,
            replicas: Some(replicas),
            ..RedisSpec::default()
        },
    );
    redis.metadata.uid = Some("uid".into());
    redis.metadata.namespace = Some("default".into());
    redis.metadata.generation = Some(1);
    validate(&redis, &Observed::default()).unwrap()
}

/// A healthy database: pod 0 is the primary, the others are in sync.
fn healthy(replicas: i32) -> (Validated, Observed) {
    let v = spec(Mode::Replication, replicas);
    let instances: Vec<Instance> = (0..replicas)
        .map(|ordinal| instance(ordinal, server(ordinal, ordinal == 0)))
        .collect();
    let mut o = Observed {
        uid: "uid".into(),
        instances,
        may_roll: true,
        ..Observed::default()
    };
    link_all(&mut o);
    o.status = RedisStatus {
        election: Some(decision(1, ElectionKind::Bootstrap, 0, true)),
        replication_id: Some(HISTORY.into()),
        primary: Some("db-0".into()),
        instances: o
            .instances
            .iter()
            .map(|i| super::super::api::InstanceStatus {
                pod: i.pod.clone(),
                uid: Some(i.uid.clone()),
                in_sync: true,
                ready: true,
                ..Default::default()
            })
            .collect(),
        ..RedisStatus::default()
    };
    for i in &mut o.instances {
        i.config = super::super::directives::own(&v);
    }
    (v, o)
}

/// The primary's list of replicas, as it follows from the instances.
fn link_all(o: &mut Observed) {
    let links = o
        .instances
        .iter()
        .skip(1)
        .filter_map(|i| {
            Some(ReplicaLink {
                ip: i.ip.clone()?,
                port: PORT,
                state: "online".into(),
                offset: i.info()?.offset,
                lag: 0,
            })
        })
        .collect();
    if let Server::Up(info) = &mut o.instances[0].server {
        info.replicas = links;
    }
}

fn ip(ordinal: i32) -> String {
    format!("10.0.0.{}", ordinal + 1)
}

fn instance(ordinal: i32, server: Info) -> Instance {
    Instance {
        pod: format!("db-{ordinal}"),
        ordinal,
        uid: format!("pod-{ordinal}"),
        ip: Some(ip(ordinal)),
        pod_state: PodState::Running,
        pod_ready: true,
        gate: Some(true),
        server: Server::Up(Box::new(server)),
        ..Instance::default()
    }
}

fn server(ordinal: i32, primary: bool) -> Info {
    let replica = |value: &str| (!primary).then(|| value.to_owned());
    Info {
        run_id: format!("run-{ordinal}"),
        role: if primary {
            Role::Primary
        } else {
            Role::Replica
        },
        replid: HISTORY.into(),
        offset: 1000,
        primary_host: replica(&ip(0)),
        primary_port: (!primary).then_some(PORT),
        link_up: !primary,
        last_io_seconds: (!primary).then_some(0),
        keys: 10,
        priority: 100,
        version: "8.0.2".into(),
        ..Info::default()
    }
}

/// A server that just started: a replica of nobody, with a history of its own.
fn restarted(ordinal: i32, keys: u64) -> Info {
    Info {
        run_id: format!("run-{ordinal}-again"),
        replid: format!("fresh-{ordinal}"),
        offset: 0,
        primary_host: Some("127.0.0.1".into()),
        primary_port: Some(1),
        link_up: false,
        last_io_seconds: None,
        keys,
        ..server(ordinal, false)
    }
}

fn decision(epoch: i64, kind: ElectionKind, ordinal: i32, completed: bool) -> Election {
    Election {
        epoch,
        kind,
        candidate: format!("db-{ordinal}"),
        candidate_uid: format!("pod-{ordinal}"),
        run_id: format!("run-{ordinal}"),
        from: None,
        decided_at: Time(now() - SignedDuration::from_secs(3600)),
        completed,
    }
}

fn info(o: &mut Observed, ordinal: usize) -> &mut Info {
    match &mut o.instances[ordinal].server {
        Server::Up(info) => info,
        other => panic!("db-{ordinal} does not answer: {other:?}"),
    }
}

/// The primary's process is gone, and its replicas know.
fn lose_primary(o: &mut Observed) {
    o.instances[0].server = Server::Down;
    cut_links(o);
}

fn cut_links(o: &mut Observed) {
    for i in &mut o.instances {
        if let Server::Up(info) = &mut i.server
            && info.role == Role::Replica
        {
            info.link_up = false;
            info.last_io_seconds = None;
        }
    }
}

fn decided(p: &Plan) -> Option<(ElectionKind, &str)> {
    match &p.step {
        Some(Step::Decide(election, _)) => Some((election.kind, election.candidate.as_str())),
        _ => None,
    }
}

fn reason(p: &Plan) -> Option<&'static str> {
    p.findings.primary.as_ref().map(|problem| problem.reason)
}

fn run(v: &Validated, o: &Observed) -> Plan {
    plan(v, o, now())
}
