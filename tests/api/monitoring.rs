//! Monitoring and network policies that are refused.

use serde_json::{Value, json};

/// Specs that are refused, and the field that the message names.
pub fn bad_monitoring() -> Vec<(Value, &'static str)> {
    let exporter = |over: Value| json!({"monitoring": {"exporter": over}});
    vec![
        (json!({"monitoring": {"podMonitor": {}}}), "spec.monitoring"),
        (json!({"monitoring": {"rules": {}}}), "spec.monitoring"),
        (
            exporter(json!({"image": ""})),
            "spec.monitoring.exporter.image",
        ),
        (
            exporter(json!({"args": ["debug"]})),
            "spec.monitoring.exporter.args",
        ),
        (
            exporter(json!({"args": ["--a\n--b"]})),
            "spec.monitoring.exporter.args",
        ),
        (
            exporter(json!({"args": vec!["--debug"; 33]})),
            "spec.monitoring.exporter.args",
        ),
        (
            json!({"monitoring": {"exporter": {}, "podMonitor": {"interval": "often"}}}),
            "spec.monitoring.podMonitor.interval",
        ),
        (
            json!({"monitoring": {"exporter": {}, "podMonitor": {"interval": "0s"}}}),
            "spec.monitoring.podMonitor.interval",
        ),
    ]
}
