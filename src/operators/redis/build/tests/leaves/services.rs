//! The Services.

use serde_json::{Value, json};

/// Patches of [`super::base`].
pub fn changes() -> Vec<(&'static str, Value)> {
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
            json!({"services": {"primary": {"nodePort": 30002}}}),
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
            json!({"services": {"replicas": {"nodePort": 30003}}}),
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
    ]
}
