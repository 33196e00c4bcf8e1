//! Whether an object on the server already has everything that is wanted.
//!
//! The server adds defaults, fields of other managers and status; so the question is never equality, but whether what is
//! wanted is contained in what is there.
use serde_json::Value;

use super::quantity;

/// Lists whose items have a key in the Kubernetes API (`listType: map`): another manager may add items to them, and an apply
/// would leave those. Every other list is compared as a whole.
const KEYED_LISTS: [(&str, &str); 7] = [
    ("ownerReferences", "uid"),
    ("initContainers", "name"),
    ("containers", "name"),
    ("env", "name"),
    ("volumes", "name"),
    ("volumeMounts", "mountPath"),
    ("imagePullSecrets", "name"),
];

/// Fields below which the server rewrites quantities into its own form (`1024Mi` into `1Gi`).
const QUANTITIES: [&str; 5] = ["requests", "limits", "capacity", "sizeLimit", "divisor"];

/// Fields below which texts are the user's, whatever they look like.
const TEXTS: [&str; 5] = ["annotations", "labels", "matchLabels", "data", "stringData"];

/// Whether `observed` contains `desired`. An empty map or list is contained in a missing one, because the server leaves
/// those out.
pub(super) fn is_subset(desired: &Value, observed: &Value) -> bool {
    contains(desired, Some(observed), "", Texts::Exact)
}

#[derive(Clone, Copy, PartialEq)]
enum Texts {
    /// Compared as they are; a quantity may follow further down.
    Exact,
    /// Compared as they are, all the way down.
    Opaque,
    /// Compared as amounts.
    Quantities,
}

impl Texts {
    fn below(self, field: &str) -> Self {
        if self != Self::Exact {
            self
        } else if TEXTS.contains(&field) {
            Self::Opaque
        } else if QUANTITIES.contains(&field) {
            Self::Quantities
        } else {
            Self::Exact
        }
    }
}

fn contains(desired: &Value, observed: Option<&Value>, field: &str, texts: Texts) -> bool {
    match (desired, observed) {
        (Value::Null, _) => true,
        (Value::Object(map), None | Some(Value::Null)) => map.is_empty(),
        (Value::Array(list), None | Some(Value::Null)) => list.is_empty(),
        (Value::Object(desired), Some(Value::Object(observed))) => desired
            .iter()
            .all(|(key, value)| contains(value, observed.get(key), key, texts.below(key))),
        (Value::Array(desired), Some(Value::Array(observed))) => {
            match KEYED_LISTS.iter().find(|(list, _)| *list == field) {
                Some((_, key)) if texts == Texts::Exact => desired.iter().all(|item| {
                    observed
                        .iter()
                        .find(|other| other.get(key) == item.get(key))
                        .is_some_and(|other| contains(item, Some(other), "", texts))
                }),
                _ => {
                    desired.len() == observed.len()
                        && desired
                            .iter()
                            .zip(observed)
                            .all(|(item, other)| contains(item, Some(other), "", texts))
                }
            }
        }
        (Value::String(desired), Some(Value::String(observed))) => {
            desired == observed || texts == Texts::Quantities && quantity::equal(desired, observed)
        }
        (desired, observed) => Some(desired) == observed,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_others_add_does_not_matter() {
        let desired = json!({"spec": {"ports": [{"port": 6379}], "selector": {"a": "b"}}});
        let observed = json!({
            "spec": {"clusterIP": "10.0.0.1", "ports": [{"port": 6379, "protocol": "TCP"}], "selector": {"a": "b"}},
            "status": {}
        });
        assert!(is_subset(&desired, &observed));
        assert!(!is_subset(&observed, &desired));
    }

    #[test]
    fn plain_lists_are_compared_as_a_whole() {
        for (desired, observed, expected) in [
            (json!(["a", "b"]), json!(["a", "b"]), true),
            (json!(["a", "b"]), json!(["b", "a"]), false),
            (json!(["a"]), json!(["a", "b"]), false),
            (json!([]), json!(["a"]), false),
        ] {
            assert_eq!(
                is_subset(&json!({"args": desired}), &json!({"args": observed})),
                expected
            );
        }
    }

    #[test]
    fn keyed_lists_may_hold_items_of_others_in_any_order() {
        let desired =
            json!({"containers": [{"name": "redis", "env": [{"name": "A", "value": "1"}]}]});
        let observed = json!({"containers": [
            {"name": "proxy"},
            {"name": "redis", "env": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]}
        ]});
        assert!(is_subset(&desired, &observed));
        let changed =
            json!({"containers": [{"name": "redis", "env": [{"name": "A", "value": "2"}]}]});
        assert!(!is_subset(&changed, &observed));
        let more = json!({"containers": [{"name": "redis"}, {"name": "exporter"}]});
        assert!(!is_subset(&more, &observed));
    }

    #[test]
    fn quantities_are_compared_as_amounts_only_where_they_are_quantities() {
        let resources = |memory: &str| json!({"resources": {"limits": {"memory": memory}}});
        assert!(is_subset(&resources("1024Mi"), &resources("1Gi")));
        assert!(!is_subset(&resources("1025Mi"), &resources("1Gi")));
        let data = |value: &str| json!({"data": {"limits": value}});
        assert!(!is_subset(&data("1024Mi"), &data("1Gi")));
        let annotations = |value: &str| json!({"metadata": {"annotations": {"requests": value}}});
        assert!(!is_subset(&annotations("1"), &annotations("1000m")));
    }

    #[test]
    fn empty_is_missing_but_false_is_not() {
        assert!(is_subset(&json!({"a": {}, "b": [], "c": null}), &json!({})));
        assert!(!is_subset(&json!({"a": false}), &json!({})));
        assert!(!is_subset(&json!({"a": {"b": {}, "c": 1}}), &json!({})));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            (-3_i64..3).prop_map(Value::from),
            "(1Gi|1024Mi|a|b|)".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::btree_map("(a|b|limits|data|env|name)", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// Adds a field that nobody wants to every map.
    fn with_extras(value: &Value) -> Value {
        match value {
            Value::Object(map) => Value::Object(
                map.iter()
                    .map(|(key, value)| (key.clone(), with_extras(value)))
                    .chain([("extra".to_owned(), Value::from("x"))])
                    .collect(),
            ),
            Value::Array(list) => Value::Array(list.iter().map(with_extras).collect()),
            other => other.clone(),
        }
    }

    /// Whether two values differ otherwise than in `extra` fields and in the writing of a quantity.
    fn leaf_changed(value: &Value) -> Option<Value> {
        match value {
            Value::Object(map) => {
                let (key, changed) = map
                    .iter()
                    .find_map(|(k, v)| leaf_changed(v).map(|c| (k.clone(), c)))?;
                let mut map = map.clone();
                map.insert(key, changed);
                Some(Value::Object(map))
            }
            Value::Array(list) => {
                let (index, changed) = list
                    .iter()
                    .enumerate()
                    .find_map(|(i, v)| leaf_changed(v).map(|c| (i, c)))?;
                let mut list = list.clone();
                list[index] = changed;
                Some(Value::Array(list))
            }
            Value::Null => None,
            _ => Some(Value::from("another value")),
        }
    }

    /// Keyed lists whose items share a key cannot exist on the server.
    fn has_keyed_list(value: &Value) -> bool {
        match value {
            Value::Object(map) => map
                .iter()
                .any(|(key, value)| key == "env" && value.is_array() || has_keyed_list(value)),
            Value::Array(list) => list.iter().any(has_keyed_list),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn contained_in_itself_with_more(value in any_json().prop_filter("keys must be unique", |v| !has_keyed_list(v))) {
            prop_assert!(is_subset(&value, &value));
            prop_assert!(is_subset(&value, &with_extras(&value)));
        }

        #[test]
        fn a_changed_leaf_is_seen(value in any_json().prop_filter("keys must be unique", |v| !has_keyed_list(v))) {
            if let Some(changed) = leaf_changed(&value) {
                prop_assert!(!is_subset(&value, &changed));
            }
        }
    }
}
