//! What goes wrong.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, EvictParams};
use serde_json::{Value, json};

use super::cluster::{kubectl, tool, tool_blocking};
use super::database::Database;
use super::wait::{SOON, until};

/// A pod template in which a shell of the server's container sees the server as an ordinary process. Without it the server is the first
/// process of its container, which no signal from inside can kill.
pub fn killable() -> Value {
    json!({"podTemplate": {"spec": {"shareProcessNamespace": true}}})
}

/// Sends a signal to the server of a pod. The spec must be [`killable`].
pub async fn signal(database: &Database, pod: &str, signal: &str) {
    try_signal(database, pod, signal)
        .await
        .expect("the signal is sent");
}

/// The same, where the server may be gone.
pub async fn try_signal(database: &Database, pod: &str, signal: &str) -> Result<String, String> {
    let command = format!("kill -{signal} $(pgrep -o 'redis-server|valkey-server')");
    let namespace = &database.namespace;
    kubectl(&[
        "--namespace",
        namespace,
        "exec",
        pod,
        "--container=redis",
        "--",
        "sh",
        "-c",
        &command,
    ])
    .await
}

/// Deletes a pod.
pub async fn delete_pod(database: &Database, pod: &str) {
    database
        .api::<Pod>()
        .delete(pod, &DeleteParams::default())
        .await
        .expect("the pod is deleted");
}

/// Evicts a pod, as `kubectl drain` does: tries again while the disruption budget does not allow it.
pub async fn evict(database: &Database, pod: &str) {
    until("the eviction is allowed", SOON, || async {
        database
            .api::<Pod>()
            .evict(pod, &EvictParams::default())
            .await
            .map_err(|error| error.to_string())
    })
    .await;
}

/// A pod that is cut off; dropping this heals the network.
pub struct Cut {
    rules: Vec<Vec<String>>,
}

impl Cut {
    /// Cuts a pod off from everything: other pods, the node, and clients.
    pub async fn from_everything(ip: &str) -> Self {
        Self::new(&[&["PREROUTING", "-s", ip], &["POSTROUTING", "-d", ip]]).await
    }

    /// Cuts two pods off from each other.
    pub async fn between(a: &str, b: &str) -> Self {
        Self::new(&[
            &["PREROUTING", "-s", a, "-d", b],
            &["PREROUTING", "-s", b, "-d", a],
        ])
        .await
    }

    async fn new(rules: &[&[&str]]) -> Self {
        let mut cut = Self { rules: Vec::new() };
        for rule in rules {
            let rule: Vec<String> = rule
                .iter()
                .chain(&["-j", "DROP"])
                .map(|word| (*word).to_owned())
                .collect();
            let mut words = vec!["enter", "iptables", "-t", "mangle", "-A"];
            words.extend(rule.iter().map(String::as_str));
            tool(&words).await.expect("the network is cut");
            cut.rules.push(rule);
        }
        cut
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        for rule in &self.rules {
            let mut words = vec!["enter", "iptables", "-t", "mangle", "-D"];
            words.extend(rule.iter().map(String::as_str));
            tool_blocking(&words);
        }
    }
}
