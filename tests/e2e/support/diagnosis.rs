//! What is printed when a test fails.

use std::fmt::Write as _;
use std::time::Duration;

use super::cluster::kubectl_blocking;
use super::hera::NAMESPACE;

/// The state of a namespace, and what Hera said about it.
pub fn of(namespace: &str, since: Duration) -> String {
    let get = |arguments: &[&str]| {
        let mut all = vec!["--namespace", namespace];
        all.extend(arguments);
        kubectl_blocking(&all)
    };
    let since = format!("--since={}s", since.as_secs() + 5);
    let log = kubectl_blocking(&[
        "--namespace",
        NAMESPACE,
        "logs",
        "--selector=app.kubernetes.io/component=manager",
        "--tail=-1",
        "--prefix",
        &since,
    ]);
    let about: Vec<&str> = log
        .lines()
        .filter(|line| line.contains(namespace) && !line.contains("reconciled"))
        .collect();
    let parts = [
        ("redises", get(&["get", "redises", "-o", "yaml"])),
        (
            "pods",
            get(&["get", "pods,pvc,endpointslices", "-o", "wide"]),
        ),
        (
            "pods that are not ready",
            get(&["get", "pods", "-o", POD_STATES]),
        ),
        (
            "events",
            get(&["get", "events", "--sort-by=.metadata.creationTimestamp"]),
        ),
        (
            "hera's pods",
            kubectl_blocking(&["--namespace", NAMESPACE, "get", "pods,leases", "-o", "wide"]),
        ),
        ("hera's log", tail(&about, 150)),
    ];
    let mut all = String::new();
    for (title, text) in parts {
        let _ = write!(all, "\n--- {title} of {namespace}\n{text}\n");
    }
    all
}

const POD_STATES: &str = r#"jsonpath={range .items[*]}{.metadata.name}{" "}{.status.conditions[?(@.status=="False")]}{" "}{.status.containerStatuses[*].state}{"\n"}{end}"#;

fn tail(lines: &[&str], count: usize) -> String {
    lines[lines.len().saturating_sub(count)..].join("\n")
}
