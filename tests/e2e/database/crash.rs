//! The primary is lost: its process is killed, its pod is deleted without time to hand over, or its process hangs.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use serde_json::json;

use crate::support::database::{Database, replication, with};
use crate::support::faults::{killable, signal, try_signal};
use crate::support::scenario::Scenario;
use crate::support::wait::{SOON, ensure, until};
use crate::support::witness::Witness;
use crate::support::writer::Writer;

/// Its container starts again in place, with an empty disk: the same pod, the same address, a server that must not serve.
#[tokio::test]
async fn the_process_of_the_primary_is_killed() {
    let s = Scenario::shared("kill").await;
    let db = s.ready("db", with(replication(3), killable())).await;
    let old = db.primary().await;
    let uid = db.uids().await[&old].clone();
    let writer = Writer::start(&db).await;
    let witness = Witness::start(&db).await;
    writer.more(100).await;

    signal(&db, &old, "KILL").await;

    let new = failed_over(&s, &db, &old, writer, "kill -9 of the primary").await;
    assert_eq!(db.uids().await[&old], uid, "the pod is the same");
    assert_eq!(db.restarts().await[&old], 1);
    assert_eq!(witness.tenures(), [old, new]);
}

/// With a volume the server could load what it had: it is a replica all the same.
#[tokio::test]
async fn the_process_of_a_primary_with_a_volume_is_killed() {
    let s = Scenario::shared("kill-volume").await;
    let storage = json!({"storage": {"size": "1Gi", "whenDeleted": "Delete"}});
    let db = s
        .ready("db", with(with(replication(2), killable()), storage))
        .await;
    let old = db.primary().await;
    let writer = Writer::start(&db).await;
    let witness = Witness::start(&db).await;
    writer.more(100).await;

    signal(&db, &old, "KILL").await;

    let new = failed_over(&s, &db, &old, writer, "kill -9 of a primary with a volume").await;
    assert_eq!(witness.tenures(), [old, new]);
}

/// No grace: neither the hook of the pod nor Hera has time to hand over.
#[tokio::test]
async fn the_pod_of_the_primary_is_deleted_by_force() {
    let s = Scenario::shared("force").await;
    let db = s.ready("db", replication(3)).await;
    let old = db.primary().await;
    let uid = db.uids().await[&old].clone();
    let writer = Writer::start(&db).await;
    let witness = Witness::start(&db).await;
    writer.more(100).await;

    db.api::<Pod>()
        .delete(&old, &DeleteParams::default().grace_period(0))
        .await
        .expect("the pod is deleted");

    let new = failed_over(
        &s,
        &db,
        &old,
        writer,
        "deletion of the primary's pod by force",
    )
    .await;
    assert_ne!(db.uids().await[&old], uid, "the pod is another one");
    assert_eq!(witness.tenures(), [old, new]);
}

/// It is neither gone nor alive. When it goes on, another server is the primary, and its clients still hold their connections to it.
#[tokio::test]
async fn the_process_of_the_primary_hangs_and_goes_on() {
    let s = Scenario::shared("hang").await;
    let spec = with(
        with(replication(3), killable()),
        json!({"availability": {"unresponsiveAfterSeconds": 5}}),
    );
    let db = s.ready("db", spec).await;
    let old = db.primary().await;
    let uid = db.uids().await[&old].clone();
    let writer = Writer::start(&db).await;
    let witness = Witness::start(&db).await;
    writer.more(100).await;

    signal(&db, &old, "STOP").await;
    let new = db.another_primary(&old).await;
    // The kubelet may have ended it by now.
    let _ = try_signal(&db, &old, "CONT").await;

    let new_after = failed_over(&s, &db, &old, writer, "SIGSTOP of the primary").await;
    assert_eq!(new_after, new);
    assert_eq!(witness.tenures(), [old.clone(), new]);
    let replaced = db.uids().await[&old] != uid;
    s.report(&format!(
        "the pod of the server that hung was {}",
        if replaced { "replaced" } else { "kept" }
    ));
}

/// A replica that dies is nothing that clients of the primary notice.
#[tokio::test]
async fn the_process_of_a_replica_is_killed() {
    let s = Scenario::shared("replica").await;
    let db = s.ready("db", with(replication(3), killable())).await;
    let primary = db.primary().await;
    let replica = db
        .uids()
        .await
        .into_keys()
        .find(|pod| *pod != primary)
        .expect("a replica");
    let writer = Writer::start(&db).await;
    writer.more(50).await;

    signal(&db, &replica, "KILL").await;

    until("its container starts again", SOON, || async {
        ensure(db.restarts().await[&replica] == 1, || "not yet".into())
    })
    .await;
    db.ready().await;
    let report = writer.finish().await;
    s.report(&format!("kill -9 of a replica: {report}"));
    assert!(report.lost.is_empty(), "{report}");
    assert!(report.errors.is_empty(), "{report}");
    assert_eq!(db.one_primary().await, primary);
    db.no_event(&["FailingOver", "HandingOver"]).await;
}

/// All processes die at the same time, and there is no volume: the data is gone, and Hera says so and starts anew.
#[tokio::test]
async fn all_processes_without_volumes_are_killed() {
    let s = Scenario::shared("all").await;
    let db = s.ready("db", with(replication(2), killable())).await;
    db.set("key", "value").await;
    let pods: Vec<String> = db.uids().await.into_keys().collect();
    let kills = pods.iter().map(|pod| signal(&db, pod, "KILL"));
    futures::future::join_all(kills).await;

    until("every container started again", SOON, || async {
        let restarts = db.restarts().await;
        ensure(restarts.values().all(|n| *n == 1), || {
            format!("{restarts:?}")
        })
    })
    .await;
    db.ready().await;
    db.one_primary().await;
    db.set("key", "value").await;
}

/// Waits until all is well again; the number of lost writes is only told: replication is asynchronous.
async fn failed_over(s: &Scenario, db: &Database, old: &str, writer: Writer, what: &str) -> String {
    let new = db.another_primary(old).await;
    writer.more(100).await;
    db.event("FailingOver").await;
    db.event("FailoverCompleted").await;
    db.ready().await;
    let report = writer.finish().await;
    s.report(&format!("{what}: {report}"));
    // With `min-replicas-to-write` a primary stops taking writes that nobody else has; what is in flight may be lost.
    assert!(report.lost.len() <= report.acknowledged / 10, "{report}");
    assert!(report.gap < Duration::from_secs(60), "{report}");
    assert_eq!(db.one_primary().await, new);
    db.no_event(&["DataSetEmpty", "NoLineageProof"]).await;
    new
}
