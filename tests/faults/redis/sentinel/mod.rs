//! A sentinel: what it watches, what it knows, and what it does by itself.
//!
//! Times and rules are those of the servers' `sentinel.c`. Messages arrive at once.

pub mod commands;
mod failover;
mod reply;
mod step;

use std::collections::BTreeMap;
use std::time::Duration;

use super::acl::{self, User};
use super::server::Connection;

pub use self::step::step;

/// How often a sentinel looks at everything.
pub const TICK: Duration = Duration::from_millis(100);
/// Between two pings of a server, and two attempts to connect.
const PING: Duration = Duration::from_secs(1);
/// Between two looks at the `INFO` of a server when nothing is wrong.
const INFO: Duration = Duration::from_secs(10);

/// A sentinel process.
#[derive(Clone, Debug)]
pub struct Sentinel {
    pub pod: String,
    pub ip: String,
    pub id: String,
    pub users: BTreeMap<String, User>,
    pub connections: Vec<Connection>,
    /// The highest epoch that it knows.
    pub epoch: u64,
    pub monitored: BTreeMap<String, Monitored>,
    /// It can do a coordinated failover.
    pub valkey: bool,
}

/// A primary with all that belongs to it.
#[derive(Clone, Debug)]
pub struct Monitored {
    pub quorum: usize,
    pub down_after: Duration,
    pub failover_timeout: Duration,
    pub login: (String, String),
    pub config_epoch: u64,
    pub primary: Seen,
    /// By host.
    pub replicas: BTreeMap<String, Seen>,
    /// The other sentinels, by id.
    pub peers: BTreeMap<String, Peer>,
    /// So many sentinels as the quorum take the primary for down.
    pub agreed_down: bool,
    pub failover: Failover,
    /// Whom it voted for last, and in which epoch.
    vote: (String, u64),
    next_hello: Duration,
}

/// A server as one sentinel sees it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub host: String,
    pub port: u16,
    pub run_id: String,
    pub connected: bool,
    next_ping: Duration,
    /// When it last answered a ping.
    answered: Duration,
    /// Since when a ping is not answered.
    unanswered: Option<Duration>,
    /// Since when it is taken for down.
    pub down: Option<Duration>,
    /// When it was last taken for down, also when that is over.
    fell: Option<Duration>,
    /// When its `INFO` was read.
    info: Option<Duration>,
    says_replica: bool,
    role_since: Duration,
    /// Whom it follows by its own word, and since when.
    follows: Option<(String, u16)>,
    follows_since: Duration,
    link_up: bool,
    link_down: Duration,
    priority: u32,
    offset: u64,
    pointed: Pointed,
}

/// Whether a replica was pointed to the new primary in a failover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pointed {
    #[default]
    No,
    Sent(Duration),
    Done,
}

/// Another sentinel.
#[derive(Clone, Debug)]
pub struct Peer {
    pub ip: String,
    answered: Duration,
    pub connected: bool,
    pub down: bool,
    heard: Duration,
}

/// A failover that this sentinel leads, or wants to.
#[derive(Clone, Debug, Default)]
pub struct Failover {
    pub stage: Stage,
    epoch: u64,
    /// When it began, or somebody else's: the next one waits.
    started: Option<Duration>,
    since: Duration,
    promoted: Option<String>,
    /// By request, without asking the others.
    forced: bool,
    coordinated: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    #[default]
    None,
    WaitStart,
    SelectReplica,
    Promoting,
    WaitPromotion,
    Reconfigure,
    UpdateConfig,
}

impl Sentinel {
    /// Starts with these files in its configuration folder.
    pub fn start(
        pod: &str,
        ip: &str,
        id: String,
        files: &BTreeMap<String, String>,
        image: &str,
    ) -> Self {
        Self {
            pod: pod.to_owned(),
            ip: ip.to_owned(),
            id,
            users: acl::read(pod, files),
            connections: Vec::new(),
            epoch: 0,
            monitored: BTreeMap::new(),
            valkey: image.contains("valkey"),
        }
    }

    /// What a person would look at first.
    pub fn describe(&self) -> String {
        let watched: Vec<String> = self
            .monitored
            .iter()
            .map(|(name, m)| {
                format!(
                    "{name} at {} epoch {} {:?} down {:?} replicas {:?} peers {}",
                    m.primary.host,
                    m.config_epoch,
                    m.failover.stage,
                    m.primary.down,
                    m.replicas.keys().collect::<Vec<_>>(),
                    m.peers.len()
                )
            })
            .collect();
        format!("{} {} watches {watched:?}", self.pod, self.ip)
    }
}

impl Monitored {
    /// Where clients are told that the primary is.
    pub fn address(&self) -> (&str, u16) {
        let promoted = self.failover.promoted.as_ref();
        let promoted = promoted.filter(|_| self.failover.stage >= Stage::Reconfigure);
        let seen = promoted.and_then(|host| self.replicas.get(host));
        let seen = seen.unwrap_or(&self.primary);
        (&seen.host, seen.port)
    }

    /// It watches this address from now on, and takes those that it knew for its replicas.
    fn move_to(&mut self, host: &str, port: u16, now: Duration) {
        let former = (self.primary.host.clone(), self.primary.port);
        let known: Vec<(String, u16)> = self
            .replicas
            .values()
            .map(|r| (r.host.clone(), r.port))
            .chain([former])
            .filter(|(known, _)| known != host)
            .collect();
        self.primary = Seen::new(host, port, now);
        self.replicas = known
            .into_iter()
            .map(|(host, port)| (host.clone(), Seen::replica(&host, port, now)))
            .collect();
        self.agreed_down = false;
        self.failover = Failover::default();
    }
}

impl Seen {
    fn new(host: &str, port: u16, now: Duration) -> Self {
        Self {
            host: host.to_owned(),
            port,
            next_ping: now,
            answered: now,
            unanswered: Some(now),
            role_since: now,
            follows_since: now,
            priority: 100,
            ..Self::default()
        }
    }

    fn replica(host: &str, port: u16, now: Duration) -> Self {
        Self {
            says_replica: true,
            ..Self::new(host, port, now)
        }
    }

    fn is_at(&self, address: Option<&(String, u16)>) -> bool {
        address.is_some_and(|(host, port)| *host == self.host && *port == self.port)
    }

    /// The last time that it was taken for down is so long ago.
    fn is_well_for(&self, time: Duration, now: Duration) -> bool {
        self.fell.is_none_or(|fell| now > fell + time)
    }
}
