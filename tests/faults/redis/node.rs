//! What a node of a cluster knows, and how it shows it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use hera::engines::redis::SlotSet;

use super::server::{Server, fresh_id};

/// Silence after which a node takes another one for down.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// After its start a primary takes no writes for so long, so that it first hears who took its place meanwhile
/// (`CLUSTER_WRITABLE_DELAY` of the servers).
pub const WRITABLE_DELAY: Duration = Duration::from_secs(2);

/// Another node, as one node knows it.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    pub ip: String,
    pub primary: Option<String>,
    pub slots: SlotSet,
    pub epoch: u64,
    /// Since when it does not answer.
    pub silent: Option<Duration>,
    /// A majority agreed that it is down.
    pub failed: bool,
}

impl Peer {
    /// It is taken for down by this node alone.
    pub fn is_suspected(&self, now: Duration) -> bool {
        self.silent.is_some_and(|since| now >= since + TIMEOUT)
    }
}

/// The part of a server that is a node.
#[derive(Clone, Debug, Default)]
pub struct Node {
    pub id: String,
    pub epoch: u64,
    pub current: u64,
    pub primary: Option<String>,
    pub slots: SlotSet,
    pub migrating: BTreeMap<u16, String>,
    pub importing: BTreeMap<u16, String>,
    pub known: BTreeMap<String, Peer>,
    /// Addresses that are met, until when.
    pub meeting: BTreeMap<String, Duration>,
    /// Nodes of which it does not want to hear, until when.
    pub forgotten: BTreeMap<String, Duration>,
    /// When it asks for votes in place of its failed primary.
    pub candidate: Option<Duration>,
    /// It asks for no votes (`cluster-replica-no-failover`).
    pub held_back: bool,
    /// From when on it takes writes as a primary.
    pub writable: Duration,
    /// Atomic migrations that it was told to do: id of the target, slots, until when; and how they ended.
    pub moves: Vec<Move>,
}

/// An atomic migration of slots.
#[derive(Clone, Debug)]
pub struct Move {
    pub name: String,
    pub source: String,
    pub target: String,
    pub slots: SlotSet,
    pub due: Duration,
    pub state: &'static str,
    pub import: bool,
}

impl Node {
    pub fn new() -> Self {
        Self {
            id: fresh_id(),
            ..Self::default()
        }
    }

    /// Another primary has these slots, as far as this node knows.
    pub fn owner(&self, slot: u16) -> Option<&str> {
        if self.slots.contains(slot) {
            return Some(&self.id);
        }
        let found = self.known.iter().find(|(_, p)| p.slots.contains(slot));
        found.map(|(id, _)| id.as_str())
    }

    /// How many primaries with slots it knows, itself included.
    pub fn primaries(&self) -> usize {
        let others = self.known.values().filter(|p| !p.slots.is_empty());
        usize::from(!self.slots.is_empty()) + others.count()
    }

    /// Slots that a node that is not failed serves.
    pub fn served(&self) -> SlotSet {
        let peers = self.known.values().filter(|p| !p.failed);
        peers.fold(self.slots.clone(), |all, p| all.union(&p.slots))
    }

    /// It serves commands on keys.
    pub fn is_ok(&self, now: Duration) -> bool {
        let reachable = self.known.values();
        let reachable = reachable.filter(|p| !p.slots.is_empty() && !p.is_suspected(now));
        let reachable = reachable.count() + usize::from(!self.slots.is_empty());
        let waits = self.primary.is_none() && now < self.writable;
        !waits && self.served().is_full() && 2 * reachable > self.primaries()
    }

    /// Gives a slot to a node.
    pub fn assign(&mut self, slots: &SlotSet, to: &str) {
        let me = self.id == to;
        self.slots = if me {
            self.slots.union(slots)
        } else {
            self.slots.difference(slots)
        };
        for (id, peer) in &mut self.known {
            peer.slots = if id == to {
                peer.slots.union(slots)
            } else {
                peer.slots.difference(slots)
            };
        }
    }

    /// The reply of `CLUSTER NODES`.
    pub fn lines(&self, ip: &str, now: Duration) -> String {
        let mut text = String::new();
        let role = |primary: &Option<String>| match primary {
            Some(id) => ("slave", id.clone()),
            None => ("master", "-".to_owned()),
        };
        let (word, primary) = role(&self.primary);
        let held_back = if self.held_back { ",nofailover" } else { "" };
        let mut open = String::new();
        for (slot, id) in &self.migrating {
            let _ = write!(open, " [{slot}->-{id}]");
        }
        for (slot, id) in &self.importing {
            let _ = write!(open, " [{slot}-<-{id}]");
        }
        let slots = shown(&self.slots);
        let (id, epoch) = (&self.id, self.epoch);
        let _ = writeln!(
            text,
            "{id} {ip}:6379@16379 myself,{word}{held_back} {primary} 0 0 {epoch} connected{slots}{open}"
        );
        for (id, peer) in &self.known {
            let (word, primary) = role(&peer.primary);
            let failed = match (peer.failed, peer.is_suspected(now)) {
                (true, _) => ",fail",
                (_, true) => ",fail?",
                _ => "",
            };
            let link = if peer.silent.is_some() {
                "disconnected"
            } else {
                "connected"
            };
            let (ip, epoch, slots) = (&peer.ip, peer.epoch, shown(&peer.slots));
            let _ = writeln!(
                text,
                "{id} {ip}:6379@16379 {word}{failed} {primary} 0 0 {epoch} {link}{slots}"
            );
        }
        for (n, ip) in self.meeting.keys().enumerate() {
            let _ = writeln!(
                text,
                "{n:040x} {ip}:6379@16379 handshake - 0 0 0 disconnected"
            );
        }
        text
    }

    /// The reply of `CLUSTER INFO`.
    pub fn info(&self, now: Duration) -> String {
        let assigned = self.known.values();
        let assigned = assigned.fold(self.slots.clone(), |all, p| all.union(&p.slots));
        let failed = self.known.values().filter(|p| p.failed);
        let failed = failed.fold(SlotSet::new(), |all, p| all.union(&p.slots));
        let state = if self.is_ok(now) { "ok" } else { "fail" };
        let fields = [
            ("cluster_state", state.to_owned()),
            ("cluster_slots_assigned", assigned.len().to_string()),
            (
                "cluster_slots_ok",
                assigned.difference(&failed).len().to_string(),
            ),
            ("cluster_slots_pfail", "0".to_owned()),
            ("cluster_slots_fail", failed.len().to_string()),
            (
                "cluster_known_nodes",
                (1 + self.known.len() + self.meeting.len()).to_string(),
            ),
            ("cluster_size", self.primaries().to_string()),
            ("cluster_current_epoch", self.current.to_string()),
            ("cluster_my_epoch", self.epoch.to_string()),
        ];
        let mut text = String::new();
        for (name, value) in fields {
            let _ = write!(text, "{name}:{value}\r\n");
        }
        text
    }
}

fn shown(slots: &SlotSet) -> String {
    if slots.is_empty() {
        String::new()
    } else {
        format!(" {slots}")
    }
}

/// The slot of a key, by its number.
pub fn slot_of(key: u64) -> u16 {
    let mut crc: u16 = 0;
    for byte in name_of(key).bytes() {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            };
        }
    }
    crc % 16_384
}

/// The name of a key.
pub fn name_of(key: u64) -> String {
    format!("key:{key}")
}

impl Server {
    /// Follows the node that it is a replica of, where that is now.
    pub fn follow_node(&mut self) {
        let Some(node) = &self.node else { return };
        match node.primary.clone() {
            None => self.promote(),
            Some(id) => {
                let peer = node.known.get(&id);
                let ip = peer.map(|p| p.ip.clone()).unwrap_or_default();
                if !self.is_replica() {
                    // Writes that wait for the end of a hand-over are sent elsewhere.
                    self.paused_until = Duration::ZERO;
                }
                self.follow(&ip, 6379);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_slot_that_servers_give_it() {
        // `CLUSTER KEYSLOT key:1` and `key:42` of a real server.
        assert_eq!((slot_of(1), slot_of(42)), (6657, 2583));
    }
}
