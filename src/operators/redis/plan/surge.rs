//! A temporary replica that carries the data of a single server without a volume over its restart: it is added, comes into sync, takes
//! over, the server is restarted, comes into sync, takes over again, and the temporary replica goes. Here it begins and ends; all that
//! lies between is the same as with any other replica.

use super::super::api::Surge;
use super::super::model::{Instance, Observed, Plan, Problem, Validated};
use super::super::reasons;

/// Asks for the temporary replica. It is written to the status first: the Services have to be led by Hera before its pod is there.
pub fn begin(v: &Validated, primary: &Instance, plan: &mut Plan) {
    // One that ends has to be gone before the next one comes.
    if v.surge.is_some() {
        return;
    }
    let pod = v.pod_name(v.replicas);
    plan.later
        .push(format!("add Pod/{pod} as a temporary replica"));
    plan.findings.progress = Some(about(&pod, &primary.pod));
    plan.surge = Some(Surge { pod, ending: false });
    plan.again(std::time::Duration::ZERO);
}

/// Ends it when the single server is up to date and serves again.
pub fn plan(v: &Validated, o: &Observed, primary: &Instance, plan: &mut Plan) {
    let Some(surge) = &v.surge else { return };
    let temporary = |i: &&Instance| i.ordinal >= v.replicas;
    if surge.ending {
        let gone = o
            .instances
            .iter()
            .filter(temporary)
            .all(|i| i.uid.is_empty());
        plan.surge = (!gone).then(|| surge.clone());
        return;
    }
    let server = o.instances.iter().find(|i| i.ordinal == 0);
    let due = o.settling || server.is_none_or(|i| i.outdated || i.terminating);
    if !due && primary.ordinal < v.replicas {
        plan.surge = Some(Surge {
            ending: true,
            ..surge.clone()
        });
    } else if plan.findings.progress.is_none() {
        plan.findings.progress = server.map(|i| about(&surge.pod, &i.pod));
    }
}

fn about(temporary: &str, server: &str) -> Problem {
    Problem::of(
        reasons::Surging,
        format!("Pod/{temporary}"),
        format!("{temporary} carries the data over the restart of {server}"),
    )
}
