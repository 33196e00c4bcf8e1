//! The shared caches: one watch for each kind, selector and namespace in the whole process.
//!
//! An operator asks [`Caches`] for a [`Cache`] of a kind; two that ask for the same share it. A cache is read without a
//! call to the API and fans changes out to subscribers. Unlike the shared streams of `kube_runtime`, subscribers
//! learn of deletions, and of objects that vanished while the watch was broken.

use std::{
    any::{Any, TypeId},
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::{
    Api, Client, Resource,
    api::ListParams,
    runtime::{WatchStreamExt, watcher},
};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

pub use super::{
    cache::Cache,
    store::{Change, Kind},
};
use super::{cache::complete, metrics::Metrics, store::Objects};
use crate::k8s::labels::OWNED_SELECTOR;

/// How long the API server keeps one watch open. Below the idle limits of common load balancers (240 s and up), so that
/// a connection that was cut silently is noticed: the watcher gives up 5 s later.
const WATCH_SECONDS: u32 = 200;

/// Objects listed with one call, so that a list never holds much memory at once.
const PAGE: u32 = 200;

/// How often it is looked whether the cluster has got a kind that it did not have.
const ABSENT: Duration = Duration::from_secs(60);

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
    /// The cluster may lack the kind, so nobody waits for it.
    optional: bool,
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
        self.cache(
            selector,
            &self.hub.namespaces,
            false,
            |client, namespace| match namespace {
                Some(namespace) => Api::namespaced(client, namespace),
                None => Api::all(client),
            },
        )
    }

    /// The objects that Hera owns of a kind that the cluster may lack, since another project defines it: nobody waits for them, and
    /// the kind may come and go. [`Cache::is_ready`] tells whether it was there.
    pub fn optional<K: Kind + Resource<Scope = NamespaceResourceScope>>(&self) -> Cache<K> {
        self.cache(
            OWNED_SELECTOR,
            &self.hub.namespaces,
            true,
            |client, namespace| match namespace {
                Some(namespace) => Api::namespaced(client, namespace),
                None => Api::all(client),
            },
        )
    }

    /// All objects of a kind that has no namespace. It needs a ClusterRole, also with `--namespaces`.
    pub fn cluster<K: Kind + Resource<Scope = ClusterResourceScope>>(&self) -> Cache<K> {
        self.cache("", &[None], false, |client, _| Api::all(client))
    }

    fn cache<K: Kind>(
        &self,
        selector: &str,
        namespaces: &[Option<String>],
        optional: bool,
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
            if !optional {
                self.used(&entry.ready);
            }
            return cache.clone();
        }
        let label = label::<K>();
        let objects = Objects::new(namespaces);
        // A kind that the cluster lacks is no cache that is out of sync.
        let cache = Cache::<K>::new(if optional {
            objects
        } else {
            objects.measured(&self.hub.metrics, &label)
        });
        let watches = namespaces.iter().enumerate().map(|(scope, namespace)| {
            let api = api(self.hub.client.clone(), namespace.as_deref());
            let watch = Watch {
                cache: cache.clone(),
                scope,
                api,
                selector: selector.to_owned(),
                metrics: Arc::clone(&self.hub.metrics),
                optional,
            };
            let guard = self.hub.failed.clone().drop_guard();
            AbortOnDropHandle::new(tokio::spawn(async move {
                let _guard = guard;
                watch.run().await;
            }))
        });
        if !optional {
            self.used(&cache.readiness());
        }
        entries.push(Entry {
            kind: TypeId::of::<K>(),
            selector: selector.to_owned(),
            ready: cache.readiness(),
            cache: Box::new(cache.clone()),
            _watches: watches.collect(),
            label,
            optional,
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
        let all = {
            let entries = self
                .hub
                .entries
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let needed = entries.iter().filter(|entry| !entry.optional);
            needed.map(|entry| entry.ready.clone()).collect()
        };
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
            .filter(|entry| !entry.optional && !*entry.ready.borrow())
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

/// What keeps one scope of a cache up to date.
struct Watch<K: Kind> {
    cache: Cache<K>,
    scope: usize,
    api: Api<K>,
    selector: String,
    metrics: Arc<Metrics>,
    optional: bool,
}

impl<K: Kind> Watch<K> {
    /// For ever, unless there is a mistake in the code.
    async fn run(self) {
        loop {
            if self.optional {
                self.wait_for_the_kind().await;
            }
            self.follow().await;
            if !self.optional {
                return;
            }
            // The kind is gone, and its objects with it.
            for event in [watcher::Event::Init, watcher::Event::InitDone] {
                self.cache.apply(self.scope, event);
            }
            tokio::time::sleep(ABSENT).await;
        }
    }

    async fn wait_for_the_kind(&self) {
        let one = ListParams::default().labels(&self.selector).limit(1);
        while let Err(error) = self.api.list(&one).await {
            tracing::debug!(resource = label::<K>(), %error, "the cluster does not serve the kind");
            tokio::time::sleep(ABSENT).await;
        }
    }

    /// Ends only when an optional kind is gone.
    async fn follow(&self) {
        let label = label::<K>();
        let restarts = self.metrics.watch_restarts.with_label_values(&[&label]);
        let mut last_problem = None;
        let mut events =
            std::pin::pin!(watcher(self.api.clone(), config(&self.selector)).default_backoff());
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    if matches!(event, watcher::Event::InitDone) && last_problem.take().is_some() {
                        tracing::info!(resource = label, "watch works again");
                    }
                    self.cache.apply(self.scope, event.modify(slim));
                }
                Err(error) if self.optional && code(&error) == Some(404) => return,
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
}

/// The error with what a person can do about it.
fn explain(error: &watcher::Error) -> String {
    match code(error) {
        Some(404) => {
            "the API server does not know the resource: is its CustomResourceDefinition installed?"
                .to_owned()
        }
        Some(403) => format!("{error}: the role of the manager lacks list or watch"),
        _ => error.to_string(),
    }
}

/// The status code of the server's answer.
fn code(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}

/// Drops what no operator reads and what makes up to half of an object, and copies the rest: reading an object leaves its
/// lists with room for more elements than they have, which for types as large as those of Kubernetes takes more memory
/// than the object itself. A copy has no spare room.
fn slim<K: Kind>(object: &mut K) {
    let metadata = object.meta_mut();
    metadata.managed_fields = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    *object = object.clone();
}

#[cfg(test)]
#[path = "caches_tests.rs"]
mod tests;
