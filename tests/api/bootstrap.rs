//! Sources of the first data that are refused.

use serde_json::{Value, json};

/// A spec that copies a server, which is good but for this.
fn external(over: Value) -> Value {
    let mut external = json!({"host": "old.shop.svc"});
    if let (Some(external), Value::Object(over)) = (external.as_object_mut(), over) {
        external.extend(over);
    }
    json!({"bootstrap": {"external": external}})
}

/// Specs with a source that is refused, and the field that the message names.
pub fn bad_bootstrap() -> Vec<(Value, &'static str)> {
    let of_mode = |mode: &str| {
        let mut spec = external(json!({}));
        spec["mode"] = json!(mode);
        spec
    };
    vec![
        (of_mode("Cluster"), "spec.bootstrap"),
        (of_mode("Sentinel"), "spec.bootstrap"),
        (
            external(json!({"host": ""})),
            "spec.bootstrap.external.host",
        ),
        (
            external(json!({"host": "old 6379"})),
            "spec.bootstrap.external.host",
        ),
        (
            external(json!({"host": "old\nslaveof x"})),
            "spec.bootstrap.external.host",
        ),
        (
            external(json!({"host": "-old"})),
            "spec.bootstrap.external.host",
        ),
        (external(json!({"port": 0})), "spec.bootstrap.external.port"),
        (
            external(json!({"port": 65536})),
            "spec.bootstrap.external.port",
        ),
        (
            external(json!({"username": "a b"})),
            "spec.bootstrap.external.username",
        ),
        (
            external(json!({"username": ""})),
            "spec.bootstrap.external.username",
        ),
        (
            external(json!({"passwordSecretRef": {"name": "", "key": "k"}})),
            "spec.bootstrap.external.passwordSecretRef.name",
        ),
        (
            external(json!({"passwordSecretRef": {"name": "s", "key": ""}})),
            "spec.bootstrap.external.passwordSecretRef.key",
        ),
        (
            external(json!({"tls": true})),
            "spec.bootstrap.external.tls",
        ),
    ]
}
