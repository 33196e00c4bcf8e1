//! One server.

use std::time::Duration;

use serde_json::json;

use crate::support::database::{Database, standalone, with};
use crate::support::faults::{killable, signal};
use crate::support::scenario::Scenario;
use crate::support::wait::{LONG, SOON, ensure, stays, until};
use crate::support::writer::Writer;

/// Every acknowledged write is on the volume when the server is stopped for a change.
#[tokio::test]
async fn a_volume_keeps_the_data_over_restarts() {
    let s = Scenario::shared("standalone").await;
    let storage = json!({"storage": {"size": "1Gi", "whenDeleted": "Delete"}});
    let db = s
        .ready("db", with(with(standalone(), killable()), storage))
        .await;
    let uid = db.uids().await["db-0"].clone();
    let writer = Writer::start(&db).await;
    writer.more(50).await;

    db.patch(json!({"spec": {"config": {"databases": "32"}}}))
        .await;
    replaced(&db, &uid).await;
    db.ready().await;
    writer.more(50).await;
    let report = writer.finish().await;
    s.report(&format!("restart of a single server: {report}"));
    assert!(report.lost.is_empty(), "{report}: {:?}", report.lost);
    assert_eq!(
        db.server("db-0").await.config("databases").await.unwrap(),
        "32"
    );

    let keys = size(&db).await;
    signal(&db, "db-0", "KILL").await;
    until("its container starts again", SOON, || async {
        ensure(db.restarts().await["db-0"] == 1, || "not yet".into())
    })
    .await;
    db.ready().await;
    assert_eq!(size(&db).await, keys, "the data is there");
}

/// A restart would lose all data: it is not done until somebody says so.
#[tokio::test]
async fn data_without_a_volume_is_not_thrown_away() {
    let s = Scenario::shared("risk").await;
    let db = s.ready("db", standalone()).await;
    let uids = db.uids().await;
    let primary = db.primary_endpoint().await;
    db.set("key", "value").await;

    db.patch(json!({"spec": {"config": {"databases": "32"}}}))
        .await;
    db.wait_for("DataLossRisk", "True", &["RestartWouldLoseData"])
        .await;
    db.wait_for("Ready", "False", &["RestartWouldLoseData"])
        .await;
    db.blocked("RestartWouldLoseData").await;
    stays("the server runs on", Duration::from_secs(5), || async {
        let now = db.uids().await;
        ensure(now == uids, || format!("{now:?}"))
    })
    .await;
    let value: String = primary.ask(&["GET", "key"]).await.expect("a read");
    assert_eq!(value, "value");

    db.annotate("redis.hera.dev/accept-data-loss", Some("true"))
        .await;
    replaced(&db, &uids["db-0"]).await;
    db.ready().await;
    db.wait_for("DataLossRisk", "False", &[]).await;
    assert_eq!(
        db.server("db-0").await.config("databases").await.unwrap(),
        "32"
    );
}

async fn replaced(db: &Database, uid: &str) {
    until("the pod is another one", LONG, || async {
        let now = db.uids().await;
        ensure(now.get("db-0").is_some_and(|now| now != uid), || {
            "not yet".into()
        })
    })
    .await;
}

async fn size(db: &Database) -> u64 {
    let primary = db.primary_endpoint().await;
    until("the server answers", SOON, || async {
        primary
            .ask::<u64>(&["DBSIZE"])
            .await
            .map_err(|e| e.to_string())
    })
    .await
}
