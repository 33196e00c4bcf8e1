//! Ownership: by controller reference and UID, never by name alone.
//!
//! A re-created owner has the same name and another UID; what belonged to its predecessor does not belong to it.
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;

use super::{Error, labels, request::full_name};

/// The reference that makes `object` the controller of what carries it.
///
/// `blockOwnerDeletion` is set, so that a foreground deletion of the owner waits for the owned object. Clusters with the
/// admission plugin `OwnerReferencesPermissionEnforcement` ask for `update` on the owner's `finalizers` subresource for that.
///
/// # Errors
/// [`Error::Malformed`] when the object has no name or UID, that is, was not read from the API server.
pub fn controller_reference<K>(object: &K) -> Result<OwnerReference, Error>
where
    K: Resource<DynamicType: Default>,
{
    let kind = K::DynamicType::default();
    let mut reference = object
        .controller_owner_ref(&kind)
        .ok_or_else(|| Error::Malformed {
            kind: K::kind(&kind).into_owned(),
            name: full_name(object.meta()),
            problem: "has no name or no UID and so cannot own anything".to_owned(),
        })?;
    reference.block_owner_deletion = Some(true);
    Ok(reference)
}

/// The controller of an object: at most one owner reference has `controller: true`.
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references
        .iter()
        .flatten()
        .find(|reference| reference.controller == Some(true))
}

/// Whether the object's controller is the one with this UID.
pub fn is_controlled_by<K: Resource>(object: &K, uid: &str) -> bool {
    controller_of(object.meta()).is_some_and(|reference| reference.uid == uid)
}

/// How it is shown that an object is ours, before it is written to or deleted.
#[derive(Debug, Clone, Copy)]
pub enum Proof<'a> {
    /// The object's controller is the one that this reference names, by UID.
    Controller(&'a OwnerReference),
    /// For objects that cannot carry a controller reference (claims that outlive the resource, objects in other
    /// namespaces): exactly this name and all of these labels.
    Labelled {
        /// The name that the object must have.
        name: &'a str,
        /// The labels that it must have; at least one.
        labels: &'a BTreeMap<String, String>,
    },
    /// For objects that a user gives over by name: exactly this name, and nobody controls it.
    GivenOver {
        /// The name that the object must have.
        name: &'a str,
    },
}

impl<'a> From<&'a OwnerReference> for Proof<'a> {
    fn from(reference: &'a OwnerReference) -> Self {
        Self::Controller(reference)
    }
}

impl Proof<'_> {
    /// Whether the object is shown to be ours.
    pub fn holds_for(&self, meta: &ObjectMeta) -> bool {
        match self {
            Self::Controller(owner) => {
                !owner.uid.is_empty()
                    && controller_of(meta).is_some_and(|reference| reference.uid == owner.uid)
            }
            Self::Labelled { name, labels } => {
                !labels.is_empty()
                    && meta.name.as_deref() == Some(*name)
                    && labels::matches(meta.labels.as_ref(), labels)
            }
            Self::GivenOver { name } => {
                meta.name.as_deref() == Some(*name) && controller_of(meta).is_none()
            }
        }
    }
}

/// Who an object belongs to, in words, for the message of a [`Error::NameConflict`].
pub(super) fn describe(meta: &ObjectMeta) -> String {
    if let Some(controller) = controller_of(meta) {
        return format!(
            "{} {} (uid {})",
            controller.kind, controller.name, controller.uid
        );
    }
    match meta
        .labels
        .as_ref()
        .and_then(|labels| labels.get(labels::MANAGED_BY))
    {
        Some(manager) => format!("nobody by reference (managed-by label: {manager})"),
        None => "nobody by reference".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn config_map(name: &str, uid: Option<&str>) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(name.to_owned());
        object.metadata.uid = uid.map(str::to_owned);
        object
    }

    #[test]
    fn only_what_was_read_from_the_server_can_own() {
        let reference = controller_reference(&config_map("a", Some("1"))).expect("it has a UID");
        assert_eq!(reference.api_version, "v1");
        assert_eq!(reference.kind, "ConfigMap");
        assert_eq!(reference.controller, Some(true));
        assert!(controller_reference(&config_map("a", None)).is_err());
    }

    #[test]
    fn a_recreated_owner_owns_nothing() {
        let first = controller_reference(&config_map("a", Some("1"))).expect("it has a UID");
        let second = controller_reference(&config_map("a", Some("2"))).expect("it has a UID");
        let mut child = config_map("child", Some("3"));
        child.metadata.owner_references = Some(vec![first.clone()]);
        assert!(is_controlled_by(&child, "1"));
        assert!(Proof::from(&first).holds_for(&child.metadata));
        assert!(!Proof::from(&second).holds_for(&child.metadata));
        assert_eq!(describe(&child.metadata), "ConfigMap a (uid 1)");
    }

    #[test]
    fn an_owner_that_is_not_the_controller_proves_nothing() {
        let mut reference =
            controller_reference(&config_map("a", Some("1"))).expect("it has a UID");
        let proof = reference.clone();
        reference.controller = None;
        let mut child = config_map("child", Some("3"));
        child.metadata.owner_references = Some(vec![reference]);
        assert!(!Proof::from(&proof).holds_for(&child.metadata));
    }

    #[test]
    fn what_somebody_controls_is_not_given_over() {
        let mut claim = config_map("data-a-0", Some("3"));
        let proof = Proof::GivenOver { name: "data-a-0" };
        assert!(proof.holds_for(&claim.metadata));
        assert!(!Proof::GivenOver { name: "data-a-1" }.holds_for(&claim.metadata));
        let owner = controller_reference(&config_map("a", Some("1"))).expect("it has a UID");
        claim.metadata.owner_references = Some(vec![owner]);
        assert!(!proof.holds_for(&claim.metadata));
    }

    #[test]
    fn labels_prove_only_together_with_the_name() {
        let wanted = BTreeMap::from([("redis.hera.dev/name".to_owned(), "a".to_owned())]);
        let mut claim = config_map("data-a-0", Some("3"));
        let proof = Proof::Labelled {
            name: "data-a-0",
            labels: &wanted,
        };
        assert!(!proof.holds_for(&claim.metadata));
        claim.metadata.labels = Some(wanted.clone());
        assert!(proof.holds_for(&claim.metadata));
        claim.metadata.name = Some("data-a-1".to_owned());
        assert!(!proof.holds_for(&claim.metadata));
        let nothing = BTreeMap::new();
        let empty = Proof::Labelled {
            name: "data-a-1",
            labels: &nothing,
        };
        assert!(!empty.holds_for(&claim.metadata), "no label is no proof");
    }
}
