//! `spec.monitoring`: the rules of the schema once more.

use super::Errors;
use crate::operators::redis::api::RedisSpec;

/// Most flags of the exporter.
const MAX_ARGS: usize = 32;
/// Longest flag.
const MAX_ARG: usize = 1024;

/// Checks `spec.monitoring`.
pub(super) fn monitoring(spec: &RedisSpec, errors: &mut Errors) {
    let Some(monitoring) = &spec.monitoring else {
        return;
    };
    let Some(exporter) = &monitoring.exporter else {
        if monitoring.pod_monitor.is_some() || monitoring.rules.is_some() {
            errors.add(
                "spec.monitoring",
                "podMonitor and rules need exporter, whose metrics they are about",
            );
        }
        return;
    };
    let image = exporter.image.as_ref();
    if image.is_some_and(|i| i.is_empty() || i.chars().count() > 512) {
        errors.add(
            "spec.monitoring.exporter.image",
            "must have 1 to 512 characters",
        );
    }
    let is_flag = |arg: &String| {
        arg.starts_with('-')
            && (2..=MAX_ARG).contains(&arg.chars().count())
            && !arg.contains(['\n', '\r'])
    };
    if exporter.args.len() > MAX_ARGS || !exporter.args.iter().all(is_flag) {
        errors.add(
            "spec.monitoring.exporter.args",
            format!("must be at most {MAX_ARGS} flags, each one line that starts with '-'"),
        );
    }
    let interval = monitoring
        .pod_monitor
        .as_ref()
        .and_then(|m| m.interval.as_deref());
    if interval.is_some_and(|text| !is_interval(text)) {
        errors.add(
            "spec.monitoring.podMonitor.interval",
            "must be a number with a unit, such as 30s",
        );
    }
}

fn is_interval(text: &str) -> bool {
    let digits = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = &text[..text.len() - digits.len()];
    (1..=6).contains(&number.len())
        && !number.starts_with('0')
        && ["ms", "s", "m", "h"].contains(&digits)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn wrong(monitoring: &Value) -> Vec<String> {
        let spec: RedisSpec = serde_json::from_value(json!({ "monitoring": monitoring })).unwrap();
        let mut errors = Errors::default();
        super::monitoring(&spec, &mut errors);
        errors.0.into_iter().map(|e| e.field).collect()
    }

    #[test]
    fn what_the_schema_refuses_is_refused() {
        for good in [
            json!({}),
            json!({"exporter": {}}),
            json!({"exporter": {"args": ["--debug"]}, "podMonitor": {"interval": "500ms"}, "rules": {}}),
        ] {
            assert!(wrong(&good).is_empty(), "{good}");
        }
        for (bad, field) in [
            (json!({"podMonitor": {}}), "spec.monitoring"),
            (json!({"rules": {}}), "spec.monitoring"),
            (
                json!({"exporter": {"image": ""}}),
                "spec.monitoring.exporter.image",
            ),
            (
                json!({"exporter": {"args": ["debug"]}}),
                "spec.monitoring.exporter.args",
            ),
            (
                json!({"exporter": {"args": ["-"]}}),
                "spec.monitoring.exporter.args",
            ),
            (
                json!({"exporter": {"args": vec!["-a"; 33]}}),
                "spec.monitoring.exporter.args",
            ),
            (
                json!({"exporter": {}, "podMonitor": {"interval": "0s"}}),
                "spec.monitoring.podMonitor.interval",
            ),
            (
                json!({"exporter": {}, "podMonitor": {"interval": "often"}}),
                "spec.monitoring.podMonitor.interval",
            ),
        ] {
            assert_eq!(wrong(&bad), [field], "{bad}");
        }
    }
}
