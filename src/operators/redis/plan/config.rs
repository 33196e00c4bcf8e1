//! Directives that a server takes while it runs: set where they differ, verified by reading back, refused ones told.

use std::collections::BTreeMap;

use super::super::model::{Instance, Observed, Plan, Problem, Step, Validated};
use super::super::reasons;
use super::super::{directives, external};

/// Plans what has to be set on which server.
pub fn plan(v: &Validated, o: &Observed, plan: &mut Plan) {
    let live = directives::live(v, o);
    let filed = directives::filed(o);
    let mut pending = Vec::new();
    let mut refused: Option<Problem> = None;
    for i in o.instances.iter().filter(|i| i.info().is_some()) {
        let mut due = BTreeMap::new();
        let mut desired = live.clone();
        desired.extend(external::announced(v, o, i));
        for (name, value) in &desired {
            if let Some(words) = i.refused.get(&(name.clone(), value.clone())) {
                let field = if external::DIRECTIVES.contains(&name.as_str()) {
                    name.clone()
                } else {
                    format!("spec.config.{name}")
                };
                let message = format!("{field}: {value:?} is refused by the server: {words}");
                refused.get_or_insert_with(|| {
                    Problem::of(reasons::InvalidConfig, format!("Redis/{}", v.name), message)
                });
            } else if too_early(o, i, name, value) {
                pending.push(i.pod.clone());
            } else if !directives::in_effect(i, name, value) {
                due.insert(name.clone(), value.clone());
            }
        }
        // What stands in the file was accepted before: a server that reports it in other words is asked once more after a start of
        // Hera, and that is no news.
        let news = due
            .iter()
            .any(|(name, value)| filed.get(name) != Some(value));
        if news {
            pending.push(i.pod.clone());
        }
        if !due.is_empty() {
            plan.chores.push(Step::Configure {
                pod: i.pod.clone(),
                directives: due,
            });
        }
    }
    pending.dedup();
    plan.findings.config = refused.or_else(|| {
        (!pending.is_empty()).then(|| {
            Problem::of(
                reasons::ConfigPending,
                format!("Pod/{}", pending[0]),
                format!("to be configured: {}", pending.join(", ")),
            )
        })
    });
}

/// A primary that demands more replicas than it has refuses every write: after scaling out it waits until they are in sync. What it
/// demanded before stays.
fn too_early(o: &Observed, i: &Instance, name: &str, value: &str) -> bool {
    if name != directives::MIN_REPLICAS || !i.is_primary() {
        return false;
    }
    let number = |text: Option<&String>| text.and_then(|t| t.parse::<usize>().ok());
    let (before, wanted) = (number(i.config.get(name)), value.parse().ok());
    let in_sync = o.instances.iter().filter(|r| r.in_sync_with(i)).count();
    before < wanted && wanted > Some(in_sync)
}
