//! Names of owned objects: deterministic, and short enough for everything that Kubernetes derives from them.
use thiserror::Error;

/// The longest label value, Service name, or pod host name (RFC 1123 label).
pub const LABEL: usize = 63;
/// The longest name of a StatefulSet whose pods can be created: the pods carry the label `controller-revision-hash` with the
/// value `<name>-<hash of up to 10 characters>`, which has to fit into [`LABEL`].
pub const STATEFUL_SET: usize = 52;
/// The longest name of a CronJob: its Jobs get 11 more characters.
pub const CRON_JOB: usize = 52;
/// The longest name of most other objects (RFC 1123 subdomain), such as ConfigMaps and Secrets.
pub const SUBDOMAIN: usize = 253;

/// A name that Kubernetes would refuse, or that would be refused for something derived from it.
#[derive(Debug, Error, PartialEq, Eq, Clone)]
pub enum NameError {
    /// Too long.
    #[error(
        "the name {name:?} has {length} characters, {max} are allowed; choose a shorter metadata.name"
    )]
    TooLong {
        /// The name.
        name: String,
        /// Its length in characters.
        length: usize,
        /// How many are allowed.
        max: usize,
    },
    /// Not made of lower case letters, digits and `-`, or with a wrong first or last character.
    #[error(
        "the name {name:?} must consist of lower case letters, digits and '-', start with a letter and end with a letter or digit"
    )]
    Characters {
        /// The name.
        name: String,
    },
}

/// The name `<owner>-<suffix>` (or `owner` alone when the suffix is empty) of an object that belongs to `owner`.
///
/// # Errors
/// When the name is longer than `max` or is no RFC 1035 label (which every kind of object accepts, a Service included).
pub fn child(owner: &str, suffix: &str, max: usize) -> Result<String, NameError> {
    let name = if suffix.is_empty() {
        owner.to_owned()
    } else {
        format!("{owner}-{suffix}")
    };
    check(&name, max)?;
    Ok(name)
}

/// Checks a name: an RFC 1035 label of at most `max` characters.
///
/// # Errors
/// See [`NameError`].
pub fn check(name: &str, max: usize) -> Result<(), NameError> {
    let length = name.chars().count();
    if length > max {
        return Err(NameError::TooLong {
            name: name.to_owned(),
            length,
            max,
        });
    }
    let bytes = name.as_bytes();
    let inner = bytes
        .iter()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
    let first = bytes.first().is_some_and(u8::is_ascii_lowercase);
    let last = bytes.last().is_some_and(|b| *b != b'-');
    if inner && first && last {
        Ok(())
    } else {
        Err(NameError::Characters {
            name: name.to_owned(),
        })
    }
}

/// The name of pod number `ordinal` of a StatefulSet.
pub fn pod(stateful_set: &str, ordinal: u32) -> String {
    format!("{stateful_set}-{ordinal}")
}

/// The number of a StatefulSet's pod; `None` when the pod's name is not one of that StatefulSet.
pub fn ordinal(stateful_set: &str, pod: &str) -> Option<u32> {
    let digits = pod.strip_prefix(stateful_set)?.strip_prefix('-')?;
    let canonical = digits == "0" || !digits.starts_with('0');
    if canonical && digits.bytes().all(|b| b.is_ascii_digit()) {
        digits.parse().ok()
    } else {
        None
    }
}

/// The name of the PersistentVolumeClaim that a StatefulSet makes from a claim template for one pod.
pub fn claim(template: &str, stateful_set: &str, ordinal: u32) -> String {
    format!("{template}-{stateful_set}-{ordinal}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn children_are_checked() {
        assert_eq!(
            child("cache", "primary", LABEL),
            Ok("cache-primary".to_owned())
        );
        assert_eq!(child("cache", "", STATEFUL_SET), Ok("cache".to_owned()));
        let long = "a".repeat(STATEFUL_SET);
        assert!(child(&long, "", STATEFUL_SET).is_ok());
        assert_eq!(
            child(&long, "x", STATEFUL_SET),
            Err(NameError::TooLong {
                name: format!("{long}-x"),
                length: 54,
                max: 52
            })
        );
    }

    #[test]
    fn characters_are_checked() {
        for name in ["", "-a", "a-", "1a", "A", "a.b", "a_b", "ä", "a b"] {
            assert!(check(name, LABEL).is_err(), "{name}");
        }
        for name in ["a", "a1", "a-1", "a--b"] {
            assert!(check(name, LABEL).is_ok(), "{name}");
        }
    }

    #[test]
    fn ordinals_of_other_sets_are_not_taken() {
        assert_eq!(ordinal("cache", "cache-0"), Some(0));
        assert_eq!(ordinal("cache", "cache-12"), Some(12));
        for other in [
            "cache-x-0",
            "cache",
            "cache-",
            "cache-01",
            "cache-+1",
            "other-0",
            "cache-99999999999",
        ] {
            assert_eq!(ordinal("cache", other), None, "{other}");
        }
        assert_eq!(claim("data", "cache", 2), "data-cache-2");
    }

    proptest! {
        #[test]
        fn pod_names_lead_back(set in "[a-z][a-z0-9-]{0,20}", n in any::<u32>()) {
            prop_assert_eq!(ordinal(&set, &pod(&set, n)), Some(n));
        }

        #[test]
        fn what_is_accepted_fits(owner in "\\PC{0,70}", suffix in "[a-z0-9-]{0,20}", max in 1_usize..70) {
            if let Ok(name) = child(&owner, &suffix, max) {
                prop_assert!(name.len() <= max);
                prop_assert!(name.is_ascii());
            }
        }
    }
}
