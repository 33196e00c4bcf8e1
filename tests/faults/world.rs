//! Everything outside Hera: Kubernetes, the servers, a client that writes, and what goes wrong.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hera::manager::metrics::Metrics;
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng};
use tokio::time::Instant;

use crate::client::Writer;
use crate::fault::{Fate, Faults};
use crate::kubernetes::controllers;
use crate::kubernetes::kubelet::{self, Kubelet};
use crate::kubernetes::store::Store;
use crate::redis::node::slot_of;
use crate::redis::sentinel::{self, Sentinel};
use crate::redis::server::{Disk, Server};
use crate::redis::{gossip, replication};

/// The namespace of the tests.
pub const NAMESPACE: &str = "shop";
/// The name of the database.
pub const NAME: &str = "db";
/// When a simulation begins.
pub const START: Timestamp = Timestamp::constant(1_780_000_000, 0);
/// The length of a round.
pub const ROUND: Duration = Duration::from_millis(20);

/// Between two rounds of gossip.
const GOSSIP: Duration = Duration::from_millis(100);

/// The world.
pub struct World {
    pub store: Store,
    pub kubelet: Kubelet,
    /// By address.
    pub servers: BTreeMap<String, Server>,
    /// By address.
    pub sentinels: BTreeMap<String, Sentinel>,
    /// By UID of the claim.
    pub disks: BTreeMap<String, Disk>,
    pub faults: Faults,
    pub writer: Writer,
    /// What must never be, and was.
    pub violations: Vec<String>,
    /// When servers that stand still go on.
    pub thaw_servers_at: Duration,
    /// The metrics of all processes.
    pub metrics: Vec<Arc<Metrics>>,
    /// Connections so far.
    pub connections: u64,
    pub random: StdRng,
    start: Instant,
    seen: u64,
    alive: usize,
    removed: u64,
    second: u64,
    next: Duration,
    gossip: Duration,
    sentinel: Duration,
}

/// The world, shared by all that runs.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub fn new(seed: u64) -> Self {
        let mut world = World {
            store: Store::default(),
            kubelet: Kubelet::default(),
            servers: BTreeMap::new(),
            sentinels: BTreeMap::new(),
            disks: BTreeMap::new(),
            faults: Faults::default(),
            writer: Writer::default(),
            violations: Vec::new(),
            thaw_servers_at: Duration::ZERO,
            metrics: Vec::new(),
            connections: 0,
            random: StdRng::seed_from_u64(seed),
            start: Instant::now(),
            seen: 0,
            alive: 0,
            removed: 0,
            second: 0,
            next: Duration::ZERO,
            gossip: Duration::ZERO,
            sentinel: Duration::ZERO,
        };
        world.kubelet.reuses = seed % 2 == 1;
        world.store.now = START.to_string();
        Self(Arc::new(Mutex::new(world)))
    }

    pub fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the world go on for ever.
    pub async fn run(self) {
        loop {
            tokio::time::sleep(ROUND).await;
            self.lock().step();
        }
    }
}

impl World {
    /// Since the simulation began.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// A number of this world's chance.
    pub fn random(&mut self, from: u64, to: u64) -> u64 {
        self.random.random_range(from..to)
    }

    /// Whether a server or a sentinel runs at this address.
    pub fn runs_at(&self, ip: &str) -> bool {
        self.servers.contains_key(ip) || self.sentinels.contains_key(ip)
    }

    /// A write of Hera, and what becomes of it.
    pub fn write(&mut self, words: String) -> Fate {
        let now = self.now();
        let (fate, still) = self.faults.write(&words, now);
        if let Some(resource) = still {
            self.store.freeze(resource);
        }
        fate
    }

    /// One round of everything.
    pub fn step(&mut self) {
        let now = self.now();
        if now.as_secs() != self.second {
            self.second = now.as_secs();
            let time = START.checked_add(Duration::from_secs(self.second));
            self.store.now = time.unwrap_or(START).to_string();
        }
        for (resource, ends) in self.faults.thawed(now) {
            self.store.thaw(resource, ends);
        }
        if now >= self.thaw_servers_at {
            self.servers.values_mut().for_each(|s| s.frozen = false);
        }
        // Kubernetes has something to do when an object or a process changed, or time moves on what is under way.
        let alive = self.servers.len() + self.sentinels.len();
        let changed = self.store.version() != self.seen || alive != self.alive;
        if changed || (now >= self.next && self.kubelet.is_busy(now)) {
            self.seen = self.store.version();
            self.alive = alive;
            self.next = now + Duration::from_millis(100);
            let collects = self.store.removed != self.removed || self.store.orphans();
            self.removed = self.store.removed;
            controllers::step(&mut self.store, collects);
            kubelet::step(self);
        }
        if self.servers.values().any(|s| s.node.is_some()) && now >= self.gossip {
            self.gossip = now + GOSSIP;
            gossip::step(&mut self.servers, now);
        }
        if !self.sentinels.is_empty() && now >= self.sentinel {
            self.sentinel = now + sentinel::TICK;
            sentinel::step(
                &mut self.sentinels,
                &mut self.servers,
                now,
                &mut self.random,
            );
        }
        replication::step(&mut self.servers, now);
        self.watch_writers(now);
        if self.writer.is_due(now) {
            self.client(now);
        }
    }

    /// All replicas that are linked get what they lack.
    pub fn synchronize(&mut self) {
        let now = self.now();
        replication::step(&mut self.servers, now);
    }

    /// Ends the process of a server or a sentinel; what is on its volume stays.
    pub fn kill(&mut self, ip: &str) {
        if let Some(sentinel) = self.sentinels.remove(ip) {
            sentinel.connections.iter().for_each(|c| c.closed.cancel());
        }
        if let Some(mut server) = self.servers.remove(ip) {
            server.close(|_| true);
            if let Some(claim) = server.claim {
                let (data, node) = (server.data, server.node);
                self.disks.insert(claim, Disk { data, node });
            }
        }
    }

    /// Two servers that take writes at the same time lose some.
    fn watch_writers(&mut self, now: Duration) {
        if !self.writer.single {
            return;
        }
        let accepting: Vec<String> = self
            .servers
            .values()
            .filter(|s| !s.is_replica() && !s.frozen && !s.is_paused(now))
            .filter(|s| {
                let needed = s.config["min-replicas-to-write"].parse().unwrap_or(0);
                self.good_replicas(s) >= needed
            })
            .map(|s| s.pod.clone())
            .collect();
        if accepting.len() > 1 {
            let words = format!(
                "{:.3} two servers take writes: {accepting:?}",
                now.as_secs_f64()
            );
            if self.violations.len() < 3 {
                self.violations.push(words);
            }
        }
    }

    /// The address to which a write of this key goes, and whether it was asked to go there.
    fn place(&self, key: u64) -> Option<String> {
        if !self.writer.slice.is_empty() {
            let slice = "endpointslices.discovery.k8s.io";
            let slice = self.store.get(slice, NAMESPACE, &self.writer.slice);
            let address = slice.and_then(|s| s["endpoints"][0]["addresses"][0].as_str());
            return address.map(str::to_owned);
        }
        let slot = slot_of(key);
        let owner = self.servers.values().find(|s| {
            let node = s.node.as_ref();
            !s.frozen && node.is_some_and(|n| n.primary.is_none() && n.slots.contains(slot))
        })?;
        let node = owner.node.as_ref()?;
        if !node.is_ok(self.now()) {
            return None;
        }
        // A new key of a slot that is on its way goes where the slot goes.
        match node.migrating.get(&slot) {
            Some(to) => Some(node.known.get(to)?.ip.clone()),
            None => Some(owner.ip.clone()),
        }
    }

    fn client(&mut self, now: Duration) {
        let key = self.writer.next_key();
        let Some(ip) = self.place(key) else { return };
        let good = self
            .servers
            .get(&ip)
            .map_or(0, |server| self.good_replicas(server));
        if let Some(server) = self.servers.get_mut(&ip)
            && server.write(key, good, now).is_ok()
        {
            self.writer.acknowledged.push(key);
        }
    }

    /// The replicas that a primary counts.
    pub fn good_replicas(&self, server: &Server) -> usize {
        let all = self.servers.values();
        all.filter(|r| r.follows(server) && r.link == crate::redis::server::Link::Up)
            .count()
    }

    /// What a person would look at first.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for server in self.servers.values() {
            let _ = writeln!(
                text,
                "  {} {} of {:?} {:?} replid {} offset {} keys {}{}",
                server.pod,
                server.ip,
                server.primary,
                server.link,
                &server.replid[36..],
                server.offset,
                server.data.len(),
                if server.frozen { " frozen" } else { "" }
            );
        }
        for sentinel in self.sentinels.values() {
            let _ = writeln!(text, "  {}", sentinel.describe());
        }
        for resource in ["statefulsets.apps", "pods", "persistentvolumeclaims"] {
            for (key, value) in self.store.all(resource) {
                let going = !value["metadata"]["deletionTimestamp"].is_null();
                let _ = writeln!(
                    text,
                    "  {resource}/{} {} {}{}",
                    key.2,
                    value["status"]["podIP"],
                    value["metadata"]["labels"]["controller-revision-hash"],
                    if going { " going" } else { "" }
                );
            }
        }
        if let Some(redis) = self.store.get("redises.redis.hera.dev", NAMESPACE, NAME) {
            let _ = writeln!(text, "  election {}", redis["status"]["election"]);
            for condition in redis["status"]["conditions"]
                .as_array()
                .into_iter()
                .flatten()
            {
                let _ = writeln!(
                    text,
                    "  {} {} {}: {}",
                    condition["type"],
                    condition["status"],
                    condition["reason"],
                    condition["message"]
                );
            }
        }
        text
    }
}
