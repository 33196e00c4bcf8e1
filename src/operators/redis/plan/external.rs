//! Clients outside of the Kubernetes cluster: what still keeps them from reaching the pods.

use std::time::Duration;

use super::super::external;
use super::super::model::{Observed, Plan, Validated};
use super::super::reasons;

/// Names go around among the nodes by gossip, which starts no pass by itself.
const GOSSIP: Duration = Duration::from_secs(1);

/// Tells what is missing; the directives themselves are set with all others.
pub fn plan(v: &Validated, o: &Observed, plan: &mut Plan) {
    plan.findings.external = external::problem(v, o);
    let untold = |reason| reason == reasons::ExternalAddressUntold;
    if plan
        .findings
        .external
        .as_ref()
        .is_some_and(|p| untold(p.reason))
    {
        plan.again(GOSSIP);
    }
}
