//! A database that sleeps: its pods are gone or going, its volumes stay.

use super::super::model::{Observed, Plan, Problem, Validated};
use super::super::reasons;

/// What there is to tell while no pod is to run. The StatefulSet has no replicas then; nobody is promoted, attached or restarted.
pub fn plan(v: &Validated, o: &Observed, plan: &mut Plan) {
    let left: Vec<&str> = o
        .instances
        .iter()
        .filter(|i| !i.uid.is_empty())
        .map(|i| i.pod.as_str())
        .collect();
    let of =
        |message: String| Problem::of(reasons::Hibernated, format!("Redis/{}", v.name), message);
    if !left.is_empty() {
        plan.findings.progress = Some(of(format!("to be stopped: {}", left.join(", "))));
    }
    plan.findings.primary = Some(of("no pod runs; the volumes keep the data".to_owned()));
}
