//! From the spec to a [`Validated`]: the rules of the CRD once more, and those that need more than one object.

mod bootstrap;
mod monitoring;
mod sentinel;
mod services;
mod storage;
mod tls;
mod users;

use std::time::Duration;

use super::api::{
    ACCEPT_DATA_LOSS_ANNOTATION, APPROVE_PRIMARY_ANNOTATION, APPROVE_UPDATE_ANNOTATION, Engine,
    EvictionPolicy, Mode, PrimaryUpdate, RESTARTED_AT_ANNOTATION, Redis, RedisSpec,
    SWITCHOVER_ANNOTATION, Surge,
};
use super::encryption;
use super::model::{Observed, Problem, ValidUpdate, Validated, Window};
use super::reasons;
use crate::k8s::names;
use crate::k8s::owner;
use crate::k8s::quantity::Amount;

/// A field with a value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct FieldError {
    /// Path of the field, such as `spec.storage.size`.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// Directives that Hera sets itself: network, files, users and replication. The CEL rule of `spec.config` lists the same.
pub const RESERVED: &[&str] = &[
    "aclfile",
    "appenddirname",
    "appendfilename",
    "bind",
    "cluster-allow-replica-migration",
    "cluster-announce-bus-port",
    "cluster-announce-client-ipv4",
    "cluster-announce-client-ipv6",
    "cluster-announce-client-port",
    "cluster-announce-client-tls-port",
    "cluster-announce-ip",
    "cluster-announce-port",
    "cluster-announce-tls-port",
    "cluster-config-file",
    "cluster-enabled",
    "cluster-port",
    "cluster-replica-no-failover",
    "cluster-slave-no-failover",
    "daemonize",
    "dbfilename",
    "dir",
    "include",
    "masterauth",
    "masteruser",
    "min-replicas-max-lag",
    "min-replicas-to-write",
    "min-slaves-max-lag",
    "min-slaves-to-write",
    "pidfile",
    "port",
    "primaryauth",
    "primaryuser",
    "protected-mode",
    "replica-announce-ip",
    "replica-announce-port",
    "repl-ping-replica-period",
    "repl-ping-slave-period",
    "replica-priority",
    "replica-read-only",
    "replicaof",
    "requirepass",
    "slave-priority",
    "slave-read-only",
    "slaveof",
    "supervised",
    "tls-auth-clients",
    "tls-ca-cert-dir",
    "tls-ca-cert-file",
    "tls-cert-file",
    "tls-client-cert-file",
    "tls-client-key-file",
    "tls-cluster",
    "tls-key-file",
    "tls-port",
    "tls-replication",
    "unixsocket",
    "user",
];

/// Longest name of a `Redis`, so that the names of pods, Services and the revision label fit into 63 characters.
pub const MAX_NAME: usize = 40;

/// Checks the spec and fills in the defaults.
pub fn validate(redis: &Redis, observed: &Observed) -> Result<Validated, Vec<FieldError>> {
    let mut errors = Errors::default();
    let spec = &redis.spec;
    let name = redis.metadata.name.clone().unwrap_or_default();
    if let Err(error) = names::check(&name, MAX_NAME) {
        errors.add("metadata.name", error.to_string());
    }
    let replicas = replicas(spec, &mut errors);
    texts(spec, &mut errors);
    tls::check(spec, &mut errors);
    ranges(spec, &mut errors);
    config(spec, &mut errors);
    monitoring::monitoring(spec, &mut errors);
    services::check(spec, &mut errors);
    let storage = spec
        .storage
        .as_ref()
        .and_then(|s| storage::check(s, observed, &mut errors));
    storage::stays(spec, observed, &mut errors);
    let min_replicas_to_write = min_replicas(spec, replicas, &mut errors);
    let max_memory = max_memory(spec, &mut errors);
    let update = update(redis, &mut errors);
    let auth = users::auth(redis, &mut errors);
    let namespace = redis.metadata.namespace.clone().unwrap_or_default();
    let bootstrap = bootstrap::bootstrap(spec, &namespace, &mut errors);
    let sentinel = sentinel::sentinel(spec, &mut errors);
    let owner = owner::controller_reference(redis).map_err(|e| {
        vec![FieldError {
            field: "metadata".into(),
            message: e.to_string(),
        }]
    })?;
    if !errors.0.is_empty() {
        return Err(errors.0);
    }
    let annotation = |key: &str| annotation(redis, key);
    let mode = mode(spec, &name, observed);
    Ok(Validated {
        name,
        namespace,
        owner,
        generation: redis.metadata.generation.unwrap_or_default(),
        engine: spec.engine,
        image: image(spec),
        version: version(spec),
        mode,
        replicas,
        shards: if mode == Mode::Cluster {
            spec.shards.unwrap_or(3)
        } else {
            0
        },
        shard: None,
        sentinel,
        resources: spec.resources.clone().unwrap_or_default(),
        max_memory,
        memory_policy: spec
            .memory
            .as_ref()
            .and_then(|m| m.policy)
            .unwrap_or(EvictionPolicy::NoEviction)
            .directive(),
        config: spec.config.clone(),
        storage,
        bootstrap,
        password_refs: auth.default_refs,
        default_user_enabled: auth.default_enabled,
        users: auth.users,
        rotations: auth.rotations,
        tls: encryption::effective(redis, observed),
        min_replicas_to_write,
        unresponsive_after: unresponsive_after(spec),
        services: spec.services.clone().unwrap_or_default(),
        monitoring: spec.monitoring.clone().unwrap_or_default(),
        network_policy: spec.network_policy.clone(),
        update,
        surge: surge(spec, replicas, observed),
        hibernate: spec.hibernate,
        pod_template: spec.pod_template.clone().unwrap_or_default(),
        restarted_at: annotation(RESTARTED_AT_ANNOTATION),
        switchover: annotation(SWITCHOVER_ANNOTATION),
        approved_primary: annotation(APPROVE_PRIMARY_ANNOTATION),
        accept_data_loss: annotation(ACCEPT_DATA_LOSS_ANNOTATION).as_deref() == Some("true"),
        problems: errors.1.iter().map(|e| problem(redis, e)).collect(),
    })
}

fn annotation(redis: &Redis, key: &str) -> Option<String> {
    let all = redis.metadata.annotations.as_ref();
    all.and_then(|a| a.get(key))
        .filter(|v| !v.is_empty())
        .cloned()
}

fn problem(redis: &Redis, error: &FieldError) -> Problem {
    let name = redis.metadata.name.as_deref().unwrap_or_default();
    Problem::of(
        reasons::InvalidSpec,
        format!("Redis/{name}"),
        error.to_string(),
    )
}

/// Errors that end the validation, and those that leave one field out: the database goes on as it was in that respect.
#[derive(Default)]
struct Errors(Vec<FieldError>, Vec<FieldError>);

impl Errors {
    fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(FieldError {
            field: field.into(),
            message: message.into(),
        });
    }

    fn leave_out(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.1.push(FieldError {
            field: field.into(),
            message: message.into(),
        });
    }
}

/// On the way to Standalone it is Replication until the first pod is the primary and the only one: before that the Service may not
/// lead to all pods.
fn mode(spec: &RedisSpec, name: &str, observed: &Observed) -> Mode {
    let others = observed
        .instances
        .iter()
        .any(|i| i.ordinal > 0 && !i.uid.is_empty());
    let elsewhere = observed
        .status
        .primary
        .as_deref()
        .is_some_and(|primary| names::ordinal(name, primary) != Some(0));
    let surging = observed.status.surge.is_some();
    let on_the_way = !surging && (others || elsewhere);
    if spec.mode == Mode::Standalone && (on_the_way || bootstrap::needs_gate(spec, observed)) {
        Mode::Replication
    } else {
        spec.mode
    }
}

/// A temporary replica is one only as long as the database has a single server.
fn surge(spec: &RedisSpec, replicas: i32, observed: &Observed) -> Option<Surge> {
    let may = matches!(spec.mode, Mode::Standalone | Mode::Replication);
    let single = may && replicas == 1 && spec.storage.is_none();
    observed.status.surge.clone().filter(|_| single)
}

fn replicas(spec: &RedisSpec, errors: &mut Errors) -> i32 {
    if spec.mode == Mode::Cluster {
        if spec.replicas.is_some() {
            errors.add(
                "spec.replicas",
                "must be absent in mode Cluster; use spec.shards and spec.replicasPerShard",
            );
        }
        return spec.replicas_per_shard.unwrap_or(1).saturating_add(1);
    }
    for (field, value) in [
        ("spec.shards", spec.shards),
        ("spec.replicasPerShard", spec.replicas_per_shard),
    ] {
        if value.is_some() {
            errors.add(field, "only in mode Cluster");
        }
    }
    let standalone = spec.mode == Mode::Standalone;
    let replicas = spec.replicas.unwrap_or(if standalone { 1 } else { 3 });
    if standalone && replicas != 1 {
        errors.add(
            "spec.replicas",
            "must be 1 or absent in mode Standalone; use mode Replication for more pods",
        );
    } else if !(1..=20).contains(&replicas) {
        errors.add("spec.replicas", "must be between 1 and 20");
    }
    replicas
}

/// The bounds of the schema on texts.
fn texts(spec: &RedisSpec, errors: &mut Errors) {
    let mut length = |field: &str, text: Option<&String>, max: usize| {
        if text.is_some_and(|t| t.is_empty() || t.chars().count() > max) {
            errors.add(field, format!("must have 1 to {max} characters"));
        }
    };
    let class = spec
        .storage
        .as_ref()
        .and_then(|s| s.storage_class_name.as_ref());
    length("spec.image", spec.image.as_ref(), 512);
    length("spec.storage.storageClassName", class, 253);
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if let Some(version) = &spec.version {
        let parts: Vec<&str> = version.split('.').collect();
        if !(2..=3).contains(&parts.len()) || !parts.into_iter().all(number) {
            errors.add(
                "spec.version",
                "must be MAJOR.MINOR or MAJOR.MINOR.PATCH, such as 8.0",
            );
        }
    }
}

/// The bounds of the schema on numbers.
fn ranges(spec: &RedisSpec, errors: &mut Errors) {
    let memory = spec.memory.as_ref();
    let availability = spec.availability.as_ref();
    for (field, value, min, max) in [
        (
            "spec.memory.maxMemoryPercent",
            memory.and_then(|m| m.max_memory_percent),
            10,
            95,
        ),
        (
            "spec.availability.minReplicasToWrite",
            availability.and_then(|a| a.min_replicas_to_write),
            0,
            19,
        ),
        ("spec.shards", spec.shards, 3, 64),
        ("spec.replicasPerShard", spec.replicas_per_shard, 0, 5),
        (
            "spec.availability.unresponsiveAfterSeconds",
            availability.and_then(|a| a.unresponsive_after_seconds),
            3,
            600,
        ),
        (
            "spec.update.soakSeconds",
            spec.update.as_ref().and_then(|u| u.soak_seconds),
            0,
            604_800,
        ),
    ] {
        if value.is_some_and(|v| v < min || v > max) {
            errors.add(field, format!("must be between {min} and {max}"));
        }
    }
}

fn config(spec: &RedisSpec, errors: &mut Errors) {
    for (name, value) in &spec.config {
        let field = format!("spec.config.{name}");
        let word = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if !word {
            errors.add(
                field,
                "a directive has only lower-case letters, digits and '-'",
            );
        } else if RESERVED.contains(&name.as_str()) {
            errors.add(field, "is set by Hera itself; remove it");
        } else if value.contains(['\n', '\r', '\0']) {
            errors.add(field, "a value must be one line");
        }
    }
}

fn min_replicas(spec: &RedisSpec, replicas: i32, errors: &mut Errors) -> i32 {
    let wanted = spec
        .availability
        .as_ref()
        .and_then(|a| a.min_replicas_to_write);
    if let Some(wanted) = wanted
        && wanted >= replicas
    {
        errors.add(
            "spec.availability.minReplicasToWrite",
            "must be lower than the number of pods with the same data, otherwise no write is ever accepted",
        );
    }
    let by_default = spec.mode != Mode::Cluster && replicas >= 3;
    wanted.unwrap_or(i32::from(by_default))
}

/// A window that cannot be used stays shut: what is not said to be allowed is not done.
fn update(redis: &Redis, errors: &mut Errors) -> ValidUpdate {
    let Some(update) = &redis.spec.update else {
        return ValidUpdate::default();
    };
    let mut valid = ValidUpdate {
        paused: update.paused,
        ask_for_primary: update.primary == PrimaryUpdate::Approved,
        approved: annotation(redis, APPROVE_UPDATE_ANNOTATION),
        soak: Duration::from_secs(
            u64::try_from(update.soak_seconds.unwrap_or(0)).unwrap_or_default(),
        ),
        window: None,
        surge: update.surge,
    };
    match update.window.as_ref().map(Window::parse).transpose() {
        Ok(window) => valid.window = window,
        Err((field, message)) => {
            errors.leave_out(format!("spec.update.window.{field}"), message);
            valid.paused = true;
        }
    }
    valid
}

fn unresponsive_after(spec: &RedisSpec) -> Duration {
    let seconds = spec
        .availability
        .as_ref()
        .and_then(|a| a.unresponsive_after_seconds)
        .unwrap_or(10);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(10))
}

fn max_memory(spec: &RedisSpec, errors: &mut Errors) -> Option<i64> {
    let limit = spec.resources.as_ref()?.limits.as_ref()?.get("memory")?;
    let Ok(limit) = Amount::parse(&limit.0) else {
        errors.leave_out(
            "spec.resources.limits.memory",
            "must be a quantity such as 1Gi",
        );
        return None;
    };
    let percent = spec
        .memory
        .as_ref()
        .and_then(|m| m.max_memory_percent)
        .unwrap_or(if spec.storage.is_some() { 65 } else { 75 });
    i64::try_from(u128::from(limit.bytes()) * u128::try_from(percent).unwrap_or(75) / 100).ok()
}

/// The upstream image of an engine's version.
fn image(spec: &RedisSpec) -> String {
    spec.image.clone().unwrap_or_else(|| {
        let version = version(spec).unwrap_or_default();
        match spec.engine {
            Engine::Redis => format!("docker.io/library/redis:{version}"),
            Engine::Valkey => format!("docker.io/valkey/valkey:{version}"),
        }
    })
}

/// The version that the spec asks for; unknown when only an image is named.
fn version(spec: &RedisSpec) -> Option<String> {
    let default = match spec.engine {
        Engine::Redis => "8.0",
        Engine::Valkey => "9.0",
    };
    let default = spec.image.is_none().then(|| default.to_owned());
    spec.version.clone().or(default)
}
