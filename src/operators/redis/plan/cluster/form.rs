//! How a cluster comes to be, and comes together again: epochs, introductions, the owners of slots.

use std::collections::BTreeMap;

use super::super::super::model::{
    ClusterStep, Member, Observed, Plan, SLOTS, SlotSet, Topology, Validated,
};
use super::super::super::reasons;
use super::{GOSSIP, about, propose};

/// A node that is to be in the cluster: of a wanted shard, or of one that still has slots.
pub fn belongs(v: &Validated, m: &Member<'_>) -> bool {
    m.instance.shard < v.shards || !m.slots.is_empty()
}

/// Introduces nodes that do not know each other at their present addresses. One that moved is met at its new address before anything
/// else is concluded from its absence.
pub fn meet(v: &Validated, o: &Observed, t: &Topology<'_>, plan: &mut Plan) {
    // From the node that knows most: of two halves it is the one with the slots.
    let knowledge = |m: &&Member<'_>| {
        let owners = m.view.nodes.iter().filter(|n| !n.slots.is_empty()).count();
        let own = usize::from(!m.slots.is_empty());
        (
            own,
            owners,
            std::cmp::Reverse((m.instance.shard, m.instance.ordinal)),
        )
    };
    let members = || t.members.iter().filter(|m| belongs(v, m));
    let Some(seed) = members().max_by_key(knowledge) else {
        return;
    };
    if epochs(v, o, t, plan) {
        return;
    }
    let mut strangers = Vec::new();
    for m in members().filter(|m| m.id() != seed.id()) {
        let acquainted = seed.knows(m) && m.view.nodes.iter().any(|n| n.id == seed.id());
        if acquainted || m.instance.terminating {
            continue;
        }
        if seed.is_meeting(m) {
            plan.again(GOSSIP);
            continue;
        }
        let known = |a: &Member<'_>, b: &Member<'_>| a.view.nodes.iter().any(|n| n.id == b.id());
        if !m.me.slots.is_empty() && !seed.me.slots.is_empty() && !known(seed, m) && !known(m, seed)
        {
            let message = format!(
                "{} and {} own slots and do not know each other: they are of two clusters, and are not joined",
                seed.pod(),
                m.pod()
            );
            plan.findings.risk = Some(about(v, reasons::ForeignCluster, message));
            continue;
        }
        strangers.push(m.pod().to_owned());
    }
    if strangers.is_empty() {
        if !t.all_know_each_other(|m| belongs(v, m)) {
            plan.again(GOSSIP);
        }
        return;
    }
    propose(
        plan,
        ClusterStep::Meet {
            from: seed.pod().to_owned(),
            pods: strangers,
        },
    );
}

/// New nodes of a new cluster get distinct epochs, so that two primaries never claim a slot with the same one. The server takes it
/// only before it knows others.
fn epochs(v: &Validated, o: &Observed, t: &Topology<'_>, plan: &mut Plan) -> bool {
    if !t.members.iter().all(Member::is_fresh) {
        return false;
    }
    if !t.is_complete(v, o) {
        // All of them are new; the rest is waited for, so that every node gets an epoch of its own.
        plan.again(GOSSIP);
        return true;
    }
    let epochs: BTreeMap<String, u64> = (1..)
        .zip(&t.members)
        .filter(|(_, m)| m.view.info.my_epoch == 0)
        .map(|(epoch, m)| (m.pod().to_owned(), epoch))
        .collect();
    if epochs.is_empty() {
        return false;
    }
    propose(plan, ClusterStep::SetEpochs(epochs));
    true
}

/// The slots of a shard when all is even.
pub fn even_share(shards: i32, shard: i32) -> SlotSet {
    let bound = |n: i32| u16::try_from(i32::from(SLOTS) * n / shards.max(1)).unwrap_or(SLOTS);
    let (first, end) = (bound(shard), bound(shard + 1));
    if first >= end {
        return SlotSet::new();
    }
    SlotSet::from_ranges([first..=end - 1])
}

/// Slots that nobody owns get an owner, but only when every pod answers: then nobody can come who owns them.
pub fn assign(v: &Validated, o: &Observed, t: &Topology<'_>, plan: &mut Plan) {
    if t.missing.is_empty() || !t.is_complete(v, o) || !t.all_know_each_other(|m| belongs(v, m)) {
        return;
    }
    let lost = o.status.cluster_formed == Some(true);
    if lost && v.storage.is_some() && !v.accept_data_loss {
        let message = format!(
            "nobody owns the slots {}, and the volumes that held them are empty",
            t.missing
        );
        plan.findings.risk = Some(about(v, reasons::SlotsLost, message));
        return;
    }
    let mut slots = BTreeMap::new();
    for shard in 0..v.shards {
        let share = even_share(v.shards, shard).intersection(&t.missing);
        if share.is_empty() {
            continue;
        }
        let Some(primary) = t.primary(shard) else {
            plan.again(GOSSIP);
            continue;
        };
        slots.insert(primary.pod().to_owned(), share);
    }
    if !slots.is_empty() {
        propose(plan, ClusterStep::AddSlots { slots, lost });
    }
}
