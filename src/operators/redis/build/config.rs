//! redis.conf, in two ConfigMaps: what a server reads at its start and never again, by the revision of the pod, and what is changed
//! while servers run. So a directive that needs a restart, and may keep a server from starting, reaches only the pods that are
//! restarted for it.
//!
//! A server in mode Replication starts as a replica of an address that nobody listens on: it can never become a writable primary by itself,
//! also when its container restarts in place with an empty disk. Hera gives it its role.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use k8s_openapi::api::core::v1::ConfigMap;
use sha2::{Digest, Sha256};

use super::super::directives::{self, DEFAULTS_KEY};
use super::super::model::{CONFIG_DIR, Observed, Validated};
use super::{metadata, tls};

/// The ConfigMap with `redis.conf` of one revision.
pub fn start_config_map(v: &Validated) -> ConfigMap {
    ConfigMap {
        metadata: metadata(v, v.start_config_map(&restart_hash(v))),
        data: Some(BTreeMap::from([("redis.conf".to_owned(), redis_conf(v))])),
        ..ConfigMap::default()
    }
}

/// The ConfigMap with the directives that are set live: Hera's, those of the user that were proven good, and the values that these
/// replaced.
pub fn config_map(v: &Validated, o: &Observed) -> ConfigMap {
    let user = lines(&directives::proven(v, o));
    let before = directives::before_next(v, o);
    let mut data = BTreeMap::from([
        ("live.conf".to_owned(), lines(&directives::own(v))),
        ("user.conf".to_owned(), user),
    ]);
    if !before.is_empty() {
        data.insert(
            DEFAULTS_KEY.to_owned(),
            serde_json::json!(before).to_string(),
        );
    }
    ConfigMap {
        metadata: metadata(v, v.config_map()),
        data: Some(data),
        ..ConfigMap::default()
    }
}

fn redis_conf(v: &Validated) -> String {
    let mut text = lines(&tls::listening(v));
    let _ = write!(
        text,
        "bind * -::*\nprotected-mode no\ndir /data\naclfile {CONFIG_DIR}/users.acl\ninclude {CONFIG_DIR}/replication.conf\n\
         repl-diskless-sync yes\nrepl-diskless-sync-delay 0\nrepl-ping-replica-period 2\nshutdown-timeout 10\n"
    );
    if v.gated() {
        text.push_str("replicaof 127.0.0.1 1\n");
    }
    if v.watched() {
        // No sentinel promotes a server before Hera has seen it in sync. The file of pods that run already does not matter.
        text.push_str("replica-priority 0\n");
    }
    if v.clustered() {
        // The plan decides who is whose replica, and which replica takes over is for the servers to vote, however long its link was
        // down: a shard without a primary is worse than lost writes. But one that has just started may lack what its primary, which
        // starts as well, has on its volume: it takes no part before Hera has seen it in sync.
        text.push_str(
            "cluster-enabled yes\ncluster-config-file nodes.conf\ncluster-node-timeout 5000\n\
             cluster-allow-replica-migration no\ncluster-replica-validity-factor 0\n\
             cluster-replica-no-failover yes\n",
        );
    }
    // Without a volume a file would only survive a restart of the container, and would then be older than the replicas.
    text.push_str(if v.storage.is_some() {
        "appendonly yes\n"
    } else {
        "appendonly no\nsave \"\"\n"
    });
    let _ = write!(
        text,
        "include {CONFIG_DIR}/live.conf\ninclude {CONFIG_DIR}/user.conf\n{}",
        lines(&restarting(v))
    );
    text
}

fn lines(directives: &BTreeMap<String, String>) -> String {
    directives
        .iter()
        .map(|(name, value)| directives::line(name, value) + "\n")
        .collect()
}

fn restarting(v: &Validated) -> BTreeMap<String, String> {
    let all = v.config.iter();
    all.filter(|(name, _)| directives::needs_restart(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Hash of what needs a restart: how the server starts, and the user's directives that it does not take while it runs.
pub fn restart_hash(v: &Validated) -> String {
    let certificate = if v.tls.is_some() { "certificate\n" } else { "" };
    let text = format!(
        "gated {}\n{certificate}{}",
        v.gated(),
        lines(&restarting(v))
    );
    Sha256::digest(text.as_bytes())
        .iter()
        .take(8)
        .fold(String::new(), |mut hash, byte| {
            let _ = write!(hash, "{byte:02x}");
            hash
        })
}
