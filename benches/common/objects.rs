//! When the objects of a database come into being, as a client sees it that watches them.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt as _};
use tokio::task::JoinSet;

/// No object for so long: there come no more.
const QUIET: Duration = Duration::from_millis(400);
/// Only ends a measurement that fails anyway.
const LIMIT: Duration = Duration::from_secs(60);
const LABEL: &str = "redis.hera.dev/name";

/// Which objects of a database were seen: kind and name.
type Seen = BTreeMap<String, BTreeMap<(String, String), Instant>>;

/// Watches a namespace for what Hera makes before any server runs: everything but the EndpointSlices.
pub struct Objects {
    seen: Arc<Mutex<Seen>>,
    watches: JoinSet<()>,
}

impl Objects {
    /// Begins to watch.
    pub fn watch(client: &Client, namespace: &str) -> Self {
        let mut objects = Self {
            seen: Arc::default(),
            watches: JoinSet::new(),
        };
        objects.follow::<Secret>(client, namespace);
        objects.follow::<ConfigMap>(client, namespace);
        objects.follow::<Service>(client, namespace);
        objects.follow::<PodDisruptionBudget>(client, namespace);
        objects.follow::<StatefulSet>(client, namespace);
        objects
    }

    fn follow<K>(&mut self, client: &Client, namespace: &str)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + Send
            + 'static
            + serde::de::DeserializeOwned,
    {
        let api = Api::<PartialObjectMeta<K>>::namespaced(client.clone(), namespace);
        let config = watcher::Config::default().labels(LABEL);
        let seen = Arc::clone(&self.seen);
        self.watches.spawn(async move {
            let mut events = std::pin::pin!(watcher(api, config));
            while let Some(event) = events.next().await {
                let now = Instant::now();
                let Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) = event
                else {
                    continue;
                };
                let owner = object.labels().get(LABEL).cloned().unwrap_or_default();
                let key = (K::kind(&()).into_owned(), object.name_any());
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.entry(owner).or_default().entry(key).or_insert(now);
            }
        });
    }

    /// Waits until no more objects of the database come, and returns how many there are and when the last one came.
    ///
    /// # Panics
    /// When its StatefulSet does not come.
    pub async fn complete(&self, database: &str) -> (usize, Instant) {
        let begin = Instant::now();
        loop {
            let found = self
                .seen
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get(database)
                .cloned()
                .unwrap_or_default();
            let last = found.values().max().copied();
            // It is made after all others.
            let has_set = found.keys().any(|(kind, _)| kind == "StatefulSet");
            if let Some(last) = last.filter(|last| has_set && last.elapsed() > QUIET) {
                return (found.len(), last);
            }
            assert!(begin.elapsed() < LIMIT, "{database} has only {found:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
