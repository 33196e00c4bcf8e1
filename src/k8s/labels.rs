//! Labels of owned objects, after the [recommended labels] of Kubernetes.
//!
//! [recommended labels]: https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/
use std::collections::BTreeMap;

/// Name of the application: what runs, for example `redis`.
pub const NAME: &str = "app.kubernetes.io/name";
/// The instance: the name of the custom resource.
pub const INSTANCE: &str = "app.kubernetes.io/instance";
/// The part within the instance, for example `server` or `sentinel`.
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// The tool that manages the object. Watches select by it.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The larger application that this is a part of.
pub const PART_OF: &str = "app.kubernetes.io/part-of";
/// The value of [`MANAGED_BY`] on everything that Hera owns.
pub const HERA: &str = "hera";
/// The selector of all that Hera owns.
pub const OWNED_SELECTOR: &str = "app.kubernetes.io/managed-by=hera";

/// Whom an object belongs to, in labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity<'a> {
    /// Group of the custom resource, for example `redis.hera.dev`; its label `<group>/name` carries the instance too.
    pub group: &'a str,
    /// What runs, for example `redis` or `valkey`.
    pub name: &'a str,
    /// Name of the custom resource (at most 63 characters, see [`super::names`]).
    pub instance: &'a str,
    /// The part within the instance; empty for what belongs to the instance as a whole.
    pub component: &'a str,
}

impl Identity<'_> {
    /// All labels of an owned object.
    pub fn standard(&self) -> BTreeMap<String, String> {
        let mut labels = self.selector();
        labels.insert(NAME.to_owned(), self.name.to_owned());
        labels.insert(PART_OF.to_owned(), HERA.to_owned());
        labels
    }

    /// The labels that select the pods of this instance and component. Selectors of workloads cannot be changed, so this
    /// holds only what never changes: not [`NAME`], which follows the engine.
    pub fn selector(&self) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::from([
            (INSTANCE.to_owned(), self.instance.to_owned()),
            (MANAGED_BY.to_owned(), HERA.to_owned()),
            (format!("{}/name", self.group), self.instance.to_owned()),
        ]);
        if !self.component.is_empty() {
            labels.insert(COMPONENT.to_owned(), self.component.to_owned());
        }
        labels
    }

    /// [`Identity::selector`] as text, as a list request and `status.selector` of a scale subresource want it.
    pub fn selector_text(&self) -> String {
        self.selector()
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
            .join(",")
    }
}

/// Whether `labels` has every entry of `wanted`.
pub fn matches(
    labels: Option<&BTreeMap<String, String>>,
    wanted: &BTreeMap<String, String>,
) -> bool {
    wanted
        .iter()
        .all(|(key, value)| labels.and_then(|l| l.get(key)) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CACHE: Identity<'_> = Identity {
        group: "redis.hera.dev",
        name: "redis",
        instance: "cache",
        component: "server",
    };

    #[test]
    fn the_selector_is_a_part_of_the_labels() {
        assert!(matches(Some(&CACHE.standard()), &CACHE.selector()));
        assert!(!matches(Some(&CACHE.selector()), &CACHE.standard()));
        assert!(!matches(None, &CACHE.selector()));
        assert!(matches(None, &BTreeMap::new()));
    }

    #[test]
    fn the_engine_is_not_in_the_selector() {
        let valkey = Identity {
            name: "valkey",
            ..CACHE
        };
        assert_eq!(valkey.selector(), CACHE.selector());
        assert_ne!(valkey.standard(), CACHE.standard());
    }

    #[test]
    fn the_selector_as_text() {
        assert_eq!(
            CACHE.selector_text(),
            "app.kubernetes.io/component=server,app.kubernetes.io/instance=cache,app.kubernetes.io/managed-by=hera,redis.hera.dev/name=cache"
        );
        let whole = Identity {
            component: "",
            ..CACHE
        };
        assert!(!whole.standard().contains_key(COMPONENT));
        assert_eq!(whole.standard()[MANAGED_BY], HERA);
        assert_eq!(whole.standard()["redis.hera.dev/name"], "cache");
    }
}
