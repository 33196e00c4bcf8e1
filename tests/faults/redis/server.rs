//! One server: its start, its state, its data.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hera::engines::redis::password_hash;
use tokio_util::sync::CancellationToken;

use super::acl::{self, User};
use super::node::{Node, WRITABLE_DELAY};

/// The link of a replica to its primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Down,
    /// Connecting, until then.
    Handshake(Duration),
    /// A full synchronization, until then.
    Sync(Duration),
    Up,
}

/// A hand-over that was begun by `FAILOVER`.
#[derive(Clone, Debug)]
pub struct HandOver {
    pub target: (String, u16),
    pub deadline: Option<Duration>,
    pub force: bool,
}

/// An open connection.
#[derive(Clone, Debug)]
pub struct Connection {
    pub id: u64,
    pub user: String,
    pub closed: CancellationToken,
}

/// What is left of a server on its volume.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    pub data: Vec<u64>,
    pub node: Option<Node>,
}

/// A server process.
#[derive(Clone, Debug)]
pub struct Server {
    pub pod: String,
    pub ip: String,
    pub run_id: String,
    pub born: Duration,
    /// Keys, by number, in the order in which they were written.
    pub data: Vec<u64>,
    pub replid: String,
    pub replid2: Option<String>,
    pub second_offset: u64,
    pub offset: u64,
    pub primary: Option<(String, u16)>,
    pub link: Link,
    /// When it lost the link that it had.
    pub link_lost: Option<Duration>,
    /// When it last heard from its primary.
    pub heard: Duration,
    pub config: BTreeMap<String, String>,
    pub users: BTreeMap<String, User>,
    pub paused_until: Duration,
    pub hand_over: Option<HandOver>,
    /// It is stopped by a signal: connections are taken, and nothing is answered.
    pub frozen: bool,
    pub connections: Vec<Connection>,
    /// The claim that its volume is.
    pub claim: Option<String>,
    /// Of the password with which it logs in at its primary.
    pub login: String,
    /// In a cluster.
    pub node: Option<Node>,
    /// Of Valkey.
    pub valkey: bool,
}

/// 40 hex digits that no other has.
pub fn fresh_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    format!("{:040x}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// What a server has without a line in its file.
const DEFAULTS: [(&str, &str); 11] = [
    ("maxmemory", "0"),
    ("maxmemory-policy", "noeviction"),
    ("min-replicas-to-write", "0"),
    ("min-replicas-max-lag", "10"),
    ("timeout", "0"),
    ("hz", "10"),
    ("slowlog-max-len", "128"),
    ("databases", "16"),
    ("replica-priority", "100"),
    ("appendonly", "no"),
    ("save", "3600 1 300 100 60 10000"),
];

impl Server {
    /// Starts with these files in its configuration folder.
    pub fn start(
        pod: &str,
        ip: &str,
        now: Duration,
        files: &BTreeMap<String, String>,
        image: &str,
        disk: Option<(String, Disk)>,
    ) -> Self {
        let mut config: BTreeMap<String, String> = DEFAULTS
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect();
        read(files, "redis.conf", &mut config);
        let primary = config.remove("replicaof").and_then(|text| {
            let (host, port) = text.split_once(' ')?;
            Some((host.to_owned(), port.parse().ok()?))
        });
        let (claim, disk) = disk.map_or((None, Disk::default()), |(c, d)| (Some(c), d));
        let login = password_hash(&config.get("masterauth").cloned().unwrap_or_default());
        let clustered = config.get("cluster-enabled").is_some_and(|v| v == "yes");
        let node = clustered.then(|| Node {
            writable: now + WRITABLE_DELAY,
            held_back: config.get("cluster-replica-no-failover") == Some(&"yes".to_owned()),
            ..disk.node.unwrap_or_else(Node::new)
        });
        Self {
            pod: pod.to_owned(),
            ip: ip.to_owned(),
            run_id: fresh_id(),
            born: now,
            data: disk.data,
            replid: fresh_id(),
            replid2: None,
            second_offset: 0,
            offset: u64::from(primary.is_some()),
            primary,
            link: Link::Down,
            link_lost: None,
            heard: now,
            config,
            users: acl::read(pod, files),
            paused_until: Duration::ZERO,
            hand_over: None,
            frozen: false,
            connections: Vec::new(),
            claim,
            login,
            node,
            valkey: image.contains("valkey"),
        }
    }

    pub fn is_replica(&self) -> bool {
        self.primary.is_some()
    }

    /// It is connected to this server as a replica, or is being synchronized by it.
    pub fn follows(&self, other: &Self) -> bool {
        self.primary.as_ref().is_some_and(|p| p.0 == other.ip)
            && matches!(self.link, Link::Up | Link::Sync(_))
            && !self.frozen
    }

    /// Makes it a replica of that address, with the history that it has.
    pub fn follow(&mut self, host: &str, port: u16) {
        if self
            .primary
            .as_ref()
            .is_some_and(|p| p.0 == host && p.1 == port)
        {
            return;
        }
        self.primary = Some((host.to_owned(), port));
        self.link = Link::Down;
        self.link_lost = None;
    }

    /// Makes it a primary, which begins a new history.
    pub fn promote(&mut self) {
        if self.primary.take().is_some() {
            self.replid2 = Some(std::mem::replace(&mut self.replid, fresh_id()));
            self.second_offset = self.offset + 1;
            self.link = Link::Down;
        }
    }

    /// Writes are waiting, for a hand-over or because somebody paused them.
    pub fn is_paused(&self, now: Duration) -> bool {
        self.hand_over.is_some() || now < self.paused_until
    }

    /// Takes a write, or says why not. `good` is the number of its replicas.
    pub fn write(&mut self, key: u64, good: usize, now: Duration) -> Result<(), &'static str> {
        if self.frozen || self.is_paused(now) {
            return Err("no answer");
        }
        if self.is_replica() {
            return Err("READONLY");
        }
        let needed = self.config["min-replicas-to-write"].parse().unwrap_or(0);
        if good < needed {
            return Err("NOREPLICAS");
        }
        self.data.push(key);
        self.offset += 30;
        Ok(())
    }

    /// Closes the connections that match. Returns how many.
    pub fn close(&mut self, which: impl Fn(&Connection) -> bool) -> i64 {
        let before = self.connections.len();
        self.connections.retain(|c| {
            let closes = which(c);
            if closes {
                c.closed.cancel();
            }
            !closes
        });
        i64::try_from(before - self.connections.len()).unwrap_or_default()
    }
}

/// Reads a file of directives and what it includes.
fn read(files: &BTreeMap<String, String>, name: &str, config: &mut BTreeMap<String, String>) {
    let text = files.get(name).map(String::as_str).unwrap_or_default();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let Some((directive, value)) = line.split_once(' ') else {
            continue;
        };
        if directive == "include" {
            read(files, value.rsplit('/').next().unwrap_or_default(), config);
        } else {
            config.insert(
                directive.to_owned(),
                normal(directive, value.trim_matches('"')),
            );
        }
    }
}

/// A value as the server shows it: sizes in bytes.
pub fn normal(directive: &str, value: &str) -> String {
    let lower = value.to_ascii_lowercase();
    if directive != "maxmemory" {
        return value.to_owned();
    }
    for (unit, factor) in [("kb", 1u64 << 10), ("mb", 1 << 20), ("gb", 1 << 30)] {
        if let Some(number) = lower.strip_suffix(unit)
            && let Ok(number) = number.parse::<u64>()
        {
            return (number * factor).to_string();
        }
    }
    value.to_owned()
}
