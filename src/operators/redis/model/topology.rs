//! The cluster as its nodes tell it: which pod is which node, who owns which slots, whom some node still knows that no pod is.

use std::collections::{BTreeMap, BTreeSet};

use super::{Instance, NodeView, Observed, Role, SlotSet, Validated};
use crate::engines::redis::ClusterNode;

/// A pod with a server that answers, and the node that it is.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    /// The pod.
    pub instance: &'a Instance,
    /// What the node knows.
    pub view: &'a NodeView,
    /// What it knows of itself.
    pub me: &'a ClusterNode,
    /// The slots that it owns: those that it claims, unless another node claims them with a higher epoch.
    pub slots: SlotSet,
}

/// A node that members know, and that none of them is.
#[derive(Clone, Debug, Default)]
pub struct Absent {
    /// Slots that members still take for its own.
    pub slots: SlotSet,
    /// A member has a connection to it and does not take it for failed.
    pub alive: bool,
    /// Where it was seen last.
    pub ips: BTreeSet<String>,
}

/// The cluster at one moment.
#[derive(Clone, Debug, Default)]
pub struct Topology<'a> {
    /// Pods whose nodes answer, by shard and ordinal.
    pub members: Vec<Member<'a>>,
    /// Nodes that no pod is, by id.
    pub absent: BTreeMap<&'a str, Absent>,
    /// Slots that nobody owns.
    pub missing: SlotSet,
}

impl Member<'_> {
    /// Its id.
    pub fn id(&self) -> &str {
        &self.me.id
    }
    /// Name of its pod.
    pub fn pod(&self) -> &str {
        &self.instance.pod
    }
    /// By its own word a primary.
    pub fn is_primary(&self) -> bool {
        self.me.role() == Some(Role::Primary)
    }
    /// It holds no key.
    pub fn is_empty(&self) -> bool {
        self.instance.info().is_some_and(|i| i.keys == 0)
    }
    /// It never met anybody, owns nothing and holds nothing.
    pub fn is_fresh(&self) -> bool {
        self.view.info.known_nodes <= 1 && self.me.slots.is_empty() && self.is_empty()
    }
    /// It is a replica of this node by its own word.
    pub fn follows(&self, id: &str) -> bool {
        self.me.role() == Some(Role::Replica) && self.me.primary.as_deref() == Some(id)
    }
    /// It is a replica of this node, linked, and done with its first synchronisation.
    pub fn in_sync_with(&self, primary: &Self) -> bool {
        let linked = |i: &super::Info| i.link_up && !i.sync_in_progress && !i.loading;
        self.follows(primary.id()) && self.instance.info().is_some_and(linked)
    }
    /// It knows this node, and where it is.
    pub fn knows(&self, other: &Self) -> bool {
        self.view.nodes.iter().any(|n| {
            n.id == other.id()
                && !n.is_in_handshake()
                && Some(n.ip.as_str()) == other.instance.ip.as_deref()
        })
    }
    /// It is getting to know a node at this address.
    pub fn is_meeting(&self, other: &Self) -> bool {
        let at = |n: &ClusterNode| Some(n.ip.as_str()) == other.instance.ip.as_deref();
        self.view.nodes.iter().any(|n| n.is_in_handshake() && at(n))
    }
    /// A migration of slots runs on it.
    pub fn is_moving(&self) -> bool {
        self.view.moves.iter().any(|m| m.state.is_running())
    }
}

impl<'a> Topology<'a> {
    /// From what was observed.
    pub fn of(o: &'a Observed) -> Self {
        let mut members: Vec<Member<'a>> = o
            .instances
            .iter()
            .filter(|i| i.info().is_some())
            .filter_map(|instance| {
                let view = o.cluster.views.get(&instance.pod)?;
                let me = view.nodes.iter().find(|n| n.is_myself())?;
                Some(Member {
                    instance,
                    view,
                    me,
                    slots: SlotSet::new(),
                })
            })
            .collect();
        members.sort_by_key(|m| (m.instance.shard, m.instance.ordinal));
        // Of two that claim a slot the one with the higher epoch is right; with equal epochs the servers settle it soon.
        let mut order: Vec<usize> = (0..members.len())
            .filter(|n| members[*n].is_primary())
            .collect();
        order.sort_by_key(|n| std::cmp::Reverse(members[*n].me.config_epoch));
        let mut owned = SlotSet::new();
        for n in order {
            members[n].slots = members[n].me.slots.difference(&owned);
            owned = owned.union(&members[n].slots);
        }
        let absent = absent(&members, &owned);
        let missing = absent
            .values()
            .fold(owned, |all, a| all.union(&a.slots))
            .complement();
        Self {
            members,
            absent,
            missing,
        }
    }

    /// The node of this pod.
    pub fn member(&self, pod: &str) -> Option<&Member<'a>> {
        self.members.iter().find(|m| m.pod() == pod)
    }

    /// The pod of this node.
    pub fn by_id(&self, id: &str) -> Option<&Member<'a>> {
        self.members.iter().find(|m| m.id() == id)
    }

    /// The nodes of a shard.
    pub fn shard(&self, shard: i32) -> impl Iterator<Item = &Member<'a>> {
        self.members
            .iter()
            .filter(move |m| m.instance.shard == shard)
    }

    /// The primary of a shard: who has most slots; in a shard without slots the first primary, unless some primary is lost: a copy
    /// of it that does not answer yet may be of this shard.
    pub fn primary(&self, shard: i32) -> Option<&Member<'a>> {
        let owner = self
            .shard(shard)
            .filter(|m| !m.slots.is_empty())
            .max_by_key(|m| (m.slots.len(), std::cmp::Reverse(m.instance.ordinal)));
        owner.or_else(|| {
            if self.absent.values().any(|a| !a.slots.is_empty()) {
                return None;
            }
            let followed = |m: &&Member<'_>| self.shard(shard).any(|r| r.follows(m.id()));
            let candidates = || {
                self.shard(shard)
                    .filter(|m| m.is_primary() && !m.instance.leaving())
            };
            candidates().find(followed).or_else(|| candidates().next())
        })
    }

    /// Primaries with slots.
    pub fn owners(&self) -> impl Iterator<Item = &Member<'a>> {
        self.members.iter().filter(|m| !m.slots.is_empty())
    }

    /// Slots that a primary serves that is not known to be down.
    pub fn served(&self) -> SlotSet {
        let ours = self
            .owners()
            .fold(SlotSet::new(), |all, m| all.union(&m.slots));
        let others = self.absent.values().filter(|a| a.alive);
        others.fold(ours, |all, a| all.union(&a.slots))
    }

    /// A majority of the primaries answers.
    pub fn has_majority(&self) -> bool {
        let here = self.owners().count();
        let others = || self.absent.values().filter(|a| !a.slots.is_empty());
        let all = here + others().count();
        2 * (here + others().filter(|a| a.alive).count()) > all
    }

    /// Every pod that exists or is wanted is a node that answers.
    pub fn is_complete(&self, v: &Validated, o: &Observed) -> bool {
        let counts =
            |i: &&Instance| !i.uid.is_empty() || (i.shard < v.shards && i.ordinal < v.replicas);
        let wanted = usize::try_from(v.shards.saturating_mul(v.replicas)).unwrap_or(usize::MAX);
        let (mut known, mut all) = (0, true);
        for i in o.instances.iter().filter(counts) {
            known += usize::from(i.shard < v.shards && i.ordinal < v.replicas);
            all &= self.member(&i.pod).is_some();
        }
        all && known >= wanted
    }

    /// These nodes know each other at their present addresses.
    pub fn all_know_each_other(&self, among: impl Fn(&Member<'_>) -> bool) -> bool {
        let some = || self.members.iter().filter(|m| among(m));
        some().all(|a| some().all(|b| a.id() == b.id() || a.knows(b)))
    }

    /// Every node that belongs to the cluster sees the same owner of each slot, and serves.
    pub fn agrees(&self, v: &Validated) -> bool {
        let right = |line: &ClusterNode| match self.by_id(&line.id) {
            Some(owner) => owner.slots == line.slots,
            None => self
                .absent
                .get(line.id.as_str())
                .is_some_and(|a| a.slots == line.slots),
        };
        let belongs = |m: &&Member<'_>| m.instance.shard < v.shards || !m.slots.is_empty();
        self.members.iter().filter(belongs).all(|m| {
            m.view.info.is_ok
                && m.view
                    .nodes
                    .iter()
                    .filter(|n| !n.is_in_handshake())
                    .all(right)
        })
    }

    /// This node will not come back: every pod is another node; or its own pod is another node now, or is gone without a volume.
    pub fn is_gone(&self, v: &Validated, o: &Observed, id: &str) -> bool {
        if self.by_id(id).is_some() || self.absent.get(id).is_some_and(|a| a.alive) {
            return false;
        }
        if self.is_complete(v, o) {
            return true;
        }
        let Some(record) = o.status.nodes.iter().find(|n| n.id == id) else {
            return false;
        };
        let Some(i) = o.instances.iter().find(|i| i.pod == record.pod) else {
            return true;
        };
        self.member(&i.pod).is_some() || (v.storage.is_none() && i.uid != record.uid)
    }
}

fn absent<'a>(members: &[Member<'a>], owned: &SlotSet) -> BTreeMap<&'a str, Absent> {
    let ids: BTreeSet<&str> = members.iter().map(|m| m.me.id.as_str()).collect();
    let mut absent: BTreeMap<&'a str, Absent> = BTreeMap::new();
    for line in members.iter().flat_map(|m| &m.view.nodes) {
        if line.is_in_handshake() || ids.contains(line.id.as_str()) {
            continue;
        }
        let entry = absent.entry(line.id.as_str()).or_default();
        entry.slots = entry.slots.union(&line.slots.difference(owned));
        entry.alive |= line.link_up && !line.is_failed() && !line.is_suspected();
        if !line.ip.is_empty() {
            entry.ips.insert(line.ip.clone());
        }
    }
    absent
}
