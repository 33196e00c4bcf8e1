//! Writing the status subresource: once in each pass, and only when it says something new.
use kube::{Client, Resource};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Error, drift::without_nulls, request::Target};

/// Times that move without anything else changing; a status that differs only in them is not written.
const TIMES: [&str; 1] = ["lastTransitionTime"];

/// Writes `status` to the status subresource of `object` by server-side apply, so that fields that are gone from it are
/// removed. `Ok(None)` when it equals `observed` without its transition times: nothing is sent then.
///
/// The request names the UID and the resourceVersion of `object`: a status that was computed from an outdated object is
/// refused, which is also what makes a decision in the status safe between two managers.
///
/// # Errors
/// [`Error::Conflict`] when the object changed or was re-created since; [`Error::NotFound`] when it is gone.
pub async fn write<K, S>(
    client: &Client,
    manager: &str,
    object: &K,
    status: &S,
    observed: Option<&S>,
) -> Result<Option<K>, Error>
where
    K: Resource<DynamicType: Default> + DeserializeOwned,
    S: Serialize,
{
    let target = Target::of(object)?;
    let meta = object.meta();
    let (Some(uid), Some(resource_version)) = (&meta.uid, &meta.resource_version) else {
        return Err(target
            .malformed("was not read from the API server, so that its status cannot be written"));
    };
    let mut status = target.to_json(status)?;
    without_nulls(&mut status);
    if let Some(observed) = observed {
        let mut observed = target.to_json(observed)?;
        without_nulls(&mut observed);
        if equal_without_times(&status, &observed) {
            return Ok(None);
        }
    }
    let body = json!({
        "apiVersion": target.api_version,
        "kind": target.kind,
        "metadata": {
            "name": target.name,
            "namespace": target.namespace,
            "uid": uid,
            "resourceVersion": resource_version,
        },
        "status": status,
    });
    let mut body = body;
    without_nulls(&mut body);
    let written = target
        .apply(client, manager, true, Some("status"), &body)
        .await?;
    target.parse(written).map(Some)
}

/// Whether two statuses say the same, whenever it began. Pure.
pub fn equal_without_times(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let says = |key: &&String| !TIMES.contains(&key.as_str());
            a.keys().filter(says).count() == b.keys().filter(says).count()
                && a.iter().filter(|(key, _)| says(key)).all(|(key, value)| {
                    b.get(key)
                        .is_some_and(|other| equal_without_times(value, other))
                })
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal_without_times(a, b))
        }
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_transition_times_do_not_count() {
        let status = |time: &str, reason: &str| json!({"phase": "Ready", "conditions": [{"type": "Ready", "reason": reason, "lastTransitionTime": time}]});
        assert!(equal_without_times(&status("1", "A"), &status("2", "A")));
        assert!(!equal_without_times(&status("1", "A"), &status("1", "B")));
        assert!(!equal_without_times(
            &json!({"a": 1}),
            &json!({"a": 1, "b": 2})
        ));
        assert!(!equal_without_times(
            &json!({"a": 1, "b": 2}),
            &json!({"a": 1})
        ));
        assert!(!equal_without_times(&json!({"a": 1}), &json!({"b": 1})));
        assert!(equal_without_times(
            &json!({"a": 1, "lastTransitionTime": 1}),
            &json!({"a": 1})
        ));
        assert!(!equal_without_times(&json!([1, 2]), &json!([1])));
    }
}
