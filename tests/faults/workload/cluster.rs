//! The workloads of mode Cluster.

use serde_json::{Value, json};

use super::{Act, Workload, annotate, change, spec};
use crate::kubernetes::merge;

/// The workloads of mode Cluster.
pub fn clusters() -> Vec<Workload> {
    let cluster = |name, before, acts| Workload {
        name,
        before,
        acts,
        single: false,
        slice: "",
    };
    let with = |more: Value| {
        let mut all = json!({"shards": 3, "replicasPerShard": 1});
        merge::patch(&mut all, &more);
        vec![spec("Cluster", &all)]
    };
    let plain = || with(json!({}));
    let volatile = || with(json!({"storage": null}));
    let valkey =
        |shards: i32| with(json!({"engine": "Valkey", "version": "9.0", "shards": shards}));
    let shards = |n: i32| vec![change(json!({"shards": n}))];
    vec![
        cluster("cluster-create", vec![], plain()),
        cluster("cluster-create-volatile", vec![], volatile()),
        cluster("cluster-scale-out", plain(), shards(4)),
        cluster("cluster-valkey-scale-out", valkey(3), shards(4)),
        cluster("cluster-valkey-scale-in", valkey(4), shards(3)),
        cluster(
            "cluster-more-replicas",
            plain(),
            vec![change(json!({"replicasPerShard": 2}))],
        ),
        cluster(
            "cluster-fewer-replicas",
            with(json!({"replicasPerShard": 2, "storage": {"whenScaled": "Delete"}})),
            vec![change(json!({"replicasPerShard": 1}))],
        ),
        cluster(
            "cluster-roll",
            plain(),
            vec![annotate("hera.dev/restarted-at", "now")],
        ),
        cluster(
            "cluster-roll-volatile",
            volatile(),
            vec![annotate("hera.dev/restarted-at", "now")],
        ),
        cluster(
            "cluster-rotate",
            plain(),
            vec![annotate("redis.hera.dev/rotate-password", "default=1")],
        ),
        cluster(
            "cluster-resize",
            plain(),
            vec![change(json!({"storage": {"size": "2Gi"}}))],
        ),
        cluster("cluster-crash", plain(), vec![Act::KillPrimary]),
        cluster("cluster-crash-volatile", volatile(), vec![Act::KillPrimary]),
        cluster("cluster-crash-all", plain(), vec![Act::KillAll]),
        cluster("cluster-evict", plain(), vec![Act::DeletePrimary]),
        cluster("cluster-delete", plain(), vec![Act::Delete]),
    ]
}
