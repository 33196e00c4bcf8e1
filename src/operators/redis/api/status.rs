//! The status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// The users of `spec.auth.users`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub users: Vec<UserStatus>,
    /// In mode Cluster: how many of the 16384 slots a live primary serves, as `16384/16384`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<String>,
    /// In mode Cluster: the shards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub shards: Vec<ShardStatus>,
    /// In mode Cluster: which node ran in which pod, as long as the cluster knows the node. It tells which nodes are gone for good.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"]))]
    pub nodes: Vec<NodeStatus>,
    /// In mode Cluster: all slots had an owner once, so that slots without one have lost their data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_formed: Option<bool>,
    /// In mode Sentinel: sentinels that watch the primary and see each other, of those wanted: `3/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentinels: Option<String>,
    /// The last decision on who is the primary. It is written before it is carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub election: Option<Election>,
    /// With `spec.bootstrap`: how far it is. It stays when `spec.bootstrap` is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<BootstrapStatus>,
    /// The temporary replica that carries the data of a single server over a restart, with `spec.update.surge`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surge: Option<Surge>,
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
    /// `host:port` where clients outside of the Kubernetes cluster reach it, with `spec.services.external`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<String>,
    /// It accepts connections that are not encrypted. Only with a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plaintext: Option<bool>,
    /// What is wrong with it, when it is not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A user of `spec.auth.users`.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserStatus {
    /// Its name.
    pub name: String,
    /// Every instance that answers has it as the spec says, and its connection Secret has the first of its passwords.
    pub applied: bool,
    /// Name of the Secret that tells clients how to log in as this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_secret: Option<String>,
}

/// One shard of a cluster.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShardStatus {
    /// Name of its StatefulSet.
    pub name: String,
    /// Name of its primary's pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,
    /// How many slots it serves.
    pub slots: i32,
    /// Instances that serve, of those wanted: `2/2`.
    pub ready: String,
}

/// A node of a cluster.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Id of the node, 40 hex digits.
    pub id: String,
    /// Name of the pod that it ran in last.
    pub pod: String,
    /// UID of that pod.
    pub uid: String,
}

/// How far the copy of an external server is.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BootstrapStatus {
    /// `host:port` of the external server.
    pub source: String,
    /// Pod that replicates from it; the other pods replicate from that one.
    pub pod: String,
    /// Completed: this database took over, and never replicates from the external server again.
    pub state: BootstrapState,
    /// When it took over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
}

/// How far the copy of an external server is.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum BootstrapState {
    /// It is copied; nothing was ever written here.
    #[default]
    Replicating,
    /// This database took over.
    Completed,
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

/// A temporary replica.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Surge {
    /// Name of its pod.
    pub pod: String,
    /// It has served its purpose, and is being removed.
    #[serde(default)]
    pub ending: bool,
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
