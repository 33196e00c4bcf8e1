//! The status in mode Cluster.

use super::super::api::{InstanceStatus, NodeStatus, RedisStatus, ShardStatus};
use super::super::build::{self, identity};
use super::super::model::{Instance, Observed, Plan, Role, SLOTS, Topology, Validated};
use super::super::{encryption, external, reasons};
use super::{
    Hold, PRIMARY_AVAILABLE, Picture, READY, blocker, conditions_of, count, phase, problems,
    program,
};
use crate::k8s::conditions;

/// Every slot is owned, and the shards have even shares.
pub const SLOTS_ASSIGNED: &str = "SlotsAssigned";

/// The whole status.
pub fn status(p: &Picture<'_>) -> RedisStatus {
    let Picture { v, o, plan, .. } = *p;
    let old = &o.status;
    let t = Topology::of(o);
    let served = t.served();
    let serving = served.is_full() && plan.findings.primary.is_none();
    let instances: Vec<InstanceStatus> = o
        .instances
        .iter()
        .filter(|i| !i.uid.is_empty() || wanted(v, i))
        .map(|i| InstanceStatus {
            external: external::place(v, o, i).map(|place| place.to_string()),
            plaintext: encryption::recorded(o, i),
            ..instance(v, i, &t, plan)
        })
        .collect();
    let ready = instances.iter().filter(|i| i.ready).count();
    let all = v.shards * v.replicas;
    let version = t.owners().next().and_then(|m| m.instance.info());
    let formed =
        old.cluster_formed == Some(true) || (t.missing.is_empty() && !t.members.is_empty());
    let mut new = RedisStatus {
        observed_generation: Some(v.generation),
        endpoint: Some(format!("{}:{}", v.primary_host(), build::tls::port(v, o))),
        connection_secret: Some(v.connection_secret()),
        replicas: count(o.instances.iter().filter(|i| !i.uid.is_empty()).count()),
        ready_replicas: count(ready),
        summary: Some(format!("{ready}/{all}")),
        selector: Some(identity(v).selector_text()),
        version: version
            .map(|i| format!("{} {}", program(i.engine), i.version))
            .or_else(|| old.version.clone()),
        instances,
        users: plan.users.clone(),
        slots: Some(format!("{}/{SLOTS}", served.len())),
        shards: shards(v, o, &t),
        nodes: nodes(o, &t),
        cluster_formed: formed.then_some(true),
        conditions: old.conditions.clone(),
        plan: match p.hold {
            Some(Hold::PlanOnly) => plan.words(),
            _ => Vec::new(),
        },
        ..RedisStatus::default()
    };
    // Of the shards that are wanted every instance has to serve.
    let serve = new.instances.iter().filter(|i| i.ready);
    let serve = serve.filter(|i| of_pod(o, &i.pod).is_some_and(|i| wanted(v, i)));
    let problems = problems(p, serve.count());
    conditions_of(p, &mut new, serving, &problems);
    words(p, &mut new, serving, problems.is_empty());
    new.blockers = problems
        .iter()
        .map(|problem| blocker(problem, old, p.now))
        .collect();
    new.phase = Some(if formed || p.hold.is_some() || v.hibernate {
        phase(p, serving, &problems).to_owned()
    } else {
        "Creating".into()
    });
    new
}

fn wanted(v: &Validated, i: &Instance) -> bool {
    i.shard < v.shards && i.ordinal < v.replicas
}

fn of_pod<'a>(o: &'a Observed, pod: &str) -> Option<&'a Instance> {
    o.instances.iter().find(|i| i.pod == pod)
}

/// The conditions in the words of a cluster.
fn words(p: &Picture<'_>, new: &mut RedisStatus, serving: bool, ready: bool) {
    let mut set = |type_: &str, holds: bool, reason: &str, message: &str| {
        let generation = Some(p.v.generation);
        conditions::set(
            &mut new.conditions,
            type_,
            holds,
            reason,
            message,
            generation,
            p.now,
        );
    };
    if serving {
        set(
            PRIMARY_AVAILABLE,
            true,
            reasons::ClusterServing,
            "every slot has a primary that serves it, and every node sees the same",
        );
    }
    if ready {
        set(
            READY,
            true,
            reasons::AllInstancesReady,
            "every slot is served, and every instance is in sync",
        );
    }
    let f = &p.plan.findings;
    match f.slots.as_ref().or(f.primary.as_ref()) {
        Some(problem) => set(SLOTS_ASSIGNED, false, problem.reason, &problem.message),
        None => set(
            SLOTS_ASSIGNED,
            true,
            reasons::SlotsBalanced,
            "every slot is owned, and the shards have even shares",
        ),
    }
}

fn instance(v: &Validated, i: &Instance, t: &Topology<'_>, plan: &Plan) -> InstanceStatus {
    let member = t.member(&i.pod);
    let role = match member.and_then(|m| m.me.role()) {
        Some(Role::Primary) => "Primary",
        Some(Role::Replica) => "Replica",
        None => "Unknown",
    };
    let primary = t.primary(i.shard);
    let pair = member.zip(primary);
    let in_sync = pair.is_some_and(|(m, p)| m.id() == p.id() || m.in_sync_with(p));
    let ready =
        in_sync && !i.terminating && (wanted(v, i) || member.is_some_and(|m| !m.slots.is_empty()));
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
        named.or_else(|| member.map(|_| "not in sync with the primary of its shard".to_owned()))
    };
    InstanceStatus {
        pod: i.pod.clone(),
        uid: Some(i.uid.clone()).filter(|uid| !uid.is_empty()),
        role: role.to_owned(),
        ready,
        in_sync,
        message,
        ..InstanceStatus::default()
    }
}

fn shards(v: &Validated, o: &Observed, t: &Topology<'_>) -> Vec<ShardStatus> {
    let removed = o.cluster.sets.keys().copied().filter(|n| *n >= v.shards);
    let of_shard = |shard: i32| {
        let name = v.of_shard(shard).statefulset_name();
        let primary = t.primary(shard).filter(|m| m.is_primary());
        let old = o.status.shards.iter().find(|s| s.name == name);
        let in_place = t.shard(shard).filter(|m| {
            !m.instance.terminating
                && primary.is_some_and(|p| m.id() == p.id() || m.in_sync_with(p))
        });
        let count = if shard < v.shards { v.replicas } else { 0 };
        let slots = t.shard(shard).map(|m| i32::from(m.slots.len())).sum();
        ShardStatus {
            // A pod that is not there any more is named until another one is known.
            primary: primary
                .map(|m| m.pod().to_owned())
                .or_else(|| old.and_then(|s| s.primary.clone())),
            slots,
            ready: format!("{}/{count}", in_place.count()),
            name,
        }
    };
    (0..v.shards).chain(removed).map(of_shard).collect()
}

/// Which node ran where: the present ones, and those before that the cluster still knows.
fn nodes(o: &Observed, t: &Topology<'_>) -> Vec<NodeStatus> {
    let here = t.members.iter().map(|m| NodeStatus {
        id: m.id().to_owned(),
        pod: m.pod().to_owned(),
        uid: m.instance.uid.clone(),
    });
    let known = |n: &&NodeStatus| {
        let absent = t.absent.contains_key(n.id.as_str());
        // Nothing is concluded from the silence of all.
        t.by_id(&n.id).is_none() && (absent || silent(o, t, n))
    };
    let mut nodes: Vec<NodeStatus> = here
        .chain(o.status.nodes.iter().filter(known).cloned())
        .collect();
    nodes.sort_by(|a, b| a.id.cmp(&b.id));
    nodes
}

/// The node's pod does not answer, so nobody can tell whether it has the same node.
fn silent(o: &Observed, t: &Topology<'_>, n: &NodeStatus) -> bool {
    of_pod(o, &n.pod).is_some() && t.member(&n.pod).is_none()
}
