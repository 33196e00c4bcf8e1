//! What is observed of the sentinels, and the steps on them.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ResourceRequirements, Secret};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use secrecy::SecretString;

use super::{Instance, Server};
use crate::engines::redis::{
    AclUser, Address, MonitoredPrimary, MonitoredReplica, QuorumCheck, SentinelPeer,
};
use crate::operators::redis::api::PodTemplatePatch;

/// `spec.sentinel` with its defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidSentinel {
    /// Number of sentinels.
    pub replicas: i32,
    /// How many have to take the primary for lost.
    pub quorum: u32,
    /// After which silence.
    pub down_after: Duration,
    /// How long a failover may take.
    pub failover_timeout: Duration,
    /// Resources of the container.
    pub resources: ResourceRequirements,
    /// Patch of the pod template.
    pub pod_template: PodTemplatePatch,
}

/// What belongs to the sentinels.
#[derive(Clone, Debug, Default)]
pub struct Sentinels {
    /// Their StatefulSet.
    pub set: Option<StatefulSet>,
    /// Their configuration and users.
    pub secret: Option<Secret>,
    /// Their disruption budget.
    pub budget: Option<PodDisruptionBudget>,
    /// The StatefulSet was changed, and its controller has not said yet which pods that makes outdated.
    pub settling: bool,
    /// The sentinels, by ordinal.
    pub pods: Vec<Sentinel>,
    /// Password with which they log in at the servers and at each other.
    pub login: Option<SecretString>,
}

/// One sentinel.
#[derive(Clone, Debug, Default)]
pub struct Sentinel {
    /// Its pod. Of the server only whether it answers is known.
    pub pod: Instance,
    /// What it knows; `None` when it does not answer.
    pub view: Option<SentinelView>,
}

/// What a sentinel knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SentinelView {
    /// Its own id.
    pub id: String,
    /// All that it monitors.
    pub monitored: Vec<MonitoredPrimary>,
    /// The primary that it tells clients.
    pub told: Option<Address>,
    /// The replicas that it knows of this primary.
    pub replicas: Vec<MonitoredReplica>,
    /// The other sentinels that it knows.
    pub peers: Vec<SentinelPeer>,
    /// Whether a failover could be agreed on.
    pub quorum: Option<QuorumCheck>,
    /// The users that it was asked about; `None`: it has no such user.
    pub users: BTreeMap<String, Option<AclUser>>,
}

impl Sentinel {
    /// Name of its pod.
    pub fn name(&self) -> &str {
        &self.pod.pod
    }
    /// What it knows of this primary, when it answers and monitors it.
    pub fn watches(&self, name: &str) -> Option<(&SentinelView, &MonitoredPrimary)> {
        let view = self.view.as_ref()?;
        let primary = view.monitored.iter().find(|m| m.name == name)?;
        Some((view, primary))
    }
    /// It does not answer, and may run all the same: what it does is not known.
    pub fn is_silent(&self) -> bool {
        self.view.is_none()
            && matches!(
                self.pod.server,
                Server::Silent(_) | Server::Denied(_) | Server::Busy
            )
    }
}

/// One thing to do on sentinels.
#[derive(Clone, Debug, PartialEq)]
pub enum SentinelStep {
    /// Let sentinels log in at these servers.
    Admit {
        /// Pods.
        pods: Vec<String>,
    },
    /// Tell a sentinel whom to watch, whatever it watched before.
    Watch {
        /// Pod of the sentinel.
        sentinel: String,
        /// Pod of the primary.
        primary: String,
    },
    /// Set the options of the primary on a sentinel, the login among them.
    Set {
        /// Pod of the sentinel.
        sentinel: String,
    },
    /// Set the users of clients on a sentinel, or remove them.
    SetUsers {
        /// Pod of the sentinel.
        sentinel: String,
        /// Names of the users.
        users: Vec<String>,
    },
    /// Make sentinels forget the primary, so that they change nothing any more.
    Forget {
        /// Pods of the sentinels.
        sentinels: Vec<String>,
        /// Words.
        why: String,
    },
    /// Make a sentinel stop to watch primaries that are not this one.
    Drop {
        /// Pod of the sentinel.
        sentinel: String,
        /// The names of the others.
        names: Vec<String>,
    },
    /// Make a sentinel forget replicas and sentinels that are gone.
    Reset {
        /// Pod of the sentinel.
        sentinel: String,
    },
    /// Make the sentinels replace a primary that is lost.
    FailOver {
        /// Pod of the sentinel that leads.
        sentinel: String,
        /// Pod of the replica that it will choose.
        to: String,
        /// Words.
        why: String,
    },
    /// Delete the pod of a sentinel, so that the StatefulSet makes it anew.
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
    /// Delete the StatefulSet of the sentinels.
    Remove,
}

impl std::fmt::Display for SentinelStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Admit { pods } => write!(f, "let sentinels log in at {}", pods.join(", ")),
            Self::Watch { sentinel, primary } => {
                write!(f, "let Pod/{sentinel} watch Pod/{primary}")
            }
            Self::Set { sentinel } => write!(f, "set the options of Pod/{sentinel}"),
            Self::SetUsers { sentinel, users } => {
                write!(f, "set the users {} on Pod/{sentinel}", users.join(", "))
            }
            Self::Forget { sentinels, why } => {
                write!(f, "make {} forget the primary: {why}", sentinels.join(", "))
            }
            Self::Drop { sentinel, names } => {
                write!(f, "make Pod/{sentinel} forget {}", names.join(", "))
            }
            Self::Reset { sentinel } => {
                write!(f, "make Pod/{sentinel} forget pods that are gone")
            }
            Self::FailOver { sentinel, to, why } => {
                write!(f, "let Pod/{sentinel} make Pod/{to} the primary: {why}")
            }
            Self::DeletePod { pod, why, .. } => write!(f, "delete Pod/{pod}: {why}"),
            Self::Remove => write!(f, "remove the sentinels"),
        }
    }
}
