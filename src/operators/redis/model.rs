//! What the stages share: plain types without effects.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    ConfigMap, PersistentVolumeClaim, ResourceRequirements, Secret, Service,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use secrecy::SecretString;

use super::api::{
    Election, Engine, Mode, PodTemplatePatch, RedisStatus, Retention, SecretKeyRef, Services,
};
pub use crate::engines::redis::{Info, Role};

/// Port that every server listens on.
pub const PORT: u16 = 6379;
/// Name of the server's container.
pub const CONTAINER: &str = "redis";
/// Name of the claim template, and so the prefix of every claim's name.
pub const DATA_VOLUME: &str = "data";
/// Folder with the configuration in the container.
pub const CONFIG_DIR: &str = "/etc/hera";
/// Readiness gate of a pod in mode Replication: Hera sets it when the instance is the primary or in sync with it.
pub const READINESS_GATE: &str = "redis.hera.dev/in-sync";
/// Label with the name of the `Redis` that an object belongs to.
pub const NAME_LABEL: &str = "redis.hera.dev/name";
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
    /// Mode.
    pub mode: Mode,
    /// Number of pods.
    pub replicas: i32,
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
    /// Where the password of the user `default` is read from; `None`: generated.
    pub password_ref: Option<SecretKeyRef>,
    /// `min-replicas-to-write`.
    pub min_replicas_to_write: i32,
    /// Silence after which a primary counts as dead.
    pub unresponsive_after: Duration,
    /// Services.
    pub services: Services,
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
}

impl Validated {
    /// Name of the StatefulSet; pods are `NAME-0`, `NAME-1`, ...
    pub fn statefulset_name(&self) -> String {
        self.name.clone()
    }
    /// Name of the pod with this ordinal.
    pub fn pod_name(&self, ordinal: i32) -> String {
        format!("{}-{ordinal}", self.name)
    }
    /// Name of the claim of the pod with this ordinal.
    pub fn claim_name(&self, ordinal: i32) -> String {
        format!("{DATA_VOLUME}-{}-{ordinal}", self.name)
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
    /// Name of the ConfigMap with redis.conf.
    pub fn config_map(&self) -> String {
        format!("{}-config", self.name)
    }
    /// Host name of the primary's Service within the cluster.
    pub fn primary_host(&self) -> String {
        format!("{}.{}.svc", self.primary_service(), self.namespace)
    }
    /// A server of this database starts as a replica of nobody and gets its role from Hera.
    pub fn gated(&self) -> bool {
        self.mode == Mode::Replication
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

/// Everything that a decision needs, read once.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Status as it was before this reconcile.
    pub status: RedisStatus,
    /// UID of the `Redis`.
    pub uid: String,
    /// Age of the `Redis`.
    pub age: Duration,
    /// Owned objects.
    pub objects: Objects,
    /// The instances, by ordinal.
    pub instances: Vec<Instance>,
    /// The claims, by ordinal.
    pub claims: Vec<Claim>,
    /// Name of the storage class of the spec, when it was looked up and does not exist.
    pub missing_storage_class: Option<String>,
    /// The storage class of the claims allows expansion; `None` when nobody had to ask.
    pub expandable: Option<bool>,
    /// Why the password could not be read.
    pub password_problem: Option<Problem>,
    /// This database may restart pods now.
    pub may_roll: bool,
}

/// A reason with its message and the object that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Reason constant.
    pub reason: &'static str,
    /// `Kind/name`.
    pub object: Option<String>,
    /// What is wrong.
    pub message: String,
}

impl Problem {
    /// A problem of an object, `Kind/name`.
    pub fn of(reason: &'static str, object: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            reason,
            object: Some(object.into()),
            message: message.into(),
        }
    }
}

/// The owned objects as they are in the cluster.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Objects {
    pub statefulset: Option<StatefulSet>,
    pub config_map: Option<ConfigMap>,
    pub server_secret: Option<Secret>,
    pub connection_secret: Option<Secret>,
    pub services: Vec<Service>,
    pub endpoint_slices: Vec<EndpointSlice>,
    pub disruption_budget: Option<PodDisruptionBudget>,
    pub claims: Vec<PersistentVolumeClaim>,
}

/// One pod with its server.
#[derive(Clone, Debug, Default)]
pub struct Instance {
    /// Name of the pod.
    pub pod: String,
    /// Ordinal of the pod.
    pub ordinal: i32,
    /// UID of the pod; empty when there is no pod.
    pub uid: String,
    /// Address of the pod.
    pub ip: Option<String>,
    /// Node of the pod.
    pub node: Option<String>,
    /// State of the pod.
    pub pod_state: PodState,
    /// Its deletion was asked for.
    pub terminating: bool,
    /// It is about to be deleted: evicted, drained or preempted (condition `DisruptionTarget`).
    pub disrupted: bool,
    /// Its template is not the present one.
    pub outdated: bool,
    /// The kubelet says that the pod is Ready.
    pub pod_ready: bool,
    /// Value of the readiness gate.
    pub gate: Option<bool>,
    /// Age of the pod.
    pub age: Duration,
    /// Its node is not Ready or the kubelet lost it.
    pub node_lost: bool,
    /// What the server says.
    pub server: Server,
    /// The server's present values of the directives that are applied live.
    pub config: BTreeMap<String, String>,
    /// Directives (`name=value`) that this server accepted since it started, with the value that it then reported.
    pub accepted: BTreeMap<(String, String), String>,
    /// The user `default` has the present password and no other; `None` when the server did not say.
    pub password_current: Option<bool>,
    /// Directives that this server refused: `(name, value)` and the server's words.
    pub refused: BTreeMap<(String, String), String>,
}

/// What the pod's container does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PodState {
    /// No pod.
    #[default]
    Missing,
    /// The pod has no node; the scheduler's words when it gave up.
    Unscheduled(Option<String>),
    /// The container waits; the kubelet's reason and message.
    Waiting(String, String),
    /// The container runs.
    Running,
    /// The container ended and will not be, or is not yet, started again.
    Ended(String),
}

/// What is known of a server.
#[derive(Clone, Debug, Default)]
pub enum Server {
    /// Nothing listens: its process is gone or did not start.
    #[default]
    Down,
    /// It gives no answer, for so long; it may be stopped, cut off or overloaded.
    Silent(Duration),
    /// It answers BUSY: a script runs.
    Busy,
    /// It loads its data from disk.
    Loading,
    /// It refuses Hera's user.
    Denied(String),
    /// It answers.
    Up(Box<Info>),
}

/// One claim.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// Name.
    pub name: String,
    /// Ordinal of its pod.
    pub ordinal: i32,
    /// UID.
    pub uid: String,
    /// It is bound to a volume.
    pub bound: bool,
    /// Storage class.
    pub class: Option<String>,
    /// Size that is asked for, in bytes.
    pub requested: u64,
    /// Size that it has, in bytes.
    pub capacity: u64,
    /// The storage said that it cannot grow.
    pub failed: Option<String>,
    /// It was made before the `Redis`: it may hold data.
    pub adopted: bool,
    /// It has an owner reference to the `Redis`, so that it goes when that goes.
    pub owned: bool,
}

impl Instance {
    /// The facts of a server that answers.
    pub fn info(&self) -> Option<&Info> {
        match &self.server {
            Server::Up(info) => Some(info),
            _ => None,
        }
    }
    /// It answers and takes writes.
    pub fn is_primary(&self) -> bool {
        self.info().is_some_and(|i| i.role == Role::Primary)
    }
    /// It is on its way out.
    pub fn leaving(&self) -> bool {
        self.terminating || self.disrupted
    }
    /// It is a replica of this instance.
    pub fn follows(&self, primary: &Instance) -> bool {
        self.info().is_some_and(|i| {
            i.role == Role::Replica
                && i.primary_host.is_some()
                && i.primary_host == primary.ip
                && i.primary_port == Some(PORT)
        })
    }
    /// It is a replica of this instance, linked, and done with its first synchronisation.
    pub fn in_sync_with(&self, primary: &Instance) -> bool {
        self.follows(primary)
            && self
                .info()
                .is_some_and(|i| i.link_up && !i.sync_in_progress && !i.loading)
    }
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Write a decision to the status of the `Redis`, guarded by its resource version.
    Decide(Election, String),
    /// Make the candidate of the decision the primary, publish it, and re-point the others.
    Promote(Election),
    /// Ask `from` to hand over to `to`.
    HandOver {
        /// Pod of the present primary.
        from: String,
        /// Pod of the next one.
        to: String,
    },
    /// Stop a hand-over that did not finish.
    AbortHandOver {
        /// Pod of the primary.
        from: String,
    },
    /// Publish the primary, disconnect clients of the one before, and mark the decision as carried out.
    Complete(Election),
    /// Make these pods replicas of the primary.
    Follow {
        /// Pods.
        pods: Vec<String>,
        /// Pod of the primary.
        primary: String,
    },
    /// Set directives on a server.
    Configure {
        /// Pod.
        pod: String,
        /// Directives.
        directives: BTreeMap<String, String>,
    },
    /// Give the user `default` the present password.
    SetPassword {
        /// Pod.
        pod: String,
    },
    /// Let a claim go with the `Redis`, or stay.
    OwnClaim {
        /// Claim.
        claim: String,
        /// It goes with the `Redis`.
        owned: bool,
    },
    /// Set the readiness gate of a pod.
    Gate {
        /// Pod.
        pod: String,
        /// Its new value.
        ready: bool,
    },
    /// Delete a pod so that the StatefulSet makes it anew.
    DeletePod {
        /// Pod.
        pod: String,
        /// UID.
        uid: String,
        /// Reason constant.
        reason: &'static str,
        /// Words.
        why: String,
    },
    /// Ask for more storage in a claim.
    GrowClaim {
        /// Claim.
        claim: String,
        /// Size.
        size: Quantity,
    },
    /// Delete a claim.
    DeleteClaim {
        /// Claim.
        claim: String,
        /// UID.
        uid: String,
        /// Words.
        why: String,
    },
    /// Delete the StatefulSet but not its pods, so that it is made anew with other claim templates.
    RecreateStatefulSet(String),
}

/// What is to be done now, and how things stand.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Pod of the primary that clients are led to.
    pub primary: Option<String>,
    /// Pods that serve reads.
    pub readers: Vec<String>,
    /// The step that changes the topology; at most one.
    pub step: Option<Step>,
    /// Steps that change nothing of the topology.
    pub chores: Vec<Step>,
    /// What comes after these, in words.
    pub later: Vec<String>,
    /// When to look again.
    pub requeue: Option<Duration>,
    /// Findings for the conditions.
    pub findings: Findings,
    /// This database restarts pods or is about to.
    pub rolling: bool,
}

/// How things stand, each a reason with words. `None`: nothing to report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Why there is no primary, or why the primary is in doubt.
    pub primary: Option<Problem>,
    /// Why replicas are not in sync.
    pub replication: Option<Problem>,
    /// What is in progress.
    pub progress: Option<Problem>,
    /// What would lose data.
    pub risk: Option<Problem>,
    /// What is wrong with the configuration.
    pub config: Option<Problem>,
    /// What is wrong with the storage.
    pub storage: Option<Problem>,
    /// What is wrong with pods.
    pub pods: Vec<Problem>,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Decide(e, why) => {
                write!(f, "decide that Pod/{} is the primary: {why}", e.candidate)
            }
            Self::Promote(e) => write!(f, "promote Pod/{}", e.candidate),
            Self::HandOver { from, to } => write!(f, "hand over from Pod/{from} to Pod/{to}"),
            Self::AbortHandOver { from } => write!(f, "stop the hand-over from Pod/{from}"),
            Self::Complete(e) => write!(f, "lead clients to Pod/{}", e.candidate),
            Self::Follow { pods, primary } => {
                write!(f, "make {} follow Pod/{primary}", pods.join(", "))
            }
            Self::Configure { pod, directives } => {
                write!(
                    f,
                    "set {} on Pod/{pod}",
                    directives.keys().cloned().collect::<Vec<_>>().join(", ")
                )
            }
            Self::SetPassword { pod } => write!(f, "set the password on Pod/{pod}"),
            Self::OwnClaim { claim, owned: true } => write!(
                f,
                "let PersistentVolumeClaim/{claim} be deleted with the Redis"
            ),
            Self::OwnClaim {
                claim,
                owned: false,
            } => write!(f, "let PersistentVolumeClaim/{claim} outlive the Redis"),
            Self::Gate { pod, ready } => {
                write!(f, "set the readiness gate of Pod/{pod} to {ready}")
            }
            Self::DeletePod { pod, why, .. } => write!(f, "delete Pod/{pod}: {why}"),
            Self::GrowClaim { claim, size } => {
                write!(f, "ask for {} in PersistentVolumeClaim/{claim}", size.0)
            }
            Self::DeleteClaim { claim, why, .. } => {
                write!(f, "delete PersistentVolumeClaim/{claim}: {why}")
            }
            Self::RecreateStatefulSet(why) => {
                write!(f, "make the StatefulSet anew around its pods: {why}")
            }
        }
    }
}
