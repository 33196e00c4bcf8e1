//! The replicas: whom they follow, who serves reads, readiness gates, hand-overs that were asked for, instances that hang.

use std::cmp::Reverse;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::api::{Election, ElectionKind};
use super::super::model::{
    Instance, MAX_LAG_SECONDS, Observed, PORT, Plan, Problem, Server, Step, Validated,
};
use super::super::reasons;
use super::super::versions;
use super::election::related;
use super::sentinel;

/// A silent instance that its primary does not hear either is replaced after this time.
const HUNG_AFTER: Duration = Duration::from_secs(30);
/// After a hand-over was given up, the next is tried no sooner.
const HAND_OVER_PAUSE: Duration = Duration::from_secs(20);

/// Plans everything around a primary that answers.
pub fn plan(
    v: &Validated,
    o: &Observed,
    primary: &Instance,
    settled: bool,
    now: Timestamp,
    plan: &mut Plan,
) {
    plan.readers = o
        .instances
        .iter()
        .filter(|i| !i.terminating && i.in_sync_with(primary))
        .map(|i| i.pod.clone())
        .collect();
    if primary.is_primary() {
        follow(o, primary, plan);
        behind(v, o, primary, plan);
    }
    if v.gated() {
        gates(o, primary, plan);
    }
    if settled {
        wanted_hand_over(v, o, primary, now, plan);
        hung(v, o, primary, plan);
    }
}

/// Makes the others replicas of this one, where they can read its data and it is no loss.
pub fn follow(o: &Observed, primary: &Instance, plan: &mut Plan) {
    let Some(leader) = primary.info() else { return };
    let mut pods = Vec::new();
    for i in o.instances.iter().filter(|i| {
        i.pod != primary.pod && !i.is_primary() && !i.terminating && !i.follows(primary)
    }) {
        let Some(info) = i.info() else { continue };
        if leader.keys == 0 && info.keys > 0 && !related(i, primary) {
            let message = format!(
                "{} is empty while {} holds data of another history",
                primary.pod, i.pod
            );
            plan.findings.risk = Some(Problem::of(
                reasons::EmptyPrimary,
                format!("Pod/{}", i.pod),
                message,
            ));
        } else if !versions::can_follow(info, leader) {
            let message = format!(
                "{} ({:?} {}) cannot read the data of {} ({:?} {})",
                i.pod, info.engine, info.version, primary.pod, leader.engine, leader.version
            );
            plan.findings.replication = Some(Problem::of(
                reasons::IncompatibleVersion,
                format!("Pod/{}", i.pod),
                message,
            ));
        } else {
            pods.push(i.pod.clone());
        }
    }
    if !pods.is_empty() {
        plan.chores.push(Step::Follow {
            pods,
            primary: primary.pod.clone(),
        });
    }
}

fn behind(v: &Validated, o: &Observed, primary: &Instance, plan: &mut Plan) {
    let late: Vec<&str> = o
        .instances
        .iter()
        .filter(|i| i.ordinal < v.copies() && i.pod != primary.pod && !i.in_sync_with(primary))
        .map(|i| i.pod.as_str())
        .collect();
    if !late.is_empty() && plan.findings.replication.is_none() {
        plan.findings.replication = Some(Problem::of(
            reasons::ReplicasBehind,
            format!("Pod/{}", late[0]),
            format!("not in sync: {}", late.join(", ")),
        ));
        plan.again(Duration::from_secs(1));
    }
}

fn gates(o: &Observed, primary: &Instance, plan: &mut Plan) {
    for i in o
        .instances
        .iter()
        .filter(|i| i.info().is_some() && !i.terminating)
    {
        let ready = if i.pod == primary.pod {
            i.is_primary()
        } else {
            i.in_sync_with(primary)
        };
        if i.gate != Some(ready) {
            plan.chores.push(Step::Gate {
                pod: i.pod.clone(),
                ready,
            });
        }
    }
}

/// The best instance to hand over to: in sync, heard by the primary within the permitted lag, and staying.
pub fn successor<'a>(v: &Validated, o: &'a Observed, primary: &Instance) -> Option<&'a Instance> {
    let links = primary
        .info()
        .map(|i| i.replicas.as_slice())
        .unwrap_or_default();
    o.instances
        .iter()
        .filter(|i| i.ordinal < v.copies() && !i.leaving() && i.in_sync_with(primary))
        .filter(|i| {
            if v.watched() {
                sentinel::would_choose(v, o, &i.pod)
            } else {
                i.info().is_some_and(|info| info.priority > 0)
            }
        })
        .filter_map(|i| {
            let link = links
                .iter()
                .find(|l| i.ip.as_deref() == Some(l.ip.as_str()) && l.port == PORT)?;
            (link.is_online() && i64::try_from(link.lag).is_ok_and(|lag| lag <= MAX_LAG_SECONDS))
                .then_some((i, link.offset))
        })
        .max_by_key(|(i, offset)| (!i.outdated, *offset, Reverse(i.ordinal)))
        .map(|(i, _)| i)
}

/// The decision that `to` takes over from `primary`.
pub fn hand_over(
    o: &Observed,
    primary: &Instance,
    to: &Instance,
    now: Timestamp,
    why: String,
) -> Step {
    let election = Election {
        epoch: o.status.election.as_ref().map_or(1, |e| e.epoch + 1),
        kind: ElectionKind::HandOver,
        candidate: to.pod.clone(),
        candidate_uid: to.uid.clone(),
        run_id: to.info().map(|i| i.run_id.clone()).unwrap_or_default(),
        from: Some(primary.pod.clone()),
        decided_at: Time(now),
        completed: false,
    };
    Step::Decide(election, why)
}

/// A hand-over was given up a moment ago.
pub fn hand_over_pauses(o: &Observed, now: Timestamp, primary: &Instance) -> bool {
    let pause = if primary.terminating {
        HAND_OVER_PAUSE / 10
    } else {
        HAND_OVER_PAUSE
    };
    o.status.election.as_ref().is_some_and(|e| {
        e.kind == ElectionKind::Abandoned
            && Duration::try_from(now.duration_since(e.decided_at.0)).is_ok_and(|age| age < pause)
    })
}

fn wanted_hand_over(
    v: &Validated,
    o: &Observed,
    primary: &Instance,
    now: Timestamp,
    plan: &mut Plan,
) {
    // While pods are replaced, the order of the roll goes first.
    let rolling = o.instances.iter().any(|i| i.outdated);
    let carries = v.surge.is_some()
        && o.instances
            .iter()
            .any(|i| i.outdated && i.ordinal < v.replicas);
    let asked = v
        .switchover
        .as_deref()
        .filter(|pod| *pod != primary.pod && !rolling);
    let why = if primary.terminating {
        format!("{} is being deleted", primary.pod)
    } else if primary.disrupted {
        format!("{} is about to be evicted", primary.pod)
    } else if primary.ordinal >= v.replicas && !carries {
        format!("{} is to be removed", primary.pod)
    } else if let Some(pod) = asked {
        format!("{pod} is asked for by annotation")
    } else {
        return;
    };
    if hand_over_pauses(o, now, primary) {
        return plan.again(Duration::from_secs(2));
    }
    let to = match asked {
        Some(pod) if !primary.leaving() && primary.ordinal < v.replicas => {
            successor(v, &only(o, pod), primary)
                .and_then(|s| o.instances.iter().find(|i| i.pod == s.pod))
        }
        _ => successor(v, o, primary),
    };
    if let Some(to) = to {
        plan.propose(hand_over(o, primary, to, now, why));
    } else {
        let message = format!("{why}, but no replica is in sync to take over");
        plan.findings.progress = Some(Problem::of(
            reasons::HandingOver,
            format!("Pod/{}", primary.pod),
            message,
        ));
        plan.again(Duration::from_secs(1));
    }
}

fn only(o: &Observed, pod: &str) -> Observed {
    Observed {
        instances: o
            .instances
            .iter()
            .filter(|i| i.pod == pod)
            .cloned()
            .collect(),
        sentinels: o.sentinels.clone(),
        ..Observed::default()
    }
}

/// An instance that neither Hera nor the primary hears any more, on a node that works: its process hangs. A former primary among them
/// must not come back to life with its clients, so its pod is replaced.
fn hung(v: &Validated, o: &Observed, primary: &Instance, plan: &mut Plan) {
    let Some(leader) = primary.info() else { return };
    let heard = |i: &Instance| {
        leader.replicas.iter().any(|l| {
            i.ip.as_deref() == Some(l.ip.as_str())
                && i64::try_from(l.lag).is_ok_and(|lag| lag <= MAX_LAG_SECONDS)
        })
    };
    let was_primary = |i: &Instance| {
        o.status
            .election
            .as_ref()
            .is_some_and(|e| e.from.as_deref() == Some(i.pod.as_str()))
    };
    for i in o
        .instances
        .iter()
        .filter(|i| i.pod != primary.pod && !i.terminating && !i.node_lost)
    {
        let Server::Silent(silence) = i.server else {
            continue;
        };
        let limit = if was_primary(i) {
            v.unresponsive_after
        } else {
            HUNG_AFTER
        };
        if heard(i) || silence < limit {
            plan.again(Duration::from_secs(5));
            continue;
        }
        let why = format!(
            "{} has not answered for {} s, neither to Hera nor to the primary",
            i.pod,
            silence.as_secs()
        );
        return plan.propose(Step::DeletePod {
            pod: i.pod.clone(),
            uid: i.uid.clone(),
            reason: reasons::InstanceUnresponsiveDeleted,
            why,
        });
    }
}
