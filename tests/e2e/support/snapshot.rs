//! The resource versions of everything that belongs to a database: equal ones prove that nothing was written.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;

use super::database::Database;

/// Kind and name of each object, and its resource version.
pub type Snapshot = BTreeMap<String, String>;

/// The `Redis` and all its objects.
pub async fn of(database: &Database) -> Snapshot {
    let redis = database.get().await;
    let own = format!("{}/Redis/{}", database.namespace, database.name);
    let mut all = Snapshot::from([(own, redis.resource_version().unwrap_or_default())]);
    macro_rules! take {
        ($($kind:ident)*) => {$(
            for object in database.list::<$kind>().await {
                let name = format!("{}/{}/{}", database.namespace, stringify!($kind), object.name_any());
                all.insert(name, object.resource_version().unwrap_or_default());
            }
        )*};
    }
    take!(StatefulSet Pod Service EndpointSlice ConfigMap Secret PodDisruptionBudget PersistentVolumeClaim);
    all
}

/// The same for several.
pub async fn of_all(databases: &[Database]) -> Snapshot {
    let all = futures::future::join_all(databases.iter().map(of)).await;
    all.into_iter().flatten().collect()
}

/// What is not the same, in words.
pub fn difference(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let keys = before.keys().chain(after.keys());
    let changed = keys.filter(|key| before.get(*key) != after.get(*key));
    let mut words: Vec<String> = changed
        .map(|key| format!("{key}: {:?}, then {:?}", before.get(key), after.get(key)))
        .collect();
    words.dedup();
    words
}
