//! Rolling changes: replicas first, the primary last after a hand-over, one pod at a time; a pod that is broken anyway at once.

use std::time::Duration;

use jiff::Timestamp;

use super::super::model::{Instance, Observed, Plan, Problem, Step, Validated};
use super::super::reasons;
use super::pods::{LAME, never_served};
use super::replication::{hand_over, hand_over_pauses, successor};
use super::{permission, surge};

/// Plans the next restart, given a primary that serves.
pub fn plan(v: &Validated, o: &Observed, primary: &Instance, now: Timestamp, plan: &mut Plan) {
    // A temporary replica goes when all others are up to date, whatever its own template is.
    let outdated: Vec<&Instance> = members(v, o)
        .filter(|i| i.outdated && !i.terminating && i.ordinal < v.replicas)
        .collect();
    if outdated.is_empty() {
        return;
    }
    plan.rolling = true;
    // Which pods are outdated is known of the template before this one only.
    if o.settling {
        return plan.again(Duration::from_secs(1));
    }
    let names: Vec<&str> = outdated.iter().map(|i| i.pod.as_str()).collect();
    let mut progress = |reason, message: String| {
        plan.findings.progress = Some(Problem::of(reason, format!("Redis/{}", v.name), message));
    };
    // Not ready and outdated: it is no copy that counts, and waiting for it could be for ever when the spec was corrected since.
    let withheld = permission::withheld(v, o, primary, &outdated, now);
    let lame = members(v, o)
        .filter(|i| i.outdated && !i.terminating && i.lame_for() >= LAME)
        .find(|i| i.pod != primary.pod && !i.in_sync_with(primary) && !i.is_primary());
    if let Some(lame) = lame.filter(|_| withheld.is_none()) {
        progress(
            reasons::RollingUpdate,
            format!("to be restarted: {}", names.join(", ")),
        );
        return plan.propose(restart(lame, "it is not in sync, and its template changed"));
    }
    if let Some(unsettled) = members(v, o).find(|i| !settled(v, i, primary)) {
        progress(
            reasons::RollWaiting,
            format!(
                "to be restarted: {}; waiting for {}",
                names.join(", "),
                unsettled.pod
            ),
        );
        return plan.again(Duration::from_secs(1));
    }
    if let Some((problem, wait)) = withheld {
        plan.findings.progress = Some(problem);
        return plan.again(wait);
    }
    progress(
        reasons::RollingUpdate,
        format!("to be restarted: {}", names.join(", ")),
    );
    plan.later
        .extend(outdated.iter().map(|i| format!("restart Pod/{}", i.pod)));
    match outdated
        .iter()
        .filter(|i| i.pod != primary.pod)
        .max_by_key(|i| i.ordinal)
    {
        Some(replica) => plan.propose(restart(replica, "its template changed")),
        None => primary_last(v, o, primary, now, plan),
    }
}

/// A pod of an outdated revision that does not serve holds nothing that its replacement would not: a corrected spec heals it.
pub fn replace_broken(v: &Validated, o: &Observed, plan: &mut Plan) {
    let mut primaries = o.instances.iter().filter(|i| i.is_primary());
    if primaries.any(|primary| permission::unreadable(v, primary).is_some()) {
        return;
    }
    let broken = members(v, o).find(|i| {
        i.outdated
            && !i.terminating
            && !i.uid.is_empty()
            && never_served(i)
            && plan.primary.as_ref() != Some(&i.pod)
    });
    if let Some(i) = broken {
        plan.rolling = true;
        plan.propose(restart(
            i,
            "it does not start, and its template changed since",
        ));
    }
}

fn members<'a>(v: &Validated, o: &'a Observed) -> impl Iterator<Item = &'a Instance> + use<'a> {
    let copies = v.copies();
    o.instances.iter().filter(move |i| i.ordinal < copies)
}

fn settled(v: &Validated, i: &Instance, primary: &Instance) -> bool {
    let serves = if i.pod == primary.pod {
        i.is_primary()
    } else {
        i.in_sync_with(primary)
    };
    let gated = !v.gated() || i.gate == Some(true);
    serves && gated && i.pod_settled() && !i.terminating
}

/// Deletes a pod, so that it is made anew from its present template.
pub fn restart(i: &Instance, why: &str) -> Step {
    Step::DeletePod {
        pod: i.pod.clone(),
        uid: i.uid.clone(),
        reason: reasons::RollingUpdate,
        why: format!("{}: {why}", i.pod),
    }
}

fn primary_last(v: &Validated, o: &Observed, primary: &Instance, now: Timestamp, plan: &mut Plan) {
    if let Some(problem) = permission::approval(v, o) {
        plan.findings.progress = Some(problem);
        return;
    }
    if let Some(to) = successor(v, o, primary) {
        if hand_over_pauses(o, now, primary) {
            return plan.again(Duration::from_secs(2));
        }
        return plan.propose(hand_over(
            o,
            primary,
            to,
            now,
            format!("{} is to be restarted", primary.pod),
        ));
    }
    if v.copies() > 1 {
        return plan.again(Duration::from_secs(1));
    }
    let empty = primary.info().is_some_and(|i| i.keys == 0);
    if v.storage.is_some() || empty || v.accept_data_loss {
        return plan.propose(restart(primary, "its template changed"));
    }
    if v.update.surge && !v.watched() {
        return surge::begin(v, primary, plan);
    }
    let message = format!(
        "a change needs a restart of {}, the only server with the data, and it has no volume",
        primary.pod
    );
    plan.findings.risk = Some(Problem::of(
        reasons::RestartWouldLoseData,
        format!("Pod/{}", primary.pod),
        message,
    ));
}
