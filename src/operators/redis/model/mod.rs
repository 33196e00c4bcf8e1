//! What the stages share: plain types without effects.

mod bootstrap;
pub mod capacity;
mod cluster;
mod hold;
mod observed;
mod plan;
mod sentinels;
mod tls;
mod topology;
mod users;
mod window;

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use secrecy::{ExposeSecret, SecretString};

use super::api::{
    AccessPolicy, Engine, Mode, Monitoring, PodTemplatePatch, Retention, SecretKeyRef, Services,
    Surge,
};
use crate::engines::redis::password_hash;
pub use crate::engines::redis::{Info, Role};
pub use bootstrap::{
    ANNOUNCED_TO_SOURCE, BootstrapStep, PrimaryLogin, Source, ValidBootstrap, source_address,
};
pub use cluster::{Cluster, ClusterStep, NodeView, SLOTS, SlotMigrationWay, SlotSet, Takeover};
pub use hold::Hold;
pub use observed::{
    Certificate, Claim, Foreign, Instance, Objects, Observed, PodState, Problem, Server,
    was_in_sync,
};
pub use plan::{Findings, Plan, Step};
pub use sentinels::{Sentinel, SentinelStep, SentinelView, Sentinels, ValidSentinel};
pub use tls::{CERTIFICATE_VOLUME, Listening, Route, ValidTls, certificate_secret};
pub use topology::{Member, Topology};
pub use users::{Account, Told, UserEntry};
pub use window::Window;

/// Port that every server listens on.
pub const PORT: u16 = 6379;
/// Port for encrypted connections where [`PORT`] takes those that are not encrypted; of the Services in any case.
pub const TLS_PORT: u16 = 6380;
/// Port of the cluster bus: that of the server plus 10000.
pub const BUS_PORT: u16 = PORT + 10_000;
/// Port that every sentinel listens on.
pub const SENTINEL_PORT: u16 = 26379;
/// Name of a sentinel's container.
pub const SENTINEL_CONTAINER: &str = "sentinel";
/// Name of the server's container.
pub const CONTAINER: &str = "redis";
/// Name of the exporter's container, and of its volume.
pub const EXPORTER: &str = "exporter";
/// Port of the exporter.
pub const EXPORTER_PORT: u16 = 9121;
/// Name of that port in the pod.
pub const METRICS_PORT_NAME: &str = "metrics";
/// Name of the claim template when the spec names none, and so the prefix of every claim's name.
pub const DATA_VOLUME: &str = "data";
/// Folder with the configuration in the container.
pub const CONFIG_DIR: &str = "/etc/hera";
/// Key of the CA's certificates, in the Secret of the user and in the connection Secret.
pub const CA_KEY: &str = "ca.crt";
/// Folder with the certificate in the container.
pub const TLS_DIR: &str = "/etc/hera-tls";
/// Readiness gate of a pod in mode Replication: Hera sets it when the instance is the primary or in sync with it.
pub const READINESS_GATE: &str = "redis.hera.dev/in-sync";
/// Label with the name of the `Redis` that an object belongs to.
pub const NAME_LABEL: &str = "redis.hera.dev/name";
/// Label of what belongs to one shard, with the shard's number.
pub const SHARD_LABEL: &str = "redis.hera.dev/shard";
/// Annotation of a pod with the hash of the configuration that needs a restart.
pub const CONFIG_HASH_ANNOTATION: &str = "redis.hera.dev/config-hash";
/// Longest lag, in seconds, of a replica that still counts as good; also `min-replicas-max-lag`. Lower than the time after which a
/// silent primary is replaced, so that an isolated primary refuses writes before another one is promoted.
pub const MAX_LAG_SECONDS: i64 = 3;

/// A spec that passed validation, with all defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Validated {
    /// Name of the `Redis`.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The controller reference for owned objects.
    pub owner: OwnerReference,
    /// Generation of the spec.
    pub generation: i64,
    /// Engine.
    pub engine: Engine,
    /// Image of the server.
    pub image: String,
    /// Version that the image has by what the spec says; `None` when it says only which image.
    pub version: Option<String>,
    /// Mode.
    pub mode: Mode,
    /// Number of pods with the same data: of all of them, in mode Cluster of each shard.
    pub replicas: i32,
    /// Number of shards; 0 outside mode Cluster.
    pub shards: i32,
    /// Set in a view of one shard.
    pub shard: Option<i32>,
    /// The sentinels, in mode Sentinel.
    pub sentinel: Option<ValidSentinel>,
    /// Resources of the container.
    pub resources: ResourceRequirements,
    /// `maxmemory` in bytes; `None` without a memory limit.
    pub max_memory: Option<i64>,
    /// `maxmemory-policy`.
    pub memory_policy: &'static str,
    /// The user's directives.
    pub config: BTreeMap<String, String>,
    /// Volumes.
    pub storage: Option<ValidStorage>,
    /// Where the first data comes from.
    pub bootstrap: Option<ValidBootstrap>,
    /// Where the passwords of the user `default` are read from; none: generated.
    pub password_refs: Vec<SecretKeyRef>,
    /// Clients may log in as the user `default`.
    pub default_user_enabled: bool,
    /// The other users of clients.
    pub users: Vec<ValidUser>,
    /// Users that are to get another generated password, each with the text that asks for it.
    pub rotations: BTreeMap<String, String>,
    /// Encryption.
    pub tls: Option<ValidTls>,
    /// `min-replicas-to-write`.
    pub min_replicas_to_write: i32,
    /// Silence after which a primary counts as dead.
    pub unresponsive_after: Duration,
    /// Services.
    pub services: Services,
    /// Exporter, and what leads Prometheus to it.
    pub monitoring: Monitoring,
    /// Who may connect; `None`: everybody.
    pub network_policy: Option<AccessPolicy>,
    /// When pods may be restarted.
    pub update: ValidUpdate,
    /// No pod is to run; the volumes stay.
    pub hibernate: bool,
    /// The temporary replica of a single server, while there is one.
    pub surge: Option<Surge>,
    /// Patch of the pod template.
    pub pod_template: PodTemplatePatch,
    /// Value of the restart annotation.
    pub restarted_at: Option<String>,
    /// What the switch-over annotation asks for.
    pub switchover: Option<String>,
    /// Pod that the user names as the one with the right data.
    pub approved_primary: Option<String>,
    /// The user accepts that a restart loses data.
    pub accept_data_loss: bool,
    /// Fields that cannot be used and are left out: they must not keep a lost primary from being replaced.
    pub problems: Vec<Problem>,
}

/// A user of clients beside `default`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValidUser {
    /// Its name.
    pub name: String,
    /// ACL rules, parted by single spaces.
    pub rules: String,
    /// Where its passwords are read from; none: generated.
    pub password_refs: Vec<SecretKeyRef>,
    /// It may log in.
    pub enabled: bool,
}

/// Volumes of a [`Validated`].
#[derive(Clone, Debug, PartialEq)]
pub struct ValidStorage {
    /// Size of each volume as the user wrote it.
    pub size: Quantity,
    /// The same in bytes.
    pub bytes: u64,
    /// Storage class.
    pub class: Option<String>,
    /// On deletion of the `Redis`.
    pub when_deleted: Retention,
    /// On scaling in.
    pub when_scaled: Retention,
    /// Name of the claim template, and of the volume.
    pub template: String,
    /// Claims that may be taken over.
    pub existing: Vec<String>,
}

/// When pods that serve may be restarted for a change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ValidUpdate {
    /// Not now.
    pub paused: bool,
    /// The primary only after the user has approved the revision.
    pub ask_for_primary: bool,
    /// The revision that the user has approved.
    pub approved: Option<String>,
    /// How long a restarted pod is watched before the next.
    pub soak: Duration,
    /// Only then.
    pub window: Option<Window>,
    /// A single server without a volume is restarted while a temporary replica serves.
    pub surge: bool,
}

impl Validated {
    /// Name of the StatefulSet; pods are `NAME-0`, `NAME-1`, ...
    pub fn statefulset_name(&self) -> String {
        match self.shard {
            Some(shard) => format!("{}-s{shard}", self.name),
            None => self.name.clone(),
        }
    }
    /// The same database as one of its shards sees it: with the StatefulSet, pods and claims of that shard.
    #[must_use]
    pub fn of_shard(&self, shard: i32) -> Self {
        Self {
            shard: Some(shard),
            ..self.clone()
        }
    }
    /// Name of the pod with this ordinal.
    pub fn pod_name(&self, ordinal: i32) -> String {
        format!("{}-{ordinal}", self.statefulset_name())
    }
    /// Name of the claim of the pod with this ordinal.
    pub fn claim_name(&self, ordinal: i32) -> String {
        format!("{}-{}", self.data_volume(), self.pod_name(ordinal))
    }
    /// Name of the volume with the data.
    pub fn data_volume(&self) -> &str {
        self.storage.as_ref().map_or(DATA_VOLUME, |s| &s.template)
    }
    /// A claim may hold what another server wrote.
    pub fn takes_over(&self) -> bool {
        self.storage
            .as_ref()
            .is_some_and(|s| !s.existing.is_empty())
    }
    /// Name of the Service that leads to the primary.
    pub fn primary_service(&self) -> String {
        self.name.clone()
    }
    /// Name of the Service that leads to the replicas.
    pub fn replicas_service(&self) -> String {
        format!("{}-replicas", self.name)
    }
    /// Name of the headless Service that gives every pod a DNS name.
    pub fn pods_service(&self) -> String {
        format!("{}-pods", self.name)
    }
    /// Name of the Secret with the generated credentials.
    pub fn credentials_secret(&self) -> String {
        format!("{}-credentials", self.name)
    }
    /// Name of the Secret that the pods mount.
    pub fn server_secret(&self) -> String {
        format!("{}-server", self.name)
    }
    /// Name of the Secret that tells clients how to connect.
    pub fn connection_secret(&self) -> String {
        format!("{}-connection", self.name)
    }
    /// Name of the Secret that tells clients how to log in as this user.
    pub fn user_connection_secret(&self, user: &str) -> String {
        format!("{}-{user}", self.connection_secret())
    }
    /// Name of the Secret with another generated password of this user, asked for by this text.
    pub fn rotation_secret(&self, user: &str, text: &str) -> String {
        let hash = password_hash(text);
        format!("{}-rotation-{user}-{}", self.name, &hash[..10])
    }
    /// Name of the ConfigMap with redis.conf of the pods with this hash.
    pub fn start_config_map(&self, hash: &str) -> String {
        format!("{}-{hash}", self.config_map())
    }
    /// Name of the ConfigMap with the directives that are set live.
    pub fn config_map(&self) -> String {
        format!("{}-config", self.name)
    }
    /// Host name of the primary's Service within the cluster.
    pub fn primary_host(&self) -> String {
        format!("{}.{}.svc", self.primary_service(), self.namespace)
    }
    /// Name of the StatefulSet of the sentinels, and of all else that is theirs.
    pub fn sentinel_set(&self) -> String {
        format!("{}-sentinel", self.name)
    }
    /// Host name of the sentinels' Service within the cluster.
    pub fn sentinel_host(&self) -> String {
        format!("{}.{}.svc", self.sentinel_set(), self.namespace)
    }
    /// The name that the sentinels know the primary under. No other database in the cluster has it, so that sentinels of two never
    /// take each other for their own, whoever gets whose address.
    pub fn monitored_name(&self) -> String {
        format!("{}.{}", self.namespace, self.name)
    }
    /// A server of this database starts as a replica of nobody and gets its role from Hera.
    pub fn gated(&self) -> bool {
        matches!(self.mode, Mode::Replication | Mode::Sentinel)
    }
    /// Sentinels watch the primary.
    pub fn watched(&self) -> bool {
        self.mode == Mode::Sentinel
    }
    /// Hera leads the Services to the pods: a server of this database may be a replica.
    pub fn led(&self) -> bool {
        self.gated() || self.surge.is_some()
    }
    /// Number of pods with the same data, a temporary replica included.
    pub fn copies(&self) -> i32 {
        let temporary = self.surge.as_ref().is_some_and(|s| !s.ending);
        self.replicas + i32::from(temporary)
    }
    /// The servers are nodes of a cluster.
    pub fn clustered(&self) -> bool {
        self.mode == Mode::Cluster
    }
}

/// Passwords of a database. They are generated once and live in a Secret.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Of the user `default`.
    pub default: SecretString,
    /// Of Hera's own user.
    pub operator: SecretString,
    /// Of the user that replicas log in with.
    pub replication: SecretString,
    /// Of the user of probes.
    pub probe: SecretString,
}

impl Credentials {
    /// Of the user that sentinels log in with, at the servers and at each other. It follows from the password of replicas, which is as
    /// secret as the data.
    pub fn sentinel(&self) -> SecretString {
        let text = format!("sentinel {}", self.replication.expose_secret());
        password_hash(&text).into()
    }
}
