//! The kind `Redis` of `redis.hera.dev/v1alpha1`: types, schema, CEL rules and printer columns. No logic but defaults.

mod annotations;
mod auth;
mod bootstrap;
mod certificate;
mod memory;
mod monitoring;
mod policy;
mod sentinel;
mod services;
mod status;
mod storage;
mod tls;
mod update;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use annotations::*;
pub use auth::{Auth, DefaultUser, SecretKeyRef, User};
pub use bootstrap::{Bootstrap, External};
pub use certificate::{Certificate, CertificateSpec, CertificateStatus};
pub use memory::{EvictionPolicy, Memory};
pub use monitoring::{Exporter, Monitoring, PodMonitorTemplate, RulesTemplate};
pub use policy::AccessPolicy;
pub use sentinel::Sentinel;
pub use services::{
    ExternalServices, ExternalType, IpFamily, IpFamilyPolicy, ServiceTemplate, ServiceType,
    Services, TrafficPolicy,
};
pub use status::{
    Blocker, BootstrapState, BootstrapStatus, Election, ElectionKind, InstanceStatus, NodeStatus,
    RedisStatus, ShardStatus, Surge, UserStatus,
};
pub use storage::{Retention, Storage};
pub use tls::{ClientAuth, IssuerRef, Plaintext, Tls};
pub use update::{Day, MaintenanceWindow, PrimaryUpdate, Update};

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
    doc = "A Redis or Valkey database: a single server, a primary with replicas and failover, or a cluster of shards.",
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
    validation = Rule::new("self.mode != 'Cluster' || !has(self.replicas)").message("spec.replicas: must be absent in mode Cluster; use spec.shards and spec.replicasPerShard"),
    validation = Rule::new("self.mode == 'Cluster' || !has(self.shards)").message("spec.shards: only in mode Cluster"),
    validation = Rule::new("self.mode == 'Cluster' || !has(self.replicasPerShard)").message("spec.replicasPerShard: only in mode Cluster"),
    validation = Rule::new("self.mode == 'Sentinel' || !has(self.sentinel)").message("spec.sentinel: only in mode Sentinel"),
    validation = Rule::new("!has(self.sentinel) || !has(self.sentinel.quorum) || self.sentinel.quorum <= (has(self.sentinel.replicas) ? self.sentinel.replicas : 3)").message("spec.sentinel.quorum: must not be higher than the number of sentinels, otherwise they never fail over"),
    validation = Rule::new("!has(self.sentinel) || !has(self.sentinel.downAfter) || (duration(self.sentinel.downAfter) >= duration('1s') && duration(self.sentinel.downAfter) <= duration('10m'))").message("spec.sentinel.downAfter: must be between 1s and 10m"),
    validation = Rule::new("!has(self.sentinel) || !has(self.sentinel.failoverTimeout) || (duration(self.sentinel.failoverTimeout) >= duration('5s') && duration(self.sentinel.failoverTimeout) <= duration('60m'))").message("spec.sentinel.failoverTimeout: must be between 5s and 60m"),
    validation = Rule::new("(self.mode == 'Cluster') == (oldSelf.mode == 'Cluster')").message("spec.mode: cannot be changed to or from Cluster; create another Redis and move the data by replication"),
    validation = Rule::new("self.engine == oldSelf.engine").message("spec.engine: cannot be changed; create another Redis and move the data"),
    validation = Rule::new("has(self.storage) == has(oldSelf.storage)").message("spec.storage: cannot be added or removed later; create another Redis and move the data"),
    validation = Rule::new("!has(oldSelf.services) || !has(oldSelf.services.ipFamilies) || (has(self.services) && has(self.services.ipFamilies))").message("spec.services.ipFamilies: cannot be removed later, because a Service keeps its first family"),
    validation = Rule::new("has(oldSelf.bootstrap) || !has(self.bootstrap)").message("spec.bootstrap: can only be given when the Redis is created; create another Redis"),
    validation = Rule::new("!has(self.bootstrap) || self.mode in ['Standalone', 'Replication']").message("spec.bootstrap: only in modes Standalone and Replication"),
    validation = Rule::new("!has(self.bootstrap) || !self.bootstrap.external.tls || has(self.tls)").message("spec.bootstrap.external.tls: needs spec.tls, whose ca.crt says which certificates are trusted"),
    validation = Rule::new("!has(self.tls) || has(oldSelf.tls) || self.tls.plaintext == 'Allowed'").message("spec.tls.plaintext: must be Allowed when spec.tls is added, so that clients can move over; set it to Refused when all of them use TLS"),
    validation = Rule::new("self.mode != 'Sentinel' || !has(self.tls) || self.tls.plaintext == 'Refused'").message("spec.tls.plaintext: must be Refused in mode Sentinel"),
    validation = Rule::new("has(self.tls) || !has(oldSelf.tls) || oldSelf.tls.plaintext == 'Allowed'").message("spec.tls: can be removed only while spec.tls.plaintext is Allowed, so that clients can move over first"),
    validation = Rule::new("!self.hibernate || has(self.storage)").message("spec.hibernate: needs spec.storage, otherwise the data would be lost"),
    validation = Rule::new("!has(self.availability) || !has(self.availability.minReplicasToWrite) || self.availability.minReplicasToWrite < (has(self.replicas) ? self.replicas : (self.mode == 'Standalone' ? 1 : (self.mode == 'Cluster' ? 1 + (has(self.replicasPerShard) ? self.replicasPerShard : 1) : 3)))").message("spec.availability.minReplicasToWrite: must be lower than the number of pods with the same data, otherwise no write is ever accepted")
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
    /// Standalone: one server. Replication: a primary and replicas, with failover by Hera. Sentinel: the same, with failover by sentinels
    /// for clients that speak their protocol. Cluster: shards with a part of the data each,
    /// which fail over by themselves.
    #[serde(default)]
    pub mode: Mode,
    /// Number of pods with data, the primary included. Default: 3 in modes Replication and Sentinel, 1 in mode Standalone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 20))]
    pub replicas: Option<i32>,
    /// The sentinels of mode Sentinel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentinel: Option<Sentinel>,
    /// Number of shards in mode Cluster: primaries that hold a part of the data each. Default: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 3, max = 64))]
    pub shards: Option<i32>,
    /// Number of replicas of each primary in mode Cluster. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 5))]
    pub replicas_per_shard: Option<i32>,
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
        validation = Rule::new("!self.exists(k, k in ['aclfile', 'appenddirname', 'appendfilename', 'bind', 'cluster-allow-replica-migration', 'cluster-announce-bus-port', 'cluster-announce-client-ipv4', 'cluster-announce-client-ipv6', 'cluster-announce-client-port', 'cluster-announce-client-tls-port', 'cluster-announce-ip', 'cluster-announce-port', 'cluster-announce-tls-port', 'cluster-config-file', 'cluster-enabled', 'cluster-port', 'cluster-replica-no-failover', 'cluster-slave-no-failover', 'daemonize', 'dbfilename', 'dir', 'include', 'masterauth', 'masteruser', 'min-replicas-max-lag', 'min-replicas-to-write', 'min-slaves-max-lag', 'min-slaves-to-write', 'pidfile', 'port', 'primaryauth', 'primaryuser', 'protected-mode', 'replica-announce-ip', 'replica-announce-port', 'repl-ping-replica-period', 'repl-ping-slave-period', 'replica-priority', 'replica-read-only', 'replicaof', 'requirepass', 'slave-priority', 'slave-read-only', 'slaveof', 'supervised', 'tls-auth-clients', 'tls-ca-cert-dir', 'tls-ca-cert-file', 'tls-cert-file', 'tls-client-cert-file', 'tls-client-key-file', 'tls-cluster', 'tls-key-file', 'tls-port', 'tls-replication', 'unixsocket', 'user'])").message("spec.config: has a directive that Hera sets itself (network, files, users and replication); see the documentation of spec.config")
    )]
    #[schemars(extend(
        "maxProperties" = 128,
        "additionalProperties" = {"type": "string", "maxLength": 4096, "pattern": "^[^\\r\\n]*$"}
    ))]
    pub config: BTreeMap<String, String>,
    /// Volume of each pod. Absent: no volume, the data lives in memory and on the replicas only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// Where the first data comes from. Absent: the database starts empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<Bootstrap>,
    /// Users of clients and their passwords.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Encryption of all connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Failover and protection against lost writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability: Option<Availability>,
    /// When pods are restarted for a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<Update>,
    /// No pod runs while this is true, and the volumes keep the data. Needs `storage`.
    #[serde(default)]
    pub hibernate: bool,
    /// The Services for clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<Services>,
    /// Metrics of the servers for Prometheus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<Monitoring>,
    /// Who may connect, as a NetworkPolicy. Absent: none is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<AccessPolicy>,
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
    /// A primary and replicas; sentinels fail over, and tell clients who the primary is.
    Sentinel,
    /// Shards, each a primary with replicas; the servers fail over by themselves.
    Cluster,
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

/// A patch of the pod template: `metadata` and `spec` of a PodTemplateSpec, all fields optional.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(transparent)]
#[schemars(schema_with = "any_object")]
pub struct PodTemplatePatch(pub serde_json::Map<String, serde_json::Value>);

fn any_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}
