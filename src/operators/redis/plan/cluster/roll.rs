//! Rolling changes: one pod at a time in the whole cluster, replicas first, a primary after it has handed over.

use std::time::Duration;

use jiff::Timestamp;

use super::super::super::model::{Instance, Member, Observed, Plan, Problem, Topology, Validated};
use super::super::super::reasons;
use super::super::permission;
use super::super::pods::LAME;
use super::super::roll::restart;
use super::{about, failover, is_wanted, moves, roles};

/// Plans the next restart. Whether one is due and permitted: then no slots begin to move.
pub fn plan(
    v: &Validated,
    o: &Observed,
    t: &Topology<'_>,
    now: Timestamp,
    plan: &mut Plan,
) -> bool {
    let outdated: Vec<&Instance> = o
        .instances
        .iter()
        .filter(|i| i.outdated && !i.terminating && is_wanted(v, i))
        .collect();
    if outdated.is_empty() {
        return false;
    }
    // Which pods are outdated is known of the templates before these only.
    if o.settling {
        plan.again(Duration::from_secs(1));
        return true;
    }
    let names: Vec<&str> = outdated.iter().map(|i| i.pod.as_str()).collect();
    let mut progress = |reason, message: String| {
        plan.findings.progress = Some(about(v, reason, message));
    };
    let waits = |what: &str| format!("to be restarted: {}; waiting for {what}", names.join(", "));
    if moves::any_open(t) {
        progress(reasons::RollWaiting, waits("slots that are on their way"));
        plan.again(Duration::from_secs(1));
        return true;
    }
    let withheld = outdated
        .iter()
        .filter_map(|i| t.primary(i.shard))
        .find_map(|primary| permission::withheld(v, o, primary.instance, &outdated, now));
    let lame = outdated.iter().find(|i| is_lame(t, i));
    if let Some(lame) = lame.filter(|_| withheld.is_none()) {
        progress(
            reasons::RollingUpdate,
            format!("to be restarted: {}", names.join(", ")),
        );
        plan.rolling = true;
        plan.propose(restart(lame, "it is not in sync, and its template changed"));
        return true;
    }
    let unsettled = o.instances.iter().find(|i| {
        let ready = i.pod_settled() && i.gate == Some(true);
        is_wanted(v, i) && !(roles::is_in_place(t, i) && ready)
    });
    if unsettled.is_some() || !t.agrees(v) || !t.missing.is_empty() {
        progress(
            reasons::RollWaiting,
            waits(unsettled.map_or("the nodes to agree", |i| &i.pod)),
        );
        plan.rolling = true;
        plan.again(Duration::from_secs(1));
        return true;
    }
    if let Some((problem, wait)) = withheld {
        plan.findings.progress = Some(problem);
        plan.again(wait);
        return false;
    }
    plan.rolling = true;
    progress(
        reasons::RollingUpdate,
        format!("to be restarted: {}", names.join(", ")),
    );
    plan.later
        .extend(outdated.iter().map(|i| format!("restart Pod/{}", i.pod)));
    let is_primary = |i: &Instance| {
        let member = t.member(&i.pod);
        member.is_some_and(|m| t.primary(i.shard).is_some_and(|p| p.id() == m.id()))
    };
    let replica = outdated
        .iter()
        .filter(|i| !is_primary(i))
        .max_by_key(|i| (i.shard, i.ordinal));
    match (replica, outdated.first().and_then(|i| t.member(&i.pod))) {
        (Some(replica), _) => plan.propose(restart(replica, "its template changed")),
        (None, Some(primary)) => primary_last(v, o, t, primary, plan),
        (None, None) => {}
    }
    true
}

/// Outdated and not in sync for long, while its shard has a primary: it is no copy that counts.
fn is_lame(t: &Topology<'_>, i: &Instance) -> bool {
    let served = t.primary(i.shard).is_some_and(|p| p.pod() != i.pod);
    let holds = t.member(&i.pod).is_some_and(|m| !m.slots.is_empty());
    served && !holds && !roles::is_in_place(t, i) && i.lame_for() >= LAME && !i.uid.is_empty()
}

fn primary_last(
    v: &Validated,
    o: &Observed,
    t: &Topology<'_>,
    primary: &Member<'_>,
    plan: &mut Plan,
) {
    if let Some(problem) = permission::approval(v, o) {
        plan.findings.progress = Some(problem);
        return;
    }
    let why = format!("{} is to be restarted", primary.pod());
    if v.replicas > 1 && !primary.slots.is_empty() {
        return failover::hand_over(v, t, primary, why, plan);
    }
    let nothing_to_lose = v.storage.is_some() || primary.is_empty() || v.accept_data_loss;
    if nothing_to_lose {
        return plan.propose(restart(primary.instance, "its template changed"));
    }
    let message = format!(
        "a change needs a restart of {}, the only server with its part of the data, and it has no volume",
        primary.pod()
    );
    plan.findings.risk = Some(Problem::of(
        reasons::RestartWouldLoseData,
        format!("Pod/{}", primary.pod()),
        message,
    ));
}
