//! The workloads of mode Sentinel.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Act, Workload, annotate, change, spec};
use crate::kubernetes::merge;

/// The workloads of mode Sentinel.
pub fn sentinels() -> Vec<Workload> {
    let sentinel = |name, before, acts| Workload {
        name,
        before,
        acts,
        single: true,
        slice: "db-primary",
    };
    let with = |more: Value| {
        let mut all = json!({"replicas": 3});
        merge::patch(&mut all, &more);
        vec![spec("Sentinel", &all)]
    };
    let three = || with(json!({}));
    let valkey = || with(json!({"engine": "Valkey", "version": "9.0"}));
    let app = || json!({"auth": {"users": [{"name": "app", "rules": "~* +get"}]}});
    let switch = || vec![annotate("redis.hera.dev/switchover", "db-1")];
    let restart = || vec![annotate("hera.dev/restarted-at", "now")];
    let rotate = |user: &str| {
        vec![annotate(
            "redis.hera.dev/rotate-password",
            &format!("{user}=1"),
        )]
    };
    let replication = || vec![spec("Replication", &json!({"replicas": 3}))];
    vec![
        sentinel("sentinel-create", vec![], three()),
        sentinel(
            "sentinel-scale-out",
            three(),
            vec![change(json!({"replicas": 5}))],
        ),
        sentinel(
            "sentinel-scale-in",
            with(json!({"replicas": 5, "storage": {"whenScaled": "Delete"}})),
            vec![change(json!({"replicas": 3}))],
        ),
        sentinel(
            "sentinel-more-sentinels",
            three(),
            vec![change(json!({"sentinel": {"replicas": 5}}))],
        ),
        sentinel(
            "sentinel-fewer-sentinels",
            with(json!({"sentinel": {"replicas": 5}})),
            vec![change(json!({"sentinel": {"replicas": 3}}))],
        ),
        sentinel("sentinel-roll", three(), restart()),
        sentinel("sentinel-valkey-roll", valkey(), restart()),
        sentinel("sentinel-rotate", three(), rotate("default")),
        sentinel("sentinel-rotate-user", with(app()), rotate("app")),
        sentinel("sentinel-hand-over", three(), switch()),
        sentinel("sentinel-valkey-hand-over", valkey(), switch()),
        sentinel("sentinel-crash", three(), vec![Act::KillPrimary]),
        sentinel(
            "sentinel-crash-volatile",
            with(json!({"storage": null})),
            vec![Act::KillPrimary],
        ),
        sentinel("sentinel-crash-sentinel", three(), vec![Act::KillSentinel]),
        sentinel("sentinel-crash-all", three(), vec![Act::KillAll]),
        sentinel(
            "sentinel-hang",
            three(),
            vec![Act::FreezePrimary(Duration::from_secs(25))],
        ),
        sentinel("sentinel-evict", three(), vec![Act::DeletePrimary]),
        sentinel(
            "sentinel-evict-sentinel",
            three(),
            vec![Act::DeleteSentinel],
        ),
        sentinel(
            "sentinel-from-replication",
            replication(),
            vec![change(json!({"mode": "Sentinel"}))],
        ),
        sentinel(
            "sentinel-to-replication",
            three(),
            vec![change(json!({"mode": "Replication"}))],
        ),
        sentinel(
            "sentinel-hibernate",
            three(),
            vec![
                change(json!({"hibernate": true})),
                change(json!({"hibernate": false})),
            ],
        ),
        sentinel("sentinel-delete", three(), vec![Act::Delete]),
    ]
}
