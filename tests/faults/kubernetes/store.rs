//! The objects of a simulated API server, with what happens to each on create, apply and delete, and the watches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::merge::{self, Managers};

/// Resource (`pods`, `statefulsets.apps`), namespace and name.
pub type Key = (String, String, String);

/// Why a request is refused.
#[derive(Debug)]
pub struct Refused {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
}

impl Refused {
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            code,
            reason,
            message,
        }
    }
    fn conflict(message: impl Into<String>) -> Self {
        Self::new(409, "Conflict", message)
    }
    fn not_found(key: &Key) -> Self {
        Self::new(404, "NotFound", format!("{} {:?} not found", key.0, key.2))
    }
    pub fn status(&self) -> Value {
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": self.code,
               "reason": self.reason, "message": self.message})
    }
}

#[derive(Debug, Default)]
struct Stored {
    value: Arc<Value>,
    managers: Managers,
}

struct Event {
    kind: &'static str,
    key: Key,
    value: Arc<Value>,
    /// As it was before, to know whether a selector matched.
    before: Option<Arc<Value>>,
}

/// What a list or a watch asks for.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    pub resource: String,
    pub namespace: Option<String>,
    pub labels: Vec<(String, String)>,
    pub metadata_only: bool,
}

impl Selection {
    fn place(&self, key: &Key) -> bool {
        key.0 == self.resource && self.namespace.as_ref().is_none_or(|n| *n == key.1)
    }
    fn labels(&self, value: &Value) -> bool {
        let has = |(name, wanted): &(String, String)| {
            value["metadata"]["labels"][name].as_str() == Some(wanted)
        };
        self.labels.iter().all(has)
    }
    fn show(&self, value: &Value) -> Value {
        if self.metadata_only {
            return json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": value["metadata"]});
        }
        value.clone()
    }
}

struct Watch {
    what: Selection,
    position: usize,
    sender: mpsc::UnboundedSender<Bytes>,
}

/// The objects.
#[derive(Default)]
pub struct Store {
    objects: BTreeMap<Key, Stored>,
    version: u64,
    events: Vec<Event>,
    watches: Vec<Watch>,
    frozen: BTreeSet<String>,
    /// What was deleted by request, in order.
    pub deleted: Vec<Key>,
    /// What was created, in order.
    pub created: Vec<Key>,
    /// How many objects were taken away.
    pub removed: u64,
    /// The time, as objects carry it.
    pub now: String,
}

impl Store {
    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<&Value> {
        self.find(&key(resource, namespace, name))
    }

    pub fn find(&self, key: &Key) -> Option<&Value> {
        Some(&*self.objects.get(key)?.value)
    }

    /// All objects of a resource.
    pub fn all<'a>(&'a self, resource: &str) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> {
        let first = key(resource, "", "");
        let resource = resource.to_owned();
        self.objects
            .range(first..)
            .take_while(move |(key, _)| key.0 == resource)
            .map(|(key, stored)| (key, &stored.value))
    }

    /// Everything.
    pub fn objects(&self) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.objects.iter().map(|(key, o)| (key, &o.value))
    }

    /// An owner waits until its objects are free.
    pub fn orphans(&self) -> bool {
        let mut sets = self.all("statefulsets.apps");
        sets.any(|(_, set)| !set["metadata"]["finalizers"].is_null())
    }

    /// Makes an object.
    pub fn create(&mut self, key: &Key, mut value: Value) -> Result<Value, Refused> {
        if self.objects.contains_key(key) {
            return Err(Refused::new(
                409,
                "AlreadyExists",
                format!("{} already exists", key.2),
            ));
        }
        self.stamp(key, &mut value);
        self.created.push(key.clone());
        Ok(self.commit(key, value))
    }

    fn stamp(&mut self, key: &Key, value: &mut Value) {
        let metadata = &mut value["metadata"];
        if !metadata.is_object() {
            *metadata = json!({});
        }
        metadata["name"] = key.2.clone().into();
        if !key.1.is_empty() {
            metadata["namespace"] = key.1.clone().into();
        }
        metadata["uid"] = format!("uid-{}", self.version + 1).into();
        metadata["creationTimestamp"] = self.now.clone().into();
        if value.get("spec").is_some() {
            value["metadata"]["generation"] = 1.into();
        }
    }

    /// Server-side apply to an object or to its status.
    pub fn apply(
        &mut self,
        key: &Key,
        manager: &str,
        force: bool,
        status: bool,
        body: &Value,
    ) -> Result<Value, Refused> {
        let asked = |name: &str| body["metadata"][name].as_str().map(str::to_owned);
        let (uid, version) = (asked("uid"), asked("resourceVersion"));
        let part = part_of(body, status);
        let Some(stored) = self.objects.get_mut(key) else {
            if status {
                return Err(Refused::not_found(key));
            }
            if uid.is_some() || version.is_some() {
                return Err(Refused::conflict(format!("{} is not there", key.2)));
            }
            let mut value =
                json!({"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": {}});
            let mut managers = Managers::new();
            merge::apply(&mut value, &mut managers, manager, force, &part)
                .map_err(Refused::conflict)?;
            let created = self.create(key, value)?;
            if let Some(stored) = self.objects.get_mut(key) {
                stored.managers = managers;
            }
            return Ok(created);
        };
        let live = &stored.value["metadata"];
        if uid.is_some_and(|uid| live["uid"] != *uid) {
            return Err(Refused::conflict("another UID"));
        }
        if version.is_some_and(|version| live["resourceVersion"] != *version) {
            return Err(Refused::conflict("the object has been modified"));
        }
        let mut value = (*stored.value).clone();
        let mut managers = stored.managers.clone();
        let manager = format!("{manager}{}", if status { "/status" } else { "" });
        merge::apply(&mut value, &mut managers, &manager, force, &part)
            .map_err(Refused::conflict)?;
        refuse_immutable(key, &stored.value, &value)?;
        stored.managers = managers;
        Ok(self.commit(key, value))
    }

    /// Changes an object as its controller does.
    pub fn change(&mut self, key: &Key, change: impl FnOnce(&mut Value)) {
        let Some(stored) = self.objects.get(key) else {
            return;
        };
        let mut value = (*stored.value).clone();
        change(&mut value);
        self.commit(key, value);
    }

    /// A delete by request.
    pub fn delete(&mut self, key: &Key, options: &Value) -> Result<Value, Refused> {
        let live = self.find(key).ok_or_else(|| Refused::not_found(key))?;
        for (name, field) in [("uid", "uid"), ("resourceVersion", "resourceVersion")] {
            let wanted = &options["preconditions"][name];
            if !wanted.is_null() && *wanted != live["metadata"][field] {
                return Err(Refused::conflict(format!("precondition failed: {name}")));
            }
        }
        let live = live.clone();
        let going = live["metadata"].get("deletionTimestamp").is_some();
        let orphan = options["propagationPolicy"] == "Orphan";
        // A pod and a claim go when their keeper lets them, an orphaning owner when its objects are free.
        if matches!(&*key.0, "pods" | "persistentvolumeclaims") || orphan {
            if !going {
                self.deleted.push(key.clone());
                let now = self.now.clone();
                self.change(key, |value| {
                    value["metadata"]["deletionTimestamp"] = now.into();
                    value["metadata"]["deletionGracePeriodSeconds"] = 40.into();
                    if orphan {
                        value["metadata"]["finalizers"] = json!(["orphan"]);
                    }
                });
            }
            return Ok(self.find(key).cloned().unwrap_or(live));
        }
        self.deleted.push(key.clone());
        self.remove(key);
        Ok(live)
    }

    /// Takes an object away.
    pub fn remove(&mut self, key: &Key) {
        if let Some(stored) = self.objects.remove(key) {
            self.version += 1;
            self.removed += 1;
            let mut value = (*stored.value).clone();
            value["metadata"]["resourceVersion"] = self.version.to_string().into();
            self.tell("DELETED", key, Arc::new(value), Some(stored.value));
        }
    }

    /// Keeps a changed object, unless nothing changed.
    fn commit(&mut self, key: &Key, mut value: Value) -> Value {
        let before = self.objects.get(key).map(|o| Arc::clone(&o.value));
        if before.as_deref() == Some(&value) {
            return value;
        }
        self.version += 1;
        if let Some(before) = &before
            && before["spec"] != value["spec"]
        {
            let generation = before["metadata"]["generation"].as_i64().unwrap_or(0);
            value["metadata"]["generation"] = (generation + 1).into();
        }
        value["metadata"]["resourceVersion"] = self.version.to_string().into();
        let shared = Arc::new(value.clone());
        let stored = self.objects.entry(key.clone()).or_default();
        stored.value = Arc::clone(&shared);
        let kind = if before.is_some() {
            "MODIFIED"
        } else {
            "ADDED"
        };
        self.tell(kind, key, shared, before);
        value
    }

    fn tell(
        &mut self,
        kind: &'static str,
        key: &Key,
        value: Arc<Value>,
        before: Option<Arc<Value>>,
    ) {
        self.events.push(Event {
            kind,
            key: key.clone(),
            value,
            before,
        });
        self.pump();
    }

    /// The answer to a list.
    pub fn list(&self, what: &Selection) -> Value {
        let items: Vec<Value> = self
            .all(&what.resource)
            .filter(|(key, value)| what.place(key) && what.labels(value))
            .map(|(_, value)| what.show(value))
            .collect();
        let version = self.version.to_string();
        json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": items})
    }

    /// A watch of what comes after `version`.
    pub fn watch(&mut self, what: Selection, version: u64) -> mpsc::UnboundedReceiver<Bytes> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let of = |event: &Event| {
            let version = event.value["metadata"]["resourceVersion"].as_str();
            version.and_then(|v| v.parse::<u64>().ok())
        };
        let position = self
            .events
            .partition_point(|event| of(event).unwrap_or_default() <= version);
        self.watches.push(Watch {
            what,
            position,
            sender,
        });
        self.pump();
        receiver
    }

    /// Watches of a resource tell nothing for now.
    pub fn freeze(&mut self, resource: &str) {
        self.frozen.insert(resource.to_owned());
    }

    /// Watches of the resource go on, or end with "too old" so that what happened meanwhile is never told.
    pub fn thaw(&mut self, resource: &str, too_old: bool) {
        self.frozen.remove(resource);
        if too_old {
            let gone = Refused::new(410, "Expired", "too old resource version").status();
            let line = Bytes::from(format!("{}\n", json!({"type": "ERROR", "object": gone})));
            self.watches.retain(|watch| {
                let ends = watch.what.resource == resource;
                if ends {
                    let _ = watch.sender.send(line.clone());
                }
                !ends
            });
        }
        self.pump();
    }

    fn pump(&mut self) {
        let (events, frozen) = (&self.events, &self.frozen);
        self.watches.retain_mut(|watch| {
            if frozen.contains(&watch.what.resource) {
                return !watch.sender.is_closed();
            }
            for event in &events[watch.position..] {
                if let Some(line) = line(&watch.what, event)
                    && watch.sender.send(line).is_err()
                {
                    return false;
                }
            }
            watch.position = events.len();
            !watch.sender.is_closed()
        });
    }
}

fn line(what: &Selection, event: &Event) -> Option<Bytes> {
    if !what.place(&event.key) {
        return None;
    }
    let before = event.before.as_ref().is_some_and(|b| what.labels(b));
    let after = event.kind != "DELETED" && what.labels(&event.value);
    let kind = match (before, after) {
        (true, false) => "DELETED",
        (true, true) => "MODIFIED",
        (false, true) => "ADDED",
        (false, false) => return None,
    };
    let event = json!({"type": kind, "object": what.show(&event.value)});
    Some(Bytes::from(format!("{event}\n")))
}

/// The part of an apply that may change something.
fn part_of(body: &Value, status: bool) -> Value {
    if status {
        return json!({"status": body["status"]});
    }
    let mut part = body.clone();
    if let Some(map) = part.as_object_mut() {
        for name in ["status", "apiVersion", "kind"] {
            map.remove(name);
        }
    }
    if let Some(metadata) = part["metadata"].as_object_mut() {
        metadata.retain(|name, _| {
            ["labels", "annotations", "ownerReferences", "finalizers"].contains(&name.as_str())
        });
    }
    part
}

/// What a real server does not let change.
fn refuse_immutable(key: &Key, old: &Value, new: &Value) -> Result<(), Refused> {
    let fixed: &[&str] = match &*key.0 {
        "statefulsets.apps" => &[
            "volumeClaimTemplates",
            "serviceName",
            "selector",
            "podManagementPolicy",
        ],
        "persistentvolumeclaims" => &["storageClassName", "accessModes"],
        _ => &[],
    };
    let changed = fixed
        .iter()
        .find(|name| old["spec"][**name] != new["spec"][**name]);
    match changed {
        Some(name) => Err(Refused::new(
            422,
            "Invalid",
            format!("spec.{name}: is immutable"),
        )),
        None => Ok(()),
    }
}

pub fn key(resource: &str, namespace: &str, name: &str) -> Key {
    (resource.to_owned(), namespace.to_owned(), name.to_owned())
}
