//! Mode Cluster: shards that are formed, lose their primaries, restart, roll, and get more and fewer.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::database::{Database, with};
use crate::support::faults::{delete_pod, evict, killable, signal};
use crate::support::replacements::Replacements;
use crate::support::scenario::Scenario;
use crate::support::server::Endpoint;
use crate::support::sharded::ShardedWriter;
use crate::support::wait::{LONG, ensure, until};

/// Small: six pods and more of it run at the same time.
pub fn cluster() -> Value {
    json!({
        "mode": "Cluster", "shards": 3, "replicasPerShard": 1,
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "96Mi"}},
    })
}

fn volumes() -> Value {
    json!({"storage": {"size": "1Gi", "whenDeleted": "Delete"}})
}

/// The primary of each shard, by the status.
pub async fn primaries(db: &Database) -> Vec<String> {
    let shards = db.status().await.shards;
    shards.into_iter().filter_map(|s| s.primary).collect()
}

/// Every node says the same: so many shards with a primary and replicas each, all slots, nobody unknown or failed.
pub async fn whole(db: &Database, shards: usize, replicas: usize) {
    let status = db.ready().await;
    assert_eq!(status.slots.as_deref(), Some("16384/16384"));
    assert_eq!(status.shards.len(), shards, "{:?}", status.shards);
    until("every node sees the same cluster", LONG, || async {
        let mut views = BTreeSet::new();
        let service = db.primary_endpoint().await;
        for (name, pod) in db.pods().await {
            let server = Endpoint {
                host: pod.status.and_then(|s| s.pod_ip).ok_or("no address")?,
                ..service.clone()
            };
            let nodes: String = server
                .ask(&["CLUSTER", "NODES"])
                .await
                .map_err(|e| e.to_string())?;
            let info: String = server
                .ask(&["CLUSTER", "INFO"])
                .await
                .map_err(|e| e.to_string())?;
            ensure(info.contains("cluster_state:ok"), || {
                format!("{name}: {info}")
            })?;
            ensure(
                !nodes.contains("fail") && !nodes.contains('[') && !nodes.contains("handshake"),
                || format!("{name}: {nodes}"),
            )?;
            views.insert(owners(&nodes));
        }
        let first = views.first().cloned().unwrap_or_default();
        ensure(views.len() == 1, || format!("{views:?}"))?;
        let primaries = first.iter().filter(|(_, v)| !v.1.is_empty()).count();
        ensure(
            (primaries, first.len()) == (shards, shards * (1 + replicas)),
            || format!("{first:?}"),
        )
    })
    .await;
}

/// Role and slots of each node, by id, as one node tells it.
fn owners(nodes: &str) -> BTreeMap<String, (String, String)> {
    nodes
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let slots = words.get(8..).unwrap_or_default().join(" ");
            Some((
                (*words.first()?).to_owned(),
                ((*words.get(3)?).to_owned(), slots),
            ))
        })
        .collect()
}

/// The server comes back at once, in the same pod, at the same address, with nothing: its replica takes over, and copies nothing from it.
#[tokio::test]
async fn the_process_of_a_primary_without_a_volume_is_killed() {
    let s = Scenario::shared("cluster-kill").await;
    let db = s.ready("db", with(cluster(), killable())).await;
    whole(&db, 3, 1).await;
    // The second time the pod has the snapshot in its folder that it got as a replica.
    for round in 0..2 {
        let writer = ShardedWriter::start(&db).await;
        writer.more(100).await;
        let old = primaries(&db).await;
        signal(&db, &old[0], "KILL").await;
        until("another primary", LONG, || async {
            let now = primaries(&db).await;
            ensure(now.len() == 3 && now[0] != old[0], || format!("{now:?}"))
        })
        .await;
        whole(&db, 3, 1).await;
        writer.more(100).await;
        let report = writer.finish().await;
        s.report(&format!("kill -9 of a primary, {round}: {report}"));
        assert!(report.lost.len() <= report.acknowledged / 20, "{report}");
    }
    db.no_event(&["SlotsLost"]).await;
}

#[tokio::test]
#[ignore = "one more of its kind: make test-long"]
async fn a_majority_of_the_primaries_is_killed() {
    let s = Scenario::shared("cluster-quorum").await;
    let db = s.ready("db", with(cluster(), killable())).await;
    let writer = ShardedWriter::start(&db).await;
    writer.more(100).await;
    let old = primaries(&db).await;
    tokio::join!(signal(&db, &old[0], "KILL"), signal(&db, &old[1], "KILL"));
    until("other primaries", LONG, || async {
        let now = primaries(&db).await;
        ensure(
            now.len() == 3 && now[0] != old[0] && now[1] != old[1],
            || format!("{now:?}"),
        )
    })
    .await;
    whole(&db, 3, 1).await;
    writer.more(100).await;
    let report = writer.finish().await;
    s.report(&format!("kill -9 of two of three primaries: {report}"));
    assert!(report.lost.len() <= report.acknowledged / 20, "{report}");
    db.no_event(&["SlotsLost"]).await;
}

#[tokio::test]
async fn primaries_are_deleted_and_evicted() {
    let s = Scenario::shared("cluster-leave").await;
    let db = s.ready("db", cluster()).await;
    let writer = ShardedWriter::start(&db).await;
    writer.more(50).await;
    let old = primaries(&db).await;
    delete_pod(&db, &old[0]).await;
    changed(&db, 0, &old[0]).await;
    whole(&db, 3, 1).await;
    evict(&db, &old[1]).await;
    changed(&db, 1, &old[1]).await;
    whole(&db, 3, 1).await;
    writer.more(50).await;
    writer.always_covered();
    let report = writer.finish().await;
    s.report(&format!("deletion and eviction of primaries: {report}"));
    assert!(report.lost.is_empty(), "{report}: {:?}", report.lost);
    db.event("HandOverCompleted").await;
    db.no_event(&["FailingOver", "SlotsLost"]).await;
}

async fn changed(db: &Database, shard: usize, old: &str) {
    until("another primary", LONG, || async {
        let now = primaries(db).await;
        ensure(now.get(shard).is_some_and(|p| p != old), || {
            format!("{now:?}")
        })
    })
    .await;
}

/// Every node comes back at another address, and knows the others only at their old ones.
#[tokio::test]
async fn all_pods_with_volumes_are_deleted() {
    let s = Scenario::shared("cluster-restart").await;
    let db = s.ready("db", with(cluster(), volumes())).await;
    let writer = ShardedWriter::start(&db).await;
    writer.more(100).await;
    replace_all(&db).await;
    whole(&db, 3, 1).await;
    writer.more(50).await;
    let report = writer.finish().await;
    s.report(&format!("all pods with volumes deleted: {report}"));
    assert!(report.lost.is_empty(), "{report}: {:?}", report.lost);
    db.no_event(&["SlotsLost"]).await;
}

#[tokio::test]
#[ignore = "one more of its kind: make test-long"]
async fn all_pods_without_volumes_are_deleted() {
    let s = Scenario::shared("cluster-anew").await;
    let db = s.ready("db", cluster()).await;
    replace_all(&db).await;
    whole(&db, 3, 1).await;
    let writer = ShardedWriter::start(&db).await;
    writer.more(50).await;
    assert!(writer.finish().await.lost.is_empty());
}

async fn replace_all(db: &Database) {
    let before = db.uids().await;
    for pod in before.keys() {
        delete_pod(db, pod).await;
    }
    until("every pod is another one", LONG, || async {
        let now = db.uids().await;
        let kept = before
            .iter()
            .filter(|(pod, uid)| now.get(*pod) == Some(uid));
        let kept = kept.count();
        ensure(kept == 0 && now.len() == before.len(), || {
            format!("{kept} kept")
        })
    })
    .await;
}

/// Out and in again, with every primary elsewhere than where it began.
#[tokio::test]
async fn shards_are_added_and_removed_under_load() {
    scaled("cluster-scale", cluster()).await;
}

/// The servers of this version move slots by themselves.
#[tokio::test]
#[ignore = "one more of its kind: make test-long"]
async fn shards_are_added_and_removed_with_atomic_migration() {
    let valkey = json!({"engine": "Valkey", "image": "localhost/valkey:9"});
    scaled("cluster-atomic", with(cluster(), valkey)).await;
}

async fn scaled(name: &'static str, spec: Value) {
    let s = Scenario::shared(name).await;
    let db = s.ready("db", spec).await;
    db.annotate("redis.hera.dev/switchover", Some("db-s0-1"))
        .await;
    changed(&db, 0, "db-s0-0").await;
    db.annotate("redis.hera.dev/switchover", None).await;
    let writer = ShardedWriter::start(&db).await;
    writer.more(200).await;
    for shards in [4, 3] {
        db.patch(json!({"spec": {"shards": shards}})).await;
        whole(&db, shards, 1).await;
    }
    writer.more(50).await;
    writer.always_covered();
    let report = writer.finish().await;
    s.report(&format!("3 to 4 to 3 shards: {report}"));
    assert!(report.lost.is_empty(), "{report}: {:?}", report.lost);
    until("the pods of the shard are gone", LONG, || async {
        let pods = db.pods().await.len();
        ensure(pods == 6, || format!("{pods} pods"))
    })
    .await;
    db.no_event(&["FailingOver", "SlotsLost"]).await;
}

#[tokio::test]
async fn a_cluster_is_rolled_under_load() {
    let s = Scenario::shared("cluster-roll").await;
    let db = s.ready("db", cluster()).await;
    let uids = db.uids().await;
    let writer = ShardedWriter::start(&db).await;
    let replacements = Replacements::start(&db).await;
    writer.more(50).await;
    let old = primaries(&db).await;
    db.annotate("hera.dev/restarted-at", Some("2026-01-01T00:00:00Z"))
        .await;
    until("every pod is another one", LONG, || async {
        let now = db.uids().await;
        let kept = uids.iter().filter(|(pod, uid)| now.get(*pod) == Some(uid));
        let kept = kept.count();
        ensure(kept == 0 && now.len() == uids.len(), || {
            format!("{kept} kept")
        })
    })
    .await;
    whole(&db, 3, 1).await;
    writer.more(50).await;
    writer.always_covered();
    let report = writer.finish().await;
    s.report(&format!("rolling change of a cluster: {report}"));
    assert!(report.lost.is_empty(), "{report}: {:?}", report.lost);
    let order = replacements.order();
    assert_eq!(order.len(), 6, "each pod once: {order:?}");
    assert!(
        order[..3].iter().all(|pod| !old.contains(pod)),
        "replicas first: {order:?}"
    );
    assert_eq!(replacements.most_missing(), 1, "one pod at a time");
    db.no_event(&["FailingOver", "SlotsLost"]).await;
}
