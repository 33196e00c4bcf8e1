//! What servers do by themselves: replicate, and go on with a hand-over.

use std::collections::BTreeMap;
use std::time::Duration;

use super::server::{Link, Server};

/// Until a replica is connected.
const HANDSHAKE: Duration = Duration::from_millis(40);
/// How long a full synchronization takes.
const SYNC: Duration = Duration::from_millis(200);

/// One round.
pub fn step(servers: &mut BTreeMap<String, Server>, now: Duration) {
    let ips: Vec<String> = servers.keys().cloned().collect();
    for ip in &ips {
        hand_over(servers, ip, now);
    }
    for ip in &ips {
        if let Some(mut replica) = servers.remove(ip) {
            if !replica.frozen {
                let was_up = replica.link == Link::Up;
                link(servers, &mut replica, now);
                if replica.link == Link::Up {
                    replica.link_lost = None;
                } else if was_up {
                    replica.link_lost = Some(now);
                }
            }
            servers.insert(ip.clone(), replica);
        }
    }
}

/// The server that a replica follows, when it takes its login.
fn upstream<'a>(servers: &'a BTreeMap<String, Server>, replica: &Server) -> Option<&'a Server> {
    let (host, port) = replica.primary.as_ref()?;
    let found = servers.get(host).filter(|_| *port == 6379)?;
    let user = found.users.get(replica.config.get("masteruser")?)?;
    (user.on && user.hashes.contains(&replica.login)).then_some(found)
}

fn link(servers: &BTreeMap<String, Server>, replica: &mut Server, now: Duration) {
    if !replica.is_replica() {
        return;
    }
    let Some(primary) = upstream(servers, replica) else {
        replica.link = Link::Down;
        return;
    };
    if primary.frozen {
        // An open link stays open, and nothing comes from it.
        if replica.link != Link::Up {
            replica.link = Link::Down;
        }
        return;
    }
    replica.heard = now;
    // A replica whose own link is down passes nothing on.
    let serves = !primary.is_replica() || primary.link == Link::Up;
    match replica.link {
        Link::Down if serves => replica.link = Link::Handshake(now + HANDSHAKE),
        Link::Handshake(until) if now >= until => {
            let same = replica.replid == primary.replid && replica.offset <= primary.offset;
            let continued = primary.replid2.as_ref() == Some(&replica.replid)
                && replica.offset < primary.second_offset;
            if same || continued {
                copy(primary, replica);
                replica.link = Link::Up;
            } else {
                replica.link = Link::Sync(now + SYNC);
            }
        }
        Link::Sync(until) if now >= until => {
            copy(primary, replica);
            replica.link = Link::Up;
        }
        Link::Up if replica.replid != primary.replid || replica.offset > primary.offset => {
            // The primary's history changed under it: it connects again.
            replica.link = Link::Down;
        }
        Link::Up if replica.offset != primary.offset => copy(primary, replica),
        _ => {}
    }
}

fn copy(primary: &Server, replica: &mut Server) {
    replica.data.clone_from(&primary.data);
    replica.replid.clone_from(&primary.replid);
    replica.replid2.clone_from(&primary.replid2);
    replica.second_offset = primary.second_offset;
    replica.offset = primary.offset;
}

/// A hand-over goes on when the replica has everything, and ends when its time is over.
fn hand_over(servers: &mut BTreeMap<String, Server>, ip: &str, now: Duration) {
    let Some(begun) = servers.get(ip).and_then(|s| s.hand_over.clone()) else {
        return;
    };
    let (offset, replid) = {
        let server = &servers[ip];
        if server.frozen {
            return;
        }
        (server.offset, server.replid.clone())
    };
    let target = servers.get(&begun.target.0);
    let ready = target.is_some_and(|t| {
        t.link == Link::Up && !t.frozen && t.offset == offset && t.replid == replid
    });
    let over = begun.deadline.is_some_and(|d| now >= d);
    let lives = target.is_some_and(|t| !t.frozen);
    if ready || (over && begun.force && lives) {
        if let Some(target) = servers.get_mut(&begun.target.0) {
            target.promote();
        }
        if let Some(server) = servers.get_mut(ip) {
            server.follow(&begun.target.0, begun.target.1);
            server.hand_over = None;
        }
    } else if over && let Some(server) = servers.get_mut(ip) {
        server.hand_over = None;
    }
}
