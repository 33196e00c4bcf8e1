//! What can go wrong with a call to the Kubernetes API, with one reason for each.
use std::time::Duration;

use thiserror::Error;

/// A failed effect on the Kubernetes API.
///
/// Each variant has one [`Error::reason`], which serves as the reason of the condition and of the event and as the label of
/// the metric.
#[derive(Debug, Error)]
pub enum Error {
    /// The server answered with an error that no other variant names, or did not answer.
    #[error("{verb} {kind} {name}: {source}")]
    Api {
        /// The verb of the request (`get`, `patch`, `create`, `delete`).
        verb: &'static str,
        /// Kind of the object.
        kind: String,
        /// Name of the object, with its namespace in front when it has one.
        name: String,
        /// What the client says.
        source: Box<kube::Error>,
    },
    /// No answer within the time limit. The request may or may not have been carried out.
    #[error("{verb} {kind} {name}: no answer within {after:?}")]
    Timeout {
        /// The verb of the request.
        verb: &'static str,
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// How long the call waited.
        after: Duration,
    },
    /// The object is not the one that the decision was made on: another UID, another resourceVersion, or a field that
    /// another manager holds. Observe again and decide anew.
    #[error("{kind} {name} changed since it was read: {message}")]
    Conflict {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// The server's explanation.
        message: String,
    },
    /// The object does not exist (or its namespace or kind does not).
    #[error("{kind} {name} is not found: {message}")]
    NotFound {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// The server's explanation.
        message: String,
    },
    /// An object with the wanted name exists and belongs to someone else. Nothing was written.
    #[error(
        "{kind} {name} exists and belongs to {owner}, not to this resource; rename or remove one of the two"
    )]
    NameConflict {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// Who the object belongs to, in words.
        owner: String,
    },
    /// The server refused the object as invalid.
    #[error("the API server refuses {kind} {name}: {message}")]
    Invalid {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// The server's explanation, which names the fields.
        message: String,
    },
    /// The service account lacks a permission, or a quota or an admission rule forbids the request.
    #[error("{verb} {kind} {name} is forbidden: {message}")]
    Forbidden {
        /// The verb of the request.
        verb: &'static str,
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// The server's explanation.
        message: String,
    },
    /// The object lacks what a write needs: a name, a UID, an owner. A programming error, not a state of the cluster.
    #[error("{kind} {name}: {problem}")]
    Malformed {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// What is missing.
        problem: String,
    },
    /// An object could not be turned into JSON or back.
    #[error("{kind} {name} cannot be converted: {source}")]
    Json {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// What serde says.
        source: serde_json::Error,
    },
    /// Several calls of one group failed.
    #[error("{}", join(.0))]
    Several(Vec<Error>),
}

impl Error {
    /// The reason as it stands in conditions, events and metrics: CamelCase and one of a fixed set.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Api { .. } => "ApiError",
            Self::Timeout { .. } => "ApiTimeout",
            Self::Conflict { .. } => "Conflict",
            Self::NotFound { .. } => "NotFound",
            Self::NameConflict { .. } => "NameConflict",
            Self::Invalid { .. } => "RefusedByServer",
            Self::Forbidden { .. } => "Forbidden",
            Self::Malformed { .. } => "MalformedObject",
            Self::Json { .. } => "ConversionFailed",
            Self::Several(errors) => errors
                .iter()
                .min_by_key(|e| e.urgency())
                .map_or("ApiError", Error::reason),
        }
    }

    /// Whether the object changed since it was read, so that the decision has to be made anew.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. })
    }

    /// Whether the object does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// What a person has to repair comes before what heals by itself.
    fn urgency(&self) -> u8 {
        match self {
            Self::NameConflict { .. } => 0,
            Self::Invalid { .. } => 1,
            Self::Forbidden { .. } => 2,
            Self::Malformed { .. } | Self::Json { .. } => 3,
            Self::Api { .. } | Self::Several(_) => 4,
            Self::Timeout { .. } => 5,
            Self::NotFound { .. } => 6,
            Self::Conflict { .. } => 7,
        }
    }

    /// One error out of those of a group; `None` when there are none.
    pub(crate) fn of_group(mut errors: Vec<Error>) -> Option<Error> {
        match errors.len() {
            0 | 1 => errors.pop(),
            _ => {
                errors.sort_by_key(Error::urgency);
                Some(Error::Several(errors))
            }
        }
    }
}

fn join(errors: &[Error]) -> String {
    errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conflict() -> Error {
        Error::Conflict {
            kind: "Service".into(),
            name: "a/b".into(),
            message: "the object has been modified".into(),
        }
    }

    fn name_conflict() -> Error {
        Error::NameConflict {
            kind: "Service".into(),
            name: "a/b".into(),
            owner: "Redis other".into(),
        }
    }

    #[test]
    fn the_error_that_a_person_must_repair_gives_the_reason_of_the_group() {
        let group = Error::of_group(vec![conflict(), name_conflict()]);
        let group = group.expect("two errors make a group");
        assert_eq!(group.reason(), "NameConflict");
        assert!(
            group
                .to_string()
                .starts_with("Service a/b exists and belongs to Redis other")
        );
    }

    #[test]
    fn a_group_of_one_is_that_error() {
        assert!(Error::of_group(vec![]).is_none());
        assert_eq!(
            Error::of_group(vec![conflict()]).map(|e| e.reason()),
            Some("Conflict")
        );
    }
}
