//! What to do next in mode Cluster. The servers fail over by themselves; Hera builds the cluster, introduces nodes that moved, helps
//! where the servers cannot know that a primary is gone for good, hands over before a primary is stopped, and moves slots.

mod failover;
mod form;
mod moves;
mod roles;
mod roll;
mod shrink;
mod slots;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;

use super::super::model::{
    ClusterStep, Instance, Observed, Plan, Problem, Step, Topology, Validated,
};
use super::super::reasons;
use super::{capacity, config, external, hibernation, pods, storage, tls, users};

/// While the views of the nodes differ.
const GOSSIP: Duration = Duration::from_millis(300);

/// Decides. Steps are proposed in the order of their urgency; the first one is carried out.
pub fn plan(v: &Validated, o: &Observed, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    if v.hibernate {
        hibernation::plan(v, o, &mut plan);
        storage_of_shards(v, o, false, &mut plan);
        return plan;
    }
    let t = Topology::of(o);
    plan.findings.pods = pods::problems(v, &wanted(v, o));
    config::plan(v, o, &mut plan);
    users::plan(v, o, &mut plan);
    external::plan(v, o, &mut plan);
    tls::plan(v, o, now, &mut plan);
    failover::plan(v, o, &t, &mut plan);
    form::meet(v, o, &t, &mut plan);
    form::assign(v, o, &t, &mut plan);
    roles::plan(v, o, &t, &mut plan);
    roles::gates(v, o, &t, &mut plan);
    shrink::forget(v, o, &t, &mut plan);
    // A volume that goes may hold slots that nobody else has.
    let whole = t.missing.is_empty() && t.absent.values().all(|a| a.slots.is_empty());
    storage_of_shards(v, o, whole && t.is_complete(v, o), &mut plan);
    capacity::plan(v, o, &mut plan);
    state(v, o, &t, &mut plan);
    moves::finish(v, o, &t, &mut plan);
    let switching = tls::listen_together(v, o, &t, &mut plan);
    let rolling = switching || roll::plan(v, o, &t, now, &mut plan);
    super::roll::replace_broken(v, o, &mut plan);
    if !rolling && !plan.rolling {
        moves::begin(v, o, &t, now, &mut plan);
        shrink::shards(v, o, &t, &mut plan);
    }
    moves::narrow(&t, &mut plan);
    plan
}

fn propose(plan: &mut Plan, step: ClusterStep) {
    plan.propose(Step::Cluster(step));
}

/// What is wrong, about the database as a whole.
fn about(v: &Validated, reason: &'static str, message: impl Into<String>) -> Problem {
    Problem::of(reason, format!("Redis/{}", v.name), message)
}

/// A pod that the spec asks for.
fn is_wanted(v: &Validated, i: &Instance) -> bool {
    i.shard < v.shards && i.ordinal < v.replicas
}

fn wanted(v: &Validated, o: &Observed) -> Observed {
    let mut o = o.clone();
    o.instances.retain(|i| is_wanted(v, i));
    o
}

/// Each shard has volumes as a database of its own has.
fn storage_of_shards(v: &Validated, o: &Observed, complete: bool, plan: &mut Plan) {
    let mut shards: Vec<i32> = (0..v.shards).collect();
    shards.extend(o.claims.iter().map(|c| c.shard).filter(|s| *s >= v.shards));
    shards.dedup();
    for shard in shards {
        let mut own = v.of_shard(shard);
        if shard >= v.shards {
            // A shard that is being removed needs none of its volumes once its StatefulSet is gone.
            if o.cluster.sets.contains_key(&shard) {
                continue;
            }
            own.replicas = 0;
        }
        let mut part = Plan {
            // Volumes of removed pods go only while all others are well.
            primary: complete.then(|| own.statefulset_name()),
            ..Plan::default()
        };
        storage::plan(&own, &o.of_shard(shard), &mut part);
        plan.chores.append(&mut part.chores);
        plan.later.append(&mut part.later);
        if let Some(after) = part.requeue {
            plan.again(after);
        }
        if plan.findings.storage.is_none() {
            plan.findings.storage = part.findings.storage;
        }
        match part.step {
            Some(Step::RecreateStatefulSet(why)) => {
                propose(plan, ClusterStep::RecreateStatefulSet { shard, why });
            }
            Some(step) => plan.propose(step),
            None => {}
        }
    }
}

/// How the cluster stands, in findings.
fn state(v: &Validated, o: &Observed, t: &Topology<'_>, plan: &mut Plan) {
    let served = t.served();
    if !served.is_full() && plan.findings.primary.is_none() {
        let open = served.complement();
        let message = format!("no primary serves the slots {open}");
        let reason = if o.status.cluster_formed == Some(true) {
            reasons::SlotsUncovered
        } else {
            reasons::Creating
        };
        plan.findings.primary = Some(about(v, reason, message));
        plan.again(Duration::from_secs(1));
    } else if !t.agrees(v) && plan.findings.primary.is_none() {
        plan.findings.primary = Some(about(
            v,
            reasons::ViewsDiffer,
            "the nodes do not all see the same primaries yet",
        ));
        plan.again(GOSSIP);
    }
    let behind: Vec<&str> = o
        .instances
        .iter()
        .filter(|i| is_wanted(v, i) && !roles::is_in_place(t, i))
        .map(|i| i.pod.as_str())
        .collect();
    if !behind.is_empty() && plan.findings.replication.is_none() {
        plan.findings.replication = Some(Problem::of(
            reasons::ReplicasBehind,
            format!("Pod/{}", behind[0]),
            format!("not in sync: {}", behind.join(", ")),
        ));
        plan.again(Duration::from_secs(1));
    }
}
