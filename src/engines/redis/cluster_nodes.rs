//! What a node of a cluster knows of the others: the replies of `CLUSTER NODES` and `CLUSTER INFO` as typed values.
//!
//! Each node tells its own view; views differ until the gossip has gone around.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use redis::{FromRedisValue, Value};

use super::address::Address;
use super::failure::Failure;
use super::info::Role;
use super::slots::SlotSet;

/// A node as one node sees it: a line of `CLUSTER NODES`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterNode {
    /// 40 hex digits, kept in the node's `nodes.conf`.
    pub id: String,
    /// IP address; empty for the node itself before it has met another one, and for a node without a known address.
    pub ip: String,
    /// The port for clients: the TLS port when asked over TLS.
    pub port: u16,
    /// The port of the cluster bus.
    pub bus_port: u16,
    /// `cluster-announce-hostname`.
    pub hostname: Option<String>,
    /// The words of the field `flags`: `myself`, `master`, `slave`, `fail?`, `fail`, `handshake`, `noaddr`, `nofailover`.
    pub flags: BTreeSet<String>,
    /// Of a replica: the id of its primary.
    pub primary: Option<String>,
    /// The configuration epoch of the node or, of a replica, of its primary.
    pub config_epoch: u64,
    /// Whether the bus connection to the node is up.
    pub link_up: bool,
    /// The slots that it serves; none for a replica.
    pub slots: SlotSet,
    /// Only of the node that was asked: slots that are open towards another node, with that node's id.
    pub migrating: BTreeMap<u16, String>,
    /// Only of the node that was asked: slots that are open from another node, with that node's id.
    pub importing: BTreeMap<u16, String>,
}

impl ClusterNode {
    /// Whether it is the node that was asked.
    pub fn is_myself(&self) -> bool {
        self.flags.contains("myself")
    }

    /// Primary or replica; `None` while the node is in its handshake.
    pub fn role(&self) -> Option<Role> {
        if self.flags.contains("master") {
            Some(Role::Primary)
        } else if self.flags.contains("slave") {
            Some(Role::Replica)
        } else {
            None
        }
    }

    /// `fail`: a majority of the primaries agreed that it is down.
    pub fn is_failed(&self) -> bool {
        self.flags.contains("fail")
    }

    /// `fail?`: the node that was asked by itself takes it for down.
    pub fn is_suspected(&self) -> bool {
        self.flags.contains("fail?")
    }

    /// `nofailover`: a replica that does not take over by itself.
    pub fn is_held_back(&self) -> bool {
        self.flags.contains("nofailover")
    }

    /// `handshake`: it was met and has not answered yet. Its id is a random one that will change.
    pub fn is_in_handshake(&self) -> bool {
        self.flags.contains("handshake")
    }

    /// Where clients reach it; `None` when the address is not known.
    pub fn address(&self) -> Option<Address> {
        (!self.ip.is_empty()).then(|| Address::new(self.ip.clone(), self.port))
    }

    /// Whether a slot is open towards or from another node.
    pub fn has_open_slots(&self) -> bool {
        !self.migrating.is_empty() || !self.importing.is_empty()
    }

    /// Reads the reply of `CLUSTER NODES`.
    pub(super) fn read_all(text: &str) -> Result<Vec<Self>, Failure> {
        text.lines()
            .filter(|line| !line.is_empty())
            .map(|line| Self::read(line).ok_or_else(|| unexpected(line)))
            .collect()
    }

    fn read(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let id = words.next()?.to_owned();
        // ip:port@bus[,hostname[,name=value...]]
        let mut place = words.next()?.split(',');
        let (address, bus_port) = place.next()?.split_once('@')?;
        let (ip, port) = address.rsplit_once(':')?;
        let hostname = place.next().filter(|name| !name.is_empty());
        let flags = words.next()?.split(',').map(str::to_owned).collect();
        let primary = words.next().filter(|id| *id != "-").map(str::to_owned);
        // The times of the last ping and pong.
        let mut words = words.skip(2);
        let config_epoch = words.next()?.parse().ok()?;
        let link_up = words.next()? == "connected";
        let mut node = Self {
            id,
            ip: ip.to_owned(),
            port: port.parse().ok()?,
            bus_port: bus_port.parse().ok()?,
            hostname: hostname.map(str::to_owned),
            flags,
            primary,
            config_epoch,
            link_up,
            ..Self::default()
        };
        let mut slots = Vec::new();
        for word in words {
            let Some(open) = word.strip_prefix('[') else {
                slots.push(word);
                continue;
            };
            let open = open.strip_suffix(']')?;
            if let Some((slot, id)) = open.split_once("->-") {
                node.migrating.insert(slot.parse().ok()?, id.to_owned());
            } else {
                let (slot, id) = open.split_once("-<-")?;
                node.importing.insert(slot.parse().ok()?, id.to_owned());
            }
        }
        node.slots = slots.join(" ").parse().ok()?;
        Some(node)
    }
}

/// The reply of `CLUSTER INFO`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterInfo {
    /// `cluster_state:ok`: this node serves commands on keys.
    pub is_ok: bool,
    /// How many slots have a node, by what this node knows.
    pub slots_assigned: u16,
    /// Those of a node that is not suspected.
    pub slots_ok: u16,
    /// Those of a node that this node suspects.
    pub slots_suspected: u16,
    /// Those of a failed node.
    pub slots_failed: u16,
    /// How many nodes it knows, itself included, also in their handshake.
    pub known_nodes: u32,
    /// How many primaries serve slots.
    pub size: u32,
    /// The highest epoch it knows.
    pub current_epoch: u64,
    /// The configuration epoch of this node.
    pub my_epoch: u64,
}

impl ClusterInfo {
    /// Reads the reply of `CLUSTER INFO`.
    pub(super) fn read(text: &str) -> Result<Self, Failure> {
        let fields: BTreeMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.trim_end().split_once(':'))
            .collect();
        Ok(Self {
            is_ok: fields.get("cluster_state") == Some(&"ok"),
            slots_assigned: number(&fields, "cluster_slots_assigned")?,
            slots_ok: number(&fields, "cluster_slots_ok")?,
            slots_suspected: number(&fields, "cluster_slots_pfail")?,
            slots_failed: number(&fields, "cluster_slots_fail")?,
            known_nodes: number(&fields, "cluster_known_nodes")?,
            size: number(&fields, "cluster_size")?,
            current_epoch: number(&fields, "cluster_current_epoch")?,
            my_epoch: number(&fields, "cluster_my_epoch")?,
        })
    }
}

fn number<T: FromStr>(fields: &BTreeMap<&str, &str>, name: &str) -> Result<T, Failure> {
    fields
        .get(name)
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| unexpected(name))
}

/// Takes a field out of a reply of names and values.
pub(super) fn field<T: FromRedisValue>(
    fields: &mut BTreeMap<String, Value>,
    name: &str,
) -> Result<T, Failure> {
    fields
        .remove(name)
        .ok_or_else(|| Failure::Protocol(format!("the field {name} is missing")))
        .and_then(from)
}

pub(super) fn from<T: FromRedisValue>(value: Value) -> Result<T, Failure> {
    T::from_redis_value(value).map_err(|error| Failure::Protocol(error.to_string()))
}

pub(super) fn unexpected(text: &str) -> Failure {
    Failure::Protocol(format!("cannot read {text:?}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "9c9b92b9a659b97d4808c79436e77d65a034d2e3";

    fn read(line: &str) -> ClusterNode {
        ClusterNode::read_all(line).unwrap().remove(0)
    }

    #[test]
    fn open_slots_are_told_apart_from_those_that_are_served() {
        let node = read(&format!(
            "{ID} 10.0.0.1:6379@16379 myself,master - 0 0 2 connected 0-99 200 [7->-aa] [300-<-bb]\n"
        ));
        assert_eq!(node.slots.to_string(), "0-99 200");
        assert_eq!(node.migrating, BTreeMap::from([(7, "aa".into())]));
        assert_eq!(node.importing, BTreeMap::from([(300, "bb".into())]));
        assert!(node.is_myself() && node.has_open_slots() && node.link_up);
        assert_eq!((node.role(), node.config_epoch), (Some(Role::Primary), 2));
        assert_eq!(node.address(), Some(Address::new("10.0.0.1", 6379)));
    }

    #[test]
    fn every_form_of_the_address_is_read() {
        let cases = [
            ("10.0.0.1:1@2,redis-0.svc", "10.0.0.1", Some("redis-0.svc")),
            ("fd00::1:1@2", "fd00::1", None),
            (":1@2,,tls-port=0,shard-id=ab", "", None),
            (
                "10.0.0.1:1@2,redis-0,shard-id=ab",
                "10.0.0.1",
                Some("redis-0"),
            ),
        ];
        for (place, ip, hostname) in cases {
            let node = read(&format!("{ID} {place} slave,fail? {ID} 0 0 1 disconnected"));
            assert_eq!((node.ip.as_str(), node.port, node.bus_port), (ip, 1, 2));
            assert_eq!(node.hostname.as_deref(), hostname);
            assert_eq!(node.address().is_none(), ip.is_empty());
            assert_eq!(node.primary.as_deref(), Some(ID));
            assert_eq!(node.role(), Some(Role::Replica));
            assert!(node.is_suspected() && !node.is_failed() && !node.link_up);
            assert!(node.slots.is_empty());
        }
        let young = read(&format!("{ID} 10.0.0.1:1@2 handshake - 0 0 0 disconnected"));
        assert!(young.is_in_handshake() && young.role().is_none());
    }

    #[test]
    fn a_line_that_cannot_be_read_is_told() {
        let good = format!("{ID} 10.0.0.1:1@2 master - 0 0 1 connected");
        for wrong in ["x", &format!("{good} 16384"), &format!("{good} [1-2]")] {
            let failure = ClusterNode::read_all(&format!("{good}\n{wrong}\n")).unwrap_err();
            assert!(matches!(failure, Failure::Protocol(_)), "{failure}");
        }
    }

    proptest! {
        #[test]
        fn no_reply_panics(text in "([a-f0-9]{2} )?([0-9.:@,a-z-]{0,12} )?[a-z,?]{0,9}( [-0-9\\[\\]<>]{0,6}){0,8}") {
            let _ = ClusterNode::read_all(&text);
            let _ = ClusterInfo::read(&text);
        }
    }
}
