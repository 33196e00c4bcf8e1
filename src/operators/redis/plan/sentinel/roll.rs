//! The pods of the sentinels: replaced one by one, when nothing else is being changed and all see each other.

use std::time::Duration;

use jiff::Timestamp;

use super::truth::Truth;
use crate::operators::redis::model::{
    Instance, Plan, Problem, Sentinel, SentinelStep, Server, Step,
};
use crate::operators::redis::plan::permission;
use crate::operators::redis::plan::pods::never_served;
use crate::operators::redis::reasons;

/// A sentinel that gives no answer for so long is replaced: it holds nothing.
const HUNG_AFTER: Duration = Duration::from_secs(30);

/// Plans which pod of a sentinel is deleted.
pub fn plan(
    truth: &Truth<'_, '_>,
    primary: Option<&Instance>,
    settled: bool,
    now: Timestamp,
    plan: &mut Plan,
) {
    let pods = &truth.o.sentinels.pods;
    if truth.o.sentinels.settling {
        return plan.again(Duration::from_secs(1));
    }
    let present = || {
        pods.iter()
            .filter(|s| !s.pod.uid.is_empty() && !s.pod.terminating)
    };
    if let Some(s) = present().find(|s| is_outdated(s) && never_served(&s.pod)) {
        return plan.propose(delete(
            s,
            reasons::RollingUpdate,
            "it does not start, and its template changed since",
        ));
    }
    let hung = |s: &&Sentinel| matches!(s.pod.server, Server::Silent(time) if time >= HUNG_AFTER);
    if let Some(s) = present().find(|s| hung(s) && !s.pod.node_lost) {
        let why = "it does not answer, and holds nothing";
        plan.chores
            .push(delete(s, reasons::InstanceUnresponsiveDeleted, why));
        return;
    }
    let outdated: Vec<&Sentinel> = present().filter(|s| is_outdated(s)).collect();
    let Some(last) = outdated.last() else { return };
    let calm = settled
        && primary.is_some()
        && !plan.rolling
        && plan.step.is_none()
        && plan.findings.replication.is_none();
    let names: Vec<&str> = outdated.iter().map(|s| s.name()).collect();
    let due: Vec<&Instance> = outdated.iter().map(|s| &s.pod).collect();
    let withheld = primary.and_then(|p| permission::withheld(truth.v, truth.o, p, &due, now));
    if let Some((problem, wait)) = withheld {
        plan.findings.progress.get_or_insert(problem);
        return plan.again(wait);
    }
    if plan.findings.progress.is_none() {
        let reason = if calm && plan.findings.sentinels.is_none() {
            reasons::RollingUpdate
        } else {
            reasons::RollWaiting
        };
        plan.findings.progress = Some(Problem::of(
            reason,
            format!("StatefulSet/{}", truth.v.sentinel_set()),
            format!("to be restarted: {}", names.join(", ")),
        ));
    }
    if calm && plan.findings.sentinels.is_none() {
        plan.propose(delete(
            last,
            reasons::RollingUpdate,
            "its template or certificate changed",
        ));
    } else {
        plan.again(Duration::from_secs(1));
    }
}

/// Its template changed, or it serves a former certificate, which a sentinel does not read again while it runs.
fn is_outdated(s: &Sentinel) -> bool {
    s.pod.outdated || s.pod.serves_certificate == Some(false)
}

fn delete(s: &Sentinel, reason: &'static str, why: &str) -> Step {
    Step::Sentinel(SentinelStep::DeletePod {
        pod: s.name().to_owned(),
        uid: s.pod.uid.clone(),
        reason,
        why: format!("{}: {why}", s.name()),
    })
}
