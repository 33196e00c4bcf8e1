//! The commands of a node of a cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use hera::engines::redis::SlotSet;

use super::gossip;
use super::node::{Move, Node, TIMEOUT, name_of, slot_of};
use super::resp::Reply;
use super::server::Server;

/// For how long a forgotten node is not learned of again.
const FORGET: Duration = Duration::from_secs(60);
/// How long an atomic migration takes.
const MOVE: Duration = Duration::from_millis(300);

/// Runs `CLUSTER ...`.
pub fn run(
    servers: &mut BTreeMap<String, Server>,
    ip: &str,
    words: &[String],
    now: Duration,
) -> Reply {
    let Some(server) = servers.get_mut(ip) else {
        return Reply::error("ERR the server is gone");
    };
    let keys = server.data.clone();
    let Some(node) = server.node.as_mut() else {
        return Reply::error("ERR This instance has cluster support disabled");
    };
    let word = |n: usize| words.get(n).cloned().unwrap_or_default();
    match word(1).to_ascii_uppercase().as_str() {
        "INFO" => Reply::Bulk(node.info(now)),
        "NODES" => Reply::Bulk(node.lines(ip, now)),
        "MYID" => Reply::Bulk(node.id.clone()),
        "MEET" => {
            node.meeting.insert(word(2), now + TIMEOUT);
            Reply::ok()
        }
        "SET-CONFIG-EPOCH" => set_epoch(node, &word(2)),
        "ADDSLOTSRANGE" => add_slots(node, &words[2..]),
        "REPLICATE" => replicate(node, keys.is_empty(), &word(2)),
        "FORGET" => forget(node, &word(2), now),
        "GETKEYSINSLOT" => {
            let slot: u16 = word(2).parse().unwrap_or_default();
            let limit = word(3).parse();
            let found = keys.iter().filter(|k| slot_of(**k) == slot);
            Reply::strings(found.take(limit.unwrap_or(10)).map(|k| name_of(*k)))
        }
        "SETSLOT" => set_slot(node, &keys, &words[2..]),
        "FAILOVER" => failover(servers, ip, &word(2), now),
        "MIGRATESLOTS" => push(servers, ip, &words[2..], now),
        "GETSLOTMIGRATIONS" => Reply::Array(node.moves.iter().map(shown).collect()),
        "CANCELSLOTMIGRATIONS" => {
            let running = |m: &&mut Move| m.state == "snapshotting";
            let names: Vec<String> = node
                .moves
                .iter_mut()
                .filter(running)
                .map(|m| m.name.clone())
                .collect();
            for node in servers.values_mut().filter_map(|s| s.node.as_mut()) {
                let same = node.moves.iter_mut().filter(|m| names.contains(&m.name));
                same.for_each(|m| m.state = "cancelled");
            }
            Reply::ok()
        }
        other => Reply::error(format!("ERR unknown subcommand '{other}'")),
    }
}

fn set_epoch(node: &mut Node, word: &str) -> Reply {
    if !node.known.is_empty() {
        return Reply::error(
            "ERR The user can assign a config epoch only when the node does not know any other node.",
        );
    }
    if node.epoch != 0 {
        return Reply::error("ERR Node config epoch is already non-zero");
    }
    node.epoch = word.parse().unwrap_or_default();
    node.current = node.current.max(node.epoch);
    Reply::ok()
}

fn add_slots(node: &mut Node, words: &[String]) -> Reply {
    let Some(slots) = ranges(words) else {
        return Reply::error("ERR Invalid or out of range slot");
    };
    let busy = slots.iter().find(|slot| node.owner(*slot).is_some());
    if let Some(slot) = busy {
        return Reply::error(format!("ERR Slot {slot} is already busy"));
    }
    let id = node.id.clone();
    node.assign(&slots, &id);
    Reply::ok()
}

fn ranges(words: &[String]) -> Option<SlotSet> {
    let numbers: Option<Vec<u16>> = words.iter().map(|w| w.parse().ok()).collect();
    let pairs = numbers?;
    Some(SlotSet::from_ranges(
        pairs.chunks_exact(2).map(|pair| pair[0]..=pair[1]),
    ))
}

fn replicate(node: &mut Node, empty: bool, id: &str) -> Reply {
    let Some(peer) = node.known.get(id) else {
        return Reply::error(format!("ERR Unknown node {id}"));
    };
    if peer.primary.is_some() {
        return Reply::error("ERR I can only replicate a master, not a replica.");
    }
    if node.primary.is_none() && (!node.slots.is_empty() || !empty) {
        return Reply::error(
            "ERR To set a master the node must be empty and without assigned slots.",
        );
    }
    node.primary = Some(id.to_owned());
    node.migrating.clear();
    node.importing.clear();
    Reply::ok()
}

fn forget(node: &mut Node, id: &str, now: Duration) -> Reply {
    if node.id == id {
        return Reply::error("ERR I tried hard but I can't forget myself...");
    }
    if node.primary.as_deref() == Some(id) {
        return Reply::error("ERR Can't forget my master!");
    }
    if node.known.remove(id).is_none() {
        return Reply::error(format!("ERR Unknown node {id}"));
    }
    node.forgotten.insert(id.to_owned(), now + FORGET);
    Reply::ok()
}

fn set_slot(node: &mut Node, keys: &[u64], words: &[String]) -> Reply {
    let Some(slot) = words[0].parse::<u16>().ok() else {
        return Reply::error("ERR Invalid or out of range slot");
    };
    if node.primary.is_some() {
        return Reply::error("ERR You can use SETSLOT only with masters.");
    }
    let id = words.get(2).cloned().unwrap_or_default();
    let known = node.known.contains_key(&id) || node.id == id;
    let owned = node.slots.contains(slot);
    match words[1].to_ascii_uppercase().as_str() {
        "STABLE" => {
            node.migrating.remove(&slot);
            node.importing.remove(&slot);
        }
        "IMPORTING" if owned => {
            return Reply::error(format!("ERR I'm already the owner of hash slot {slot}"));
        }
        "MIGRATING" if !owned => {
            return Reply::error(format!("ERR I'm not the owner of hash slot {slot}"));
        }
        _ if !known => return Reply::error(format!("ERR I don't know about node {id}")),
        "IMPORTING" => drop(node.importing.insert(slot, id)),
        "MIGRATING" => drop(node.migrating.insert(slot, id)),
        _ => {
            let holds = keys.iter().any(|key| slot_of(*key) == slot);
            if owned && id != node.id && holds {
                return Reply::error(format!(
                    "ERR Can't assign hashslot {slot} to a different node while I still hold keys for this hash slot."
                ));
            }
            if id == node.id && node.importing.remove(&slot).is_some() {
                node.current += 1;
                node.epoch = node.current;
            }
            node.migrating.remove(&slot);
            node.assign(&SlotSet::from_ranges([slot..=slot]), &id);
        }
    }
    Reply::ok()
}

fn failover(servers: &mut BTreeMap<String, Server>, ip: &str, how: &str, now: Duration) -> Reply {
    let server = &servers[ip];
    let Some(node) = server.node.as_ref().filter(|n| n.primary.is_some()) else {
        return Reply::error("ERR You should send CLUSTER FAILOVER to a replica");
    };
    match how.to_ascii_uppercase().as_str() {
        "TAKEOVER" => {}
        "FORCE" if gossip::has_majority(servers, node) => {}
        // It is under way, and never ends.
        "FORCE" => return Reply::ok(),
        _ if !gossip::can_hand_over(servers, server) => {
            return Reply::error("ERR Master is down or failed, please use CLUSTER FAILOVER FORCE");
        }
        _ => {
            if !gossip::has_majority(servers, node) {
                return Reply::ok();
            }
            // The primary stops writes, and the replica gets all of them.
            let (from, to) = (server.primary.clone(), ip.to_owned());
            let source = from.and_then(|p| servers.get_mut(&p.0));
            let Some(source) = source else {
                return Reply::ok();
            };
            source.paused_until = now + TIMEOUT;
            let (data, offset) = (source.data.clone(), source.offset);
            if let Some(replica) = servers.get_mut(&to) {
                (replica.data, replica.offset) = (data, offset);
            }
        }
    }
    gossip::take_over(servers, ip);
    Reply::ok()
}

fn push(
    servers: &mut BTreeMap<String, Server>,
    ip: &str,
    words: &[String],
    now: Duration,
) -> Reply {
    let Some(at) = words.iter().position(|w| w.eq_ignore_ascii_case("NODE")) else {
        return Reply::error("ERR syntax error");
    };
    let (Some(slots), Some(target)) = (ranges(&words[1..at]), words.get(at + 1).cloned()) else {
        return Reply::error("ERR syntax error");
    };
    let Some(node) = servers.get_mut(ip).and_then(|s| s.node.as_mut()) else {
        return Reply::error("ERR");
    };
    if node.slots.intersection(&slots) != slots {
        return Reply::error("ERR Slots are not served by this node");
    }
    if node.moves.iter().any(|m| m.state == "snapshotting") {
        return Reply::error("ERR There is another migration in progress");
    }
    let one = Move {
        name: gossip::name(),
        source: node.id.clone(),
        target: target.clone(),
        slots,
        due: now + MOVE,
        state: "snapshotting",
        import: false,
    };
    node.moves.push(one.clone());
    let target = servers
        .values_mut()
        .filter_map(|s| s.node.as_mut())
        .find(|n| n.id == target);
    if let Some(target) = target {
        target.moves.push(Move {
            import: true,
            ..one
        });
    }
    Reply::ok()
}

fn shown(one: &Move) -> Reply {
    let text = |text: &str| Reply::Bulk(text.to_owned());
    let operation = if one.import { "IMPORT" } else { "EXPORT" };
    let fields = [
        ("name", text(&one.name)),
        ("operation", text(operation)),
        ("slot_ranges", text(&one.slots.to_string())),
        ("source_node", text(&one.source)),
        ("target_node", text(&one.target)),
        ("create_time", Reply::Int(1)),
        ("state", text(one.state)),
        ("message", text("")),
    ];
    Reply::Array(fields.into_iter().flat_map(|(n, v)| [text(n), v]).collect())
}

/// Runs `MIGRATE`: keys go to another node.
pub fn migrate(servers: &mut BTreeMap<String, Server>, ip: &str, words: &[String]) -> Reply {
    let at = |word: &str| words.iter().position(|w| w.eq_ignore_ascii_case(word));
    let (Some(keys), Some(login)) = (at("KEYS"), at("AUTH2")) else {
        return Reply::error("ERR syntax error");
    };
    let numbers = words[keys + 1..].iter();
    let numbers: Vec<u64> = numbers
        .filter_map(|w| w.strip_prefix("key:")?.parse().ok())
        .collect();
    let Some(target) = servers.get_mut(&words[1]).filter(|t| !t.frozen) else {
        return Reply::error("IOERR error or timeout connecting to the client");
    };
    let user = target.users.get(&words[login + 1]);
    if !user.is_some_and(|u| u.accepts(&words[login + 2])) {
        return Reply::error("ERR Target instance replied with error: WRONGPASS");
    }
    let takes = |key: &u64| {
        let slot = slot_of(*key);
        let node = target.node.as_ref();
        node.is_some_and(|n| n.slots.contains(slot) || n.importing.contains_key(&slot))
    };
    if !numbers.iter().all(takes) {
        return Reply::error("ERR Target instance replied with error: MOVED");
    }
    let here: Vec<u64> = servers[ip]
        .data
        .iter()
        .copied()
        .filter(|k| numbers.contains(k))
        .collect();
    if here.is_empty() {
        return Reply::Simple("NOKEY".into());
    }
    if let Some(target) = servers.get_mut(&words[1]) {
        target.data.retain(|k| !here.contains(k));
        target.data.extend(&here);
        target.offset += 50;
    }
    if let Some(source) = servers.get_mut(ip) {
        source.data.retain(|k| !here.contains(k));
        source.offset += 50;
    }
    Reply::ok()
}
