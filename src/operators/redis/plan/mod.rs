//! What to do next: a pure, total function of the spec, what was observed, and the time.

mod bootstrap;
mod capacity;
mod cluster;
mod config;
mod election;
mod external;
mod hibernation;
mod permission;
mod pods;
mod replication;
mod roll;
mod sentinel;
mod storage;
mod surge;
#[cfg(test)]
mod tests;
mod tls;
mod users;

use std::time::Duration;

use jiff::Timestamp;

use super::model::{Observed, Plan, Step, Validated};

pub use bootstrap::unusable;
pub use election::HAND_OVER_TIMEOUT;
pub use sentinel::{leader, usable_replicas};

/// Decides. At most one step changes the topology; chores do not, and may be done in the same pass.
pub fn plan(v: &Validated, o: &Observed, now: Timestamp) -> Plan {
    if v.clustered() {
        return cluster::plan(v, o, now);
    }
    if v.hibernate {
        let mut plan = Plan::default();
        hibernation::plan(v, o, &mut plan);
        sentinel::rest(v, o, &mut plan);
        storage::plan(v, o, &mut plan);
        return plan;
    }
    if bootstrap::is_due(v, o) {
        let mut plan = Plan::default();
        bootstrap::plan(v, o, now, &mut plan);
        servers(v, o, now, &mut plan);
        roll::replace_broken(v, o, &mut plan);
        return plan;
    }
    let verdict = if v.watched() {
        sentinel::decide(v, o, now)
    } else {
        election::decide(v, o, now)
    };
    let mut plan = Plan {
        primary: verdict.primary.map(|p| p.pod.clone()),
        requeue: verdict.requeue,
        step: verdict.step,
        surge: v.surge.clone(),
        ..Plan::default()
    };
    plan.findings.primary = verdict.problem;
    plan.findings.risk = verdict.risk;
    servers(v, o, now, &mut plan);
    bootstrap::logins(o, &mut plan);
    if let Some(primary) = verdict.primary {
        replication::plan(v, o, primary, verdict.settled, now, &mut plan);
        if verdict.settled {
            tls::listen(v, o, primary, &mut plan);
            roll::plan(v, o, primary, now, &mut plan);
            surge::plan(v, o, primary, &mut plan);
        }
    }
    roll::replace_broken(v, o, &mut plan);
    sentinel::plan(v, o, verdict.primary, verdict.settled, now, &mut plan);
    plan
}

/// What every server is to have, whoever is the primary.
fn servers(v: &Validated, o: &Observed, now: Timestamp, plan: &mut Plan) {
    plan.findings.pods = pods::problems(v, o);
    config::plan(v, o, plan);
    users::plan(v, o, plan);
    tls::plan(v, o, now, plan);
    external::plan(v, o, plan);
    storage::plan(v, o, plan);
    capacity::plan(v, o, plan);
}

impl Plan {
    /// Takes the step when none is due yet, else puts it into words for later.
    fn propose(&mut self, step: Step) {
        if self.step.is_none() {
            self.step = Some(step);
        } else {
            self.later.push(step.to_string());
        }
    }

    /// Looks again after this time at the latest.
    fn again(&mut self, after: Duration) {
        self.requeue = Some(self.requeue.map_or(after, |r| r.min(after)));
    }

    /// All steps in words, in order.
    pub fn words(&self) -> Vec<String> {
        self.step
            .iter()
            .chain(&self.chores)
            .map(ToString::to_string)
            .chain(self.later.iter().cloned())
            .collect()
    }
}
