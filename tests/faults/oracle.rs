//! How it must end: as without faults, with every acknowledged write, and quiet.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::cluster_oracle as cluster;
use crate::kubernetes::controllers::text;
use crate::kubernetes::kubelet::decode;
use crate::kubernetes::store::Key;
use crate::redis::acl::User;
use crate::redis::server::{Link, Server};
use crate::sentinel_oracle as sentinel;
use crate::workload::{Workload, redis_key};
use crate::world::{NAMESPACE, World};

/// What is left at the end, without what differs between two runs by right: names given by chance, times, passwords, who is
/// the primary.
pub fn end_state(world: &World) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for (key, value) in world.store.objects() {
        all.insert(format!("{}/{}", key.0, key.2), masked(key, value));
    }
    for server in world.servers.values() {
        all.insert(format!("server/{}", server.pod), server_state(server));
    }
    for sentinel in world.sentinels.values() {
        let users = users_of(&sentinel.users);
        all.insert(format!("sentinel/{}", sentinel.pod), users);
    }
    all
}

fn server_state(server: &Server) -> Value {
    let mut config = server.config.clone();
    config.remove("masterauth");
    // Whom sentinels promote first, which the primary's own does not say.
    config.remove("replica-priority");
    json!({"config": config, "users": users_of(&server.users), "frozen": server.frozen})
}

fn users_of(users: &BTreeMap<String, User>) -> Value {
    // A user that was needed for a while and may do nothing now is as good as none.
    let useful = |u: &User| u.on || !u.hashes.is_empty();
    let users: BTreeMap<&String, Value> = users
        .iter()
        .filter(|(name, u)| *name != "hera-migration" || useful(u))
        .map(|(name, u)| {
            let state = json!({"on": u.on, "nopass": u.nopass, "passwords": u.hashes.len(), "commands": u.commands,
                               "keys": u.keys, "channels": u.channels});
            (name, state)
        })
        .collect();
    json!(users)
}

fn masked(key: &Key, value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(metadata) = value["metadata"].as_object_mut() {
        for name in ["uid", "resourceVersion", "creationTimestamp", "generation"] {
            metadata.remove(name);
        }
        if let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            // A digest also of the owner's UID.
            annotations.remove("hera.dev/desired-hash");
            // Who is the primary.
            annotations.remove("redis.hera.dev/primary-since");
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
        let owners = metadata
            .get_mut("ownerReferences")
            .and_then(Value::as_array_mut);
        for owner in owners.into_iter().flatten() {
            owner["uid"] = Value::Null;
        }
    }
    match &*key.0 {
        "secrets" => {
            let keys: Vec<&String> = value["data"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|p| p.0)
                .collect();
            value["data"] = json!(keys);
        }
        "endpointslices.discovery.k8s.io" => {
            let count = value["endpoints"].as_array().map_or(0, Vec::len);
            value["endpoints"] = json!(count);
        }
        "pods" => value["status"] = conditions(&value),
        "statefulsets.apps" => value["status"] = json!(null),
        "persistentvolumeclaims" => value["spec"]["volumeName"] = json!(null),
        "redises.redis.hera.dev" => {
            let status = &value["status"];
            let instances = status["instances"].as_array().into_iter().flatten();
            let instances: Vec<Value> = instances
                .map(|i| json!([i["pod"], i["ready"], i["inSync"], i["message"]]))
                .collect();
            value["status"] = json!({
                "phase": status["phase"], "replicas": status["replicas"], "readyReplicas": status["readyReplicas"],
                "users": status["users"], "slots": status["slots"], "blockers": status["blockers"],
                "instances": instances, "conditions": conditions(&value),
                "completed": status["election"]["completed"],
            });
        }
        _ => {}
    }
    value
}

fn conditions(value: &Value) -> Value {
    let all = value["status"]["conditions"].as_array();
    let all = all.into_iter().flatten();
    let list: BTreeMap<&str, String> = all
        .map(|c| (text(c, "/type"), format!("{} {}", c["status"], c["reason"])))
        .collect();
    json!(list)
}

/// Whether what was asked for is there, by Hera's own words.
pub fn is_ready(world: &World) -> bool {
    let Some(redis) = world.store.find(&redis_key()) else {
        // Deleted: only what is kept by will is left.
        let kept = ["persistentvolumeclaims", "storageclasses.storage.k8s.io"];
        return world
            .store
            .objects()
            .all(|(key, _)| kept.contains(&&*key.0));
    };
    let hibernates = redis["spec"]["hibernate"] == true;
    let generation = &redis["metadata"]["generation"];
    let all = redis["status"]["conditions"].as_array();
    let mut all = all.into_iter().flatten();
    let frozen = world.servers.values().any(|s| s.frozen);
    let rests = world.store.all("pods").next().is_none();
    let asked = &redis["metadata"]["annotations"]["redis.hera.dev/switchover"];
    let election = &redis["status"]["election"];
    let handed_over =
        asked.is_null() || (election["candidate"] == *asked && election["completed"] == true);
    redis["status"]["observedGeneration"] == *generation
        && handed_over
        && !frozen
        && (all.any(|c| c["type"] == "Ready" && c["status"] == "True") || (hibernates && rests))
}

/// What is wrong with the servers at the end.
pub fn problems(world: &World, workload: &Workload) -> Vec<String> {
    let mut found = world.violations.clone();
    if world
        .metrics
        .iter()
        .any(|m| m.reconcile_panics.with_label_values(&["redis"]).get() > 0)
    {
        found.push("a reconcile panicked".into());
    }
    let Some(redis) = world.store.find(&redis_key()) else {
        if workload.name.ends_with("volumes") {
            return found;
        }
        let lost = lost(world, world.disks.values().flat_map(|d| &d.data));
        found.extend(lost);
        return found;
    };
    if redis["spec"]["hibernate"] == true {
        return found;
    }
    if redis["spec"]["mode"] == "Cluster" {
        found.extend(cluster::problems(world));
    } else {
        found.extend(replication(world, workload));
        found.extend(sentinel::problems(world));
    }
    found.extend(logins(world));
    found
}

/// One primary, to which the Service leads, and copies of it.
fn replication(world: &World, workload: &Workload) -> Vec<String> {
    let mut found = Vec::new();
    let (primaries, replicas): (Vec<&Server>, Vec<&Server>) =
        world.servers.values().partition(|s| !s.is_replica());
    let [primary] = primaries[..] else {
        found.push(format!("{} primaries", primaries.len()));
        return found;
    };
    let slice = world
        .store
        .get("endpointslices.discovery.k8s.io", NAMESPACE, workload.slice);
    let slice = slice.map(|s| s["endpoints"][0]["addresses"][0].clone());
    if workload.single && slice != Some(json!(primary.ip)) {
        found.push(format!(
            "the Service leads to {slice:?}, not to the primary {}",
            primary.ip
        ));
    }
    for replica in replicas {
        if replica.link != Link::Up || replica.data != primary.data || !replica.follows(primary) {
            found.push(format!("{} is no copy of {}", replica.pod, primary.pod));
        }
    }
    found.extend(lost(world, primary.data.iter()));
    found
}

/// Every server takes the passwords that clients are told.
fn logins(world: &World) -> Vec<String> {
    let mut found = Vec::new();
    for secret in ["db-connection", "db-connection-app"] {
        let Some(secret) = world.store.get("secrets", NAMESPACE, secret) else {
            continue;
        };
        let value = |name: &str| decode(text(secret, &format!("/data/{name}")));
        let servers = world.servers.values().map(|s| (&s.pod, &s.users));
        let sentinels = world.sentinels.values().map(|s| (&s.pod, &s.users));
        for (pod, users) in servers.chain(sentinels) {
            let name = value("username");
            let user = users.get(&name);
            if !user.is_some_and(|u| u.accepts(&value("password"))) {
                found.push(format!("{pod} does not take the password of {name}"));
            }
        }
    }
    found
}

pub fn lost<'a>(world: &World, held: impl Iterator<Item = &'a u64>) -> Option<String> {
    let held: BTreeSet<&u64> = held.collect();
    let lost: Vec<&u64> = world
        .writer
        .acknowledged
        .iter()
        .filter(|key| !held.contains(key))
        .collect();
    let all = world.writer.acknowledged.len();
    (!lost.is_empty()).then(|| format!("{} of {all} acknowledged writes are lost", lost.len()))
}

/// How many things of each kind were deleted by request whose loss is felt; which pod it is, chance decides.
pub fn deletions(world: &World) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    let felt = ["statefulsets.apps", "pods", "persistentvolumeclaims"];
    for key in world.store.deleted.iter().filter(|k| felt.contains(&&*k.0)) {
        *counts.entry(key.0.clone()).or_insert(0) += 1;
    }
    counts
}
