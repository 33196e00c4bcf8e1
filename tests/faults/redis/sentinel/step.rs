//! What a sentinel does all the time: it pings, reads `INFO`, greets the others, and says who is down.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;

use super::super::server::{Link, Server};
use super::failover;
use super::{INFO, Monitored, PING, Peer, Pointed, Seen, Sentinel, Stage};

/// Between two greetings.
const HELLO: Duration = Duration::from_secs(2);
/// A replica that says that it is a primary is believed for so long.
const CONVERT: Duration = Duration::from_secs(8);

/// All other sentinels, by address.
pub type Others<'a> = &'a mut BTreeMap<String, Sentinel>;
/// All servers, by address.
pub type Servers<'a> = &'a mut BTreeMap<String, Server>;

/// One look of every sentinel.
pub fn step(sentinels: Others<'_>, servers: Servers<'_>, now: Duration, chance: &mut StdRng) {
    let ips: Vec<String> = sentinels.keys().cloned().collect();
    for ip in ips {
        let Some(mut own) = sentinels.remove(&ip) else {
            continue;
        };
        let names: Vec<String> = own.monitored.keys().cloned().collect();
        for name in names {
            if let Some(mut m) = own.monitored.remove(&name) {
                look_at_all(&mut m, servers, now);
                greet(&own, &name, &mut m, sentinels, servers, now);
                judge(&mut m, sentinels, now);
                failover::advance(&mut own, &mut m, sentinels, servers, now, chance);
                own.monitored.insert(name, m);
            }
        }
        sentinels.insert(ip, own);
    }
}

/// A server that answers a sentinel with this login.
fn answering<'a>(
    servers: &'a BTreeMap<String, Server>,
    seen: &Seen,
    login: &(String, String),
) -> Option<&'a Server> {
    let server = servers.get(&seen.host).filter(|_| seen.port == 6379)?;
    let user = server.users.get(&login.0)?;
    (!server.frozen && user.accepts(&login.1)).then_some(server)
}

fn look_at_all(m: &mut Monitored, servers: Servers<'_>, now: Duration) {
    let login = m.login.clone();
    ping(&mut m.primary, servers, &login, now);
    if let Some(server) = due(&m.primary, servers, &login, INFO, now) {
        read(&mut m.primary, server, now);
        for replica in servers.values().filter(|r| r.follows(server)) {
            m.replicas
                .entry(replica.ip.clone())
                .or_insert_with(|| Seen::replica(&replica.ip, 6379, now));
        }
    }
    let hosts: Vec<String> = m.replicas.keys().cloned().collect();
    for host in hosts {
        let Some(mut seen) = m.replicas.remove(&host) else {
            continue;
        };
        ping(&mut seen, servers, &login, now);
        let urgent =
            m.agreed_down || m.failover.stage != Stage::None || seen.link_down > Duration::ZERO;
        let period = if urgent { PING } else { INFO };
        if let Some(server) = due(&seen, servers, &login, period, now) {
            read(&mut seen, server, now);
            let to = correct(m, &mut seen, now);
            if let Some((host, port)) = to {
                point(servers, &seen, Some((&host, port)));
            }
        }
        m.replicas.insert(host, seen);
    }
}

fn ping(seen: &mut Seen, servers: Servers<'_>, login: &(String, String), now: Duration) {
    if now < seen.next_ping {
        return;
    }
    seen.next_ping = now + PING;
    seen.connected = servers.contains_key(&seen.host) && seen.port == 6379;
    if answering(servers, seen, login).is_some() {
        seen.answered = now;
        seen.unanswered = None;
    } else if seen.connected {
        seen.unanswered.get_or_insert(now);
    }
}

/// The server whose `INFO` is to be read now.
fn due<'a>(
    seen: &Seen,
    servers: &'a BTreeMap<String, Server>,
    login: &(String, String),
    period: Duration,
    now: Duration,
) -> Option<&'a Server> {
    let old = seen.info.is_none_or(|at| now > at + period);
    answering(servers, seen, login).filter(|_| old && seen.connected)
}

fn read(seen: &mut Seen, server: &Server, now: Duration) {
    seen.info = Some(now);
    seen.run_id.clone_from(&server.run_id);
    let replica = server.is_replica();
    if replica != seen.says_replica {
        seen.says_replica = replica;
        seen.role_since = now;
        if replica {
            seen.follows_since = now;
        }
    }
    if replica && seen.follows != server.primary {
        seen.follows.clone_from(&server.primary);
        seen.follows_since = now;
    }
    seen.link_up = server.link == Link::Up;
    let lost = server.link_lost.map(|at| now.saturating_sub(at).as_secs());
    seen.link_down = Duration::from_secs(lost.unwrap_or_default());
    seen.priority = server.config["replica-priority"].parse().unwrap_or(100);
    seen.offset = server.offset;
}

/// What a replica said is not as it should be: returns whom it has to follow.
fn correct(m: &mut Monitored, seen: &mut Seen, now: Duration) -> Option<(String, u16)> {
    let primary = &m.primary;
    let sane = !primary.says_replica
        && primary.down.is_none()
        && !m.agreed_down
        && primary.info.is_some_and(|at| now < at + INFO * 2);
    let promoted = m.failover.promoted.as_ref() == Some(&seen.host);
    let here = (primary.host.clone(), primary.port);
    if !seen.says_replica {
        if promoted && m.failover.stage == Stage::WaitPromotion {
            m.config_epoch = m.failover.epoch;
            m.failover.stage = Stage::Reconfigure;
            m.failover.since = now;
            m.next_hello = now;
            return None;
        }
        let wrong = !promoted && sane && now > seen.role_since + CONVERT;
        return (wrong && seen.is_well_for(CONVERT, now)).then_some(here);
    }
    if let Pointed::Sent(_) = seen.pointed
        && seen.link_up
        && seen.follows.as_ref().map(|f| &f.0) == m.failover.promoted.as_ref()
    {
        seen.pointed = Pointed::Done;
    }
    let patience = m.failover_timeout;
    let wrong = !primary.is_at(seen.follows.as_ref()) && now > seen.follows_since + patience;
    (wrong && sane && seen.is_well_for(patience, now)).then_some(here)
}

/// `REPLICAOF`, with which a sentinel cuts the connections of all clients. Nothing comes of it where it is not connected.
pub fn point(servers: Servers<'_>, seen: &Seen, to: Option<(&str, u16)>) {
    let server = servers.get_mut(&seen.host).filter(|_| seen.connected);
    let Some(server) = server.filter(|s| s.hand_over.is_none()) else {
        return;
    };
    match to {
        Some((host, port)) => server.follow(host, port),
        None => server.promote(),
    }
    server.close(|_| true);
}

/// Tells the others who is the primary, through the servers that both are connected to.
fn greet(
    own: &Sentinel,
    name: &str,
    m: &mut Monitored,
    others: Others<'_>,
    servers: &BTreeMap<String, Server>,
    now: Duration,
) {
    if now < m.next_hello {
        return;
    }
    m.next_hello = now + HELLO;
    let (host, port) = m.address();
    for other in others.values_mut() {
        let Some(theirs) = other.monitored.get_mut(name) else {
            continue;
        };
        let met = all(m).any(|a| {
            let lives = servers.get(&a.host).is_some_and(|s| !s.frozen);
            lives && a.connected && all(theirs).any(|b| b.connected && b.host == a.host)
        });
        let known = m.peers.get(&other.id);
        if !met && !known.is_some_and(|p| p.connected && p.ip == other.ip) {
            continue;
        }
        theirs.hear(own, now);
        other.epoch = other.epoch.max(own.epoch);
        if theirs.config_epoch < m.config_epoch {
            theirs.config_epoch = m.config_epoch;
            if (theirs.primary.host.as_str(), theirs.primary.port) != (host, port) {
                theirs.move_to(host, port, now);
            }
        }
    }
}

fn all(m: &Monitored) -> impl Iterator<Item = &Seen> {
    m.replicas.values().chain([&m.primary])
}

impl Monitored {
    /// Another sentinel greets. It has one address, and an address one sentinel.
    fn hear(&mut self, from: &Sentinel, now: Duration) {
        self.peers
            .retain(|id, p| (*id == from.id) == (p.ip == from.ip));
        let peer = self.peers.entry(from.id.clone()).or_insert_with(|| Peer {
            ip: from.ip.clone(),
            answered: now,
            connected: false,
            down: false,
            heard: now,
        });
        peer.heard = now;
    }
}

/// Who is down.
fn judge(m: &mut Monitored, others: Others<'_>, now: Duration) {
    let down_after = m.down_after;
    for peer in m.peers.values_mut() {
        peer.connected = others.contains_key(&peer.ip);
        if peer.connected {
            peer.answered = now;
        }
        peer.down = now > peer.answered + down_after;
    }
    m.replicas
        .values_mut()
        .for_each(|seen| seen.judge(down_after, false, now));
    let primary = &mut m.primary;
    let wrong = primary.says_replica && now > primary.role_since + down_after + INFO * 2;
    primary.judge(down_after, wrong, now);
    let agrees = |peer: &&Peer| {
        let other = others.get(&peer.ip);
        let mut theirs = other.into_iter().flat_map(|o| o.monitored.values());
        theirs.any(|t| t.primary.host == m.primary.host && t.primary.down.is_some())
    };
    let agreeing = m.peers.values().filter(agrees).count();
    m.agreed_down = m.primary.down.is_some() && agreeing + 1 >= m.quorum;
}

impl Seen {
    fn judge(&mut self, down_after: Duration, wrong: bool, now: Duration) {
        let since = match self.unanswered {
            None if !self.connected => Some(self.answered),
            since => since,
        };
        if !wrong && since.is_none_or(|since| now <= since + down_after) {
            self.down = None;
        } else if self.down.is_none() {
            self.down = Some(now);
            self.fell = Some(now);
        }
    }
}
