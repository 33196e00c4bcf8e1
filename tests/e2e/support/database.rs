//! A `Redis` in the cluster, and everything that belongs to it.

use std::collections::BTreeMap;

use hera::operators::redis::api::{Redis, RedisStatus};
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use super::server::{Encryption, Endpoint};
use super::wait::{LONG, SOON, ensure, until};

/// A `Redis` of a test.
#[derive(Clone)]
pub struct Database {
    pub client: Client,
    pub namespace: String,
    pub name: String,
}

/// The spec of a database with so many pods and without volumes. Small: several run at the same time.
pub fn replication(replicas: i32) -> Value {
    json!({
        "mode": "Replication",
        "replicas": replicas,
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "96Mi"}},
    })
}

/// The same with one server.
pub fn standalone() -> Value {
    json!({
        "mode": "Standalone",
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "96Mi"}},
    })
}

/// One JSON object over another: objects are merged, all else is replaced.
pub fn with(mut base: Value, over: Value) -> Value {
    match (&mut base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                let old = base.remove(&key).unwrap_or_default();
                base.insert(key, with(old, value));
            }
        }
        (base, over) => *base = over,
    }
    base
}

impl Database {
    /// Creates it.
    pub async fn create(client: Client, namespace: &str, name: &str, spec: Value) -> Self {
        let object = json!({
            "apiVersion": "redis.hera.dev/v1alpha1",
            "kind": "Redis",
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        });
        let redis: Redis = serde_json::from_value(object).expect("a valid Redis");
        let database = Self {
            client,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        database
            .api::<Redis>()
            .create(&PostParams::default(), &redis)
            .await
            .expect("the Redis is created");
        database
    }

    /// The API of a kind in its namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Its objects of a kind.
    pub async fn list<K>(&self) -> Vec<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
        K::DynamicType: Default,
    {
        let selector = format!("redis.hera.dev/name={}", self.name);
        self.api::<K>()
            .list(&ListParams::default().labels(&selector))
            .await
            .expect("the objects are listed")
            .items
    }

    /// Itself.
    pub async fn get(&self) -> Redis {
        self.api().get(&self.name).await.expect("the Redis")
    }

    /// Its status.
    pub async fn status(&self) -> RedisStatus {
        self.get().await.status.unwrap_or_default()
    }

    /// Merges something into it.
    pub async fn patch(&self, patch: Value) {
        self.try_patch(patch).await.expect("the Redis is changed");
    }

    /// The same, where the API server may refuse.
    pub async fn try_patch(&self, patch: Value) -> Result<Redis, kube::Error> {
        self.api()
            .patch(&self.name, &PatchParams::default(), &Patch::Merge(patch))
            .await
    }

    /// Sets an annotation, or removes it.
    pub async fn annotate(&self, key: &str, value: Option<&str>) {
        self.patch(json!({"metadata": {"annotations": {key: value}}}))
            .await;
    }

    /// Deletes it.
    pub async fn delete(&self) {
        self.api::<Redis>()
            .delete(&self.name, &DeleteParams::default())
            .await
            .expect("the Redis is deleted");
    }

    /// A condition, when it is about the present spec.
    pub async fn condition(&self, type_: &str) -> Result<Condition, String> {
        let redis = self.get().await;
        let found = redis
            .status
            .unwrap_or_default()
            .conditions
            .into_iter()
            .find(|c| c.type_ == type_)
            .ok_or_else(|| format!("there is no condition {type_} yet"))?;
        ensure(
            found.observed_generation == redis.metadata.generation,
            || {
                format!(
                    "{type_} is about generation {:?}",
                    found.observed_generation
                )
            },
        )?;
        Ok(found)
    }

    /// Waits for a condition with this status and one of these reasons (none: any), and returns it.
    pub async fn wait_for(&self, type_: &str, status: &str, reasons: &[&str]) -> Condition {
        until(&format!("{type_}={status} {reasons:?}"), LONG, || async {
            let found = self.condition(type_).await?;
            let right = found.status == status
                && (reasons.is_empty() || reasons.contains(&found.reason.as_str()));
            ensure(right, || {
                format!("{}: {} {}", found.status, found.reason, found.message)
            })?;
            Ok(found)
        })
        .await
    }

    /// Waits until it says for the present spec that it is ready.
    pub async fn ready(&self) -> RedisStatus {
        self.wait_for("Ready", "True", &[]).await;
        self.status().await
    }

    /// Waits for a blocker with this code; it must say what to do.
    pub async fn blocked(&self, code: &str) {
        until(&format!("the blocker {code}"), LONG, || async {
            let blockers = self.status().await.blockers;
            let found = blockers.iter().find(|b| b.code == code);
            let found = found.ok_or_else(|| format!("{blockers:?}"))?;
            ensure(!found.action.is_empty(), || format!("{code} has no action"))
        })
        .await;
    }

    /// The pod that the status calls the primary.
    pub async fn primary(&self) -> String {
        self.status().await.primary.expect("a primary")
    }

    /// Waits until another pod is the primary, and returns its name.
    pub async fn another_primary(&self, than: &str) -> String {
        until("another primary", SOON, || async {
            let primary = self.status().await.primary.unwrap_or_default();
            ensure(!primary.is_empty() && primary != than, || {
                format!("the primary is {primary:?}")
            })?;
            Ok(primary)
        })
        .await
    }

    /// Waits until this pod is the primary, whoever was before.
    pub async fn primary_becomes(&self, pod: &str) {
        until("the wanted primary", SOON, || async {
            let primary = self.status().await.primary.unwrap_or_default();
            ensure(primary == pod, || format!("the primary is {primary:?}"))
        })
        .await;
    }

    /// Its pods with servers, by name.
    pub async fn pods(&self) -> BTreeMap<String, Pod> {
        self.pods_of("server").await
    }

    /// The pods of its sentinels, by name.
    pub async fn sentinels(&self) -> BTreeMap<String, Pod> {
        self.pods_of("sentinel").await
    }

    async fn pods_of(&self, component: &str) -> BTreeMap<String, Pod> {
        let list = self.list::<Pod>().await;
        let mut pods: BTreeMap<String, Pod> = list.into_iter().map(|p| (p.name_any(), p)).collect();
        pods.retain(|_, pod| {
            pod.labels()
                .get("app.kubernetes.io/component")
                .is_some_and(|c| c == component)
        });
        pods
    }

    /// One pod.
    pub async fn pod(&self, name: &str) -> Pod {
        self.api().get(name).await.expect("the pod")
    }

    /// The UIDs of its pods by name.
    pub async fn uids(&self) -> BTreeMap<String, String> {
        let pods = self.pods().await;
        pods.into_iter()
            .map(|(name, pod)| (name, pod.uid().unwrap_or_default()))
            .collect()
    }

    /// How often the containers of its pods were started again, by pod.
    pub async fn restarts(&self) -> BTreeMap<String, i32> {
        let pods = self.pods().await;
        pods.into_iter()
            .map(|(name, pod)| (name, restarts(&pod)))
            .collect()
    }

    /// Its claims by name.
    pub async fn claims(&self) -> BTreeMap<String, PersistentVolumeClaim> {
        let list = self.list::<PersistentVolumeClaim>().await;
        list.into_iter().map(|c| (c.name_any(), c)).collect()
    }

    /// The password of the user `default`, from the connection Secret.
    pub async fn password(&self) -> String {
        self.secret(&format!("{}-connection", self.name), "password")
            .await
    }

    /// The port that clients are told.
    pub async fn port(&self) -> u16 {
        let name = format!("{}-connection", self.name);
        self.secret(&name, "port").await.parse().expect("a port")
    }

    /// How clients encrypt, when the connection Secret says so.
    pub async fn encryption(&self) -> Option<Encryption> {
        let name = format!("{}-connection", self.name);
        let secret: Secret = self.api().get(&name).await.expect("the Secret");
        let ca = secret.data.unwrap_or_default().remove("ca.crt")?;
        let ca = String::from_utf8(ca.0).expect("text");
        let host = self.secret(&name, "host").await;
        Some(Encryption::new(&ca, &host))
    }

    /// A value of a Secret.
    pub async fn secret(&self, name: &str, key: &str) -> String {
        let secret: Secret = self.api().get(name).await.expect("the Secret");
        let bytes = secret.data.unwrap_or_default().remove(key);
        String::from_utf8(bytes.expect("the key of the Secret").0).expect("text")
    }

    /// The primary's Service, as its address in the cluster.
    pub async fn primary_endpoint(&self) -> Endpoint {
        self.service_endpoint(&self.name).await
    }

    /// Writes a key, as soon as the Service leads to the primary.
    pub async fn set(&self, key: &str, value: &str) {
        let primary = self.primary_endpoint().await;
        until("a write is acknowledged", SOON, || async {
            primary
                .ask::<String>(&["SET", key, value])
                .await
                .map_err(|error| error.to_string())
        })
        .await;
    }

    /// A Service, as its address in the cluster.
    pub async fn service_endpoint(&self, service: &str) -> Endpoint {
        let service: Service = self.api().get(service).await.expect("the Service");
        Endpoint {
            host: service
                .spec
                .and_then(|s| s.cluster_ip)
                .expect("an address of the Service"),
            port: self.port().await,
            user: "default".into(),
            password: self.password().await,
            encryption: self.encryption().await,
        }
    }

    /// The server of a pod.
    pub async fn server(&self, pod: &str) -> Endpoint {
        let status = self.pod(pod).await.status.unwrap_or_default();
        Endpoint {
            host: status.pod_ip.expect("an address of the pod"),
            port: self.port().await,
            user: "default".into(),
            password: self.password().await,
            encryption: self.encryption().await,
        }
    }

    /// The pods that the endpoint slices of a Service name.
    pub async fn endpoints(&self, service: &str) -> Vec<String> {
        let selector = format!("kubernetes.io/service-name={service}");
        let slices = self
            .api::<EndpointSlice>()
            .list(&ListParams::default().labels(&selector))
            .await
            .expect("the endpoint slices");
        let mut pods: Vec<String> = slices
            .items
            .into_iter()
            .flat_map(|s| s.endpoints)
            .filter_map(|e| e.target_ref?.name)
            .collect();
        pods.sort();
        pods
    }

    /// Exactly one server is a primary, it is the one of the status, and the Services lead to it and to the others.
    pub async fn one_primary(&self) -> String {
        until(
            "exactly one primary, and Services that lead to it",
            SOON,
            || async {
                let status = self.status().await;
                let primary = status.primary.clone().ok_or("the status names none")?;
                let mut replicas = Vec::new();
                for pod in self.pods().await.into_keys() {
                    let role = self.server(&pod).await.role().await?;
                    let right = (role == "master") == (pod == primary);
                    ensure(right, || {
                        format!("{pod} is {role}, the primary is {primary}")
                    })?;
                    if pod != primary {
                        replicas.push(pod);
                    }
                }
                let led = self.endpoints(&self.name).await;
                ensure(led == [primary.clone()], || {
                    format!("the Service leads to {led:?}, the primary is {primary}")
                })?;
                let readers = self.endpoints(&format!("{}-replicas", self.name)).await;
                let wanted = if replicas.is_empty() {
                    vec![primary.clone()]
                } else {
                    replicas
                };
                ensure(readers == wanted, || {
                    format!(
                        "the replicas' Service leads to {readers:?}, the replicas are {wanted:?}"
                    )
                })?;
                Ok(primary)
            },
        )
        .await
    }

    /// The reasons of the events about it, with their notes.
    pub async fn events(&self) -> Vec<(String, String)> {
        let events = self
            .api::<Event>()
            .list(&ListParams::default())
            .await
            .expect("the events");
        events
            .items
            .into_iter()
            .filter(|e| {
                e.involved_object.kind.as_deref() == Some("Redis")
                    && e.involved_object.name.as_deref() == Some(&self.name)
            })
            .map(|e| (e.reason.unwrap_or_default(), e.message.unwrap_or_default()))
            .collect()
    }

    /// Waits for an event with this reason.
    pub async fn event(&self, reason: &str) {
        until(&format!("the event {reason}"), SOON, || async {
            let events = self.events().await;
            ensure(events.iter().any(|(r, _)| r == reason), || {
                format!("{events:?}")
            })
        })
        .await;
    }

    /// No event has one of these reasons.
    pub async fn no_event(&self, reasons: &[&str]) {
        let events = self.events().await;
        let found = events.iter().find(|(r, _)| reasons.contains(&r.as_str()));
        assert!(found.is_none(), "{found:?}");
    }
}

/// How often the container of a pod was started again.
pub fn restarts(pod: &Pod) -> i32 {
    pod.status
        .as_ref()
        .and_then(|s| s.container_statuses.as_ref())
        .map_or(0, |all| all.iter().map(|c| c.restart_count).sum())
}
