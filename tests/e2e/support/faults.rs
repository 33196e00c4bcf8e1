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
    match try_signal(database, pod, signal).await {
        Ok(_) => {}
        // The shell may end with the container whose server it killed.
        Err(words) if words.contains("exit code 137") => {}
        Err(words) => panic!("the signal is not sent: {words}"),
    }
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

/// Chain of packet filter rules with all cuts: it is emptied when this process ends without healing them.
pub const CHAIN: &str = "HERA-E2E";

/// A network that is cut; dropping this heals it.
pub struct Cut {
    rules: Vec<String>,
}

impl Cut {
    /// Cuts a pod off from everything: other pods, the node, and clients.
    pub async fn from_everything(ip: &str) -> Self {
        Self::new(vec![format!("-s {ip}"), format!("-d {ip}")]).await
    }

    /// Cuts two pods off from each other.
    pub async fn between(a: &str, b: &str) -> Self {
        Self::new(vec![format!("-s {a} -d {b}"), format!("-s {b} -d {a}")]).await
    }

    async fn new(rules: Vec<String>) -> Self {
        let cut = Self { rules };
        // Before the address of a Service becomes that of a pod, and after it.
        let hooks = ["PREROUTING", "POSTROUTING"].map(|hook| {
            format!(
                "iptables -w -t mangle -C {hook} -j {CHAIN} 2>/dev/null || iptables -w -t mangle -A {hook} -j {CHAIN} || exit"
            )
        });
        let script = [
            format!("iptables -w -t mangle -N {CHAIN} 2>/dev/null"),
            hooks.join("\n"),
            cut.change("-A"),
        ]
        .join("\n");
        tool(&["enter", "sh", "-c", &script])
            .await
            .expect("the network is cut");
        cut
    }

    fn change(&self, how: &str) -> String {
        let commands = self
            .rules
            .iter()
            .map(|rule| format!("iptables -w -t mangle {how} {CHAIN} {rule} -j DROP"));
        commands.collect::<Vec<_>>().join(" && ")
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        tool_blocking(&["enter", "sh", "-c", &self.change("-D")]);
    }
}
