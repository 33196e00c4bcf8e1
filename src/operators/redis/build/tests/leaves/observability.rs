//! The exporter, what leads Prometheus to it, and who may connect.

use serde_json::{Value, json};

/// Patches of [`super::base`].
pub fn changes() -> Vec<(&'static str, Value)> {
    let exporter = |over: Value| json!({"monitoring": {"exporter": over}});
    let mut changes = vec![
        (
            "monitoring.exporter.image",
            exporter(json!({"image": "example.org/exporter:1"})),
        ),
        (
            "monitoring.exporter.args",
            exporter(json!({"args": ["--debug"]})),
        ),
        (
            "monitoring.exporter.resources.limits",
            exporter(json!({"resources": {"limits": {"memory": "64Mi"}}})),
        ),
        (
            "monitoring.exporter.resources.requests",
            exporter(json!({"resources": {"requests": {"cpu": "10m"}}})),
        ),
        (
            "monitoring.exporter.resources.claims.name",
            exporter(json!({"resources": {"claims": [{"name": "gpu"}]}})),
        ),
        (
            "monitoring.exporter.resources.claims.request",
            exporter(json!({"resources": {"claims": [{"name": "gpu", "request": "one"}]}})),
        ),
        (
            "monitoring.podMonitor.interval",
            json!({"monitoring": {"podMonitor": {"interval": "10s"}}}),
        ),
        (
            "monitoring.podMonitor.labels",
            json!({"monitoring": {"podMonitor": {"labels": {"a": "b"}}}}),
        ),
        (
            "monitoring.rules.labels",
            json!({"monitoring": {"rules": {"labels": {"a": "b"}}}}),
        ),
    ];
    changes.extend(peers(
        [
            "networkPolicy.clients.ipBlock.cidr",
            "networkPolicy.clients.ipBlock.except",
            "networkPolicy.clients.namespaceSelector.matchLabels",
            "networkPolicy.clients.namespaceSelector.matchExpressions.key",
            "networkPolicy.clients.namespaceSelector.matchExpressions.operator",
            "networkPolicy.clients.namespaceSelector.matchExpressions.values",
            "networkPolicy.clients.podSelector.matchLabels",
            "networkPolicy.clients.podSelector.matchExpressions.key",
            "networkPolicy.clients.podSelector.matchExpressions.operator",
            "networkPolicy.clients.podSelector.matchExpressions.values",
        ],
        "clients",
    ));
    changes.extend(peers(
        [
            "networkPolicy.monitoring.ipBlock.cidr",
            "networkPolicy.monitoring.ipBlock.except",
            "networkPolicy.monitoring.namespaceSelector.matchLabels",
            "networkPolicy.monitoring.namespaceSelector.matchExpressions.key",
            "networkPolicy.monitoring.namespaceSelector.matchExpressions.operator",
            "networkPolicy.monitoring.namespaceSelector.matchExpressions.values",
            "networkPolicy.monitoring.podSelector.matchLabels",
            "networkPolicy.monitoring.podSelector.matchExpressions.key",
            "networkPolicy.monitoring.podSelector.matchExpressions.operator",
            "networkPolicy.monitoring.podSelector.matchExpressions.values",
        ],
        "monitoring",
    ));
    changes
}

fn peers(paths: [&'static str; 10], list: &str) -> Vec<(&'static str, Value)> {
    let expression = |key: &str, operator: &str, values: Value| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
    let selectors = || {
        [
            json!({"matchLabels": {"a": "b"}}),
            expression("b", "In", json!(["c"])),
            expression("a", "NotIn", json!(["c"])),
            expression("a", "In", json!(["d"])),
        ]
    };
    let namespaces = selectors().map(|s| json!({ "namespaceSelector": s }));
    let pods = selectors().map(|s| json!({ "podSelector": s }));
    let blocks = [
        json!({"ipBlock": {"cidr": "10.1.0.0/16"}}),
        json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}),
    ];
    let all = blocks.into_iter().chain(namespaces).chain(pods);
    paths
        .into_iter()
        .zip(all)
        .map(|(path, peer)| (path, json!({"networkPolicy": {list: [peer]}})))
        .collect()
}
