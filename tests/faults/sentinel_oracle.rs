//! How sentinels must be at the end.

use std::collections::BTreeSet;

use crate::redis::sentinel::Stage;
use crate::world::{NAME, NAMESPACE, World};

/// What is wrong: every sentinel watches the primary, with all replicas and each other, and nothing is under way.
pub fn problems(world: &World) -> Vec<String> {
    let mut found = Vec::new();
    let primary = world.servers.values().find(|s| !s.is_replica());
    let hosts: BTreeSet<&String> = world.servers.keys().collect();
    for sentinel in world.sentinels.values() {
        let pod = &sentinel.pod;
        let names: Vec<&String> = sentinel.monitored.keys().collect();
        if names != [&format!("{NAMESPACE}.{NAME}")] {
            found.push(format!("{pod} watches {names:?}"));
        }
        for m in sentinel.monitored.values() {
            if primary.map(|p| &p.ip) != Some(&m.primary.host) {
                found.push(format!("{pod} watches {}", m.primary.host));
            }
            let up = |s: &&crate::redis::sentinel::Seen| s.down.is_none() && s.connected;
            let live: BTreeSet<&String> = m
                .replicas
                .values()
                .chain([&m.primary])
                .filter(up)
                .map(|s| &s.host)
                .collect();
            if live != hosts {
                found.push(format!("{pod} sees {live:?} of {hosts:?}"));
            }
            let others = world.sentinels.values().filter(|o| o.id != sentinel.id);
            let others: BTreeSet<(&String, &String)> = others.map(|o| (&o.id, &o.ip)).collect();
            let peers: BTreeSet<(&String, &String)> =
                m.peers.iter().map(|(id, p)| (id, &p.ip)).collect();
            if peers != others {
                found.push(format!("{pod} knows {peers:?}, not {others:?}"));
            }
            if m.failover.stage != Stage::None {
                found.push(format!("{pod} fails over"));
            }
        }
    }
    let priorities = world.servers.values().filter(|s| s.is_replica());
    let wanted = if world.sentinels.is_empty() {
        "100"
    } else {
        "50"
    };
    for server in priorities.filter(|s| s.config["replica-priority"] != wanted) {
        let priority = &server.config["replica-priority"];
        found.push(format!("{} has priority {priority}", server.pod));
    }
    found
}
