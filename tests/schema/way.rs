//! The way of a `Redis` from what the API server gives to the plan.

use std::time::Duration;

use hera::operators::redis::api::Redis;
use hera::operators::redis::build::Published;
use hera::operators::redis::model::{
    Credentials, Info, Instance, Observed, PodState, Role, Server,
};
use hera::operators::redis::{build, plan, validate};
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::Value;

fn credentials() -> Credentials {
    let secret = |text: &str| SecretString::from(text);
    Credentials {
        default: secret("a"),
        operator: secret("b"),
        replication: secret("c"),
        probe: secret("d"),
    }
}

fn instance(ordinal: i32, server: Server) -> Instance {
    Instance {
        pod: format!("db-{ordinal}"),
        ordinal,
        uid: format!("uid-{ordinal}"),
        ip: Some(format!("10.0.0.{ordinal}")),
        pod_state: PodState::Running,
        age: Duration::from_secs(3600),
        server,
        ..Instance::default()
    }
}

/// A server that answers.
fn up(role: Role) -> Server {
    Server::Up(Box::new(Info {
        run_id: "run".into(),
        role,
        replid: "history".into(),
        ..Info::default()
    }))
}

/// What may be found: nothing at all, servers one of which is a primary, and servers that all are lost.
fn observations(redis: &Redis) -> Vec<Observed> {
    let found = |servers: Vec<Server>| Observed {
        status: redis.status.clone().unwrap_or_default(),
        uid: "u".into(),
        instances: (0..).zip(servers).map(|(n, s)| instance(n, s)).collect(),
        may_roll: true,
        ..Observed::default()
    };
    vec![
        Observed::default(),
        found(vec![
            up(Role::Primary),
            up(Role::Replica),
            Server::Silent(Duration::from_secs(60)),
        ]),
        found(vec![
            Server::Down,
            Server::Loading,
            Server::Denied(String::new()),
        ]),
    ]
}

/// Whether it is valid, so that it came as far as the plan.
pub fn goes_through(value: Value) -> bool {
    let Ok(redis) = serde_json::from_value::<Redis>(value) else {
        return false;
    };
    let mut planned = false;
    for o in observations(&redis) {
        let Ok(v) = validate::validate(&redis, &o) else {
            continue;
        };
        let _ = build::build(&v, &o, &credentials());
        let published = Published {
            primary: o.instances.first(),
            readers: o.instances.iter().skip(1).collect(),
        };
        let _ = build::endpoint_slices(&v, &published);
        let _ = plan::plan(&v, &o, Timestamp::UNIX_EPOCH).words();
        planned = true;
    }
    planned
}
