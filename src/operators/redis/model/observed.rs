//! What was observed: objects, pods, servers, claims.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use super::{Account, Cluster, PORT, PrimaryLogin, Sentinels, Source, Told};
use crate::engines::redis::{AclUser, Info, Role};
use crate::operators::redis::api::{IpFamily, RedisStatus};

/// Everything that a decision needs, read once.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Status as it was before this reconcile.
    pub status: RedisStatus,
    /// `namespace/name` of the `Redis`: what is kept in memory of it is kept under this key.
    pub key: String,
    /// UID of the `Redis`.
    pub uid: String,
    /// Age of the `Redis`.
    pub age: Duration,
    /// Owned objects.
    pub objects: Objects,
    /// The instances, by ordinal.
    pub instances: Vec<Instance>,
    /// In mode Cluster: the StatefulSets of the shards, and what the nodes know of each other.
    pub cluster: Cluster,
    /// The server that the first data comes from, while it is copied.
    pub source: Option<Source>,
    /// The sentinels, and what they know.
    pub sentinels: Sentinels,
    /// The claims, by ordinal.
    pub claims: Vec<Claim>,
    /// Claims of other origin that stand where the claims of pods to be made would.
    pub foreign: Vec<Foreign>,
    /// Name of the storage class of the spec, when it was looked up and does not exist.
    pub missing_storage_class: Option<String>,
    /// Storage class of a claim that was never bound, when the spec names none and that class does not exist.
    pub missing_claim_class: Option<String>,
    /// The storage class of the claims allows expansion; `None` when nobody had to ask.
    pub expandable: Option<bool>,
    /// Why the password could not be read.
    pub password_problem: Option<Problem>,
    /// Revision of the StatefulSet that new pods get; `None` until its controller has seen the newest template.
    pub update_revision: Option<String>,
    /// The passwords of the users of clients, by name of the user.
    pub accounts: BTreeMap<String, Account>,
    /// The certificate that the servers should serve.
    pub certificate: Option<Certificate>,
    /// Why it could not be read or used; servers go on with what they have.
    pub certificate_problem: Option<Problem>,
    /// Namespace that Hera runs in.
    pub manager_namespace: String,
    /// This database may restart pods now.
    pub may_roll: bool,
    /// The StatefulSet was changed, and its controller has not said yet which pods that makes outdated.
    pub settling: bool,
}

/// A certificate as far as it is public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Serial number in lower-case hex.
    pub serial: String,
    /// From when it is valid.
    pub not_before: Timestamp,
    /// Until when it is valid.
    pub not_after: Timestamp,
    /// The CA's certificates, PEM.
    pub ca: String,
}

impl Certificate {
    /// It should have been renewed by now: a sixth of its time is left, or less than two weeks of a long one. Managers renew when a third
    /// is left.
    pub fn is_expiring(&self, now: Timestamp) -> bool {
        let seconds = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs();
        let margin = (seconds(self.not_before, self.not_after) / 6).min(14 * 24 * 3600);
        seconds(now, self.not_after) < margin
    }
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
    /// The ConfigMaps with redis.conf, one for each revision.
    pub start_config_maps: Vec<ConfigMap>,
    pub server_secret: Option<Secret>,
    pub connection_secret: Option<Secret>,
    /// Connection Secrets of users, and generated passwords that take the place of others.
    pub user_secrets: Vec<Secret>,
    pub services: Vec<Service>,
    pub endpoint_slices: Vec<EndpointSlice>,
    /// Those that Kubernetes wrote for Services of ours with a selector.
    pub service_slices: Vec<EndpointSlice>,
    pub disruption_budget: Option<PodDisruptionBudget>,
    pub network_policies: Vec<NetworkPolicy>,
    pub claims: Vec<PersistentVolumeClaim>,
    /// Those of other origin.
    pub foreign_claims: Vec<PersistentVolumeClaim>,
}

/// One pod with its server. Each flag is a fact of its own that Kubernetes reports.
#[allow(clippy::struct_excessive_bools)]
#[derive(Clone, Debug, Default)]
pub struct Instance {
    /// Name of the pod.
    pub pod: String,
    /// Ordinal of the pod.
    pub ordinal: i32,
    /// Number of its shard; 0 outside mode Cluster.
    pub shard: i32,
    /// UID of the pod; empty when there is no pod.
    pub uid: String,
    /// Address of the pod.
    pub ip: Option<String>,
    /// All addresses of the pod, at most one of each family.
    pub ips: Vec<String>,
    /// Node of the pod.
    pub node: Option<String>,
    /// Address of that node.
    pub host_ip: Option<String>,
    /// State of the pod.
    pub pod_state: PodState,
    /// Why the exporter beside the server does not run; `None` when it runs, or there is none.
    pub exporter_down: Option<String>,
    /// Its deletion was asked for.
    pub terminating: bool,
    /// It is about to be deleted: evicted, drained or preempted (condition `DisruptionTarget`).
    pub disrupted: bool,
    /// A certificate is mounted into the pod.
    pub has_certificate: bool,
    /// Its template is not the present one.
    pub outdated: bool,
    /// The kubelet says that the pod is Ready.
    pub pod_ready: bool,
    /// Hash of the configuration that it started with.
    pub config_hash: Option<String>,
    /// How long the kubelet has said so; `None` when it does not.
    pub ready_for: Option<Duration>,
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
    /// The users that the server was asked about; `None`: it has no such user.
    pub users: BTreeMap<String, Option<AclUser>>,
    /// What the server was told of users since it started, and its answers.
    pub told: BTreeMap<String, Told>,
    /// With which login it replicates; `None` when it was not asked.
    pub login: Option<PrimaryLogin>,
    /// It serves the certificate of the Secret; `None` when it was not asked.
    pub serves_certificate: Option<bool>,
    /// In how long it is to read its certificate and CA again, since the Secret changed a moment ago; zero: now.
    pub rereads: Option<Duration>,
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
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claim {
    /// Name.
    pub name: String,
    /// Ordinal of its pod.
    pub ordinal: i32,
    /// Number of its shard; 0 outside mode Cluster.
    pub shard: i32,
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
    /// How long the volume has been larger while its file system is not (`FileSystemResizePending`).
    pub file_system_behind: Option<Duration>,
    /// It was made before the `Redis`: it may hold data.
    pub adopted: bool,
    /// It has an owner reference to the `Redis`, so that it goes when that goes.
    pub owned: bool,
    /// Since when its pod has been the primary, and by which decision; of two, the greater text is the later.
    pub primary_since: Option<String>,
}

/// A claim with the name that one of ours would have, that Hera did not have made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foreign {
    /// Name.
    pub name: String,
    /// Ordinal of the pod that would use it.
    pub ordinal: i32,
    /// Number of its shard; 0 outside mode Cluster.
    pub shard: i32,
    /// Why it cannot be taken over now.
    pub obstacle: Option<String>,
}

impl Observed {
    /// What was observed of one shard, as if it were a database of its own.
    #[must_use]
    pub fn of_shard(&self, shard: i32) -> Self {
        let mut o = self.clone();
        o.instances.retain(|i| i.shard == shard);
        o.claims.retain(|c| c.shard == shard);
        o.foreign.retain(|f| f.shard == shard);
        o.objects.statefulset = self.cluster.sets.get(&shard).cloned();
        o
    }
}

impl Instance {
    /// The facts of a server that answers.
    pub fn info(&self) -> Option<&Info> {
        match &self.server {
            Server::Up(info) => Some(info),
            _ => None,
        }
    }
    /// Its address of a family.
    pub fn address(&self, family: IpFamily) -> Option<&str> {
        let all = self.ips.iter().chain(&self.ip).map(String::as_str);
        all.into_iter().find(|ip| IpFamily::of(ip) == family)
    }
    /// It answers and takes writes.
    pub fn is_primary(&self) -> bool {
        self.info().is_some_and(|i| i.role == Role::Primary)
    }
    /// Its pod is Ready, or only the exporter keeps it from that and goes with the next restart: waiting for it could be for ever.
    pub fn pod_settled(&self) -> bool {
        self.pod_ready || (self.outdated && self.exporter_down.is_some())
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
    /// For how long it has been no copy that counts, not for a moment: it gives no answer, or has no link. One that loads, copies or runs a
    /// script is on its way.
    pub fn lame_for(&self) -> Duration {
        match &self.server {
            Server::Silent(silence) => *silence,
            Server::Denied(_) => self.age,
            Server::Up(info) if !info.loading && !info.sync_in_progress && !info.link_up => {
                info.link_down_seconds.map_or(self.age, Duration::from_secs)
            }
            Server::Up(_) | Server::Down | Server::Busy | Server::Loading => Duration::ZERO,
        }
    }
    /// It is a replica of this instance, linked, and done with its first synchronisation.
    pub fn in_sync_with(&self, primary: &Instance) -> bool {
        self.follows(primary)
            && self
                .info()
                .is_some_and(|i| i.link_up && !i.sync_in_progress && !i.loading)
    }
}

/// The pod was in sync with the primary when that last served.
pub fn was_in_sync(o: &Observed, i: &Instance) -> bool {
    let recorded = o.status.instances.iter().find(|s| s.pod == i.pod);
    recorded.is_some_and(|s| s.in_sync && s.uid.as_deref() == Some(i.uid.as_str()))
}
