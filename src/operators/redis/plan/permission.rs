//! Whether a pod that serves may be restarted for a change now: what the user allows in `spec.update`, and the budget of the manager.

use std::time::Duration;

use jiff::Timestamp;

use super::super::api::{self, APPROVE_UPDATE_ANNOTATION};
use super::super::model::{Instance, Observed, Problem, Validated};
use super::super::{reasons, versions};
use crate::engines::redis::Engine;

/// A window is looked at again at least this often: clocks are set.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Why no pod may be restarted now, and when to look again.
pub fn withheld(
    v: &Validated,
    o: &Observed,
    primary: &Instance,
    due: &[&Instance],
    now: Timestamp,
) -> Option<(Problem, Duration)> {
    let names: Vec<&str> = due.iter().map(|i| i.pod.as_str()).collect();
    let waits = |reason, why: String, wait: Duration| {
        let message = format!("to be restarted: {}; {why}", names.join(", "));
        let problem = Problem::of(reason, format!("Redis/{}", v.name), message);
        Some((problem, wait.min(LONGEST_WAIT)))
    };
    if let Some((wanted, running)) = unreadable(v, primary) {
        return waits(
            reasons::IncompatibleVersion,
            format!("{wanted} could not read the data of {running}, so nothing is restarted"),
            LONGEST_WAIT,
        );
    }
    if v.update.paused {
        return waits(
            reasons::UpdatePaused,
            "spec.update.paused is true".into(),
            LONGEST_WAIT,
        );
    }
    let opens_in = v.update.window.as_ref().map(|w| w.opens_in(now));
    if let Some(wait) = opens_in.filter(|wait| !wait.is_zero()) {
        let at = now + jiff::SignedDuration::try_from(wait).unwrap_or_default();
        return waits(
            reasons::OutsideMaintenanceWindow,
            format!("spec.update.window opens at {at:.0}"),
            wait,
        );
    }
    if let Some((young, left)) = soaking(v, o) {
        return waits(
            reasons::Soaking,
            format!(
                "{} was restarted, and is watched for {} s more",
                young.pod,
                left.as_secs().max(1)
            ),
            left,
        );
    }
    if !o.may_roll {
        return waits(
            reasons::RolloutBudgetExhausted,
            "other databases restart pods at the moment".into(),
            Duration::from_secs(5),
        );
    }
    None
}

/// The version that the spec asks for and the one that runs, when the former cannot read the data of the latter: a downgrade, or
/// another engine. The first restarted pod would lose its copy of the data in the attempt.
pub fn unreadable(v: &Validated, primary: &Instance) -> Option<(String, String)> {
    let (version, info) = (v.version.as_deref()?, primary.info()?);
    let engine = match v.engine {
        api::Engine::Redis => Engine::Redis,
        api::Engine::Valkey => Engine::Valkey,
    };
    (!versions::can_read(engine, version, info)).then(|| {
        (
            format!("{engine:?} {version}"),
            format!("{:?} {}", info.engine, info.version),
        )
    })
}

/// The pod that was restarted last, and how long it is still to be watched.
fn soaking<'a>(v: &Validated, o: &'a Observed) -> Option<(&'a Instance, Duration)> {
    let left = |i: &Instance| v.update.soak.checked_sub(i.ready_for?);
    o.instances
        .iter()
        .filter(|i| !i.outdated && !i.uid.is_empty())
        .filter_map(|i| Some((i, left(i).filter(|left| !left.is_zero())?)))
        .max_by_key(|(_, left)| *left)
}

/// Why the primary may not be restarted now though all else may.
pub fn approval(v: &Validated, o: &Observed) -> Option<Problem> {
    if !v.update.ask_for_primary {
        return None;
    }
    // Which revision is to be approved is known when the controller of the StatefulSet has seen it.
    if v.update.approved.is_some() && v.update.approved == o.update_revision {
        return None;
    }
    let revision = o.update_revision.as_deref().unwrap_or("(not known yet)");
    Some(Problem::of(
        reasons::ApprovalNeeded,
        format!("Redis/{}", v.name),
        format!(
            "only the primary is left to be restarted; it waits for the annotation {APPROVE_UPDATE_ANNOTATION}: {revision}"
        ),
    ))
}
