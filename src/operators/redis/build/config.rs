//! redis.conf.
//!
//! A server in mode Replication starts as a replica of an address that nobody listens on: it can never become a writable primary by itself,
//! also when its container restarts in place with an empty disk. Hera gives it its role.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use k8s_openapi::api::core::v1::ConfigMap;
use sha2::{Digest, Sha256};

use super::super::directives::{self, DEFAULTS_KEY};
use super::super::model::{CONFIG_DIR, Observed, PORT, Validated};
use super::metadata;

/// The ConfigMap with `redis.conf`, the user's directives that were proven good, and the values that these replaced.
pub fn config_map(v: &Validated, o: &Observed) -> ConfigMap {
    let user: String = directives::proven(v, o)
        .iter()
        .map(|(name, value)| directives::line(name, value) + "\n")
        .collect();
    let before = directives::before_next(v, o);
    let mut data = BTreeMap::from([
        ("redis.conf".to_owned(), redis_conf(v)),
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
    let mut text = format!(
        "port {PORT}\nbind * -::*\nprotected-mode no\ndir /data\naclfile {CONFIG_DIR}/users.acl\ninclude {CONFIG_DIR}/replication.conf\n\
         repl-diskless-sync yes\nrepl-diskless-sync-delay 0\nrepl-ping-replica-period 2\nshutdown-timeout 10\n"
    );
    if v.gated() {
        text.push_str("replicaof 127.0.0.1 1\n");
    }
    // Without a volume a file would only survive a restart of the container, and would then be older than the replicas.
    text.push_str(if v.storage.is_some() {
        "appendonly yes\n"
    } else {
        "appendonly no\nsave \"\"\n"
    });
    for (name, value) in directives::own(v) {
        let _ = writeln!(text, "{}", directives::line(&name, &value));
    }
    let _ = writeln!(text, "include {CONFIG_DIR}/user.conf");
    text
}

/// Hash of what needs a restart: only the user's directives that the server does not take while it runs.
pub fn restart_hash(v: &Validated) -> String {
    let restarting = v
        .config
        .iter()
        .filter(|(name, _)| directives::needs_restart(name));
    let lines: String = restarting
        .map(|(name, value)| directives::line(name, value) + "\n")
        .collect();
    Sha256::digest(lines.as_bytes())
        .iter()
        .take(8)
        .fold(String::new(), |mut hash, byte| {
            let _ = write!(hash, "{byte:02x}");
            hash
        })
}
