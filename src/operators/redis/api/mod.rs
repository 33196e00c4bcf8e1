//! The kind `Redis` of `redis.hera.dev/v1alpha1`: types, schema, CEL rules and printer columns. No logic but defaults.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Redis or Valkey database.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "redis.hera.dev",
    version = "v1alpha1",
    kind = "Redis",
    plural = "redises",
    singular = "redis",
    shortname = "rd",
    category = "hera",
    namespaced,
    status = "RedisStatus",
    derive = "PartialEq",
    doc = "A Redis or Valkey database: a single server, or a primary with replicas and failover.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Instances", type_ = "string", json_path = ".status.summary"),
    printcolumn(name = "Primary", type_ = "string", json_path = ".status.primary"),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".status.endpoint"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode", priority = 1),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    ),
    validation = Rule::new("self.metadata.name.size() <= 40").message("metadata.name: must be at most 40 characters, so that the names of pods and Services fit"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name: must start with a letter and have only lower-case letters, digits and '-', because Services are named after it")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.mode != 'Standalone' || !has(self.replicas) || self.replicas == 1").message("spec.replicas: must be 1 or absent in mode Standalone; use mode Replication for more pods"),
    validation = Rule::new("self.mode == oldSelf.mode").message("spec.mode: cannot be changed; create another Redis and move the data by replication"),
    validation = Rule::new("self.engine == oldSelf.engine").message("spec.engine: cannot be changed; create another Redis and move the data"),
    validation = Rule::new("has(self.storage) == has(oldSelf.storage)").message("spec.storage: cannot be added or removed later; create another Redis and move the data"),
    validation = Rule::new("!has(self.availability) || !has(self.availability.minReplicasToWrite) || self.availability.minReplicasToWrite < (has(self.replicas) ? self.replicas : (self.mode == 'Standalone' ? 1 : 3))").message("spec.availability.minReplicasToWrite: must be lower than spec.replicas, otherwise no write is ever accepted")
)]
pub struct RedisSpec {
    /// The server: Redis or Valkey.
    #[serde(default)]
    pub engine: Engine,
    /// Version of the engine, `MAJOR.MINOR` or `MAJOR.MINOR.PATCH`: it selects the default image. Default: 8.0 for Redis, 9.0 for Valkey.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]+\.[0-9]+(\.[0-9]+)?$"))]
    pub version: Option<String>,
    /// Image of the server; default: the upstream image of `engine` and `version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Standalone: one server. Replication: a primary and replicas, with failover by Hera.
    #[serde(default)]
    pub mode: Mode,
    /// Number of pods with data, the primary included. Default: 3 in mode Replication, 1 in mode Standalone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 20))]
    pub replicas: Option<i32>,
    /// Resources of the server's container. The memory limit is what `memory.maxMemoryPercent` refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// How much of the memory limit holds data, and what happens when it is full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// Directives of redis.conf. Those that the server can take are applied without a restart, and verified.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[x_kube(
        validation = Rule::new("self.all(k, k.matches('^[a-z][a-z0-9-]*$'))").message("spec.config: a directive has only lower-case letters, digits and '-'"),
        validation = Rule::new("!self.exists(k, k in ['aclfile', 'appenddirname', 'appendfilename', 'bind', 'cluster-enabled', 'daemonize', 'dbfilename', 'dir', 'include', 'masterauth', 'masteruser', 'min-replicas-max-lag', 'min-replicas-to-write', 'min-slaves-max-lag', 'min-slaves-to-write', 'pidfile', 'port', 'primaryauth', 'primaryuser', 'protected-mode', 'replica-announce-ip', 'replica-announce-port', 'repl-ping-replica-period', 'repl-ping-slave-period', 'replica-priority', 'replica-read-only', 'replicaof', 'requirepass', 'slave-priority', 'slave-read-only', 'slaveof', 'supervised', 'unixsocket', 'user'])").message("spec.config: has a directive that Hera sets itself (network, files, users and replication); see the documentation of spec.config")
    )]
    #[schemars(extend(
        "maxProperties" = 128,
        "additionalProperties" = {"type": "string", "maxLength": 4096, "pattern": "^[^\\r\\n]*$"}
    ))]
    pub config: BTreeMap<String, String>,
    /// Volume of each pod. Absent: no volume, the data lives in memory and on the replicas only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// Password of the user `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Failover and protection against lost writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability: Option<Availability>,
    /// The Services for clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<Services>,
    /// Merged over the pod template that Hera builds: objects by key, lists of named things by `name`, all else replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<PodTemplatePatch>,
}

/// The server software.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Engine {
    /// Redis.
    #[default]
    Redis,
    /// Valkey.
    Valkey,
}

/// How the servers of one `Redis` work together.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Mode {
    /// One server.
    Standalone,
    /// A primary and replicas; Hera fails over.
    #[default]
    Replication,
}

/// Memory of the server.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// `maxmemory` in percent of the container's memory limit; the rest is for copy-on-write, buffers and fragmentation. Default: 75.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 95))]
    pub max_memory_percent: Option<i32>,
    /// `maxmemory-policy`. Default: noeviction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<EvictionPolicy>,
}

/// What the server does when `maxmemory` is reached.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum EvictionPolicy {
    #[serde(rename = "noeviction")]
    NoEviction,
    AllkeysLru,
    AllkeysLfu,
    AllkeysRandom,
    VolatileLru,
    VolatileLfu,
    VolatileRandom,
    VolatileTtl,
}

impl EvictionPolicy {
    /// The word that redis.conf uses.
    pub fn directive(self) -> &'static str {
        match self {
            Self::NoEviction => "noeviction",
            Self::AllkeysLru => "allkeys-lru",
            Self::AllkeysLfu => "allkeys-lfu",
            Self::AllkeysRandom => "allkeys-random",
            Self::VolatileLru => "volatile-lru",
            Self::VolatileLfu => "volatile-lfu",
            Self::VolatileRandom => "volatile-random",
            Self::VolatileTtl => "volatile-ttl",
        }
    }
}

/// The volume of each pod.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Size of each volume. It can grow, but not become smaller than a volume is.
    #[x_kube(validation = Rule::new("isQuantity(string(self)) && quantity(string(self)).isGreaterThan(quantity('0'))").message("spec.storage.size: must be a positive quantity such as 10Gi"))]
    pub size: Quantity,
    /// Storage class; absent: the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
    /// What happens to the volumes when this Redis is deleted.
    #[serde(default)]
    pub when_deleted: Retention,
    /// What happens to the volumes of pods that scaling in removes.
    #[serde(default)]
    pub when_scaled: Retention,
}

/// What happens to a volume that is no longer used.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Retention {
    /// It is kept with its data.
    #[default]
    Retain,
    /// It is deleted with its data.
    Delete,
}

/// Authentication of clients.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Auth {
    /// Key of a Secret with the password of the user `default`. Absent: Hera generates one, once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKeyRef>,
}

/// A key of a Secret in the same namespace.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Failover and write safety.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Availability {
    /// `min-replicas-to-write`: the primary refuses writes when fewer replicas are connected. Default: 1 with three or more pods, otherwise 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 19))]
    pub min_replicas_to_write: Option<i32>,
    /// Seconds without any answer after which a primary that still has its process counts as dead. Default: 10. A primary whose process ended is replaced at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 3, max = 600))]
    pub unresponsive_after_seconds: Option<i32>,
}

/// The Services for clients.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Services {
    /// The Service that leads to the primary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<ServiceTemplate>,
    /// The Service that leads to the replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<ServiceTemplate>,
}

/// What a user sets on a Service.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceTemplate {
    /// Type of the Service. Default: ClusterIP.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "type")]
    pub type_: Option<ServiceType>,
    /// Annotations of the Service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Labels of the Service, beside Hera's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Type of a Service.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[allow(missing_docs)]
pub enum ServiceType {
    #[default]
    ClusterIP,
    NodePort,
    LoadBalancer,
}

/// A patch of the pod template: `metadata` and `spec` of a PodTemplateSpec, all fields optional.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(transparent)]
#[schemars(schema_with = "any_object")]
pub struct PodTemplatePatch(pub serde_json::Map<String, serde_json::Value>);

fn any_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// What Hera saw and did.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word for humans; nothing depends on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Name of the primary's pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,
    /// `host:port` of the Service that leads to the primary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Name of the Secret that tells clients how to connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_secret: Option<String>,
    /// Number of pods.
    #[serde(default)]
    pub replicas: i32,
    /// Number of instances that serve: the primary, and the replicas that are in sync.
    #[serde(default)]
    pub ready_replicas: i32,
    /// `ready/wanted`, for `kubectl get`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Label selector of the pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Engine and version that the primary reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The instances, by pod name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["pod"]))]
    pub instances: Vec<InstanceStatus>,
    /// The last decision on who is the primary. It is written before it is carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub election: Option<Election>,
    /// Replication id of the data set that the primary serves: the proof of lineage for the next failover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication_id: Option<String>,
    /// The conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Why this Redis is not ready, and what can be done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub blockers: Vec<Blocker>,
    /// With the annotation `hera.dev/plan-only: "true"`: what Hera would do, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub plan: Vec<String>,
}

/// One server.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceStatus {
    /// Name of the pod.
    pub pod: String,
    /// Primary, Replica or Unknown.
    pub role: String,
    /// UID of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// It serves: the primary, or a replica in sync with it.
    pub ready: bool,
    /// It was in sync when a primary last served: the proof that it may be promoted. It stays as it was while no primary serves.
    #[serde(default)]
    pub in_sync: bool,
    /// What is wrong with it, when it is not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A decision on who is the primary.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Election {
    /// Number of the decision; each is one higher than the last.
    pub epoch: i64,
    /// Why it was taken.
    pub kind: ElectionKind,
    /// Pod that is to be the primary.
    pub candidate: String,
    /// UID of that pod.
    pub candidate_uid: String,
    /// Run id of the server that was chosen: a server that restarted since is not the one that was chosen.
    pub run_id: String,
    /// Pod that was the primary before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// When it was taken.
    pub decided_at: Time,
    /// It has been carried out.
    #[serde(default)]
    pub completed: bool,
}

/// Why a primary was chosen.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum ElectionKind {
    /// The first primary of a new database.
    #[default]
    Bootstrap,
    /// The primary was lost.
    Failover,
    /// The primary was asked to hand over.
    HandOver,
    /// A live primary was found, chosen by someone else.
    Adopted,
    /// A hand-over was given up: the primary stays.
    Abandoned,
}

/// Something that keeps a resource from being ready.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Blocker {
    /// The reason, a constant that the documentation lists.
    pub code: String,
    /// Since when.
    pub since: Time,
    /// `Kind/name` of the object that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What can be done.
    pub action: String,
}

/// Annotation that asks for a hand-over: the name of the pod that is to be the primary, as long as the annotation stands.
pub const SWITCHOVER_ANNOTATION: &str = "redis.hera.dev/switchover";
/// Annotation that names the pod to be the primary when Hera finds no proof of which one has the newest data.
pub const APPROVE_PRIMARY_ANNOTATION: &str = "redis.hera.dev/approve-primary";
/// Annotation that lets Hera restart a server whose data would be lost by it.
pub const ACCEPT_DATA_LOSS_ANNOTATION: &str = "redis.hera.dev/accept-data-loss";
/// Annotation `hera.dev/reconcile: paused`.
pub const RECONCILE_ANNOTATION: &str = "hera.dev/reconcile";
/// Annotation `hera.dev/plan-only: "true"`.
pub const PLAN_ONLY_ANNOTATION: &str = "hera.dev/plan-only";
/// Annotation that asks for a rolling restart; its value is copied to the pods.
pub const RESTARTED_AT_ANNOTATION: &str = "hera.dev/restarted-at";
