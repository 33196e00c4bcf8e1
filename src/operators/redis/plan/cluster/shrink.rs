//! What the cluster is to forget: nodes that are gone, and shards that are to go.

use std::time::Duration;

use super::super::super::model::{ClusterStep, Observed, Plan, SlotSet, Topology, Validated};
use super::super::super::reasons;
use super::{about, form, propose};

/// How often it is looked whether a node that no pod is has failed.
const ABSENT: Duration = Duration::from_secs(2);

/// Nodes that are gone for good are forgotten, by all nodes at once. A pod without an address may be any of them: then nothing is.
pub fn forget(v: &Validated, o: &Observed, t: &Topology<'_>, plan: &mut Plan) {
    if !t.absent.is_empty() {
        // The others take a node that just ended for alive for a while.
        plan.again(ABSENT);
    }
    let unknown = o
        .instances
        .iter()
        .any(|i| !i.uid.is_empty() && i.ip.is_none());
    if unknown || t.members.is_empty() {
        return;
    }
    let followed = |id: &str| t.members.iter().any(|m| m.follows(id));
    let gone: Vec<&str> = t
        .absent
        .iter()
        .filter(|(id, a)| {
            let certain = a.slots.is_empty() || t.is_complete(v, o);
            certain && !followed(id) && t.is_gone(v, o, id)
        })
        .map(|(id, _)| *id)
        .collect();
    if gone.is_empty() {
        return;
    }
    let lost = gone
        .iter()
        .filter_map(|id| t.absent.get(id))
        .fold(SlotSet::new(), |all, a| all.union(&a.slots));
    let why = if lost.is_empty() {
        "no pod is these nodes any more".to_owned()
    } else {
        format!("every copy of the slots {lost} is gone")
    };
    propose(
        plan,
        ClusterStep::Forget {
            ids: gone.into_iter().map(str::to_owned).collect(),
            lost,
            why,
        },
    );
}

/// A shard that is not wanted goes when it has no slots and no keys: the others forget its nodes, then its StatefulSet is deleted.
pub fn shards(v: &Validated, o: &Observed, t: &Topology<'_>, plan: &mut Plan) {
    let mut left = o.instances.iter().filter(|i| !i.uid.is_empty());
    if left.any(|i| i.shard >= v.shards) {
        let message = "the pods of shards that were removed are being stopped";
        let problem = about(v, reasons::Scaling, message);
        plan.findings.progress.get_or_insert(problem);
    }
    for &shard in o.cluster.sets.keys().filter(|n| **n >= v.shards) {
        plan.again(super::GOSSIP);
        let pods = || o.instances.iter().filter(|i| i.shard == shard);
        let silent = pods().any(|i| !i.uid.is_empty() && t.member(&i.pod).is_none());
        let holding = t.shard(shard).any(|m| {
            !m.slots.is_empty() || !m.me.slots.is_empty() || !m.is_empty() || m.is_moving()
        });
        let recorded = |id: &str| o.status.nodes.iter().find(|n| n.id == id);
        let owned = t.absent.iter().any(|(id, a)| {
            let here = recorded(id).is_none_or(|n| pods().any(|i| i.pod == n.pod));
            !a.slots.is_empty() && here
        });
        if silent || holding || owned || !t.missing.is_empty() {
            continue;
        }
        let known: Vec<String> = t
            .shard(shard)
            .filter(|m| {
                let stay = |k: &&super::super::super::model::Member<'_>| form::belongs(v, k);
                t.members.iter().filter(stay).any(|k| k.knows(m))
            })
            .map(|m| m.id().to_owned())
            .collect();
        if known.is_empty() {
            return propose(plan, ClusterStep::RemoveShard { shard });
        }
        return propose(
            plan,
            ClusterStep::Forget {
                ids: known,
                lost: SlotSet::new(),
                why: format!("shard {shard} has no slots any more and is to be removed"),
            },
        );
    }
}
