//! What is done to a database while something goes wrong.

mod cluster;
mod replication;
mod sentinel;

use std::time::Duration;

use serde_json::{Value, json};

use crate::kubernetes::merge;
use crate::kubernetes::store::{Key, key};
use crate::world::{NAME, NAMESPACE, World};

pub use self::cluster::clusters;
pub use self::replication::all;
pub use self::sentinel::sentinels;

/// One act of a user, or of fate.
#[derive(Clone, Debug)]
pub enum Act {
    /// Makes the `Redis`.
    Create(Value),
    /// A merge patch of the `Redis`.
    Change(Value),
    /// Two changes, the second one before the first is carried out.
    Twice(Value, Value),
    /// Deletes the `Redis`.
    Delete,
    /// Ends the process of the primary.
    KillPrimary,
    /// Ends the process of a replica.
    KillReplica,
    /// Ends the process of a sentinel.
    KillSentinel,
    /// Deletes the pod of the primary.
    DeletePrimary,
    /// Deletes the pod of a sentinel.
    DeleteSentinel,
    /// The primary's process stands still for so long.
    FreezePrimary(Duration),
    /// Ends all processes at once.
    KillAll,
}

/// What is done, and what is looked at.
#[derive(Clone, Debug)]
pub struct Workload {
    pub name: &'static str,
    /// Done before anything goes wrong.
    pub before: Vec<Act>,
    /// Done while it does.
    pub acts: Vec<Act>,
    /// Hera, not the servers, chooses who takes writes.
    pub single: bool,
    /// The slice that leads clients to the primary.
    pub slice: &'static str,
}

fn spec(mode: &str, more: &Value) -> Act {
    let mut spec = json!({"mode": mode, "storage": {"size": "1Gi", "storageClassName": "fast"}});
    merge::patch(&mut spec, more);
    created(&spec)
}

/// Makes the `Redis` with this spec.
fn created(spec: &Value) -> Act {
    Act::Create(json!({
        "apiVersion": "redis.hera.dev/v1alpha1", "kind": "Redis", "metadata": {"name": NAME}, "spec": spec,
    }))
}

fn change(more: Value) -> Act {
    Act::Change(json!({"spec": more}))
}

fn annotate(name: &str, value: &str) -> Act {
    Act::Change(json!({"metadata": {"annotations": {name: value}}}))
}

pub fn redis_key() -> Key {
    key("redises.redis.hera.dev", NAMESPACE, NAME)
}

impl World {
    /// Makes what a cluster has before a user comes.
    pub fn prepare(&mut self) {
        let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "x", "allowVolumeExpansion": true});
        let _ = self
            .store
            .create(&key("storageclasses.storage.k8s.io", "", "fast"), class);
    }

    /// Does one act. Returns when the next part of it is due, with that part.
    pub fn act(&mut self, act: &Act) -> Option<(Duration, Act)> {
        let redis = redis_key();
        match act {
            Act::Create(value) => {
                let _ = self.store.create(&redis, value.clone());
            }
            Act::Change(patch) => self
                .store
                .change(&redis, |value| merge::patch(value, patch)),
            Act::Twice(first, second) => {
                self.store
                    .change(&redis, |value| merge::patch(value, first));
                let second = Act::Change(second.clone());
                return Some((Duration::from_millis(700), second));
            }
            Act::Delete => {
                let _ = self.store.delete(&redis, &Value::Null);
            }
            Act::KillPrimary => self.end(|server| !server.0),
            Act::KillReplica => self.end(|server| server.0),
            Act::KillAll => {
                while !self.servers.is_empty() {
                    self.end(|_| true);
                }
            }
            Act::KillSentinel => {
                let ip = self.sentinels.keys().next().cloned();
                self.kill(&ip.unwrap_or_default());
            }
            Act::DeletePrimary => {
                let pod = self.primary().map(|ip| self.servers[&ip].pod.clone());
                self.evict(pod);
            }
            Act::DeleteSentinel => {
                let pod = self.sentinels.values().next().map(|s| s.pod.clone());
                self.evict(pod);
            }
            Act::FreezePrimary(time) => {
                // A primary that stands still while writes are on their way may lose them, as it may in life.
                self.synchronize();
                if let Some(ip) = self.primary()
                    && let Some(server) = self.servers.get_mut(&ip)
                {
                    server.frozen = true;
                    self.thaw_servers_at = self.now() + *time;
                }
            }
        }
        None
    }

    fn evict(&mut self, pod: Option<String>) {
        let pod = key("pods", NAMESPACE, &pod.unwrap_or_default());
        let _ = self.store.delete(&pod, &Value::Null);
        self.store.deleted.pop();
    }

    fn primary(&self) -> Option<String> {
        let found = self.servers.values().find(|s| !s.is_replica());
        found.map(|s| s.ip.clone())
    }

    /// Ends a server of this role, after all that it acknowledged is with its replicas.
    fn end(&mut self, which: impl Fn((bool, &str)) -> bool) {
        self.synchronize();
        let found = self
            .servers
            .values()
            .find(|s| which((s.is_replica(), &s.ip)))
            .map(|s| s.ip.clone());
        if let Some(ip) = found {
            self.kill(&ip);
        }
    }
}
