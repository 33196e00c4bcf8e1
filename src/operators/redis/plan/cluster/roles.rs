//! Who is whose replica, and who is ready for clients.

use std::collections::BTreeMap;

use super::super::super::model::{
    ClusterStep, Instance, Member, Observed, Plan, Problem, Step, Topology, Validated,
};
use super::super::super::{reasons, versions};
use super::{GOSSIP, propose};

/// After this many seconds a replica that was told its primary again, and still does not find it, is restarted.
const GIVE_UP: u64 = 30;
/// Keeps a replica from taking over by itself.
const HOLD_BACK: &str = "cluster-replica-no-failover";

/// The instance does what it is for: it is the primary of its shard, or in sync with it.
pub fn is_in_place(t: &Topology<'_>, i: &Instance) -> bool {
    let (Some(member), Some(primary)) = (t.member(&i.pod), t.primary(i.shard)) else {
        return false;
    };
    !i.terminating && (member.id() == primary.id() || member.in_sync_with(primary))
}

/// Every node that is not the primary of its shard becomes a replica of it; the others hold nothing that is not elsewhere.
pub fn plan(v: &Validated, o: &Observed, t: &Topology<'_>, plan: &mut Plan) {
    // In a new cluster the primaries get their slots first.
    if !t.missing.is_empty() && o.status.cluster_formed != Some(true) {
        return;
    }
    let mut of = BTreeMap::new();
    for shard in 0..v.shards {
        let Some(primary) = t.primary(shard) else {
            continue;
        };
        for m in t.shard(shard).filter(|m| m.id() != primary.id()) {
            if m.instance.terminating {
                continue;
            }
            if m.follows(primary.id()) {
                match astray(m, primary) {
                    Some(down) if down >= GIVE_UP => restart(m, plan),
                    Some(_) => {
                        of.insert(m.pod().to_owned(), primary.pod().to_owned());
                    }
                    None => {}
                }
                continue;
            }
            if !may_follow(t, m, primary) {
                continue;
            }
            if !m.knows(primary) || !primary.knows(m) {
                plan.again(GOSSIP);
                continue;
            }
            let (Some(reader), Some(writer)) = (m.instance.info(), primary.instance.info()) else {
                continue;
            };
            if versions::can_follow(reader, writer) {
                of.insert(m.pod().to_owned(), primary.pod().to_owned());
            } else {
                let message = format!(
                    "{} ({:?} {}) cannot read the data of {} ({:?} {})",
                    m.pod(),
                    reader.engine,
                    reader.version,
                    primary.pod(),
                    writer.engine,
                    writer.version
                );
                plan.findings.replication = Some(Problem::of(
                    reasons::IncompatibleVersion,
                    format!("Pod/{}", m.pod()),
                    message,
                ));
            }
        }
    }
    if !of.is_empty() {
        propose(plan, ClusterStep::Replicate(of));
    }
}

/// For how long a replica looks for its primary at an address where that is not any more, in seconds. A node that hears of the new
/// address from others keeps the old one for its replication.
fn astray(m: &Member<'_>, primary: &Member<'_>) -> Option<u64> {
    let info = m.instance.info()?;
    let elsewhere = info.primary_host.is_some() && info.primary_host != primary.instance.ip;
    (elsewhere && !info.link_up).then(|| info.link_down_seconds.unwrap_or_default())
}

/// A server that takes no notice of being told its primary again reads the address when it starts.
fn restart(m: &Member<'_>, plan: &mut Plan) {
    let pod = m.pod().to_owned();
    plan.propose(Step::DeletePod {
        uid: m.instance.uid.clone(),
        reason: reasons::ReplicasBehind,
        why: format!("{pod} looks for its primary at a former address"),
        pod,
    });
}

/// Nothing is lost when this node becomes a replica: a primary has neither slots nor keys; a replica is the copy of a node that owns
/// nothing any more, or that lives in another shard.
fn may_follow(t: &Topology<'_>, m: &Member<'_>, primary: &Member<'_>) -> bool {
    if m.is_primary() {
        return m.me.slots.is_empty() && m.is_empty();
    }
    let Some(id) = m.me.primary.as_deref() else {
        return false;
    };
    // In a new shard that has no slots yet there is no data either: its replicas follow whoever takes the place of a lost primary.
    if primary.slots.is_empty() && !m.is_empty() {
        return false;
    }
    match (t.by_id(id), t.absent.get(id)) {
        (Some(live), _) => live.slots.is_empty() || live.instance.shard != m.instance.shard,
        (None, Some(absent)) => absent.slots.is_empty() && !absent.alive,
        (None, None) => true,
    }
}

/// Who has its place lets replicas log in; see the users of a cluster without volumes.
fn open(t: &Topology<'_>, plan: &mut Plan) {
    for m in t.members.iter().filter(|m| !m.instance.terminating) {
        let placed = !m.slots.is_empty()
            || t.primary(m.instance.shard)
                .is_some_and(|p| m.in_sync_with(p));
        if placed && m.view.replication_open == Some(false) {
            let pod = m.pod().to_owned();
            plan.chores
                .push(Step::Cluster(ClusterStep::OpenReplication { pod }));
        }
    }
}

/// Primaries, and replicas in sync, may be voted for from now on, until they are started anew.
fn let_take_over(t: &Topology<'_>, plan: &mut Plan) {
    for m in t.members.iter().filter(|m| m.me.is_held_back()) {
        let has_all = |primary: &Member<'_>| m.id() == primary.id() || m.in_sync_with(primary);
        if t.owners().any(has_all) {
            plan.chores.push(Step::Configure {
                pod: m.pod().to_owned(),
                directives: BTreeMap::from([(HOLD_BACK.to_owned(), "no".to_owned())]),
            });
        }
    }
}

/// The readiness gates: a pod is ready for clients, and counts for the disruption budget of its shard, when it is in place.
pub fn gates(v: &Validated, o: &Observed, t: &Topology<'_>, plan: &mut Plan) {
    open(t, plan);
    let_take_over(t, plan);
    let formed = o.status.cluster_formed == Some(true);
    for m in t.members.iter().filter(|m| !m.instance.terminating) {
        let i = m.instance;
        let ready = formed
            && (!m.slots.is_empty() || is_in_place(t, i))
            && (i.shard < v.shards || !m.slots.is_empty());
        if i.gate != Some(ready) {
            plan.chores.push(Step::Gate {
                pod: i.pod.clone(),
                ready,
            });
        }
    }
}
