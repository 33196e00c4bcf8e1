//! The merge of `spec.podTemplate` over the template that Hera builds.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Map, Value};

/// `spec.podTemplate` does not give a pod template.
#[derive(Debug, thiserror::Error)]
#[error("spec.podTemplate: merged over the template it is not a valid pod template: {0}")]
pub struct PatchError(#[from] serde_json::Error);

/// Merges the patch over the template.
pub fn apply(
    template: &PodTemplateSpec,
    patch: &Map<String, Value>,
) -> Result<PodTemplateSpec, PatchError> {
    let mut merged = serde_json::to_value(template)?;
    merge(&mut merged, &Value::Object(patch.clone()));
    Ok(serde_json::from_value(merged)?)
}

/// Objects are merged by key, and `null` removes; lists of objects that all have a `name` are merged by it; all else is replaced.
pub fn merge(base: &mut Value, patch: &Value) {
    match (base, patch) {
        (Value::Object(base), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    base.remove(key);
                } else {
                    merge(base.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (Value::Array(base), Value::Array(patch))
            if named(base) && named(patch) && !patch.is_empty() =>
        {
            for item in patch {
                match base.iter_mut().find(|b| b["name"] == item["name"]) {
                    Some(found) => merge(found, item),
                    None => base.push(item.clone()),
                }
            }
        }
        (base, patch) => *base = patch.clone(),
    }
}

fn named(list: &[Value]) -> bool {
    list.iter()
        .all(|item| item.get("name").is_some_and(Value::is_string))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_of_named_things_are_merged_and_the_rest_is_replaced() {
        let mut base =
            json!({"a": 1, "gone": 2, "c": [{"name": "x", "k": 1, "l": [1, 2]}, {"name": "y"}]});
        merge(
            &mut base,
            &json!({"gone": null, "c": [{"name": "x", "l": [3]}, {"name": "z"}], "new": {"n": true}}),
        );
        assert_eq!(
            base,
            json!({"a": 1, "c": [{"name": "x", "k": 1, "l": [3]}, {"name": "y"}, {"name": "z"}], "new": {"n": true}})
        );
    }
}
