//! A database that sleeps and wakes with all its data.

use k8s_openapi::api::apps::v1::StatefulSet;
use serde_json::json;

use super::cluster::{cluster, whole};
use crate::support::database::{Database, replication, with};
use crate::support::scenario::Scenario;
use crate::support::sharded::ShardedWriter;
use crate::support::wait::{LONG, ensure, until};
use crate::support::writer::Writer;

#[tokio::test]
async fn it_sleeps_and_wakes_with_its_data() {
    let s = Scenario::shared("hibernate").await;
    let storage =
        json!({"storage": {"size": "1Gi", "whenDeleted": "Delete", "whenScaled": "Delete"}});
    let db = s.ready("db", with(replication(3), storage)).await;
    // The newest data is to be on the volume of a pod that is not wanted any more when it wakes.
    db.annotate("redis.hera.dev/switchover", Some("db-2")).await;
    db.primary_becomes("db-2").await;
    db.ready().await;
    db.annotate("redis.hera.dev/switchover", None).await;
    let writer = Writer::start(&db).await;
    writer.more(100).await;

    db.patch(json!({"spec": {"hibernate": true}})).await;
    no_pods(&db).await;
    db.wait_for("Ready", "False", &["Hibernated"]).await;
    db.wait_for("DataLossRisk", "False", &["NoRisk"]).await;
    assert_eq!(db.status().await.phase.as_deref(), Some("Hibernated"));
    assert_eq!(db.claims().await.len(), 3, "the volumes stay");
    assert!(db.endpoints("db").await.is_empty());

    db.patch(json!({"spec": {"hibernate": false, "replicas": 2}}))
        .await;
    db.ready().await;
    writer.more(20).await;
    let report = writer.finish().await;
    s.report(&format!("hibernated and awake: {report}"));
    assert!(report.lost.is_empty(), "{report}: {:?}", report.lost);
    until("the third pod and its volume are gone", LONG, || async {
        let (pods, claims) = (db.uids().await.len(), db.claims().await.len());
        ensure((pods, claims) == (2, 2), || format!("{pods} {claims}"))
    })
    .await;
    db.ready().await;
    db.no_event(&["DataSetEmpty", "NoLineageProof"]).await;
}

/// Every node comes back at another address with its slots and its data.
#[tokio::test]
async fn a_cluster_sleeps_and_wakes_with_its_data() {
    let s = Scenario::shared("hibernate-shards").await;
    let storage = json!({"storage": {"size": "1Gi", "whenDeleted": "Delete"}});
    let db = s.ready("db", with(cluster(), storage)).await;
    let writer = ShardedWriter::start(&db).await;
    writer.more(100).await;
    db.patch(json!({"spec": {"hibernate": true}})).await;
    no_pods(&db).await;
    db.wait_for("Ready", "False", &["Hibernated"]).await;
    assert_eq!(db.claims().await.len(), 6, "the volumes stay");
    db.patch(json!({"spec": {"hibernate": false}})).await;
    whole(&db, 3, 1).await;
    writer.more(50).await;
    let report = writer.finish().await;
    s.report(&format!("a cluster hibernated and awake: {report}"));
    assert!(report.lost.is_empty(), "{report}: {:?}", report.lost);
    db.no_event(&["SlotsLost"]).await;
}

async fn no_pods(db: &Database) {
    until("no pod is left", LONG, || async {
        let sets = db.list::<StatefulSet>().await;
        let wanted = sets
            .iter()
            .filter_map(|s| s.spec.as_ref()?.replicas)
            .sum::<i32>();
        let left = db.uids().await.len();
        ensure((wanted, left) == (0, 0), || format!("{wanted} {left}"))
    })
    .await;
}
