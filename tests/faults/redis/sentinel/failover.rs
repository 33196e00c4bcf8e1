//! How sentinels agree on a leader, and how the leader fails over.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;

use super::super::server::HandOver;
use super::step::{Others, Servers, point};
use super::{Failover, INFO, Monitored, PING, Pointed, Seen, Sentinel, Stage};

/// An election that is not won after this is given up.
const ELECTION: Duration = Duration::from_secs(10);
/// A replica that was pointed to the new primary is not waited for any longer.
const POINTED: Duration = Duration::from_secs(10);
/// Sentinels begin apart from each other by up to this.
const DESYNC: u64 = 1000;

/// Begins a failover that is due, and goes on with the one under way.
pub fn advance(
    own: &mut Sentinel,
    m: &mut Monitored,
    others: Others<'_>,
    servers: Servers<'_>,
    now: Duration,
    chance: &mut StdRng,
) {
    let waited = |m: &Monitored| {
        let started = m.failover.started;
        started.is_none_or(|started| now >= started + m.failover_timeout * 2)
    };
    if m.agreed_down && m.failover.stage == Stage::None && waited(m) {
        begin(own, m, false, now, chance);
    }
    match m.failover.stage {
        Stage::WaitStart => {
            let limit = m.failover_timeout.min(ELECTION);
            if m.failover.forced || is_elected(own, m, others, now, chance) {
                m.failover.stage = Stage::SelectReplica;
                m.failover.since = now;
            } else if m.failover.started.is_some_and(|s| now > s + limit) {
                m.give_up();
            }
        }
        Stage::SelectReplica => match choose(m, now) {
            Some(host) => {
                m.failover.promoted = Some(host);
                m.failover.stage = Stage::Promoting;
                m.failover.since = now;
            }
            None => m.give_up(),
        },
        Stage::Promoting => promote(m, servers, now),
        Stage::WaitPromotion if now > m.failover.since + m.failover_timeout => m.give_up(),
        Stage::None | Stage::WaitPromotion => {}
        Stage::Reconfigure => reconfigure(m, servers, now),
        Stage::UpdateConfig => {
            let (host, port) = m.address();
            let host = host.to_owned();
            m.move_to(&host, port, now);
        }
    }
}

/// Begins a failover in an epoch of its own.
pub fn begin(
    own: &mut Sentinel,
    m: &mut Monitored,
    forced: bool,
    now: Duration,
    chance: &mut StdRng,
) {
    own.epoch += 1;
    m.failover = Failover {
        stage: Stage::WaitStart,
        epoch: own.epoch,
        started: Some(now + Duration::from_millis(chance.random_range(0..DESYNC))),
        since: now,
        promoted: None,
        forced,
        coordinated: false,
    };
}

impl Monitored {
    fn give_up(&mut self) {
        self.failover = Failover {
            started: self.failover.started,
            ..Failover::default()
        };
    }

    /// So many of all that are known have to agree on a leader.
    pub(super) fn majority(&self) -> usize {
        self.peers.len().div_ceil(2) + 1
    }

    /// Votes for the first who asks in an epoch. Returns for whom it voted, and in which epoch.
    fn vote(&mut self, known: u64, epoch: u64, candidate: &str) -> (String, u64) {
        if self.vote.1 < epoch && known <= epoch {
            self.vote = (candidate.to_owned(), epoch);
        }
        self.vote.clone()
    }
}

/// A majority of all that are known, and as many as the quorum, vote for it.
fn is_elected(
    own: &mut Sentinel,
    m: &mut Monitored,
    others: Others<'_>,
    now: Duration,
    chance: &mut StdRng,
) -> bool {
    let epoch = m.failover.epoch;
    let mut votes: BTreeMap<String, usize> = BTreeMap::new();
    for peer in m.peers.values().filter(|p| p.connected) {
        let Some(other) = others.get_mut(&peer.ip) else {
            continue;
        };
        other.epoch = other.epoch.max(epoch);
        let known = other.epoch;
        let host = &m.primary.host;
        let theirs = other
            .monitored
            .values_mut()
            .find(|t| t.primary.host == *host);
        let Some(theirs) = theirs else { continue };
        let before = theirs.vote.1;
        let (leader, of) = theirs.vote(known, epoch, &own.id);
        if theirs.vote.1 != before && leader != other.id {
            let wait = Duration::from_millis(chance.random_range(0..DESYNC));
            theirs.failover.started = Some(now + wait);
        }
        if of == epoch {
            *votes.entry(leader).or_default() += 1;
        }
    }
    let favourite = votes.iter().max_by_key(|(_, n)| **n);
    let favourite = favourite.map_or_else(|| own.id.clone(), |(id, _)| id.clone());
    let (mine, of) = m.vote(own.epoch, epoch, &favourite);
    if of == epoch {
        *votes.entry(mine).or_default() += 1;
    }
    let count = votes.get(&own.id).copied().unwrap_or_default();
    count >= m.majority().max(m.quorum)
}

/// The replica that it would promote.
pub fn choose(m: &Monitored, now: Duration) -> Option<String> {
    let known = match m.primary.down {
        Some(_) => PING * 5,
        None => INFO * 3,
    };
    let down = m.primary.down.map(|since| now.saturating_sub(since));
    let down = down.unwrap_or_default();
    let fit = |r: &&Seen| {
        r.down.is_none()
            && r.connected
            && now <= r.answered + PING * 5
            && r.priority > 0
            && r.info.is_some_and(|at| now <= at + known)
            && r.link_down <= down + m.down_after * 10
    };
    let order = |r: &&Seen| (r.priority, Reverse(r.offset), r.run_id.clone());
    let chosen = m.replicas.values().filter(fit).min_by_key(order)?;
    Some(chosen.host.clone())
}

fn promote(m: &mut Monitored, servers: Servers<'_>, now: Duration) {
    let chosen = m.failover.promoted.as_ref();
    let Some(chosen) = chosen.and_then(|host| m.replicas.get(host)) else {
        return m.give_up();
    };
    let ready = chosen.connected && (!m.failover.coordinated || m.primary.connected);
    if !ready {
        if now > m.failover.since + m.failover_timeout {
            m.give_up();
        }
        return;
    }
    if m.failover.coordinated {
        let hand_over = HandOver {
            target: (chosen.host.clone(), chosen.port),
            deadline: Some(now + m.failover_timeout),
            force: false,
        };
        if let Some(server) = servers.get_mut(&m.primary.host) {
            server.hand_over.get_or_insert(hand_over);
        }
    } else {
        point(servers, chosen, None);
    }
    m.failover.stage = Stage::WaitPromotion;
    m.failover.since = now;
}

/// Points one replica after the other to the new primary.
fn reconfigure(m: &mut Monitored, servers: Servers<'_>, now: Duration) {
    let Some(promoted) = m.failover.promoted.clone() else {
        return;
    };
    let to = m.replicas.get(&promoted);
    let Some(port) = to.filter(|r| r.down.is_none()).map(|r| r.port) else {
        return;
    };
    let late = now > m.failover.since + m.failover_timeout;
    let others = || m.replicas.values().filter(|r| r.host != promoted);
    let is_done = |r: &Seen| r.pointed == Pointed::Done || r.down.is_some();
    if late || others().all(is_done) {
        for seen in others().filter(|r| r.pointed == Pointed::No && late) {
            point(servers, seen, Some((&promoted, port)));
        }
        m.failover.stage = Stage::UpdateConfig;
        return;
    }
    let mut busy = others().any(|r| matches!(r.pointed, Pointed::Sent(_)));
    for seen in m.replicas.values_mut().filter(|r| r.host != promoted) {
        match seen.pointed {
            Pointed::Sent(at) if now > at + POINTED => seen.pointed = Pointed::Done,
            Pointed::No if seen.connected && !busy => {
                point(servers, seen, Some((&promoted, port)));
                seen.pointed = Pointed::Sent(now);
                busy = true;
            }
            _ => {}
        }
    }
}
