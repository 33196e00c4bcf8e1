//! The kubelet: runs a server for each pod, restarts it when it ends, and stops it as the pod asks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::controllers::{list, text};
use super::store::{Key, Store, key};
use crate::redis::sentinel::Sentinel;
use crate::redis::server::Server;
use crate::world::World;

/// How long the hook that waits for a hand-over takes at most.
const HOOK: Duration = Duration::from_secs(15);
/// When a container that does not stop is killed.
const GRACE: Duration = Duration::from_secs(40);
/// Until a container is started again that ended.
const RESTART: Duration = Duration::from_secs(1);
/// Until the probe of a started container succeeds.
const PROBE: Duration = Duration::from_millis(100);

#[derive(Clone, Debug)]
struct Run {
    key: Key,
    ip: Option<String>,
    /// When the container is to be started.
    due: Duration,
    started: Option<Duration>,
    stopping: Option<Duration>,
    claim: Option<String>,
}

/// The pods that run.
#[derive(Default)]
pub struct Kubelet {
    runs: BTreeMap<String, Run>,
    /// What the status of each pod says, and of which version of the pod.
    told: BTreeMap<Key, (bool, bool, String)>,
    used: u32,
    /// Addresses that are free again; they are given to other pods when the world is such.
    free: Vec<String>,
    /// Whether addresses are used again.
    pub reuses: bool,
}

impl Kubelet {
    fn address(&mut self) -> String {
        if self.reuses && !self.free.is_empty() {
            return self.free.remove(0);
        }
        self.used += 1;
        format!("10.1.{}.{}", self.used / 250, self.used % 250 + 1)
    }

    /// Something is under way that time alone moves on.
    pub fn is_busy(&self, now: Duration) -> bool {
        self.runs
            .values()
            .any(|r| r.stopping.is_some() || r.started.is_none_or(|since| now < since + PROBE * 3))
    }

    /// Whether a pod has this address: then its host answers, also without a server.
    pub fn has_address(&self, ip: &str) -> bool {
        self.runs.values().any(|r| r.ip.as_deref() == Some(ip))
    }
}

/// One round.
pub fn step(world: &mut World) {
    let now = world.now();
    let pods = list(&world.store, "pods");
    let uids: BTreeSet<&str> = pods
        .iter()
        .map(|(_, pod)| text(pod, "/metadata/uid"))
        .collect();
    let gone: Vec<String> = world.kubelet.runs.keys().cloned().collect();
    for uid in gone.into_iter().filter(|u| !uids.contains(u.as_str())) {
        if let Some(run) = world.kubelet.runs.remove(&uid) {
            end(world, &run);
        }
    }
    for (pod_key, pod) in &pods {
        let uid = text(pod, "/metadata/uid").to_owned();
        let delay = world.random(50, 300);
        let claim_key = key(
            "persistentvolumeclaims",
            &pod_key.1,
            &format!("data-{}", pod_key.2),
        );
        let run = world
            .kubelet
            .runs
            .entry(uid.clone())
            .or_insert_with(|| Run {
                key: pod_key.clone(),
                ip: None,
                due: now + Duration::from_millis(delay),
                started: None,
                stopping: None,
                claim: None,
            });
        let run = run.clone();
        let run = if pod["metadata"].get("deletionTimestamp").is_some() {
            match stop(world, run, pod) {
                Some(run) => run,
                None => continue,
            }
        } else {
            start(world, run, pod, &claim_key)
        };
        report(world, &run, pod);
        world.kubelet.runs.insert(uid, run);
    }
}

/// Stops the server, after its hook. `None` when the pod is gone.
fn stop(world: &mut World, mut run: Run, pod: &Value) -> Option<Run> {
    let now = world.now();
    let since = *run.stopping.get_or_insert(now);
    let server = run.ip.as_ref().and_then(|ip| world.servers.get(ip));
    let hook = !pod["spec"]["containers"][0]["lifecycle"].is_null();
    let waits = server.is_some_and(|server| {
        if server.frozen {
            return now < since + GRACE;
        }
        let has_replicas = world.servers.values().any(|r| r.follows(server));
        hook && !server.is_replica() && has_replicas && now < since + HOOK
    });
    if waits {
        return Some(run);
    }
    world.synchronize();
    end(world, &run);
    world.store.remove(&run.key);
    let uid = text(pod, "/metadata/uid");
    world.kubelet.runs.remove(uid);
    None
}

/// Ends the server of a pod that is gone.
fn end(world: &mut World, run: &Run) {
    if let Some(ip) = &run.ip {
        world.kill(ip);
        world.kubelet.free.push(ip.clone());
    }
}

fn start(world: &mut World, mut run: Run, pod: &Value, claim_key: &Key) -> Run {
    let now = world.now();
    if run.started.is_some() {
        let alive = run.ip.as_ref().is_some_and(|ip| world.runs_at(ip));
        if !alive {
            run.started = None;
            run.due = now + RESTART;
        }
        return run;
    }
    if now < run.due {
        return run;
    }
    let volumes = pod["spec"]["volumes"].as_array();
    let on_disk = !volumes
        .into_iter()
        .flatten()
        .any(|v| v["name"] == "data" && v.get("emptyDir").is_some());
    if on_disk {
        let claim = world.store.find(claim_key);
        let Some(claim) = claim.filter(|c| c["status"]["phase"] == "Bound") else {
            return run;
        };
        run.claim = Some(text(claim, "/metadata/uid").to_owned());
    }
    let Some(files) = files(&world.store, pod) else {
        return run;
    };
    let ip = run.ip.clone().unwrap_or_else(|| world.kubelet.address());
    let image = text(pod, "/spec/containers/0/image");
    if let Some(id) = sentinel_id(pod) {
        let sentinel = Sentinel::start(&run.key.2, &ip, id, &files, image);
        world.sentinels.insert(ip.clone(), sentinel);
        run.ip = Some(ip);
        run.started = Some(now);
        return run;
    }
    let disk = run.claim.as_ref().map(|claim| {
        let disk = world.disks.entry(claim.clone()).or_default();
        (claim.clone(), std::mem::take(disk))
    });
    let server = Server::start(&run.key.2, &ip, now, &files, image, disk);
    world.servers.insert(ip.clone(), server);
    run.ip = Some(ip);
    run.started = Some(now);
    run
}

/// The id that a sentinel is started with: the script puts the ordinal of the pod behind a prefix.
fn sentinel_id(pod: &Value) -> Option<String> {
    let script = text(pod, "/spec/containers/0/command/2");
    let (_, rest) = script.split_once("sentinel myid ")?;
    let (prefix, _) = rest.split_once('%')?;
    let (_, ordinal) = text(pod, "/metadata/name").rsplit_once('-')?;
    let ordinal: u8 = ordinal.parse().ok()?;
    Some(format!("{prefix}{ordinal:02x}"))
}

/// The files that the container sees; `None` while one of their sources is not there.
fn files(store: &Store, pod: &Value) -> Option<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    let namespace = text(pod, "/metadata/namespace");
    for volume in pod["spec"]["volumes"].as_array()? {
        if let Some(name) = volume["secret"]["secretName"].as_str() {
            let secret = store.get("secrets", namespace, name)?;
            let all = secret["data"].as_object().into_iter().flatten();
            files.extend(all.map(|(n, v)| (n.clone(), decode(v.as_str().unwrap_or_default()))));
        }
        let sources = volume["projected"]["sources"].as_array();
        for source in sources.into_iter().flatten() {
            let (resource, from) = match (source.get("configMap"), source.get("secret")) {
                (Some(from), _) => ("configmaps", from),
                (_, Some(from)) => ("secrets", from),
                _ => continue,
            };
            let object = store.get(resource, namespace, text(from, "/name"))?;
            for item in from["items"].as_array().into_iter().flatten() {
                let content = object["data"][text(item, "/key")].as_str()?;
                let content = if resource == "secrets" {
                    decode(content)
                } else {
                    content.to_owned()
                };
                files.insert(text(item, "/path").to_owned(), content);
            }
        }
    }
    Some(files)
}

/// Writes the status of the pod, unless it is as it was.
fn report(world: &mut World, run: &Run, pod: &Value) {
    let now = world.now();
    let running = run.started.is_some();
    let probed = run.started.is_some_and(|since| now >= since + PROBE);
    let time = world.store.now.clone();
    let name = text(pod, "/spec/containers/0/name");
    let gates = pod["spec"]["readinessGates"].as_array();
    let gates: Vec<String> = gates
        .into_iter()
        .flatten()
        .map(|g| text(g, "/conditionType").to_owned())
        .collect();
    let change = |pod: &mut Value| {
        if let Some(ip) = &run.ip {
            pod["spec"]["nodeName"] = "node-1".into();
            pod["status"]["podIP"] = ip.clone().into();
            pod["status"]["phase"] = "Running".into();
            let state = if running {
                json!({"running": {}})
            } else {
                json!({"waiting": {"reason": "CrashLoopBackOff"}})
            };
            pod["status"]["containerStatuses"] = json!([{"name": name, "image": "", "imageID": "", "restartCount": 0, "ready": probed, "state": state}]);
        }
        let holds = |pod: &Value, name: &str| {
            let all = pod["status"]["conditions"].as_array();
            let mut all = all.into_iter().flatten();
            all.any(|c| c["type"] == *name && c["status"] == "True")
        };
        let ready = probed && gates.iter().all(|gate| holds(pod, gate));
        set_condition(pod, "ContainersReady", probed, &time);
        set_condition(pod, "Ready", ready, &time);
    };
    let seen = (
        running,
        probed,
        pod["metadata"]["resourceVersion"].to_string(),
    );
    if world.kubelet.told.get(&run.key) != Some(&seen) {
        world.store.change(&run.key, change);
        let version = world
            .store
            .find(&run.key)
            .map(|p| p["metadata"]["resourceVersion"].to_string());
        let seen = (running, probed, version.unwrap_or_default());
        world.kubelet.told.insert(run.key.clone(), seen);
    }
}

fn set_condition(pod: &mut Value, name: &str, holds: bool, time: &str) {
    let status = if holds { "True" } else { "False" };
    let conditions = &mut pod["status"]["conditions"];
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let Some(list) = conditions.as_array_mut() else {
        return;
    };
    match list.iter_mut().find(|c| c["type"] == *name) {
        Some(known) if known["status"] == status => {}
        Some(known) => {
            known["status"] = status.into();
            known["lastTransitionTime"] = time.into();
        }
        None => list.push(json!({"type": name, "status": status, "lastTransitionTime": time})),
    }
}

/// The text of a value of a Secret.
pub fn decode(text: &str) -> String {
    let bytes: Option<ByteString> = serde_json::from_value(text.into()).ok();
    String::from_utf8_lossy(&bytes.map(|b| b.0).unwrap_or_default()).into_owned()
}
