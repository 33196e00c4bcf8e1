//! The status: what users, `kubectl wait` and alerts see. Pure.

pub mod bootstrap;
mod capacity;
pub mod cluster;
mod parts;
mod sentinel;
mod tls;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::api::{Blocker, Election, InstanceStatus, Redis, RedisStatus};
use super::build::{self, identity};
use super::encryption;
use super::model::{Hold, Instance, Observed, Plan, Problem, Server, Step, Validated, was_in_sync};
use super::{external, reasons};
use crate::engines::redis::{Engine as Program, Role};
use crate::k8s::conditions;

/// The summary: all that the spec asks for is there and serves.
pub const READY: &str = "Ready";
/// Something is being changed.
pub const PROGRESSING: &str = "Progressing";
/// Clients can write.
pub const PRIMARY_AVAILABLE: &str = "PrimaryAvailable";
/// Every replica is in sync.
pub const REPLICATION_HEALTHY: &str = "ReplicationHealthy";
/// The configuration is in effect, verified on every instance.
pub const CONFIG_APPLIED: &str = "ConfigApplied";
/// The users of clients are as the spec says, verified on every instance.
pub const USERS_APPLIED: &str = "UsersApplied";
/// Every server serves the certificate of the Secret.
pub const CERTIFICATE_SERVED: &str = "CertificateServed";
/// Clients outside of the Kubernetes cluster reach every pod.
pub const EXTERNAL_ACCESS: &str = "ExternalAccess";
/// Volumes are bound and have their size.
pub const STORAGE_READY: &str = "StorageReady";
/// An act that is due would lose data; it is not done.
pub const DATA_LOSS_RISK: &str = "DataLossRisk";
/// Changes are stopped by annotation.
pub const PAUSED: &str = "Paused";

/// What the status is made from.
#[derive(Clone, Copy)]
#[allow(missing_docs)]
pub struct Picture<'a> {
    pub v: &'a Validated,
    pub o: &'a Observed,
    pub plan: &'a Plan,
    pub now: Timestamp,
    /// Why nothing is done.
    pub hold: Option<Hold>,
    /// What kept the objects from being applied.
    pub failure: Option<&'a Problem>,
}

/// The whole status. `election`: a decision that was taken or carried out in this pass.
pub fn status(p: &Picture<'_>, election: Option<Election>) -> RedisStatus {
    let Picture { v, o, plan, .. } = *p;
    let old = &o.status;
    let primary = plan
        .primary
        .as_deref()
        .and_then(|pod| o.instances.iter().find(|i| i.pod == pod));
    let serving = primary.filter(|i| i.is_primary());
    let instances: Vec<InstanceStatus> = o
        .instances
        .iter()
        .filter(|i| !i.uid.is_empty() || i.ordinal < v.replicas)
        .map(|i| InstanceStatus {
            external: external::place(v, o, i).map(|place| place.to_string()),
            ..instance(i, serving, o, plan)
        })
        .collect();
    let ready = instances.iter().filter(|i| i.ready).count();
    let mut new = RedisStatus {
        observed_generation: Some(v.generation),
        primary: serving.map(|i| i.pod.clone()),
        endpoint: Some(format!("{}:{}", v.primary_host(), build::tls::port(v, o))),
        connection_secret: Some(v.connection_secret()),
        replicas: count(o.instances.iter().filter(|i| !i.uid.is_empty()).count()),
        ready_replicas: count(ready),
        summary: Some(format!("{ready}/{}", v.replicas)),
        selector: Some(identity(v).selector_text()),
        version: serving
            .and_then(Instance::info)
            .map(|i| format!("{} {}", program(i.engine), i.version))
            .or_else(|| old.version.clone()),
        replication_id: serving
            .and_then(Instance::info)
            .map(|i| i.replid.clone())
            .or_else(|| old.replication_id.clone()),
        instances,
        users: plan.users.clone(),
        // While nothing is done, nothing is begun either.
        surge: if p.hold.is_some() {
            old.surge.clone()
        } else {
            plan.surge.clone()
        },
        election: election.or_else(|| old.election.clone()),
        bootstrap: old.bootstrap.clone(),
        conditions: old.conditions.clone(),
        blockers: Vec::new(),
        plan: match p.hold {
            Some(Hold::PlanOnly) => plan.words(),
            _ => Vec::new(),
        },
        phase: None,
        ..RedisStatus::default()
    };
    let problems = problems(p, ready);
    conditions_of(p, &mut new, serving.is_some(), &problems);
    sentinel::add(p, &mut new);
    new.blockers = problems
        .iter()
        .map(|problem| blocker(problem, old, p.now))
        .collect();
    new.phase = Some(phase(p, serving.is_some(), &problems).to_owned());
    new
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

fn program(engine: Program) -> &'static str {
    match engine {
        Program::Redis => "Redis",
        Program::Valkey => "Valkey",
    }
}

/// How long a replica may be without a link, or without an answer, and still count as one that was in sync: the links are lost a
/// moment before the loss of the primary is known.
const LINK_PATIENCE_SECONDS: u64 = 10;

/// A pod that was in sync stays so while no primary serves, and for a moment after its link was lost.
fn still_in_sync(i: &Instance, primary: Option<&Instance>, o: &Observed) -> bool {
    if !was_in_sync(o, i) {
        return false;
    }
    if primary.is_none() {
        return true;
    }
    match &i.server {
        Server::Up(info) => {
            !info.sync_in_progress
                && info
                    .link_down_seconds
                    .is_some_and(|s| s < LINK_PATIENCE_SECONDS)
        }
        Server::Silent(silence) => silence.as_secs() < LINK_PATIENCE_SECONDS,
        _ => false,
    }
}

/// What is said of an instance of which nothing else is wrong.
const NOT_IN_SYNC: &str = "not in sync with the primary";

fn instance(i: &Instance, primary: Option<&Instance>, o: &Observed, plan: &Plan) -> InstanceStatus {
    let role = match i.info().map(|info| info.role) {
        Some(Role::Primary) => "Primary",
        Some(Role::Replica) => "Replica",
        None => "Unknown",
    };
    let is_primary = primary.is_some_and(|p| p.pod == i.pod);
    let ready = is_primary || primary.is_some_and(|p| i.in_sync_with(p) && !i.terminating);
    let object = format!("Pod/{}", i.pod);
    let named = plan
        .findings
        .pods
        .iter()
        .find(|p| p.object.as_deref() == Some(&object))
        .map(|p| p.message.clone());
    let message = if ready {
        None
    } else {
        named.or_else(|| i.info().map(|_| NOT_IN_SYNC.to_owned()))
    };
    InstanceStatus {
        pod: i.pod.clone(),
        uid: Some(i.uid.clone()).filter(|uid| !uid.is_empty()),
        role: role.to_owned(),
        ready,
        in_sync: ready || still_in_sync(i, primary, o),
        plaintext: encryption::recorded(o, i),
        message,
        external: None,
    }
}

/// All that keeps it from being ready, the most important first.
fn problems(p: &Picture<'_>, ready: usize) -> Vec<Problem> {
    let f = &p.plan.findings;
    let mut list: Vec<Problem> = Vec::new();
    list.extend(p.v.problems.iter().cloned());
    list.extend(p.failure.cloned());
    list.extend(p.o.password_problem.clone());
    list.extend(f.risk.clone());
    list.extend(f.primary.clone());
    list.extend(f.tls.clone());
    list.extend(f.slots.clone());
    list.extend(f.sentinels.clone());
    list.extend(f.storage.clone());
    list.extend(f.pods.iter().cloned());
    list.extend(f.config.clone());
    list.extend(f.external.clone());
    list.extend(f.users.iter().cloned());
    list.extend(f.progress.clone());
    list.extend(f.replication.clone());
    let mut seen = std::collections::BTreeSet::new();
    list.retain(|problem| seen.insert((problem.reason, problem.object.clone())));
    let wanted = p.v.replicas * p.v.shards.max(1);
    if list.is_empty() && ready < usize::try_from(wanted).unwrap_or_default() {
        list.push(Problem::of(
            reasons::Creating,
            format!("Redis/{}", p.v.name),
            format!("{ready} of {wanted} instances serve"),
        ));
    }
    // Between two steps of a roll there is a moment in which nothing else is wrong.
    if list.is_empty()
        && let Some(next) = p.o.instances.iter().find(|i| i.outdated)
    {
        list.push(Problem::of(
            reasons::RollingUpdate,
            format!("Redis/{}", p.v.name),
            format!("to be restarted: {}", next.pod),
        ));
    }
    // Kubernetes calls the pod Ready, and leads clients to it, only after this.
    if list.is_empty()
        && let Some(pod) = p.plan.chores.iter().find_map(opens_gate)
    {
        list.push(Problem::of(
            reasons::PodStarting,
            format!("Pod/{pod}"),
            format!("{pod} is not Ready yet"),
        ));
    }
    if list.is_empty() && p.o.settling {
        list.push(Problem::of(
            reasons::Applying,
            format!("StatefulSet/{}", p.v.name),
            "the StatefulSet was changed; its pods are looked at next",
        ));
    }
    if list.is_empty()
        && p.o
            .instances
            .iter()
            .any(|i| i.ordinal >= p.v.replicas && !i.uid.is_empty())
    {
        list.push(Problem::of(
            reasons::Scaling,
            format!("Redis/{}", p.v.name),
            "pods are being removed",
        ));
    }
    list
}

fn opens_gate(step: &Step) -> Option<&str> {
    match step {
        Step::Gate { pod, ready: true } => Some(pod),
        _ => None,
    }
}

fn blocker(problem: &Problem, old: &RedisStatus, now: Timestamp) -> Blocker {
    let since = old
        .blockers
        .iter()
        .find(|b| b.code == problem.reason && b.object == problem.object)
        .map_or_else(|| Time(now), |b| b.since.clone());
    Blocker {
        code: problem.reason.to_owned(),
        since,
        object: problem.object.clone(),
        message: problem.message.clone(),
        action: reasons::action(problem.reason).to_owned(),
    }
}

/// While pods are replaced on purpose, what follows from that is not the news; nor is it that nothing serves when it is known why.
fn headline<'a>(p: &'a Picture<'_>, problems: &'a [Problem]) -> Option<&'a Problem> {
    let cause_is_known = problems
        .iter()
        .any(|problem| problem.reason != reasons::NoPrimary && !in_progress(problem.reason));
    let side_effect = |problem: &&Problem| {
        let of_a_roll = p.plan.rolling
            && [
                reasons::PodStarting,
                reasons::PodNotCreated,
                reasons::ReplicasBehind,
            ]
            .contains(&problem.reason);
        of_a_roll || (cause_is_known && problem.reason == reasons::NoPrimary)
    };
    problems
        .iter()
        .find(|problem| !side_effect(problem))
        .or_else(|| problems.first())
}

fn conditions_of(p: &Picture<'_>, new: &mut RedisStatus, serving: bool, problems: &[Problem]) {
    let f = &p.plan.findings;
    if p.v.services.external.is_none() {
        new.conditions.retain(|c| c.type_ != EXTERNAL_ACCESS);
    }
    if p.v.tls.is_none() {
        new.conditions.retain(|c| c.type_ != CERTIFICATE_SERVED);
    }
    let mut set =
        |type_: &str, holds: bool, problem: Option<&Problem>, otherwise: &str, words: &str| {
            let (reason, message) =
                problem.map_or((otherwise, words), |p| (p.reason, p.message.as_str()));
            conditions::set(
                &mut new.conditions,
                type_,
                holds,
                reason,
                message,
                Some(p.v.generation),
                p.now,
            );
        };
    let first = headline(p, problems);
    set(
        READY,
        problems.is_empty(),
        first,
        reasons::AllInstancesReady,
        "every instance serves and is in sync",
    );
    let progress = f
        .progress
        .as_ref()
        .or_else(|| problems.iter().find(|p| in_progress(p.reason)));
    set(
        PROGRESSING,
        progress.is_some(),
        progress,
        reasons::Settled,
        "nothing is in progress",
    );
    let no_primary = Problem::of(reasons::NoPrimary, "", "no primary serves");
    let why = f
        .primary
        .as_ref()
        .or(p.o.password_problem.as_ref())
        .unwrap_or(&no_primary);
    set(
        PRIMARY_AVAILABLE,
        serving,
        (!serving).then_some(why),
        reasons::PrimaryServing,
        "the primary accepts connections",
    );
    if p.v.gated() || p.v.clustered() {
        let behind = f
            .replication
            .as_ref()
            .or_else(|| (!serving).then_some(&no_primary));
        set(
            REPLICATION_HEALTHY,
            behind.is_none(),
            behind,
            reasons::ReplicasInSync,
            "every replica is in sync",
        );
    }
    let answers = serving || p.o.instances.iter().any(|i| i.info().is_some());
    parts::applied(f, (!answers).then_some(&no_primary), &mut set);
    tls::condition(p, &mut set);
    parts::optional(p, &mut set);
    set(
        DATA_LOSS_RISK,
        f.risk.is_some(),
        f.risk.as_ref(),
        reasons::NoRisk,
        "no act that is due would lose data",
    );
    let (reason, words) = match p.hold {
        Some(Hold::Paused) => (
            reasons::Paused,
            "the annotation hera.dev/reconcile stops all changes",
        ),
        Some(Hold::PlanOnly) => (reasons::PlanOnly, "only the plan is shown"),
        None => (reasons::NotPaused, "changes are made"),
    };
    set(PAUSED, p.hold.is_some(), None, reason, words);
    capacity::set(p, new);
}

pub(super) fn in_progress(reason: &str) -> bool {
    [
        reasons::Creating,
        reasons::Applying,
        reasons::Scaling,
        reasons::Surging,
        reasons::FailingOver,
        reasons::HandingOver,
        reasons::PodStarting,
        reasons::PodNotCreated,
        reasons::ConfigPending,
        reasons::UsersPending,
        reasons::ExternalAddressPending,
        reasons::ExternalAddressUntold,
        reasons::VolumeExpanding,
        reasons::ReplicasBehind,
        reasons::CertificatePending,
        reasons::EncryptionChanging,
        reasons::MovingSlots,
        reasons::ViewsDiffer,
        reasons::BootstrapCopying,
        reasons::BootstrapFollowing,
        reasons::BootstrapCuttingOver,
        reasons::SentinelsLearning,
        reasons::SentinelsDisagree,
    ]
    .contains(&reason)
}

fn phase(p: &Picture<'_>, serving: bool, problems: &[Problem]) -> &'static str {
    let has = |reason| problems.iter().any(|p| p.reason == reason);
    if p.hold.is_some() {
        "Paused"
    } else if p.v.hibernate {
        "Hibernated"
    } else if problems.is_empty() {
        "Running"
    } else if has(reasons::FailingOver) {
        "FailingOver"
    } else if p.plan.rolling {
        "Updating"
    } else if p.o.status.election.is_none() {
        "Creating"
    } else if serving {
        "Degraded"
    } else {
        "Unavailable"
    }
}

/// The status of a spec that cannot be used: all else stays as it was, because the servers go on.
pub fn refused(
    redis: &Redis,
    o: &Observed,
    reason: &str,
    message: String,
    now: Timestamp,
) -> RedisStatus {
    let mut new = o.status.clone();
    let problem = Problem {
        reason: reasons::ALL
            .iter()
            .find(|r| r.0 == reason)
            .map_or(reasons::InvalidSpec, |r| r.0),
        object: Some(format!("Redis/{}", redis.name_any())),
        message,
    };
    new.observed_generation = redis.metadata.generation;
    new.phase = Some("Invalid".into());
    conditions::set(
        &mut new.conditions,
        READY,
        false,
        problem.reason,
        problem.message.clone(),
        redis.metadata.generation,
        now,
    );
    new.blockers = vec![blocker(&problem, &o.status, now)];
    new
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
