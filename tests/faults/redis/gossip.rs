//! What nodes of a cluster do by themselves: learn from each other, agree on who is down, vote for a replica.

use std::collections::BTreeMap;
use std::time::Duration;

use super::node::{Node, Peer};
use super::server::{Link, Server, fresh_id};

/// From the failure of a primary until its best replica asks for votes; the others ask later.
const VOTE: Duration = Duration::from_millis(600);
const VOTE_RANK: Duration = Duration::from_millis(500);

/// One round.
pub fn step(servers: &mut BTreeMap<String, Server>, now: Duration) {
    let ips: Vec<String> = servers
        .values()
        .filter(|s| s.node.is_some() && !s.frozen)
        .map(|s| s.ip.clone())
        .collect();
    for ip in &ips {
        meet(servers, ip, now);
        ping(servers, ip, now);
    }
    for ip in &ips {
        agree(servers, ip, now);
        elect(servers, ip, now);
        migrate(servers, ip, now);
    }
    for server in servers.values_mut() {
        server.follow_node();
    }
}

fn node_at<'a>(servers: &'a BTreeMap<String, Server>, ip: &str) -> Option<&'a Node> {
    let server = servers.get(ip).filter(|s| !s.frozen)?;
    server.node.as_ref()
}

fn node_mut<'a>(servers: &'a mut BTreeMap<String, Server>, ip: &str) -> Option<&'a mut Node> {
    servers.get_mut(ip)?.node.as_mut()
}

fn meet(servers: &mut BTreeMap<String, Server>, ip: &str, now: Duration) {
    let Some(node) = node_at(servers, ip) else {
        return;
    };
    let (id, meeting) = (node.id.clone(), node.meeting.clone());
    for (other, until) in meeting {
        let found = node_at(servers, &other).map(|n| n.id.clone());
        let Some(other_id) = found else {
            if now >= until
                && let Some(node) = node_mut(servers, ip)
            {
                node.meeting.remove(&other);
            }
            continue;
        };
        if let Some(node) = node_mut(servers, ip) {
            node.meeting.remove(&other);
            if other_id != id {
                node.forgotten.remove(&other_id);
                node.known
                    .entry(other_id.clone())
                    .or_default()
                    .ip
                    .clone_from(&other);
            }
        }
        if other_id != id
            && let Some(node) = node_mut(servers, &other)
        {
            let peer = node.known.entry(id.clone()).or_default();
            ip.clone_into(&mut peer.ip);
        }
    }
}

/// Asks each node that it knows, and learns from those that answer.
fn ping(servers: &mut BTreeMap<String, Server>, ip: &str, now: Duration) {
    let Some(node) = node_at(servers, ip) else {
        return;
    };
    let me = node.clone();
    for (id, peer) in &me.known {
        let answers = node_at(servers, &peer.ip).filter(|n| n.id == *id).cloned();
        match answers {
            None => {
                if let Some(peer) = node_mut(servers, ip).and_then(|n| n.known.get_mut(id)) {
                    peer.silent.get_or_insert(now);
                }
            }
            Some(other) => {
                let address = peer.ip.clone();
                if let Some(node) = node_mut(servers, ip) {
                    hear(node, &other, &address, now);
                    learn(node, &other, now);
                }
                // Whoever is asked hears who asks.
                if other.known.contains_key(&me.id)
                    && let Some(node) = node_mut(servers, &address)
                {
                    hear(node, &me, ip, now);
                }
            }
        }
    }
    if let Some(node) = node_mut(servers, ip) {
        node.forgotten.retain(|_, until| now < *until);
    }
}

/// Takes in what another node says of itself.
fn hear(node: &mut Node, other: &Node, ip: &str, _now: Duration) {
    node.current = node.current.max(other.current);
    let peer = node.known.entry(other.id.clone()).or_default();
    ip.clone_into(&mut peer.ip);
    peer.silent = None;
    peer.failed = false;
    peer.epoch = other.epoch;
    peer.primary.clone_from(&other.primary);
    if other.primary.is_some() {
        peer.slots = hera::engines::redis::SlotSet::new();
        return;
    }
    // Slots that it claims go to it, unless somebody with a higher epoch has them.
    let claimed = other.slots.difference(&peer.slots);
    let mut taken = claimed.clone();
    if node.epoch >= other.epoch {
        taken = taken.difference(&node.slots);
    }
    for (id, rival) in &node.known {
        if *id != other.id && rival.epoch >= other.epoch {
            taken = taken.difference(&rival.slots);
        }
    }
    let had = !node.slots.is_empty();
    let upstream = node.primary.clone();
    let fed = |node: &Node| {
        let peer = upstream.as_ref().and_then(|id| node.known.get(id));
        peer.is_some_and(|p| !p.slots.is_empty())
    };
    let was_fed = fed(node);
    if !taken.is_empty() {
        for slot in taken.iter() {
            node.migrating.remove(&slot);
        }
        node.assign(&taken, &other.id);
    }
    // What it does not claim any more is nobody's.
    if let Some(peer) = node.known.get_mut(&other.id) {
        peer.slots = peer.slots.intersection(&other.slots);
    }
    // A node whose last slot went, or whose primary's last slot went, follows who has it.
    let lost = (had && node.slots.is_empty()) || (was_fed && !fed(node));
    if lost && !taken.is_empty() {
        node.primary = Some(other.id.clone());
    }
    // Two primaries with the same epoch: one of them takes another.
    if node.primary.is_none() && node.epoch == other.epoch && node.epoch > 0 && node.id < other.id {
        node.current += 1;
        node.epoch = node.current;
    }
}

/// Gets to know the nodes that another one knows.
fn learn(node: &mut Node, other: &Node, now: Duration) {
    for (id, peer) in &other.known {
        let new = *id != node.id && !node.known.contains_key(id);
        if new && !node.forgotten.contains_key(id) && !peer.failed && peer.silent.is_none() {
            let met = Peer {
                ip: peer.ip.clone(),
                silent: Some(now),
                ..Peer::default()
            };
            node.known.insert(id.clone(), met);
        }
    }
}

/// A node is failed when a majority of the primaries takes it for down.
fn agree(servers: &mut BTreeMap<String, Server>, ip: &str, now: Duration) {
    let Some(node) = node_at(servers, ip) else {
        return;
    };
    let needed = node.primaries() / 2 + 1;
    let mut failed = Vec::new();
    for (id, peer) in &node.known {
        if peer.failed || !peer.is_suspected(now) {
            continue;
        }
        let own = usize::from(!node.slots.is_empty());
        let votes = node.known.values().filter(|p| !p.slots.is_empty());
        let votes = votes.filter(|p| {
            let voter = node_at(servers, &p.ip).and_then(|n| n.known.get(id));
            voter.is_some_and(|v| v.is_suspected(now))
        });
        if own + votes.count() >= needed {
            failed.push(id.clone());
        }
    }
    if let Some(node) = node_mut(servers, ip) {
        for id in failed {
            if let Some(peer) = node.known.get_mut(&id) {
                peer.failed = true;
            }
        }
    }
}

/// Whether a majority of the primaries with slots that a node knows can be reached.
pub fn has_majority(servers: &BTreeMap<String, Server>, node: &Node) -> bool {
    let peers = node.known.iter().filter(|(_, p)| !p.slots.is_empty());
    let alive = peers.filter(|(id, p)| node_at(servers, &p.ip).is_some_and(|n| n.id == **id));
    2 * (alive.count() + usize::from(!node.slots.is_empty())) > node.primaries()
}

/// A replica of a failed primary asks for votes, the one with the newest data first.
fn elect(servers: &mut BTreeMap<String, Server>, ip: &str, now: Duration) {
    let Some(node) = node_at(servers, ip) else {
        return;
    };
    let failed = node
        .primary
        .as_ref()
        .and_then(|id| node.known.get(id).map(|p| (id, p)))
        .filter(|(_, p)| p.failed && !p.slots.is_empty() && !node.held_back);
    let Some((primary, _)) = failed else {
        if let Some(node) = node_mut(servers, ip) {
            node.candidate = None;
        }
        return;
    };
    let offset = servers[ip].offset;
    let rank = servers
        .values()
        .filter(|s| {
            let same = s
                .node
                .as_ref()
                .is_some_and(|n| n.primary.as_ref() == Some(primary) && !n.held_back);
            same && (s.offset, &s.ip) > (offset, &ip.to_owned())
        })
        .count();
    let due = node.candidate;
    let majority = has_majority(servers, node);
    let delay = VOTE + VOTE_RANK * u32::try_from(rank).unwrap_or_default();
    match due {
        None => {
            if let Some(node) = node_mut(servers, ip) {
                node.candidate = Some(now + delay);
            }
        }
        Some(due) if now >= due && majority => take_over(servers, ip),
        Some(_) => {}
    }
}

/// A replica takes the place of its primary.
pub fn take_over(servers: &mut BTreeMap<String, Server>, ip: &str) {
    let highest = servers
        .values()
        .filter_map(|s| s.node.as_ref())
        .map(|n| n.current)
        .max();
    let Some(server) = servers.get_mut(ip) else {
        return;
    };
    let Some(node) = server.node.as_mut() else {
        return;
    };
    let Some(old) = node.primary.take() else {
        return;
    };
    node.candidate = None;
    node.current = highest.unwrap_or_default().max(node.current) + 1;
    node.epoch = node.current;
    let slots = node.known.get(&old).map(|p| p.slots.clone());
    let id = node.id.clone();
    node.assign(&slots.unwrap_or_default(), &id);
    server.promote();
}

/// Atomic migrations end: the target has the keys and the slots.
fn migrate(servers: &mut BTreeMap<String, Server>, ip: &str, now: Duration) {
    let Some(node) = node_at(servers, ip) else {
        return;
    };
    let due: Vec<_> = node
        .moves
        .iter()
        .filter(|m| m.state == "snapshotting" && !m.import && now >= m.due)
        .cloned()
        .collect();
    for one in due {
        let target = servers
            .values()
            .find(|s| {
                s.node
                    .as_ref()
                    .is_some_and(|n| n.id == one.target && n.primary.is_none())
            })
            .filter(|s| !s.frozen)
            .map(|s| s.ip.clone());
        let whole = servers[ip]
            .node
            .as_ref()
            .is_some_and(|n| n.slots.intersection(&one.slots) == one.slots);
        let state = if let Some(target) = target.filter(|_| whole) {
            move_slots(servers, ip, &target, &one.slots);
            "success"
        } else {
            "failed"
        };
        for node in servers.values_mut().filter_map(|s| s.node.as_mut()) {
            let same = node.moves.iter_mut().filter(|m| m.name == one.name);
            same.for_each(|m| m.state = state);
        }
    }
}

fn move_slots(
    servers: &mut BTreeMap<String, Server>,
    from: &str,
    to: &str,
    slots: &hera::engines::redis::SlotSet,
) {
    let mut moved = Vec::new();
    if let Some(source) = servers.get_mut(from) {
        let goes = |key: &u64| slots.contains(super::node::slot_of(*key));
        moved = source.data.iter().copied().filter(goes).collect();
        source.data.retain(|key| !goes(key));
        source.offset += 100;
    }
    let Some(target) = servers.get_mut(to) else {
        return;
    };
    target.data.extend(moved);
    target.offset += 100;
    let Some(node) = target.node.as_mut() else {
        return;
    };
    node.current += 1;
    node.epoch = node.current;
    let id = node.id.clone();
    node.assign(slots, &id);
    // The source knows it at once.
    let epoch = node.epoch;
    if let Some(node) = node_mut(servers, from) {
        node.current = node.current.max(epoch);
        node.assign(slots, &id);
        if let Some(peer) = node.known.get_mut(&id) {
            peer.epoch = epoch;
        }
    }
}

/// A name for a migration.
pub fn name() -> String {
    fresh_id()
}

/// Whether a replica may take over with its primary's consent.
pub fn can_hand_over(servers: &BTreeMap<String, Server>, replica: &Server) -> bool {
    let primary = replica.primary.as_ref().and_then(|p| servers.get(&p.0));
    replica.link == Link::Up && primary.is_some_and(|p| !p.frozen)
}
