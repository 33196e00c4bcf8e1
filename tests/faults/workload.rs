//! What is done to a database while something goes wrong.

use std::time::Duration;

use serde_json::{Value, json};

use crate::kubernetes::merge;
use crate::kubernetes::store::{Key, key};
use crate::world::{NAME, NAMESPACE, World};

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
    /// Deletes the pod of the primary.
    DeletePrimary,
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

/// The workloads of modes Standalone and Replication.
pub fn all() -> Vec<Workload> {
    let standalone = |name, before: Vec<Act>, acts| Workload {
        name,
        before,
        acts,
        single: false,
        slice: "db-auto",
    };
    let replication = |name, before, acts| Workload {
        name,
        before,
        acts,
        single: true,
        slice: "db-primary",
    };
    let one = || vec![spec("Standalone", &json!({}))];
    let three = || vec![spec("Replication", &json!({"replicas": 3}))];
    let volatile = || {
        let more = json!({"replicas": 3, "storage": null});
        vec![spec("Replication", &more)]
    };
    let five = |when_scaled: &str| {
        let more = json!({"replicas": 5, "storage": {"whenScaled": when_scaled}});
        vec![spec("Replication", &more)]
    };
    let user = |rules: &str| json!({"auth": {"users": [{"name": "app", "rules": rules}]}});
    let with_user = || {
        let mut all = three();
        all.push(change(user("~* +get")));
        all
    };
    let restart = || annotate("hera.dev/restarted-at", "now");
    let rotate = |user: &str| annotate("redis.hera.dev/rotate-password", &format!("{user}=1"));
    vec![
        standalone("standalone-create", vec![], one()),
        standalone("standalone-roll", one(), vec![restart()]),
        standalone("standalone-rotate", one(), vec![rotate("default")]),
        standalone(
            "standalone-resize",
            one(),
            vec![change(json!({"storage": {"size": "2Gi"}}))],
        ),
        standalone("standalone-crash", one(), vec![Act::KillPrimary]),
        standalone("standalone-delete", one(), vec![Act::Delete]),
        replication("replication-create", vec![], three()),
        replication("replication-create-volatile", vec![], volatile()),
        replication(
            "replication-scale-out",
            three(),
            vec![change(json!({"replicas": 5}))],
        ),
        replication(
            "replication-scale-in",
            five("Delete"),
            vec![
                annotate("redis.hera.dev/switchover", "db-4"),
                Act::Change(json!({"metadata": {"annotations": null}, "spec": {"replicas": 2}})),
            ],
        ),
        replication(
            "replication-scale-in-retain",
            five("Retain"),
            vec![change(json!({"replicas": 3}))],
        ),
        replication(
            "replication-scale-twice",
            three(),
            vec![Act::Twice(
                json!({"spec": {"replicas": 5}}),
                json!({"spec": {"replicas": 2}}),
            )],
        ),
        replication("replication-roll", three(), vec![restart()]),
        replication("replication-roll-volatile", volatile(), vec![restart()]),
        replication(
            "replication-config",
            three(),
            vec![change(json!({"config": {"timeout": "30", "hz": "20"}}))],
        ),
        replication(
            "replication-config-restart",
            three(),
            vec![change(
                json!({"config": {"databases": "32", "timeout": "30"}}),
            )],
        ),
        replication(
            "replication-hand-over",
            three(),
            vec![annotate("redis.hera.dev/switchover", "db-1")],
        ),
        replication(
            "replication-users",
            three(),
            vec![change(user("~* +get +set"))],
        ),
        replication(
            "replication-user-removed",
            with_user(),
            vec![change(json!({"auth": null}))],
        ),
        replication("replication-rotate", with_user(), vec![rotate("default")]),
        replication("replication-rotate-user", with_user(), vec![rotate("app")]),
        replication(
            "replication-resize",
            three(),
            vec![change(json!({"storage": {"size": "2Gi"}}))],
        ),
        replication("replication-crash", three(), vec![Act::KillPrimary]),
        replication(
            "replication-crash-volatile",
            volatile(),
            vec![Act::KillPrimary],
        ),
        replication(
            "replication-crash-replica",
            volatile(),
            vec![Act::KillReplica],
        ),
        replication("replication-crash-all", three(), vec![Act::KillAll]),
        replication("replication-evict", three(), vec![Act::DeletePrimary]),
        replication(
            "replication-hang",
            three(),
            vec![Act::FreezePrimary(Duration::from_secs(25))],
        ),
        replication(
            "replication-hibernate",
            three(),
            vec![
                change(json!({"hibernate": true})),
                change(json!({"hibernate": false})),
            ],
        ),
        replication(
            "standalone-to-replication",
            one(),
            vec![change(json!({"mode": "Replication", "replicas": 3}))],
        ),
        replication("replication-delete", three(), vec![Act::Delete]),
        replication(
            "replication-delete-volumes",
            vec![spec(
                "Replication",
                &json!({"replicas": 3, "storage": {"whenDeleted": "Delete"}}),
            )],
            vec![Act::Delete],
        ),
    ]
}

/// The workloads of mode Cluster.
pub fn clusters() -> Vec<Workload> {
    let cluster = |name, before, acts| Workload {
        name,
        before,
        acts,
        single: false,
        slice: "",
    };
    let with = |more: Value| {
        let mut all = json!({"shards": 3, "replicasPerShard": 1});
        merge::patch(&mut all, &more);
        vec![spec("Cluster", &all)]
    };
    let plain = || with(json!({}));
    let volatile = || with(json!({"storage": null}));
    let valkey =
        |shards: i32| with(json!({"engine": "Valkey", "version": "9.0", "shards": shards}));
    let shards = |n: i32| vec![change(json!({"shards": n}))];
    vec![
        cluster("cluster-create", vec![], plain()),
        cluster("cluster-create-volatile", vec![], volatile()),
        cluster("cluster-scale-out", plain(), shards(4)),
        cluster("cluster-valkey-scale-out", valkey(3), shards(4)),
        cluster("cluster-valkey-scale-in", valkey(4), shards(3)),
        cluster(
            "cluster-more-replicas",
            plain(),
            vec![change(json!({"replicasPerShard": 2}))],
        ),
        cluster(
            "cluster-fewer-replicas",
            with(json!({"replicasPerShard": 2, "storage": {"whenScaled": "Delete"}})),
            vec![change(json!({"replicasPerShard": 1}))],
        ),
        cluster(
            "cluster-roll",
            plain(),
            vec![annotate("hera.dev/restarted-at", "now")],
        ),
        cluster(
            "cluster-roll-volatile",
            volatile(),
            vec![annotate("hera.dev/restarted-at", "now")],
        ),
        cluster(
            "cluster-rotate",
            plain(),
            vec![annotate("redis.hera.dev/rotate-password", "default=1")],
        ),
        cluster(
            "cluster-resize",
            plain(),
            vec![change(json!({"storage": {"size": "2Gi"}}))],
        ),
        cluster("cluster-crash", plain(), vec![Act::KillPrimary]),
        cluster("cluster-crash-volatile", volatile(), vec![Act::KillPrimary]),
        cluster("cluster-crash-all", plain(), vec![Act::KillAll]),
        cluster("cluster-evict", plain(), vec![Act::DeletePrimary]),
        cluster("cluster-delete", plain(), vec![Act::Delete]),
    ]
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
            Act::DeletePrimary => {
                let pod = self.primary().map(|ip| self.servers[&ip].pod.clone());
                let pod = key("pods", NAMESPACE, &pod.unwrap_or_default());
                let _ = self.store.delete(&pod, &Value::Null);
                self.store.deleted.pop();
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
