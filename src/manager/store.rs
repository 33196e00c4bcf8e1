//! The objects of one cache: what the events of its watches make of them, and who is told. No effects.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Debug,
    sync::Arc,
};

use kube::{
    Resource,
    runtime::{
        reflector::{ObjectRef, Store, store::Writer},
        watcher::Event,
    },
};
use prometheus::IntGauge;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};

use super::metrics::Metrics;

/// What a cached type must be able to do.
pub trait Kind:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
}

/// An object that was added, changed or removed.
#[derive(Debug)]
pub struct Change<K> {
    /// The object; when `deleted`, as it was last seen.
    pub object: Arc<K>,
    /// Whether the object is gone.
    pub deleted: bool,
}

impl<K> Clone for Change<K> {
    fn clone(&self) -> Self {
        Self {
            object: Arc::clone(&self.object),
            deleted: self.deleted,
        }
    }
}

/// Namespace (empty for kinds of the cluster) and name.
type Key = (String, String);

/// The objects of one cache.
///
/// With `--namespaces` several watches, one for each namespace, feed the same objects: each is a *scope*. A new list of
/// a scope replaces what was known of that scope alone.
pub(super) struct Objects<K: Kind> {
    writer: Writer<K>,
    scopes: Vec<Scope<K>>,
    subscribers: Vec<mpsc::UnboundedSender<Change<K>>>,
    by_owner: HashMap<String, BTreeSet<Key>>,
    ready: watch::Sender<bool>,
    gauges: Option<Gauges>,
}

struct Scope<K> {
    namespace: Option<String>,
    /// The objects of a list that is not complete yet.
    listing: HashMap<Key, K>,
    synced: bool,
}

struct Gauges {
    objects: IntGauge,
    synced: IntGauge,
}

impl<K: Kind> Objects<K> {
    /// No objects, with one scope for each of `namespaces` (`None` is the whole cluster).
    pub fn new(namespaces: &[Option<String>]) -> Self {
        let mut writer = Writer::default();
        // The runner of kube waits for its store. It gets every object one by one, also those of the first list, and
        // is started when all scopes are complete.
        writer.apply_watcher_event(&Event::Init);
        writer.apply_watcher_event(&Event::InitDone);
        let scopes = namespaces.iter().cloned();
        let scopes = scopes.map(|namespace| Scope {
            namespace,
            listing: HashMap::new(),
            synced: false,
        });
        Self {
            writer,
            scopes: scopes.collect(),
            subscribers: Vec::new(),
            by_owner: HashMap::new(),
            ready: watch::Sender::new(false),
            gauges: None,
        }
    }

    /// Counts the objects in `metrics` under `label`.
    pub fn measured(mut self, metrics: &Metrics, label: &str) -> Self {
        let objects = metrics.cached_objects.with_label_values(&[label]);
        let synced = metrics.cache_synced.with_label_values(&[label]);
        self.gauges = Some(Gauges { objects, synced });
        self
    }

    pub fn store(&self) -> Store<K> {
        self.writer.as_reader()
    }

    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// Takes one event of the watch of `scope`.
    pub fn handle(&mut self, scope: usize, event: Event<K>) {
        match event {
            Event::Apply(object) => self.apply(object),
            Event::Delete(object) => self.remove(&key(&object), Some(object)),
            Event::Init => {
                if let Some(scope) = self.scopes.get_mut(scope) {
                    scope.listing.clear();
                }
            }
            Event::InitApply(object) => {
                if let Some(scope) = self.scopes.get_mut(scope) {
                    scope.listing.insert(key(&object), object);
                }
            }
            Event::InitDone => self.listed(scope),
        }
    }

    /// A list is complete: what it does not hold is gone, what it holds unchanged is no news.
    fn listed(&mut self, scope: usize) {
        let Some(scope) = self.scopes.get_mut(scope) else {
            return;
        };
        let listing = std::mem::take(&mut scope.listing);
        scope.synced = true;
        let namespace = scope.namespace.clone();
        let in_scope = |key: &Key| {
            namespace
                .as_ref()
                .is_none_or(|namespace| key.0 == *namespace)
        };
        let known: Vec<_> = self
            .store()
            .state()
            .iter()
            .map(|object| key(object.as_ref()))
            .collect();
        for key in known {
            if in_scope(&key) && !listing.contains_key(&key) {
                self.remove(&key, None);
            }
        }
        for (key, object) in listing {
            let same = self.get(&key).is_some_and(|known| {
                let (known, new) = (known.meta(), object.meta());
                known.uid == new.uid
                    && known.resource_version == new.resource_version
                    && new.resource_version.is_some()
            });
            if !same {
                self.apply(object);
            }
        }
        if self.scopes.iter().all(|scope| scope.synced) {
            self.ready.send_replace(true);
            if let Some(gauges) = &self.gauges {
                gauges.synced.set(1);
            }
        }
    }

    fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.store().get(&reference(key))
    }

    fn apply(&mut self, object: K) {
        let key = key(&object);
        // Deleted and created again while nobody looked: two objects, of which the first is gone.
        if self
            .get(&key)
            .is_some_and(|known| known.meta().uid != object.meta().uid)
        {
            self.remove(&key, None);
        }
        match self.get(&key) {
            Some(known) => self.disown(&key, &known),
            None => self.count(1),
        }
        if let Some(owner) = controller_uid(&object) {
            self.by_owner.entry(owner).or_default().insert(key.clone());
        }
        self.writer.apply_watcher_event(&Event::Apply(object));
        if let Some(object) = self.get(&key) {
            self.tell(&Change {
                object,
                deleted: false,
            });
        }
    }

    fn remove(&mut self, key: &Key, last_seen: Option<K>) {
        let Some(known) = self.get(key) else { return };
        self.disown(key, &known);
        self.count(-1);
        let object = last_seen.map_or(known, Arc::new);
        self.writer
            .apply_watcher_event(&Event::Delete(object.as_ref().clone()));
        self.tell(&Change {
            object,
            deleted: true,
        });
    }

    fn disown(&mut self, key: &Key, object: &K) {
        let Some(owner) = controller_uid(object) else {
            return;
        };
        if let Some(keys) = self.by_owner.get_mut(&owner) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_owner.remove(&owner);
            }
        }
    }

    fn count(&self, change: i64) {
        if let Some(gauges) = &self.gauges {
            gauges.objects.add(change);
        }
    }

    fn tell(&mut self, change: &Change<K>) {
        self.subscribers
            .retain(|subscriber| subscriber.send(change.clone()).is_ok());
    }

    /// The objects whose controller has `uid`, in the order of their names.
    pub fn owned_by(&self, uid: &str) -> Vec<Arc<K>> {
        self.by_owner
            .get(uid)
            .into_iter()
            .flatten()
            .filter_map(|key| self.get(key))
            .collect()
    }

    /// All changes, after one for each object that is there.
    pub fn subscribe(&mut self) -> mpsc::UnboundedReceiver<Change<K>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        for object in self.store().state() {
            // Cannot fail: the receiver is in this function.
            let _ = sender.send(Change {
                object,
                deleted: false,
            });
        }
        self.subscribers.push(sender);
        receiver
    }
}

fn key<K: Kind>(object: &K) -> Key {
    let metadata = object.meta();
    (
        metadata.namespace.clone().unwrap_or_default(),
        metadata.name.clone().unwrap_or_default(),
    )
}

fn reference<K: Kind>((namespace, name): &Key) -> ObjectRef<K> {
    let reference = ObjectRef::new(name);
    if namespace.is_empty() {
        reference
    } else {
        reference.within(namespace)
    }
}

fn controller_uid<K: Kind>(object: &K) -> Option<String> {
    let owners = object.meta().owner_references.as_deref()?;
    owners
        .iter()
        .find(|owner| owner.controller == Some(true))
        .map(|owner| owner.uid.clone())
}
