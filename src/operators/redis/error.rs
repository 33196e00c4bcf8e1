//! What can go wrong in a reconcile of a `Redis`.

use super::build::PatchError;
use super::reasons;
use crate::k8s;
use crate::manager::controller::{ReconcileError, Retry};

/// Why a reconcile failed. A spec that validation refuses is not among these: it is a condition.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Kubernetes API refused, or an object is someone else's.
    #[error(transparent)]
    Kubernetes(#[from] k8s::Error),
    /// The spec does not give a valid pod template.
    #[error(transparent)]
    Template(#[from] PatchError),
}

impl Error {
    /// The object changed since it was read: nothing is wrong, the decision is made anew.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Kubernetes(error) if error.is_conflict() || error.is_not_found())
    }

    /// The reason for the condition.
    pub fn condition_reason(&self) -> &'static str {
        match self {
            Self::Kubernetes(k8s::Error::NameConflict { .. }) => reasons::NameConflict,
            Self::Kubernetes(_) => reasons::ApiError,
            Self::Template(_) => reasons::InvalidSpec,
        }
    }
}

impl ReconcileError for Error {
    fn reason(&self) -> &'static str {
        match self {
            Self::Kubernetes(error) => error.reason(),
            Self::Template(_) => reasons::InvalidSpec,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Kubernetes(_) => Retry::Backoff,
            Self::Template(_) => Retry::OnChange,
        }
    }
}
