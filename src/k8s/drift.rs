//! What makes an object on the server other than what is wanted: the digest of what was wanted when it was applied, and the comparison
//! with what is there.

use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::subset::is_subset;

/// Annotation with the digest of the desired object.
pub const DESIRED_HASH: &str = "hera.dev/desired-hash";

/// Fields of `metadata` that belong to the server.
const SERVER_METADATA: [&str; 7] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "uid",
];

pub(super) fn differs(desired: &Value, hash: &str, observed: &Value) -> bool {
    let known = observed
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(DESIRED_HASH))
        .and_then(Value::as_str);
    known != Some(hash) || !is_subset(desired, observed)
}

/// Removes what must not be applied: nulls, status, what the server writes into the metadata, and the digest itself.
pub(super) fn normalized(mut object: Value) -> Value {
    if let Value::Object(map) = &mut object {
        map.remove("status");
        if let Some(Value::Object(metadata)) = map.get_mut("metadata") {
            metadata.retain(|key, _| !SERVER_METADATA.contains(&key.as_str()));
            if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
                annotations.remove(DESIRED_HASH);
            }
        }
    }
    without_nulls(&mut object);
    object
}

/// A null in an apply would claim the field; a field that is not wanted is left out.
pub(super) fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(without_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

/// The first 128 bits of SHA-256 over a canonical text of the object. The values of a Secret are left out (their change is
/// found by comparison): a digest of a short password in an annotation would help to guess it.
pub(super) fn hash(desired: &Value) -> String {
    let secret = desired.get("kind").and_then(Value::as_str) == Some("Secret");
    let mut text = String::new();
    write_canonical(desired, secret, &mut text);
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(16).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// JSON with sorted keys, whatever the map type of the JSON library is compiled to.
fn write_canonical(value: &Value, secret: bool, text: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            text.push('{');
            for (key, value) in entries {
                let _ = write!(text, "{}:", Value::from(key.as_str()));
                match value {
                    Value::Object(values) if secret && (key == "data" || key == "stringData") => {
                        let mut keys: Vec<_> = values.keys().collect();
                        keys.sort();
                        let _ = write!(text, "{keys:?}");
                    }
                    _ => write_canonical(value, false, text),
                }
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(list) => {
            text.push('[');
            for item in list {
                write_canonical(item, false, text);
                text.push(',');
            }
            text.push(']');
        }
        leaf => {
            let _ = write!(text, "{leaf}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// As an apply decides.
    fn needs_apply(desired: &Value, observed: Option<&Value>) -> bool {
        let desired = normalized(desired.clone());
        match observed {
            Some(observed) => differs(&desired, &hash(&desired), observed),
            None => true,
        }
    }

    /// As the server would keep it: what was applied, and more.
    fn stored(desired: &Value) -> Value {
        let mut stored = normalized(desired.clone());
        stored["metadata"]["annotations"][DESIRED_HASH] =
            Value::from(hash(&normalized(desired.clone())));
        stored["metadata"]["annotations"]["other"] = Value::from("x");
        stored["metadata"]["uid"] = Value::from("1");
        stored["metadata"]["resourceVersion"] = Value::from("2");
        stored["status"] = json!({"phase": "Running"});
        stored
    }

    fn desired() -> Value {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "c", "labels": {"a": "b"}, "creationTimestamp": null},
            "data": {"x": "1", "y": "2"}
        })
    }

    #[test]
    fn what_is_there_is_not_applied_again() {
        assert!(needs_apply(&desired(), None));
        assert!(!needs_apply(&desired(), Some(&stored(&desired()))));
    }

    #[test]
    fn what_lacks_the_digest_is_applied() {
        let mut without = stored(&desired());
        without["metadata"]["annotations"] = json!({});
        assert!(needs_apply(&desired(), Some(&without)));
    }

    #[test]
    fn both_what_we_and_what_others_change_is_seen() {
        let mut fewer = desired();
        fewer["data"] = json!({"x": "1"});
        assert!(
            needs_apply(&fewer, Some(&stored(&desired()))),
            "a field that is not wanted any more"
        );
        let mut drifted = stored(&desired());
        drifted["data"]["x"] = Value::from("changed");
        assert!(
            needs_apply(&desired(), Some(&drifted)),
            "a field that someone changed"
        );
        let mut added = stored(&desired());
        added["data"]["z"] = Value::from("theirs");
        assert!(
            !needs_apply(&desired(), Some(&added)),
            "a field of someone else"
        );
    }

    #[test]
    fn what_the_server_owns_is_not_wanted() {
        let mut noisy = desired();
        noisy["status"] = json!({"x": 1});
        noisy["metadata"]["uid"] = Value::from("9");
        noisy["metadata"]["managedFields"] = json!([{}]);
        assert!(!needs_apply(&noisy, Some(&stored(&desired()))));
    }

    #[test]
    fn the_digest_does_not_change_between_releases() {
        // A change here makes every manager write every object once after an upgrade.
        assert_eq!(
            hash(&normalized(desired())),
            "ae277544aa10d7a23d8a36ec377d9692"
        );
    }

    #[test]
    fn the_values_of_a_secret_are_not_in_the_digest_but_its_keys_are() {
        let secret = |data: Value| hash(&json!({"kind": "Secret", "data": data}));
        assert_eq!(secret(json!({"a": "1"})), secret(json!({"a": "2"})));
        assert_ne!(secret(json!({"a": "1"})), secret(json!({"b": "1"})));
        let config = |data: Value| hash(&json!({"kind": "ConfigMap", "data": data}));
        assert_ne!(config(json!({"a": "1"})), config(json!({"a": "2"})));
    }

    fn any_object() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,5}".prop_map(Value::from)
        ];
        let tree = leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::btree_map("[a-e]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        });
        proptest::collection::btree_map("[a-e]", tree, 1..4)
            .prop_map(|spec| json!({"kind": "X", "metadata": {"name": "x"}, "spec": spec}))
    }

    proptest! {
        #[test]
        fn converged_is_converged(object in any_object()) {
            prop_assert!(!needs_apply(&object, Some(&stored(&object))));
        }

        #[test]
        fn every_change_of_what_is_wanted_is_applied(a in any_object(), b in any_object()) {
            prop_assert_eq!(needs_apply(&b, Some(&stored(&a))), a != b);
        }
    }
}
