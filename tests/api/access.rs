//! Specs that are refused, around Services and claims, and the field that the message names.

use serde_json::{Value, json};

pub fn bad_access() -> Vec<(Value, &'static str)> {
    let primary = |service: Value| json!({"services": {"primary": service}});
    let external = |service: Value| json!({"services": {"external": service}});
    vec![
        (primary(json!({"nodePort": 30001})), "spec.services.primary"),
        (
            primary(json!({"type": "NodePort", "nodePort": 0})),
            "spec.services.primary.nodePort",
        ),
        (
            primary(json!({"type": "ClusterIP", "externalTrafficPolicy": "Local"})),
            "spec.services.primary",
        ),
        (
            primary(json!({"type": "NodePort", "loadBalancerClass": "x"})),
            "spec.services.primary",
        ),
        (
            json!({"services": {"replicas": {"loadBalancerSourceRanges": ["192.0.2.0/24"]}}}),
            "spec.services.replicas",
        ),
        (
            external(json!({"type": "NodePort", "loadBalancerClass": "x"})),
            "spec.services.external",
        ),
        (
            external(json!({"type": "NodePort", "loadBalancerSourceRanges": ["192.0.2.0/24"]})),
            "spec.services.external",
        ),
        (
            external(json!({"host": "not a name"})),
            "spec.services.external.host",
        ),
        (
            external(json!({"host": "{node}.example.org"})),
            "spec.services.external.host",
        ),
        (
            json!({"services": {"ipFamilies": ["IPv4", "IPv6"]}}),
            "spec.services",
        ),
        (
            json!({"services": {"ipFamilies": ["IPv4", "IPv4"], "ipFamilyPolicy": "PreferDualStack"}}),
            "spec.services",
        ),
        (
            json!({"storage": {"size": "1Gi", "claimTemplate": "Data"}}),
            "spec.storage.claimTemplate",
        ),
        (
            json!({"storage": {"size": "1Gi", "claimTemplate": "config"}}),
            "spec.storage.claimTemplate",
        ),
        (
            json!({"storage": {"size": "1Gi", "existingClaims": [""]}}),
            "spec.storage.existingClaims",
        ),
    ]
}
