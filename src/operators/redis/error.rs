//! What can go wrong in a reconcile of a `Redis`.

use super::reasons;
use crate::k8s;
use crate::manager::controller::{ReconcileError, Retry};

/// Why a reconcile failed. A spec that cannot be used is not among these: it is a condition.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Kubernetes API refused, or an object is someone else's.
    #[error(transparent)]
    Kubernetes(#[from] k8s::Error),
}

impl Error {
    /// The object changed since it was read: nothing is wrong, the decision is made anew.
    pub fn is_conflict(&self) -> bool {
        let Self::Kubernetes(error) = self;
        error.is_conflict() || error.is_not_found()
    }

    /// The reason for the condition.
    pub fn condition_reason(&self) -> &'static str {
        match self {
            Self::Kubernetes(k8s::Error::NameConflict { .. }) => reasons::NameConflict,
            Self::Kubernetes(_) => reasons::ApiError,
        }
    }
}

impl ReconcileError for Error {
    fn reason(&self) -> &'static str {
        let Self::Kubernetes(error) = self;
        error.reason()
    }

    fn retry(&self) -> Retry {
        Retry::Backoff
    }
}
