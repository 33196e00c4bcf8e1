//! The controllers that Hera relies on: of StatefulSets, claims, endpoint slices and garbage.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use serde_json::{Value, json};

use super::store::{Key, Store, key};

/// One round of all of them; garbage is collected when something went, or is to go.
pub fn step(store: &mut Store, collect: bool) {
    if collect {
        garbage(store);
    }
    for (key, set) in list(store, "statefulsets.apps") {
        statefulset(store, &key, &set);
    }
    claims(store);
    slices(store);
}

pub fn list(store: &Store, resource: &str) -> Vec<(Key, Arc<Value>)> {
    let all = store.all(resource);
    all.map(|(k, v)| (k.clone(), Arc::clone(v))).collect()
}

pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn controller(value: &Value) -> Option<&Value> {
    let owners = value["metadata"]["ownerReferences"].as_array()?;
    owners.iter().find(|o| o["controller"] == true)
}

/// What an owner that is gone leaves behind, and what an owner that orphans sets free.
fn garbage(store: &mut Store) {
    let uids: BTreeSet<String> = store
        .objects()
        .map(|(_, v)| text(v, "/metadata/uid").to_owned())
        .collect();
    let all: Vec<(Key, Arc<Value>)> = store
        .objects()
        .map(|(k, v)| (k.clone(), Arc::clone(v)))
        .collect();
    for (key, value) in &all {
        let owners = value["metadata"]["ownerReferences"].as_array();
        let owned = owners.is_some_and(|list| !list.is_empty());
        let lives = |list: &Vec<Value>| list.iter().any(|o| uids.contains(text(o, "/uid")));
        if owned && !owners.is_some_and(lives) {
            let _ = store.delete(key, &Value::Null);
            // It was not asked for by name.
            store.deleted.pop();
        }
    }
    for (key, owner) in &all {
        if owner["metadata"]["finalizers"] != json!(["orphan"]) {
            continue;
        }
        let uid = text(owner, "/metadata/uid");
        for (dependent, value) in &all {
            let owners = value["metadata"]["ownerReferences"].as_array();
            if owners.is_some_and(|list| list.iter().any(|o| o["uid"] == uid)) {
                store.change(dependent, |value| {
                    if let Some(list) = value["metadata"]["ownerReferences"].as_array_mut() {
                        list.retain(|o| o["uid"] != uid);
                    }
                });
            }
        }
        store.remove(key);
    }
}

fn hash(value: &Value) -> String {
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    format!("{:08x}", hasher.finish() & 0xffff_ffff)
}

fn matches(selector: &Value, labels: &Value) -> bool {
    let wanted = selector.as_object();
    wanted.is_some_and(|w| !w.is_empty() && w.iter().all(|(name, value)| labels[name] == *value))
}

fn statefulset(store: &mut Store, key_of_set: &Key, set: &Value) {
    let (namespace, name) = (&key_of_set.1, &key_of_set.2);
    if set["metadata"].get("deletionTimestamp").is_some() {
        return;
    }
    let revision = format!("{name}-{}", hash(&set["spec"]["template"]));
    let uid = text(set, "/metadata/uid");
    let replicas = set["spec"]["replicas"].as_u64().unwrap_or(1);
    let (mut ready, mut count) = (0, 0);
    let mut there = BTreeSet::new();
    for (pod_key, pod) in list(store, "pods") {
        let Some(ordinal) = ordinal(&pod_key, namespace, name) else {
            continue;
        };
        if !matches(
            &set["spec"]["selector"]["matchLabels"],
            &pod["metadata"]["labels"],
        ) {
            continue;
        }
        match controller(&pod) {
            Some(owner) if owner["uid"] != uid => continue,
            Some(_) => {}
            None => store.change(&pod_key, |pod| {
                pod["metadata"]["ownerReferences"] = json!([reference("apps/v1", set)]);
            }),
        }
        there.insert(ordinal);
        count += 1;
        ready += u64::from(is_ready(&pod));
        if ordinal >= replicas && pod["metadata"].get("deletionTimestamp").is_none() {
            let _ = store.delete(&pod_key, &Value::Null);
            store.deleted.pop();
        }
    }
    for ordinal in (0..replicas).filter(|n| !there.contains(n)) {
        claim_of(store, namespace, name, set, ordinal);
        let pod = format!("{name}-{ordinal}");
        let mut value = set["spec"]["template"].clone();
        value["apiVersion"] = "v1".into();
        value["kind"] = "Pod".into();
        value["metadata"]["labels"]["controller-revision-hash"] = revision.clone().into();
        value["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] = pod.clone().into();
        value["metadata"]["ownerReferences"] = json!([reference("apps/v1", set)]);
        value["status"] = json!({"phase": "Pending"});
        let _ = store.create(&key("pods", namespace, &pod), value);
    }
    let generation = set["metadata"]["generation"].clone();
    let status = json!({"observedGeneration": generation, "updateRevision": revision, "replicas": count,
                               "readyReplicas": ready});
    if set["status"] != status {
        store.change(key_of_set, |set| set["status"] = status);
    }
}

fn ordinal(pod: &Key, namespace: &str, set: &str) -> Option<u64> {
    if pod.1 != namespace {
        return None;
    }
    pod.2.strip_prefix(set)?.strip_prefix('-')?.parse().ok()
}

fn reference(version: &str, owner: &Value) -> Value {
    json!({"apiVersion": version, "kind": owner["kind"], "name": owner["metadata"]["name"],
           "uid": owner["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true})
}

fn claim_of(store: &mut Store, namespace: &str, set: &str, value: &Value, ordinal: u64) {
    let templates = value["spec"]["volumeClaimTemplates"].as_array();
    for template in templates.into_iter().flatten() {
        let name = format!("{}-{set}-{ordinal}", text(template, "/metadata/name"));
        let key = key("persistentvolumeclaims", namespace, &name);
        if store.find(&key).is_some() {
            continue;
        }
        let mut claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim"});
        claim["metadata"]["labels"] = template["metadata"]["labels"].clone();
        claim["spec"] = template["spec"].clone();
        claim["status"] = json!({"phase": "Pending"});
        let _ = store.create(&key, claim);
    }
}

/// Binds claims, grows volumes, and lets claims go that no pod uses.
fn claims(store: &mut Store) {
    for (claim_key, claim) in list(store, "persistentvolumeclaims") {
        if claim["metadata"].get("deletionTimestamp").is_some() {
            let pod = claim_key.2.strip_prefix("data-").unwrap_or_default();
            if store.get("pods", &claim_key.1, pod).is_none() {
                store.remove(&claim_key);
            }
            continue;
        }
        let size = claim["spec"]["resources"]["requests"]["storage"].clone();
        if claim["status"]["capacity"]["storage"] == size {
            continue;
        }
        store.change(&claim_key, |claim| {
            if claim["status"]["phase"] != "Bound" {
                claim["spec"]["volumeName"] = format!("pv-{}", text(claim, "/metadata/uid")).into();
            }
            claim["status"] = json!({"phase": "Bound", "capacity": {"storage": size}});
        });
    }
}

pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    let mut all = conditions.into_iter().flatten();
    all.any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// The endpoint slices of Services with a selector.
fn slices(store: &mut Store) {
    let pods = list(store, "pods");
    for (service_key, service) in list(store, "services") {
        let selector = &service["spec"]["selector"];
        if !selector.is_object() {
            continue;
        }
        let unready = service["spec"]["publishNotReadyAddresses"] == true;
        let endpoints: Vec<Value> = pods
            .iter()
            .filter(|(k, pod)| {
                k.1 == service_key.1
                    && matches(selector, &pod["metadata"]["labels"])
                    && (unready || is_ready(pod))
            })
            .filter_map(|(_, pod)| Some(json!({"addresses": [pod["status"].get("podIP")?]})))
            .collect();
        let name = format!("{}-auto", service_key.2);
        let slice_key = key("endpointslices.discovery.k8s.io", &service_key.1, &name);
        let mut labels = service["metadata"]["labels"].clone();
        labels["kubernetes.io/service-name"] = service_key.2.clone().into();
        let mut slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4"});
        slice["metadata"] =
            json!({"labels": labels, "ownerReferences": [reference("v1", &service)]});
        slice["endpoints"] = json!(endpoints);
        let live = store.find(&slice_key);
        if live.is_some_and(|live| live["endpoints"] == json!(endpoints)) {
            continue;
        }
        if live.is_none() {
            let _ = store.create(&slice_key, slice);
            store.created.pop();
        } else {
            store.change(&slice_key, |live| live["endpoints"] = json!(endpoints));
        }
    }
}
