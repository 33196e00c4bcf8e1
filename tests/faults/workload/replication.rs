//! The workloads of modes Standalone and Replication.

use std::time::Duration;

use serde_json::json;

use super::{Act, Workload, annotate, change, spec};

/// The workloads of modes Standalone and Replication.
pub fn all() -> Vec<Workload> {
    let standalone = |name, before: Vec<Act>, acts| Workload {
        name,
        before,
        acts,
        single: false,
        slice: "db-auto",
    };
    let replication = |name, before, acts| Workload {
        name,
        before,
        acts,
        single: true,
        slice: "db-primary",
    };
    let one = || vec![spec("Standalone", &json!({}))];
    let three = || vec![spec("Replication", &json!({"replicas": 3}))];
    let volatile = || {
        let more = json!({"replicas": 3, "storage": null});
        vec![spec("Replication", &more)]
    };
    let five = |when_scaled: &str| {
        let more = json!({"replicas": 5, "storage": {"whenScaled": when_scaled}});
        vec![spec("Replication", &more)]
    };
    let user = |rules: &str| json!({"auth": {"users": [{"name": "app", "rules": rules}]}});
    let with_user = || {
        let mut all = three();
        all.push(change(user("~* +get")));
        all
    };
    let restart = || annotate("hera.dev/restarted-at", "now");
    let rotate = |user: &str| annotate("redis.hera.dev/rotate-password", &format!("{user}=1"));
    vec![
        standalone("standalone-create", vec![], one()),
        standalone("standalone-roll", one(), vec![restart()]),
        standalone("standalone-rotate", one(), vec![rotate("default")]),
        standalone(
            "standalone-resize",
            one(),
            vec![change(json!({"storage": {"size": "2Gi"}}))],
        ),
        standalone("standalone-crash", one(), vec![Act::KillPrimary]),
        standalone("standalone-delete", one(), vec![Act::Delete]),
        replication("replication-create", vec![], three()),
        replication("replication-create-volatile", vec![], volatile()),
        replication(
            "replication-scale-out",
            three(),
            vec![change(json!({"replicas": 5}))],
        ),
        replication(
            "replication-scale-in",
            five("Delete"),
            vec![
                annotate("redis.hera.dev/switchover", "db-4"),
                Act::Change(json!({"metadata": {"annotations": null}, "spec": {"replicas": 2}})),
            ],
        ),
        replication(
            "replication-scale-in-retain",
            five("Retain"),
            vec![change(json!({"replicas": 3}))],
        ),
        replication(
            "replication-scale-twice",
            three(),
            vec![Act::Twice(
                json!({"spec": {"replicas": 5}}),
                json!({"spec": {"replicas": 2}}),
            )],
        ),
        replication("replication-roll", three(), vec![restart()]),
        replication("replication-roll-volatile", volatile(), vec![restart()]),
        replication(
            "replication-config",
            three(),
            vec![change(json!({"config": {"timeout": "30", "hz": "20"}}))],
        ),
        replication(
            "replication-config-restart",
            three(),
            vec![change(
                json!({"config": {"databases": "32", "timeout": "30"}}),
            )],
        ),
        replication(
            "replication-hand-over",
            three(),
            vec![annotate("redis.hera.dev/switchover", "db-1")],
        ),
        replication(
            "replication-users",
            three(),
            vec![change(user("~* +get +set"))],
        ),
        replication(
            "replication-user-removed",
            with_user(),
            vec![change(json!({"auth": null}))],
        ),
        replication("replication-rotate", with_user(), vec![rotate("default")]),
        replication("replication-rotate-user", with_user(), vec![rotate("app")]),
        replication(
            "replication-resize",
            three(),
            vec![change(json!({"storage": {"size": "2Gi"}}))],
        ),
        replication("replication-crash", three(), vec![Act::KillPrimary]),
        replication(
            "replication-crash-volatile",
            volatile(),
            vec![Act::KillPrimary],
        ),
        replication(
            "replication-crash-replica",
            volatile(),
            vec![Act::KillReplica],
        ),
        replication("replication-crash-all", three(), vec![Act::KillAll]),
        replication("replication-evict", three(), vec![Act::DeletePrimary]),
        replication(
            "replication-hang",
            three(),
            vec![Act::FreezePrimary(Duration::from_secs(25))],
        ),
        replication(
            "replication-hibernate",
            three(),
            vec![
                change(json!({"hibernate": true})),
                change(json!({"hibernate": false})),
            ],
        ),
        replication(
            "standalone-to-replication",
            one(),
            vec![change(json!({"mode": "Replication", "replicas": 3}))],
        ),
        replication("replication-delete", three(), vec![Act::Delete]),
        replication(
            "replication-delete-volumes",
            vec![spec(
                "Replication",
                &json!({"replicas": 3, "storage": {"whenDeleted": "Delete"}}),
            )],
            vec![Act::Delete],
        ),
    ]
}
