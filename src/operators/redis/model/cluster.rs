//! What is observed of the nodes of a cluster, and the steps on them.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use crate::engines::redis::{ClusterInfo, ClusterNode, SlotMigration};
pub use crate::engines::redis::{SLOTS, SlotMigrationWay, SlotSet};

/// What belongs to a cluster beside its pods and claims.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// The StatefulSets by number of the shard.
    pub sets: BTreeMap<i32, StatefulSet>,
    /// The disruption budgets of the shards.
    pub budgets: Vec<PodDisruptionBudget>,
    /// What each node knows, by name of its pod.
    pub views: BTreeMap<String, NodeView>,
    /// How the servers move slots; `None` when none was asked.
    pub way: Option<SlotMigrationWay>,
}

/// What one node knows of its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeView {
    /// `CLUSTER INFO`.
    pub info: ClusterInfo,
    /// `CLUSTER NODES`.
    pub nodes: Vec<ClusterNode>,
    /// Replicas can log in here; `None` when the server did not say.
    pub replication_open: Option<bool>,
    /// The user of replicas has more rights than replicas need, for a migration of slots.
    pub replication_widened: bool,
    /// Atomic migrations of slots that this node sends or gets.
    pub moves: Vec<SlotMigration>,
}

/// How a replica is made the primary of its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takeover {
    /// With the primary, which lives: no write is lost.
    Planned,
    /// Without the primary, by the vote of the other primaries.
    Forced,
    /// Without a vote, because no majority of the primaries is left.
    Alone,
}

/// One thing to do on the nodes of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterStep {
    /// Give new nodes, by pod, distinct configuration epochs.
    SetEpochs(BTreeMap<String, u64>),
    /// Introduce the nodes of these pods at their present addresses.
    Meet {
        /// Pod of the node that introduces them.
        from: String,
        /// Pods.
        pods: Vec<String>,
    },
    /// Give slots that nobody owns to the primaries in these pods.
    AddSlots {
        /// Slots by pod.
        slots: BTreeMap<String, SlotSet>,
        /// They had data, which is gone.
        lost: bool,
    },
    /// Make empty nodes, or replicas of another shard, replicas: pod by pod of the primary.
    Replicate(BTreeMap<String, String>),
    /// Let replicas log in at the node of this pod, which has its place now.
    OpenReplication {
        /// Pod.
        pod: String,
    },
    /// Take back the rights that a migration of slots needed.
    NarrowReplication {
        /// Pod.
        pod: String,
    },
    /// Make a replica the primary of its shard.
    FailOver {
        /// Pod of the replica.
        pod: String,
        /// How.
        how: Takeover,
        /// Words.
        why: String,
    },
    /// Forget nodes that will not come back.
    Forget {
        /// Their ids.
        ids: Vec<String>,
        /// Slots that they own and that nobody has the data of.
        lost: SlotSet,
        /// Words.
        why: String,
    },
    /// Move slots, or go on with it.
    MoveSlots {
        /// Pod of the primary that has them.
        from: String,
        /// Pod of the primary that gets them.
        to: String,
        /// The slots.
        slots: SlotSet,
    },
    /// Slots are open on this pod, but they move nowhere: close them.
    CloseSlots {
        /// Pod.
        pod: String,
        /// The slots.
        slots: SlotSet,
    },
    /// Stop the atomic migrations that this pod's node was told to do.
    CancelMoves {
        /// Pod.
        pod: String,
        /// Words.
        why: String,
    },
    /// Delete the StatefulSet of a shard without slots and without data.
    RemoveShard {
        /// Number of the shard.
        shard: i32,
    },
    /// Delete the StatefulSet of a shard but not its pods, so that it is made anew with other claim templates.
    RecreateStatefulSet {
        /// Number of the shard.
        shard: i32,
        /// Words.
        why: String,
    },
}

fn pods<V>(map: &BTreeMap<String, V>) -> String {
    map.keys().cloned().collect::<Vec<_>>().join(", ")
}

impl std::fmt::Display for ClusterStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SetEpochs(epochs) => write!(f, "give epochs to {}", pods(epochs)),
            Self::Meet { from, pods } => {
                write!(f, "introduce {} to Pod/{from}", pods.join(", "))
            }
            Self::AddSlots { slots, lost } => {
                let count: usize = slots.values().map(|s| usize::from(s.len())).sum();
                let words = if *lost { ", whose data is gone," } else { "" };
                write!(f, "give {count} slots{words} to {}", pods(slots))
            }
            Self::Replicate(of) => {
                let words: Vec<String> = of
                    .iter()
                    .map(|(pod, primary)| format!("{pod} of {primary}"))
                    .collect();
                write!(f, "make replicas: {}", words.join(", "))
            }
            Self::OpenReplication { pod } => write!(f, "let replicas log in at Pod/{pod}"),
            Self::NarrowReplication { pod } => {
                write!(
                    f,
                    "take back the rights for a migration of slots on Pod/{pod}"
                )
            }
            Self::FailOver { pod, how, why } => {
                write!(
                    f,
                    "make Pod/{pod} the primary of its shard ({how:?}): {why}"
                )
            }
            Self::Forget { ids, why, .. } => write!(f, "forget {}: {why}", ids.join(", ")),
            Self::MoveSlots { from, to, slots } => {
                write!(f, "move {} slots from Pod/{from} to Pod/{to}", slots.len())
            }
            Self::CloseSlots { pod, slots } => write!(f, "close the slots {slots} on Pod/{pod}"),
            Self::CancelMoves { pod, why } => {
                write!(f, "stop the migration of slots of Pod/{pod}: {why}")
            }
            Self::RemoveShard { shard } => write!(f, "remove shard {shard}"),
            Self::RecreateStatefulSet { shard, why } => {
                write!(
                    f,
                    "make the StatefulSet of shard {shard} anew around its pods: {why}"
                )
            }
        }
    }
}
