//! The shared caches: one watch for each kind, selector and namespace in the whole process.
//!
//! An operator asks [`Caches`] for a [`Cache`] of a kind; two that ask for the same share it. A cache is read without a
//! call to the API and fans changes out to subscribers. Unlike the shared streams of `kube_runtime`, subscribers
//! learn of deletions, and of objects that vanished while the watch was broken.

use std::{
    any::{Any, TypeId},
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{Stream, StreamExt};
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::{
    Api, Client, Resource,
    runtime::{
        WatchStreamExt,
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{metrics::Metrics, store::Objects};
use crate::k8s::labels::OWNED_SELECTOR;

/// How long the API server keeps one watch open. Below the idle limits of common load balancers (240 s and up), so that
/// a connection that was cut silently is noticed: the watcher gives up 5 s later.
const WATCH_SECONDS: u32 = 200;

/// Objects listed with one call, so that a list never holds much memory at once.
const PAGE: u32 = 200;

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
    fn new(objects: Objects<K>) -> Self {
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

    /// The objects for the runner of `kube_runtime`.
    pub(super) fn store(&self) -> Store<K> {
        self.store.clone()
    }

    fn apply(&self, scope: usize, event: watcher::Event<K>) {
        self.objects
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .handle(scope, event);
    }
}

/// The caches of the process, as seen by one operator: [`Caches::ready`] waits only for those that it asked for.
pub struct Caches {
    hub: Arc<Hub>,
    used: Mutex<Vec<watch::Receiver<bool>>>,
}

struct Hub {
    client: Client,
    namespaces: Vec<Option<String>>,
    metrics: Arc<Metrics>,
    entries: Mutex<Vec<Entry>>,
    /// Cancelled when a watch ends, which none does unless it panics.
    failed: CancellationToken,
}

struct Entry {
    kind: TypeId,
    selector: String,
    label: String,
    ready: watch::Receiver<bool>,
    cache: Box<dyn Any + Send + Sync>,
    _watches: Vec<AbortOnDropHandle<()>>,
}

impl Caches {
    /// Caches of `namespaces`, or of the whole cluster when there are none given.
    pub fn new(client: Client, namespaces: &[String], metrics: Arc<Metrics>) -> Self {
        let namespaces = if namespaces.is_empty() {
            vec![None]
        } else {
            namespaces.iter().cloned().map(Some).collect()
        };
        let failed = CancellationToken::new();
        let hub = Hub {
            client,
            namespaces,
            metrics,
            entries: Mutex::default(),
            failed,
        };
        Self {
            hub: Arc::new(hub),
            used: Mutex::default(),
        }
    }

    /// The same caches for another operator.
    #[must_use]
    pub fn scoped(&self) -> Self {
        Self {
            hub: Arc::clone(&self.hub),
            used: Mutex::default(),
        }
    }

    /// The objects of the kind that Hera owns (label `app.kubernetes.io/managed-by=hera`).
    pub fn owned<K: Kind + Resource<Scope = NamespaceResourceScope>>(&self) -> Cache<K> {
        self.selected(OWNED_SELECTOR)
    }

    /// All objects of the kind: custom resources, or `PartialObjectMeta<Secret>` for other people's Secrets.
    pub fn all<K: Kind + Resource<Scope = NamespaceResourceScope>>(&self) -> Cache<K> {
        self.selected("")
    }

    /// The objects of the kind that the label selector matches.
    pub fn selected<K: Kind + Resource<Scope = NamespaceResourceScope>>(
        &self,
        selector: &str,
    ) -> Cache<K> {
        let namespaces = self.hub.namespaces.clone();
        self.cache(selector, namespaces, |client, namespace| match namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        })
    }

    /// All objects of a kind that has no namespace. It needs a ClusterRole, also with `--namespaces`.
    pub fn cluster<K: Kind + Resource<Scope = ClusterResourceScope>>(&self) -> Cache<K> {
        self.cache("", vec![None], |client, _| Api::all(client))
    }

    fn cache<K: Kind>(
        &self,
        selector: &str,
        namespaces: Vec<Option<String>>,
        api: impl Fn(Client, Option<&str>) -> Api<K>,
    ) -> Cache<K> {
        let mut entries = self
            .hub
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let known = entries
            .iter()
            .find(|entry| entry.kind == TypeId::of::<K>() && entry.selector == selector);
        if let Some((entry, cache)) =
            known.and_then(|entry| Some((entry, entry.cache.downcast_ref::<Cache<K>>()?)))
        {
            self.used(&entry.ready);
            return cache.clone();
        }
        let label = label::<K>();
        let cache = Cache::<K>::new(Objects::new(&namespaces).measured(&self.hub.metrics, &label));
        let watches = namespaces.iter().enumerate().map(|(scope, namespace)| {
            let api = api(self.hub.client.clone(), namespace.as_deref());
            let watch = follow(
                cache.clone(),
                scope,
                api,
                config(selector),
                Arc::clone(&self.hub.metrics),
            );
            let guard = self.hub.failed.clone().drop_guard();
            AbortOnDropHandle::new(tokio::spawn(async move {
                let _guard = guard;
                watch.await;
            }))
        });
        self.used(&cache.ready);
        entries.push(Entry {
            kind: TypeId::of::<K>(),
            selector: selector.to_owned(),
            ready: cache.ready.clone(),
            cache: Box::new(cache.clone()),
            _watches: watches.collect(),
            label,
        });
        cache
    }

    fn used(&self, ready: &watch::Receiver<bool>) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.push(ready.clone());
    }

    /// Resolves when all caches that this operator asked for are complete.
    pub async fn ready(&self) {
        let used = self
            .used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        complete(used).await;
    }

    /// Resolves when all caches of the process are complete.
    pub(super) async fn all_ready(&self) {
        let entries = self
            .hub
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let all = entries.iter().map(|entry| entry.ready.clone()).collect();
        drop(entries);
        complete(all).await;
    }

    /// The resources of the process whose objects were not all listed yet.
    pub fn unsynced(&self) -> Vec<String> {
        let entries = self
            .hub
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        entries
            .iter()
            .filter(|entry| !*entry.ready.borrow())
            .map(|entry| entry.label.clone())
            .collect()
    }

    /// Resolves when a watch ended for good, which none does but by a mistake in the code.
    pub async fn failed(&self) {
        self.hub.failed.cancelled().await;
    }
}

impl Debug for Caches {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Caches")
            .field("unsynced", &self.unsynced())
            .finish_non_exhaustive()
    }
}

/// Resolves when all are complete.
async fn complete(caches: Vec<watch::Receiver<bool>>) {
    for mut ready in caches {
        if ready.wait_for(|ready| *ready).await.is_err() {
            // The objects are gone with their watch: they will never be complete.
            std::future::pending::<()>().await;
        }
    }
}

/// The name of the kind in metrics and messages: its plural and group.
fn label<K: Kind>() -> String {
    let (plural, group) = (K::plural(&()), K::group(&()));
    let part = if K::metadata_api() { "/metadata" } else { "" };
    if group.is_empty() {
        format!("{plural}{part}")
    } else {
        format!("{plural}.{group}{part}")
    }
}

fn config(selector: &str) -> watcher::Config {
    let config = watcher::Config::default()
        .timeout(WATCH_SECONDS)
        .page_size(PAGE);
    if selector.is_empty() {
        config
    } else {
        config.labels(selector)
    }
}

/// Keeps one scope of a cache up to date, for ever.
async fn follow<K: Kind>(
    cache: Cache<K>,
    scope: usize,
    api: Api<K>,
    config: watcher::Config,
    metrics: Arc<Metrics>,
) {
    let label = label::<K>();
    let restarts = metrics.watch_restarts.with_label_values(&[&label]);
    let mut last_problem = None;
    let mut events = std::pin::pin!(watcher(api, config).default_backoff());
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if matches!(event, watcher::Event::InitDone) && last_problem.take().is_some() {
                    tracing::info!(resource = label, "watch works again");
                }
                cache.apply(scope, event.modify(slim));
            }
            Err(error) => {
                restarts.inc();
                let problem = explain(&error);
                // The same problem is one line, not one for each try.
                if last_problem.as_ref() == Some(&problem) {
                    tracing::debug!(resource = label, error = problem, "watch failed again");
                } else {
                    tracing::warn!(
                        resource = label,
                        error = problem,
                        "watch failed, starting again"
                    );
                    last_problem = Some(problem);
                }
            }
        }
    }
}

/// The error with what a person can do about it.
fn explain(error: &watcher::Error) -> String {
    let api_error = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => Some(status.as_ref()),
        watcher::Error::WatchError(status) => Some(status.as_ref()),
        _ => None,
    };
    match api_error.map(|status| status.code) {
        Some(404) => {
            "the API server does not know the resource: is its CustomResourceDefinition installed?"
                .to_owned()
        }
        Some(403) => format!("{error}: the role of the manager lacks list or watch"),
        _ => error.to_string(),
    }
}

/// Drops what no operator reads and what makes up to half of an object.
fn slim<K: Kind>(object: &mut K) {
    let metadata = object.meta_mut();
    metadata.managed_fields = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

#[cfg(test)]
#[path = "caches_tests.rs"]
mod tests;
