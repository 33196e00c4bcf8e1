//! The status as users see it.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::*;
use crate::operators::redis::api::{Mode, RedisSpec};
use crate::operators::redis::model::{Claim, Info, PodState, Server};
use crate::operators::redis::plan::plan;
use crate::operators::redis::validate::validate;

fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap()
}

fn database(mode: Mode) -> (Redis, Validated) {
    let mut redis = Redis::new(
        "db",
        RedisSpec {
            mode,
            replicas: Some(1),
            ..RedisSpec::default()
        },
    );
    redis.metadata.uid = Some("uid".into());
    redis.metadata.namespace = Some("shop".into());
    redis.metadata.generation = Some(7);
    let v = validate(&redis, &Observed::default()).unwrap();
    (redis, v)
}

fn serving(v: &Validated) -> Observed {
    let info = Info {
        run_id: "run".into(),
        replid: "aaaa".into(),
        role: Role::Primary,
        version: "8.0.2".into(),
        priority: 100,
        ..Info::default()
    };
    let instance = Instance {
        pod: "db-0".into(),
        uid: "pod".into(),
        ip: Some("10.0.0.1".into()),
        pod_state: PodState::Running,
        pod_ready: true,
        gate: Some(true),
        server: Server::Up(Box::new(info)),
        config: crate::operators::redis::directives::own(v),
        ..Instance::default()
    };
    let mut o = Observed {
        instances: vec![instance],
        may_roll: true,
        ..Observed::default()
    };
    o.status.election = Some(Election {
        epoch: 1,
        kind: crate::operators::redis::api::ElectionKind::Bootstrap,
        candidate: "db-0".into(),
        candidate_uid: "pod".into(),
        run_id: "run".into(),
        from: None,
        decided_at: Time(now()),
        completed: true,
    });
    o
}

fn told(v: &Validated, o: &Observed, at: Timestamp) -> RedisStatus {
    let plan = plan(v, o, at);
    status(
        &Picture {
            v,
            o,
            plan: &plan,
            now: at,
            hold: None,
            failure: None,
        },
        None,
    )
}

fn condition<'a>(s: &'a RedisStatus, type_: &str) -> (&'a str, &'a str) {
    let found: &Condition =
        conditions::get(&s.conditions, type_).unwrap_or_else(|| panic!("no condition {type_}"));
    assert_eq!(found.observed_generation, Some(7), "{type_}");
    (found.status.as_str(), found.reason.as_str())
}

#[test]
fn a_database_that_serves_is_ready_and_says_how_to_connect() {
    let (_, v) = database(Mode::Replication);
    let s = told(&v, &serving(&v), now());
    assert_eq!(condition(&s, READY), ("True", reasons::AllInstancesReady));
    assert_eq!(
        condition(&s, PRIMARY_AVAILABLE),
        ("True", reasons::PrimaryServing)
    );
    assert_eq!(condition(&s, DATA_LOSS_RISK), ("False", reasons::NoRisk));
    assert_eq!(
        (s.primary.as_deref(), s.endpoint.as_deref()),
        (Some("db-0"), Some("db.shop.svc:6379"))
    );
    assert_eq!(
        (s.replicas, s.ready_replicas, s.summary.as_deref()),
        (1, 1, Some("1/1"))
    );
    assert_eq!(
        (s.version.as_deref(), s.observed_generation),
        (Some("Redis 8.0.2"), Some(7))
    );
    assert_eq!(
        s.selector
            .as_deref()
            .map(|s| s.contains("app.kubernetes.io/instance=db")),
        Some(true)
    );
    assert!(s.blockers.is_empty() && s.plan.is_empty());
}

#[test]
fn the_same_state_gives_the_same_status_also_later() {
    let (_, v) = database(Mode::Replication);
    let mut o = serving(&v);
    let first = told(&v, &o, now());
    o.status = RedisStatus {
        election: o.status.election.clone(),
        ..first.clone()
    };
    assert_eq!(told(&v, &o, now() + SignedDuration::from_hours(1)), first);
}

#[test]
fn every_problem_is_a_blocker_with_an_action_and_keeps_its_time() {
    let (_, v) = database(Mode::Replication);
    let mut o = serving(&v);
    o.instances[0].pod_state = PodState::Waiting("ImagePullBackOff".into(), "no such image".into());
    o.instances[0].server = Server::Down;
    let first = told(&v, &o, now());
    assert_eq!(condition(&first, READY).0, "False");
    assert_eq!(condition(&first, PRIMARY_AVAILABLE).0, "False");
    let pull = first
        .blockers
        .iter()
        .find(|b| b.code == reasons::ImagePullFailed)
        .expect("a blocker");
    assert!(pull.message.contains("no such image") && !pull.action.is_empty());
    assert_eq!(pull.object.as_deref(), Some("Pod/db-0"));

    o.status.blockers = first.blockers.clone();
    let later = told(&v, &o, now() + SignedDuration::from_mins(5));
    assert_eq!(
        later
            .blockers
            .iter()
            .find(|b| b.code == reasons::ImagePullFailed)
            .map(|b| &b.since),
        Some(&pull.since)
    );
}

#[test]
fn a_missing_password_is_told_before_anything_that_follows_from_it() {
    let (_, v) = database(Mode::Replication);
    let o = Observed {
        password_problem: Some(Problem::of(
            reasons::SecretNotFound,
            "Secret/x",
            "Secret x does not exist",
        )),
        ..Observed::default()
    };
    assert_eq!(
        condition(&told(&v, &o, now()), READY),
        ("False", reasons::SecretNotFound)
    );
}

#[test]
fn it_is_not_ready_while_a_change_of_the_statefulset_is_not_taken_up() {
    let (_, v) = database(Mode::Replication);
    let o = Observed {
        settling: true,
        ..serving(&v)
    };
    let s = told(&v, &o, now());
    assert_eq!(condition(&s, READY), ("False", reasons::Applying));
    assert_eq!(condition(&s, PROGRESSING), ("True", reasons::Applying));
}

#[test]
fn it_is_not_ready_in_the_pass_that_ends_a_hand_over_within_a_roll() {
    let (_, v) = database(Mode::Replication);
    let mut o = serving(&v);
    o.instances[0].outdated = true;
    o.status.election.as_mut().expect("an election").completed = false;
    let s = told(&v, &o, now());
    assert_eq!(condition(&s, READY), ("False", reasons::RollingUpdate));
}

#[test]
fn the_cause_is_told_before_the_primary_that_is_missing() {
    let (_, v) = database(Mode::Replication);
    let mut o = serving(&v);
    o.status.election = None;
    o.instances[0].server = Server::Down;
    o.instances[0].pod_state = PodState::Missing;
    let s = told(&v, &o, now());
    assert_eq!(condition(&s, READY), ("False", reasons::NoPrimary));
    o.instances[0].pod_state = PodState::Unscheduled(Some("no node".into()));
    let s = told(&v, &o, now());
    assert_eq!(condition(&s, READY), ("False", reasons::PodUnschedulable));
    assert_eq!(
        condition(&s, PRIMARY_AVAILABLE),
        ("False", reasons::NoPrimary)
    );
}

#[test]
fn a_refused_spec_keeps_what_is_known_of_the_servers() {
    let (redis, v) = database(Mode::Replication);
    let mut o = serving(&v);
    o.status = told(&v, &o, now());
    let s = refused(
        &redis,
        &o,
        reasons::InvalidSpec,
        "spec.storage.size: must be a quantity".into(),
        now(),
    );
    assert_eq!(condition(&s, READY), ("False", reasons::InvalidSpec));
    assert_eq!((s.primary, s.ready_replicas), (Some("db-0".into()), 1));
    assert_eq!(
        condition(
            &RedisStatus {
                conditions: s.conditions.clone(),
                ..RedisStatus::default()
            },
            PRIMARY_AVAILABLE
        )
        .0,
        "True"
    );
    assert!(s.blockers[0].message.contains("spec.storage.size"));
}

#[test]
fn every_reason_says_what_to_do_and_is_written_as_one_word() {
    for (name, meaning, action) in reasons::ALL {
        assert!(
            name.chars().next().is_some_and(char::is_uppercase)
                && name.chars().all(char::is_alphanumeric),
            "{name}"
        );
        assert!(meaning.ends_with('.') && !action.is_empty(), "{name}");
    }
}

#[test]
fn a_volume_that_shall_shrink_is_told_and_the_database_goes_on() {
    let (mut redis, _) = database(Mode::Replication);
    redis.spec.storage = Some(crate::operators::redis::api::Storage {
        size: Quantity("1Gi".into()),
        ..Default::default()
    });
    let claim = Claim {
        name: "data-db-0".into(),
        ordinal: 0,
        shard: 0,
        uid: "claim".into(),
        bound: true,
        class: None,
        requested: 2 << 30,
        capacity: 2 << 30,
        failed: None,
        file_system_behind: None,
        adopted: false,
        owned: false,
        primary_since: None,
    };
    let checked = |claim: &Claim| {
        let o = Observed {
            claims: vec![claim.clone()],
            ..Observed::default()
        };
        validate(&redis, &o).unwrap()
    };
    let rounded_up = checked(&Claim {
        requested: 1 << 30,
        ..claim.clone()
    });
    assert!(rounded_up.problems.is_empty(), "the storage rounded up");
    let v = checked(&claim);
    assert_eq!(v.storage.as_ref().map(|s| s.bytes), Some(2 << 30));
    let mut o = serving(&v);
    o.claims = vec![claim];
    let s = told(&v, &o, now());
    assert_eq!(condition(&s, READY), ("False", reasons::InvalidSpec));
    assert_eq!(condition(&s, PRIMARY_AVAILABLE).0, "True");
    assert!(s.blockers[0].message.contains("spec.storage.size"));
    o.instances[0].server = Server::Down;
    assert!(
        plan(&v, &o, now()).requeue.is_some(),
        "a lost primary is looked after"
    );
}

/// What happens while changes are stopped is told, and nothing looks ready that is not.
#[test]
fn a_database_that_is_paused_tells_its_state() {
    let (mut redis, v) = database(Mode::Standalone);
    let annotations = redis.metadata.annotations.get_or_insert_default();
    annotations.insert("hera.dev/reconcile".into(), "paused".into());
    let hold = Hold::of(&redis);
    assert_eq!(hold, Some(Hold::Paused));
    let mut o = serving(&v);
    o.instances[0].server = Server::Down;
    let plan = plan(&v, &o, now());
    let picture = Picture {
        v: &v,
        o: &o,
        plan: &plan,
        now: now(),
        hold,
        failure: None,
    };
    let told = status(&picture, None);
    assert_eq!(told.phase.as_deref(), Some("Paused"));
    assert!(conditions::is_true(&told.conditions, PAUSED));
    assert!(!conditions::is_true(&told.conditions, READY));
    assert!(!conditions::is_true(&told.conditions, PRIMARY_AVAILABLE));
    assert!(told.plan.is_empty(), "only plan-only shows the plan");
}

/// Between the instance being in sync and its pod being Ready there is a moment in which nothing else is wrong.
#[test]
fn it_is_not_ready_before_the_gate_of_a_pod_is_open() {
    let (_, v) = database(Mode::Replication);
    let mut o = serving(&v);
    let ready = |o: &Observed| {
        let plan = plan(&v, o, now());
        let picture = Picture {
            v: &v,
            o,
            plan: &plan,
            now: now(),
            hold: None,
            failure: None,
        };
        conditions::is_true(&status(&picture, None).conditions, READY)
    };
    assert!(ready(&o));
    o.instances[0].gate = Some(false);
    o.instances[0].pod_ready = false;
    assert!(!ready(&o));
}
