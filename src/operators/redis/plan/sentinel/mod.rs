//! Under sentinels: they fail over, and what they say is followed. Hera decides only when they cannot, and makes them forget the primary
//! before it does, so that two never decide at the same time.

mod decide;
mod keep;
mod roll;
mod truth;

use jiff::Timestamp;

use self::truth::Truth;
use super::super::model::{Instance, Observed, Plan, Sentinel, SentinelStep, Step, Validated};
use super::super::users::SENTINEL_USER;

pub use self::decide::decide;

/// `replica-priority` of servers that no sentinel looks at.
const USUAL_PRIORITY: u32 = 100;

/// Plans everything around the sentinels.
pub fn plan(
    v: &Validated,
    o: &Observed,
    primary: Option<&Instance>,
    settled: bool,
    now: Timestamp,
    plan: &mut Plan,
) {
    if !v.watched() {
        return retire(v, o, plan);
    }
    let truth = Truth::of(v, o);
    if truth.is_failing_over() {
        // Nobody is pointed to the primary that is being replaced.
        plan.chores.retain(|s| !matches!(s, Step::Follow { .. }));
    }
    keep::plan(&truth, primary, settled, now, plan);
    roll::plan(&truth, primary, settled, now, plan);
}

/// A database that is not watched any more: the sentinels forget it first, so that they change nothing any more, and then go.
fn retire(v: &Validated, o: &Observed, plan: &mut Plan) {
    if o.sentinels.set.is_none() {
        plan.chores.extend(forgotten(v, o));
        return;
    }
    let truth = Truth::of(v, o);
    let forget = truth.forget("the database has no sentinels any more");
    if forget.is_none() {
        plan.chores.extend(forgotten(v, o));
    }
    let step = forget.unwrap_or(Step::Sentinel(SentinelStep::Remove));
    // Whatever else is due waits until they are gone.
    if let Some(later) = plan.step.replace(step) {
        plan.later.insert(0, later.to_string());
    }
}

/// What servers had for the sentinels only.
fn forgotten(v: &Validated, o: &Observed) -> Vec<Step> {
    let answering = || o.instances.iter().filter(|i| i.info().is_some());
    let user = |i: &Instance| Step::RemoveUsers {
        pod: i.pod.clone(),
        users: vec![SENTINEL_USER.to_owned()],
    };
    let has_user = |i: &&Instance| matches!(i.users.get(SENTINEL_USER), Some(Some(_)));
    let has_priority = |i: &&Instance| {
        let info = i.info().filter(|_| v.gated() && !i.is_primary());
        info.is_some_and(|info| info.priority != USUAL_PRIORITY)
    };
    let priority = |i: &Instance| Step::Configure {
        pod: i.pod.clone(),
        directives: [("replica-priority".to_owned(), USUAL_PRIORITY.to_string())].into(),
    };
    let users = answering().filter(has_user).map(user);
    users
        .chain(answering().filter(has_priority).map(priority))
        .collect()
}

/// A database that sleeps: its servers are stopped, and the sentinels must not take that for a loss.
pub fn rest(v: &Validated, o: &Observed, plan: &mut Plan) {
    if v.watched() {
        let forget = Truth::of(v, o).forget("the database is stopped");
        plan.chores.extend(forget);
    }
}

/// The sentinels would choose this pod when one of them led a failover now. True when none watches: then Hera chooses.
pub fn would_choose(v: &Validated, o: &Observed, pod: &str) -> bool {
    let truth = Truth::of(v, o);
    truth.watching().next().is_none() || truth.chooser(|i| i.pod == pod).is_some()
}

/// The sentinel that leads a hand-over to this pod: one that would choose it. What a sentinel knows of offsets changes by the second, so
/// when nobody asked for this very pod, one leads that would choose another in sync.
pub fn leader<'a>(v: &Validated, o: &'a Observed, pod: &str) -> Option<&'a Sentinel> {
    let truth = Truth::of(v, o);
    let asked_for = v.switchover.as_deref() == Some(pod);
    let primary = o.instances.iter().find(|i| i.is_primary());
    let in_sync = |i: &Instance| !asked_for && primary.is_some_and(|p| i.in_sync_with(p));
    let choosing = truth.chooser(|i| i.pod == pod);
    choosing.or_else(|| truth.chooser(in_sync)).map(|(s, _)| s)
}

/// Whether a sentinel watches, and the pods that any of them could choose.
pub fn usable_replicas<'a>(v: &Validated, o: &'a Observed) -> Option<Vec<&'a Instance>> {
    let truth = Truth::of(v, o);
    truth.watching().next()?;
    Some(truth.usable().collect())
}
