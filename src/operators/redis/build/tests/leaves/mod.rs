//! For each leaf of the spec another valid value.

mod observability;
mod services;

use serde_json::{Value, json};

/// A spec that uses much, so that there is something to change.
pub fn base() -> Value {
    json!({
        "mode": "Replication", "replicas": 4, "version": "8.0", "storage": {"size": "1Gi", "storageClassName": "slow"},
        "resources": {"limits": {"memory": "1Gi", "cpu": "1"}, "requests": {"memory": "1Gi"}},
        "memory": {"maxMemoryPercent": 75, "policy": "noeviction"}, "auth": {"passwordSecretRef": {"name": "s", "key": "k"}, "users": [{"name": "app", "rules": "+get", "passwordSecretRefs": [{"name": "s", "key": "k"}]}]},
        "services": {"primary": {"type": "LoadBalancer"}, "replicas": {"type": "LoadBalancer"}, "external": {"type": "LoadBalancer"}},
        "tls": {"secretName": "certificate", "clientAuth": "Off"},
        "bootstrap": {"external": {"host": "old", "passwordSecretRef": {"name": "s", "key": "k"}}},
        "monitoring": {"exporter": {}, "podMonitor": {}, "rules": {}},
        "networkPolicy": {"clients": [{"ipBlock": {"cidr": "10.0.0.0/8"}}, {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["c"]}]}}]},
        "update": {"window": {"days": ["Monday"], "start": "02:00", "durationMinutes": 60, "timeZone": "UTC"}},
    })
}

/// Patches of [`base`].
pub fn changes() -> Vec<(&'static str, Value)> {
    [
        data(),
        bootstrap(),
        auth(),
        operation(),
        services::changes(),
        sentinels(),
        observability::changes(),
    ]
    .concat()
}

/// Where the first data comes from.
fn bootstrap() -> Vec<(&'static str, Value)> {
    let external = |patch: Value| json!({"bootstrap": {"external": patch}});
    vec![
        ("bootstrap.cutOver", json!({"bootstrap": {"cutOver": true}})),
        (
            "bootstrap.external.host",
            external(json!({"host": "other"})),
        ),
        ("bootstrap.external.port", external(json!({"port": 6380}))),
        (
            "bootstrap.external.username",
            external(json!({"username": "u"})),
        ),
        (
            "bootstrap.external.passwordSecretRef.name",
            external(json!({"passwordSecretRef": {"name": "other"}})),
        ),
        (
            "bootstrap.external.passwordSecretRef.key",
            external(json!({"passwordSecretRef": {"key": "other"}})),
        ),
        ("bootstrap.external.tls", external(json!({"tls": true}))),
    ]
}

/// The sentinels, each over [`base`] in mode Sentinel.
pub fn sentinels() -> Vec<(&'static str, Value)> {
    let over = |value: Value| json!({"mode": "Sentinel", "bootstrap": null, "sentinel": value});
    vec![
        ("sentinel.replicas", over(json!({"replicas": 5}))),
        ("sentinel.quorum", over(json!({"quorum": 3}))),
        ("sentinel.downAfter", over(json!({"downAfter": "1500ms"}))),
        (
            "sentinel.failoverTimeout",
            over(json!({"failoverTimeout": "2m"})),
        ),
        (
            "sentinel.resources.limits",
            over(json!({"resources": {"limits": {"memory": "64Mi"}}})),
        ),
        (
            "sentinel.resources.requests",
            over(json!({"resources": {"requests": {"memory": "64Mi"}}})),
        ),
        (
            "sentinel.resources.claims.name",
            over(json!({"resources": {"claims": [{"name": "gpu"}]}})),
        ),
        (
            "sentinel.resources.claims.request",
            over(json!({"resources": {"claims": [{"name": "gpu", "request": "one"}]}})),
        ),
        (
            "sentinel.podTemplate",
            over(json!({"podTemplate": {"spec": {"priorityClassName": "high"}}})),
        ),
    ]
}

/// The server, its memory and its data.
fn data() -> Vec<(&'static str, Value)> {
    vec![
        ("engine", json!({"engine": "Valkey"})),
        ("version", json!({"version": "8.2"})),
        ("image", json!({"image": "example.org/redis:1"})),
        ("mode", json!({"mode": "Standalone", "replicas": 1})),
        ("replicas", json!({"replicas": 5})),
        (
            "shards",
            json!({"mode": "Cluster", "replicas": null, "bootstrap": null, "shards": 4}),
        ),
        (
            "replicasPerShard",
            json!({"mode": "Cluster", "replicas": null, "bootstrap": null, "replicasPerShard": 2}),
        ),
        (
            "resources.limits",
            json!({"resources": {"limits": {"memory": "2Gi"}}}),
        ),
        (
            "resources.requests",
            json!({"resources": {"requests": {"memory": "512Mi"}}}),
        ),
        (
            "resources.claims.name",
            json!({"resources": {"claims": [{"name": "gpu"}]}}),
        ),
        (
            "resources.claims.request",
            json!({"resources": {"claims": [{"name": "gpu", "request": "one"}]}}),
        ),
        (
            "memory.maxMemoryPercent",
            json!({"memory": {"maxMemoryPercent": 50}}),
        ),
        (
            "memory.policy",
            json!({"memory": {"policy": "allkeys-lru"}}),
        ),
        ("config", json!({"config": {"timeout": "30"}})),
        ("storage.size", json!({"storage": {"size": "2Gi"}})),
        (
            "storage.storageClassName",
            json!({"storage": {"storageClassName": "fast"}}),
        ),
        (
            "storage.claimTemplate",
            json!({"storage": {"claimTemplate": "other"}}),
        ),
        (
            "storage.existingClaims",
            json!({"storage": {"existingClaims": ["data-db-0"]}}),
        ),
        (
            "storage.whenDeleted",
            json!({"storage": {"whenDeleted": "Delete"}}),
        ),
        (
            "storage.whenScaled",
            json!({"storage": {"whenScaled": "Delete"}}),
        ),
    ]
}

/// Who may log in.
fn auth() -> Vec<(&'static str, Value)> {
    vec![
        (
            "auth.passwordSecretRef.name",
            json!({"auth": {"passwordSecretRef": {"name": "other"}}}),
        ),
        (
            "auth.passwordSecretRef.key",
            json!({"auth": {"passwordSecretRef": {"key": "other"}}}),
        ),
        (
            "auth.passwordSecretRefs.name",
            json!({"auth": {"passwordSecretRef": null, "passwordSecretRefs": [{"name": "other", "key": "k"}]}}),
        ),
        (
            "auth.passwordSecretRefs.key",
            json!({"auth": {"passwordSecretRef": null, "passwordSecretRefs": [{"name": "s", "key": "other"}]}}),
        ),
        (
            "auth.defaultUser",
            json!({"auth": {"defaultUser": "Disabled"}}),
        ),
        (
            "auth.users.name",
            json!({"auth": {"users": [{"name": "other", "rules": "+get"}]}}),
        ),
        (
            "auth.users.rules",
            json!({"auth": {"users": [{"name": "app", "rules": "+set"}]}}),
        ),
        (
            "auth.users.enabled",
            json!({"auth": {"users": [{"name": "app", "enabled": false}]}}),
        ),
        (
            "auth.users.passwordSecretRefs.name",
            json!({"auth": {"users": [{"name": "app", "passwordSecretRefs": [{"name": "other", "key": "k"}]}]}}),
        ),
        (
            "auth.users.passwordSecretRefs.key",
            json!({"auth": {"users": [{"name": "app", "passwordSecretRefs": [{"name": "s", "key": "other"}]}]}}),
        ),
    ]
}

/// How it is reached encrypted, when things happen, and what Hera has no field for.
fn operation() -> Vec<(&'static str, Value)> {
    vec![
        ("tls.secretName", json!({"tls": {"secretName": "other"}})),
        ("tls.plaintext", json!({"tls": {"plaintext": "Allowed"}})),
        ("tls.issuerRef.name", issuer(&json!({"name": "other"}))),
        (
            "tls.issuerRef.kind",
            issuer(&json!({"kind": "ClusterIssuer"})),
        ),
        (
            "tls.issuerRef.group",
            issuer(&json!({"group": "example.org"})),
        ),
        ("tls.clientAuth", json!({"tls": {"clientAuth": "Required"}})),
        (
            "availability.minReplicasToWrite",
            json!({"availability": {"minReplicasToWrite": 2}}),
        ),
        (
            "availability.unresponsiveAfterSeconds",
            json!({"availability": {"unresponsiveAfterSeconds": 20}}),
        ),
        ("hibernate", json!({"hibernate": true})),
        ("update.paused", json!({"update": {"paused": true}})),
        ("update.surge", json!({"update": {"surge": true}})),
        ("update.primary", json!({"update": {"primary": "Approved"}})),
        ("update.soakSeconds", json!({"update": {"soakSeconds": 60}})),
        (
            "update.window.days",
            json!({"update": {"window": {"days": ["Sunday"]}}}),
        ),
        (
            "update.window.start",
            json!({"update": {"window": {"start": "03:00"}}}),
        ),
        (
            "update.window.durationMinutes",
            json!({"update": {"window": {"durationMinutes": 90}}}),
        ),
        (
            "update.window.timeZone",
            json!({"update": {"window": {"timeZone": "Asia/Tokyo"}}}),
        ),
        (
            "podTemplate",
            json!({"podTemplate": {"spec": {"priorityClassName": "high"}}}),
        ),
    ]
}

/// An issuer in place of a Secret.
fn issuer(over: &Value) -> Value {
    let mut issuer = json!({"name": "ca", "kind": "Issuer", "group": "cert-manager.io"});
    for (name, value) in over.as_object().into_iter().flatten() {
        issuer[name] = value.clone();
    }
    json!({"tls": {"secretName": null, "issuerRef": issuer}})
}
