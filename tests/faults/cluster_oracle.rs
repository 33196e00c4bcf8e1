//! How a cluster must be at the end.

use std::collections::{BTreeMap, BTreeSet};

use hera::engines::redis::SlotSet;

use crate::oracle;
use crate::redis::node::{Node, slot_of};
use crate::redis::server::{Link, Server};
use crate::world::World;

/// The StatefulSet of a pod.
fn shard(pod: &str) -> &str {
    pod.rsplit_once('-').map_or(pod, |(set, _)| set)
}

/// What is wrong: every slot has one owner that all know, every shard one primary with copies, and nobody knows a stranger.
pub fn problems(world: &World) -> Vec<String> {
    let mut found = Vec::new();
    let nodes: Vec<(&Server, &Node)> = world
        .servers
        .values()
        .filter_map(|s| Some((s, s.node.as_ref()?)))
        .collect();
    let ids: BTreeSet<&String> = nodes.iter().map(|(_, n)| &n.id).collect();
    let mut all = SlotSet::new();
    let mut sum = 0;
    let mut held = BTreeSet::new();
    let mut primaries: BTreeMap<&str, usize> = BTreeMap::new();
    for (server, node) in &nodes {
        let known: BTreeSet<&String> = node.known.keys().chain([&node.id]).collect();
        if known != ids || !node.meeting.is_empty() {
            found.push(format!("{} knows {known:?} of {ids:?}", server.pod));
        }
        if !node.migrating.is_empty() || !node.importing.is_empty() {
            found.push(format!("{} has open slots", server.pod));
        }
        all = all.union(&node.slots);
        sum += u32::from(node.slots.len());
        let Some(primary) = &node.primary else {
            *primaries.entry(shard(&server.pod)).or_default() += 1;
            held.extend(
                server
                    .data
                    .iter()
                    .filter(|k| node.slots.contains(slot_of(**k))),
            );
            if node.slots.is_empty() {
                found.push(format!("{} is a primary without slots", server.pod));
            }
            continue;
        };
        let Some((of, _)) = nodes.iter().find(|(_, n)| n.id == *primary) else {
            found.push(format!("{} follows a stranger", server.pod));
            continue;
        };
        let (mut mine, mut theirs) = (server.data.clone(), of.data.clone());
        mine.sort_unstable();
        theirs.sort_unstable();
        if shard(&of.pod) != shard(&server.pod) {
            found.push(format!(
                "{} follows {} of another shard",
                server.pod, of.pod
            ));
        } else if server.link != Link::Up || mine != theirs {
            found.push(format!("{} is no copy of {}", server.pod, of.pod));
        }
    }
    if !all.is_full() || sum != 16_384 {
        found.push(format!(
            "{} slots have an owner, {sum} are owned",
            all.len()
        ));
    }
    if primaries.values().any(|n| *n != 1) {
        found.push(format!("primaries of the shards: {primaries:?}"));
    }
    found.extend(oracle::lost(world, held.into_iter()));
    found
}
