//! Slots on their way: what was begun is finished, what is to be moved is begun.

use std::time::Duration;

use jiff::Timestamp;

use super::super::super::model::{
    ClusterStep, Member, Observed, Plan, SlotMigrationWay, SlotSet, Step, Topology, Validated,
};
use super::super::super::reasons;
use super::slots::balance;
use super::{about, form, propose, roles};

/// An atomic migration that failed is begun again after this time.
const PAUSE: u64 = 10;
/// How often an atomic migration is looked at.
const POLL: Duration = Duration::from_millis(500);
/// Slots of one step where the keys are moved one by one.
const BATCH: u16 = 512;

/// Slots that are open on some node: their move is gone on with, by whoever it was begun.
pub fn finish(v: &Validated, o: &Observed, t: &Topology<'_>, plan: &mut Plan) {
    if t.members.iter().any(Member::is_moving) {
        moving(v, "the servers move slots".to_owned(), plan);
        plan.again(POLL);
        return;
    }
    for m in &t.members {
        let mut useless = SlotSet::new();
        for (&slot, id) in &m.me.migrating {
            let target = heir(o, t, id);
            if !m.slots.contains(slot) {
                useless = useless.union(&SlotSet::from_ranges([slot..=slot]));
            } else if let Some(to) = target.filter(|to| to.id() != m.id()) {
                return go_on(v, m, to, slot, plan);
            } else if t.by_id(id).is_none() {
                useless = useless.union(&SlotSet::from_ranges([slot..=slot]));
            }
        }
        for &slot in m.me.importing.keys() {
            match t.owners().find(|owner| owner.slots.contains(slot)) {
                Some(owner) if owner.id() != m.id() && m.is_primary() => {
                    return go_on(v, owner, m, slot, plan);
                }
                Some(_) => useless = useless.union(&SlotSet::from_ranges([slot..=slot])),
                // Whoever owns it will answer, or be replaced.
                None => {}
            }
        }
        if !useless.is_empty() {
            let pod = m.pod().to_owned();
            return propose(
                plan,
                ClusterStep::CloseSlots {
                    pod,
                    slots: useless,
                },
            );
        }
    }
}

/// The primary that this node is, or whose shard it belongs to by now.
fn heir<'a, 'b>(o: &Observed, t: &'b Topology<'a>, id: &str) -> Option<&'b Member<'a>> {
    let shard = match t.by_id(id) {
        Some(m) if m.is_primary() => return Some(m),
        Some(m) => m.instance.shard,
        None => {
            let pod = &o.status.nodes.iter().find(|n| n.id == id)?.pod;
            o.instances.iter().find(|i| &i.pod == pod)?.shard
        }
    };
    t.primary(shard)
}

fn go_on(v: &Validated, from: &Member<'_>, to: &Member<'_>, slot: u16, plan: &mut Plan) {
    moving(
        v,
        format!("slot {slot} moves from {} to {}", from.pod(), to.pod()),
        plan,
    );
    propose(
        plan,
        ClusterStep::MoveSlots {
            from: from.pod().to_owned(),
            to: to.pod().to_owned(),
            slots: SlotSet::from_ranges([slot..=slot]),
        },
    );
}

fn moving(v: &Validated, message: String, plan: &mut Plan) {
    plan.findings.slots = Some(about(v, reasons::MovingSlots, message));
}

/// Slots are on their way, or open.
pub fn any_open(t: &Topology<'_>) -> bool {
    t.members
        .iter()
        .any(|m| m.is_moving() || m.me.has_open_slots())
}

/// Rights that only a migration needs are taken back when none is due any more.
pub fn narrow(t: &Topology<'_>, plan: &mut Plan) {
    if plan.findings.slots.is_some() {
        return;
    }
    for m in t.members.iter().filter(|m| m.view.replication_widened) {
        let pod = m.pod().to_owned();
        plan.chores
            .push(Step::Cluster(ClusterStep::NarrowReplication { pod }));
    }
}

/// The next move towards an even distribution over the wanted shards. A shard gets slots when all its pods are in place, so that what
/// moves there has its copies from the beginning.
pub fn begin(v: &Validated, o: &Observed, t: &Topology<'_>, now: Timestamp, plan: &mut Plan) {
    if o.status.cluster_formed != Some(true) || !t.missing.is_empty() || any_open(t) {
        return;
    }
    let owners: Vec<(String, SlotSet)> = t
        .owners()
        .map(|m| (m.pod().to_owned(), m.slots.clone()))
        .collect();
    let primaries: Vec<Option<&Member<'_>>> = (0..v.shards).map(|n| t.primary(n)).collect();
    let receivers: Vec<String> = primaries
        .iter()
        .flatten()
        .map(|m| m.pod().to_owned())
        .collect();
    let moves = balance(&owners, &receivers);
    let Some(first) = moves.first() else { return };
    let count: u32 = moves.iter().map(|m| u32::from(m.slots.len())).sum();
    moving(v, format!("{count} slots are to be moved"), plan);
    let waits = |pods: Vec<&str>| format!("{count} slots are to be moved; waiting for {pods:?}");
    let unready: Vec<&str> = o
        .instances
        .iter()
        .filter(|i| super::is_wanted(v, i) && !roles::is_in_place(t, i))
        .map(|i| i.pod.as_str())
        .collect();
    let settled = t.absent.values().all(|a| a.slots.is_empty())
        && t.all_know_each_other(|m| form::belongs(v, m))
        && primaries.iter().all(Option::is_some)
        && t.is_complete(v, o);
    if !settled || !unready.is_empty() || t.owners().any(|m| m.instance.leaving()) {
        moving(v, waits(unready), plan);
        return plan.again(POLL);
    }
    let failed = t
        .members
        .iter()
        .flat_map(|m| &m.view.moves)
        .max_by_key(|m| m.created_unix)
        .filter(|m| !m.message.is_empty());
    if let Some(failed) = failed {
        let second = u64::try_from(now.as_second()).unwrap_or_default();
        if second < failed.created_unix + PAUSE {
            moving(
                v,
                format!(
                    "{count} slots are to be moved; the last try ended with: {}",
                    failed.message
                ),
                plan,
            );
            return plan.again(Duration::from_secs(PAUSE / 2));
        }
    }
    let slots = match o.cluster.way {
        Some(SlotMigrationWay::Push | SlotMigrationWay::Pull) => first.slots.clone(),
        _ => first.slots.lowest(BATCH),
    };
    propose(
        plan,
        ClusterStep::MoveSlots {
            from: first.from.clone(),
            to: first.to.clone(),
            slots,
        },
    );
}
