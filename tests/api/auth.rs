//! Users and passwords that are refused.

use serde_json::{Value, json};

/// A spec with one user, which is good but for this.
fn user(over: Value) -> Value {
    let mut user = json!({"name": "app", "rules": "~app:* +@read"});
    if let (Some(user), Value::Object(over)) = (user.as_object_mut(), over) {
        user.extend(over);
    }
    json!({"auth": {"users": [user]}})
}

/// Specs with users or passwords that are refused, and the field that the message names.
pub fn bad_auth() -> Vec<(Value, &'static str)> {
    vec![
        (
            json!({"auth": {"passwordSecretRefs": [{"name": "s", "key": ""}]}}),
            "spec.auth.passwordSecretRefs",
        ),
        (
            json!({"auth": {"passwordSecretRef": {"name": "s", "key": "k"}, "passwordSecretRefs": [{"name": "s", "key": "k"}]}}),
            "spec.auth.passwordSecretRefs",
        ),
        (
            json!({"auth": {"passwordSecretRefs": vec![json!({"name": "s", "key": "k"}); 5]}}),
            "spec.auth.passwordSecretRefs",
        ),
        (user(json!({"name": "App"})), "spec.auth.users"),
        (user(json!({"name": "a b"})), "spec.auth.users"),
        (user(json!({"name": "default"})), "spec.auth.users"),
        (user(json!({"name": "hera-two"})), "spec.auth.users"),
        (
            user(json!({"rules": "~* +get\nuser x on nopass +@all"})),
            "spec.auth.users",
        ),
        (user(json!({"rules": "x".repeat(1025)})), "spec.auth.users"),
        (user(json!({"rules": "+get >secret"})), "spec.auth.users"),
        (user(json!({"rules": "<secret +get"})), "spec.auth.users"),
        (user(json!({"rules": "#abc"})), "spec.auth.users"),
        (user(json!({"rules": "~* !abc"})), "spec.auth.users"),
        (user(json!({"rules": "+get NoPass"})), "spec.auth.users"),
        (user(json!({"rules": "~*  off"})), "spec.auth.users"),
        (user(json!({"rules": "reset +get"})), "spec.auth.users"),
        (
            user(json!({"passwordSecretRefs": [{"name": "", "key": "k"}]})),
            "spec.auth.users",
        ),
        (
            json!({"auth": {"users": [{"name": "a", "rules": ""}, {"name": "a", "rules": ""}]}}),
            "spec.auth.users",
        ),
    ]
}
