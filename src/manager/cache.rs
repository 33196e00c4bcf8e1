//! Objects of one kind: read without a call to the API, changes fanned out to subscribers.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{Stream, StreamExt};
use kube::runtime::{
    reflector::{ObjectRef, Store},
    watcher,
};
use tokio::sync::{mpsc, watch};

use super::store::{Change, Kind, Objects};

/// Objects of one kind, kept up to date by a watch. Cloning is cheap and shares the objects.
pub struct Cache<K: Kind> {
    objects: Arc<Mutex<Objects<K>>>,
    store: Store<K>,
    ready: watch::Receiver<bool>,
}

impl<K: Kind> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self {
            objects: Arc::clone(&self.objects),
            store: self.store.clone(),
            ready: self.ready.clone(),
        }
    }
}

impl<K: Kind> Debug for Cache<K> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Cache")
            .field("kind", &K::kind(&()))
            .field("objects", &self.store.len())
            .finish_non_exhaustive()
    }
}

impl<K: Kind> Cache<K> {
    pub(super) fn new(objects: Objects<K>) -> Self {
        Self {
            store: objects.store(),
            ready: objects.ready(),
            objects: Arc::new(Mutex::new(objects)),
        }
    }

    /// A cache of `objects` without a watch behind it: for tests.
    pub fn of(objects: impl IntoIterator<Item = K>) -> Self {
        let mut cached = Objects::new(&[None]);
        cached.handle(0, watcher::Event::Init);
        for object in objects {
            cached.handle(0, watcher::Event::InitApply(object));
        }
        cached.handle(0, watcher::Event::InitDone);
        Self::new(cached)
    }

    /// The object `name` in `namespace` (ignored for kinds of the cluster), as last seen.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::new(name).within(namespace))
    }

    /// The objects in `namespace` that match, in the order of their names.
    pub fn list(&self, namespace: &str, matches: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        self.find(|object| {
            object.meta().namespace.as_deref().unwrap_or_default() == namespace && matches(object)
        })
    }

    /// The objects of all namespaces that match, in the order of namespace and name.
    pub fn find(&self, matches: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        let mut found = self.store.state_filter(matches);
        found.sort_unstable_by(|one, other| {
            let (one, other) = (one.meta(), other.meta());
            (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name))
        });
        found
    }

    /// The objects whose controller is the object with `uid`, in the order of their names. Does not look at the others.
    pub fn owned_by(&self, uid: &str) -> Vec<Arc<K>> {
        self.objects
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .owned_by(uid)
    }

    /// All changes from now on, after one for each object that is there already: whoever subscribes late misses nothing.
    /// What is received is not bounded: a subscriber must not lag behind for long.
    pub fn subscribe(&self) -> mpsc::UnboundedReceiver<Change<K>> {
        self.objects
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .subscribe()
    }

    /// The changes, mapped to the objects of another kind that they concern: a trigger for [`super::controller::run`].
    /// Subscribes when called, so call it in the part of a registration that runs after leadership.
    pub fn triggers<Target, Targets>(
        &self,
        mut targets: impl FnMut(&K) -> Targets + Send + 'static,
    ) -> impl Stream<Item = ObjectRef<Target>> + Send + 'static
    where
        Target: Kind,
        Targets: IntoIterator<Item = ObjectRef<Target>>,
        Targets::IntoIter: Send + 'static,
    {
        let mut changes = self.subscribe();
        futures::stream::poll_fn(move |context| changes.poll_recv(context))
            .flat_map(move |change| futures::stream::iter(targets(&change.object)))
    }

    /// The changes, mapped to the `Owner` that controls the changed object.
    pub fn owners<Owner: Kind>(&self) -> impl Stream<Item = ObjectRef<Owner>> + Send + 'static {
        self.triggers(|object| {
            let metadata = object.meta();
            let owner = metadata
                .owner_references
                .iter()
                .flatten()
                .find(|owner| owner.controller == Some(true));
            owner.and_then(|owner| {
                ObjectRef::from_owner_ref(metadata.namespace.as_deref(), owner, ())
            })
        })
    }

    /// Resolves when every object was listed once.
    pub async fn ready(&self) {
        complete(vec![self.ready.clone()]).await;
    }

    /// Whether every object was listed once.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// The objects for the runner of `kube_runtime`.
    pub(super) fn store(&self) -> Store<K> {
        self.store.clone()
    }

    /// Whether the objects were all listed once, now and later.
    pub(super) fn readiness(&self) -> watch::Receiver<bool> {
        self.ready.clone()
    }

    /// Takes one event of the watch of `scope`.
    pub(super) fn apply(&self, scope: usize, event: watcher::Event<K>) {
        self.objects
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .handle(scope, event);
    }
}

/// Resolves when all are complete.
pub(super) async fn complete(caches: Vec<watch::Receiver<bool>>) {
    for mut ready in caches {
        if ready.wait_for(|ready| *ready).await.is_err() {
            // The objects are gone with their watch: they will never be complete.
            std::future::pending::<()>().await;
        }
    }
}
