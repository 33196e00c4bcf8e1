//! What is to be done, and how things stand.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{BootstrapStep, ClusterStep, Problem, SentinelStep};
use crate::operators::redis::api::{Election, Surge, UserStatus};

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
    /// Set users of clients on a server.
    SetUsers {
        /// Pod.
        pod: String,
        /// Names of the users.
        users: Vec<String>,
    },
    /// Remove users that Hera made and the spec does not name any more.
    RemoveUsers {
        /// Pod.
        pod: String,
        /// Names of the users.
        users: Vec<String>,
    },
    /// Make a server read its certificate again.
    ReloadCertificate {
        /// Pod.
        pod: String,
    },
    /// Make servers accept plaintext, or refuse it, as [`super::ValidTls`] says, and their own connections with it. Several at once only
    /// in mode Cluster.
    Listen {
        /// Pods.
        pods: Vec<String>,
        /// They accept it.
        plaintext: bool,
    },
    /// Let a claim go with the `Redis`, or stay.
    OwnClaim {
        /// Claim.
        claim: String,
        /// It goes with the `Redis`.
        owned: bool,
    },
    /// Note on a claim that its pod is the primary.
    MarkClaim {
        /// Claim.
        claim: String,
        /// Since when, and by which decision.
        since: String,
    },
    /// Take a claim of other origin over, by its labels.
    AdoptClaim {
        /// Claim.
        claim: String,
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
    /// A step on the nodes of a cluster.
    Cluster(ClusterStep),
    /// A step of copying an external server.
    Bootstrap(BootstrapStep),
    /// A step on sentinels.
    Sentinel(SentinelStep),
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
    /// The temporary replica that is wanted from now on.
    pub surge: Option<Surge>,
    /// When to look again.
    pub requeue: Option<Duration>,
    /// Findings for the conditions.
    pub findings: Findings,
    /// How the users of `spec.auth.users` stand.
    pub users: Vec<UserStatus>,
    /// Sentinels that watch the primary and see everybody.
    pub sentinels: usize,
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
    /// How far the copy of an external server is.
    pub bootstrap: Option<Problem>,
    /// What is in progress.
    pub progress: Option<Problem>,
    /// What would lose data.
    pub risk: Option<Problem>,
    /// What is wrong with the configuration.
    pub config: Option<Problem>,
    /// What is wrong with the users of clients.
    pub users: Vec<Problem>,
    /// What is wrong with the certificate.
    pub tls: Option<Problem>,
    /// What is wrong with the storage.
    pub storage: Option<Problem>,
    /// Which volumes are nearly full: a warning.
    pub volumes: Option<Problem>,
    /// Which servers have nearly no memory left: a warning.
    pub memory: Option<Problem>,
    /// What keeps clients outside of the Kubernetes cluster from reaching the pods.
    pub external: Option<Problem>,
    /// What is wrong with the distribution of slots.
    pub slots: Option<Problem>,
    /// What is wrong with the sentinels.
    pub sentinels: Option<Problem>,
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
            Self::SetUsers { pod, users } => {
                write!(f, "set the users {} on Pod/{pod}", users.join(", "))
            }
            Self::RemoveUsers { pod, users } => {
                write!(f, "remove the users {} from Pod/{pod}", users.join(", "))
            }
            Self::ReloadCertificate { pod } => {
                write!(f, "make Pod/{pod} read its certificate again")
            }
            Self::Listen { pods, plaintext } => {
                let what = if *plaintext { "accept" } else { "refuse" };
                write!(f, "make {} {what} plaintext", pods.join(", "))
            }
            Self::OwnClaim { claim, owned: true } => write!(
                f,
                "let PersistentVolumeClaim/{claim} be deleted with the Redis"
            ),
            Self::OwnClaim {
                claim,
                owned: false,
            } => write!(f, "let PersistentVolumeClaim/{claim} outlive the Redis"),
            Self::MarkClaim { claim, .. } => write!(
                f,
                "note on PersistentVolumeClaim/{claim} that it is the primary's"
            ),
            Self::AdoptClaim { claim } => {
                write!(f, "take PersistentVolumeClaim/{claim} over")
            }
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
            Self::Cluster(step) => step.fmt(f),
            Self::Bootstrap(step) => step.fmt(f),
            Self::Sentinel(step) => step.fmt(f),
        }
    }
}
