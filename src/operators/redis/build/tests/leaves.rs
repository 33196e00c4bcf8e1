//! For each leaf of the spec another valid value.

use serde_json::{Value, json};

/// Patches of [`super::base`].
pub fn changes() -> Vec<(&'static str, Value)> {
    let own = [
        data(),
        bootstrap(),
        auth(),
        service(),
        network(),
        sentinels(),
    ]
    .concat();
    own.into_iter()
        .chain(super::observability::changes())
        .collect()
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

/// The sentinels, each over [`super::base`] in mode Sentinel.
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

/// When things happen.
fn service() -> Vec<(&'static str, Value)> {
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
    ]
}

/// The Services, and all else.
fn network() -> Vec<(&'static str, Value)> {
    vec![
        (
            "services.primary.type",
            json!({"services": {"primary": {"type": "NodePort"}}}),
        ),
        (
            "services.primary.annotations",
            json!({"services": {"primary": {"annotations": {"a": "b"}}}}),
        ),
        (
            "services.primary.labels",
            json!({"services": {"primary": {"labels": {"a": "b"}}}}),
        ),
        (
            "services.replicas.type",
            json!({"services": {"replicas": {"type": "NodePort"}}}),
        ),
        (
            "services.replicas.annotations",
            json!({"services": {"replicas": {"annotations": {"a": "b"}}}}),
        ),
        (
            "services.replicas.labels",
            json!({"services": {"replicas": {"labels": {"a": "b"}}}}),
        ),
        (
            "services.primary.nodePort",
            json!({"services": {"primary": {"nodePort": 30001}}}),
        ),
        (
            "services.primary.loadBalancerClass",
            json!({"services": {"primary": {"loadBalancerClass": "x"}}}),
        ),
        (
            "services.primary.loadBalancerSourceRanges",
            json!({"services": {"primary": {"loadBalancerSourceRanges": ["192.0.2.0/24"]}}}),
        ),
        (
            "services.primary.externalTrafficPolicy",
            json!({"services": {"primary": {"externalTrafficPolicy": "Local"}}}),
        ),
        (
            "services.replicas.nodePort",
            json!({"services": {"replicas": {"nodePort": 30001}}}),
        ),
        (
            "services.replicas.loadBalancerClass",
            json!({"services": {"replicas": {"loadBalancerClass": "x"}}}),
        ),
        (
            "services.replicas.loadBalancerSourceRanges",
            json!({"services": {"replicas": {"loadBalancerSourceRanges": ["192.0.2.0/24"]}}}),
        ),
        (
            "services.replicas.externalTrafficPolicy",
            json!({"services": {"replicas": {"externalTrafficPolicy": "Local"}}}),
        ),
        (
            "services.external.type",
            json!({"services": {"external": {"type": "NodePort"}}}),
        ),
        (
            "services.external.host",
            json!({"services": {"external": {"host": "{pod}.example.org"}}}),
        ),
        (
            "services.external.annotations",
            json!({"services": {"external": {"annotations": {"a": "{pod}"}}}}),
        ),
        (
            "services.external.labels",
            json!({"services": {"external": {"labels": {"a": "b"}}}}),
        ),
        (
            "services.external.loadBalancerClass",
            json!({"services": {"external": {"loadBalancerClass": "x"}}}),
        ),
        (
            "services.external.loadBalancerSourceRanges",
            json!({"services": {"external": {"loadBalancerSourceRanges": ["192.0.2.0/24"]}}}),
        ),
        (
            "services.external.externalTrafficPolicy",
            json!({"services": {"external": {"externalTrafficPolicy": "Local"}}}),
        ),
        (
            "services.ipFamilyPolicy",
            json!({"services": {"ipFamilyPolicy": "PreferDualStack"}}),
        ),
        (
            "services.ipFamilies",
            json!({"services": {"ipFamilies": ["IPv6"]}}),
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
    super::super::patch::merge(&mut issuer, over);
    json!({"tls": {"secretName": null, "issuerRef": issuer}})
}
