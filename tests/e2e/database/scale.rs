//! The number of pods changes.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::cluster::kubectl;
use crate::support::database::{Database, replication, with};
use crate::support::scenario::Scenario;
use crate::support::wait::{LONG, ensure, until};
use crate::support::witness::Witness;
use crate::support::writer::Writer;

/// From one to five, and back to three, with the primary on a pod that is to go.
#[tokio::test]
async fn out_and_in_while_clients_write() {
    let s = Scenario::shared("scale").await;
    let db = s.ready("db", replication(1)).await;
    let writer = Writer::start(&db).await;
    let witness = Witness::start(&db).await;

    scale(&db, 5).await;
    assert_eq!(db.one_primary().await, "db-0");
    db.annotate("redis.hera.dev/switchover", Some("db-4")).await;
    until("db-4 is the primary", LONG, || async {
        let primary = db.status().await.primary;
        ensure(primary.as_deref() == Some("db-4"), || {
            format!("{primary:?}")
        })
    })
    .await;
    db.annotate("redis.hera.dev/switchover", None).await;
    db.ready().await;

    scale(&db, 3).await;
    let new = db.one_primary().await;
    writer.more(50).await;
    let report = writer.finish().await;
    s.report(&format!("scaling 1 to 5 to 3: {report}"));
    assert!(report.lost.is_empty(), "{report}: {:?}", report.lost);
    assert_eq!(witness.tenures(), ["db-0", "db-4", &new]);
    db.no_event(&["FailingOver", "HandOverFailed"]).await;
}

/// What `spec.storage.whenScaled` says about the claims of the pods that go.
#[tokio::test]
async fn claims_of_removed_pods_are_kept_or_removed() {
    let s = Scenario::shared("claims").await;
    let spec = with(
        replication(2),
        json!({"storage": {"size": "1Gi", "whenScaled": "Retain", "whenDeleted": "Delete"}}),
    );
    let db = s.ready("db", spec).await;
    let both = claims(&db).await;
    assert_eq!(both.len(), 2);

    scale(&db, 1).await;
    assert_eq!(claims(&db).await, both, "kept");
    scale(&db, 2).await;
    assert_eq!(claims(&db).await, both, "used again");

    db.patch(json!({"spec": {"storage": {"whenScaled": "Delete"}}}))
        .await;
    scale(&db, 1).await;
    until(
        "the claim of the pod that went is removed",
        LONG,
        || async {
            let left = claims(&db).await;
            ensure(left.len() == 1 && left.contains_key("data-db-0"), || {
                format!("{left:?}")
            })
        },
    )
    .await;
}

/// Names and UIDs of the claims.
async fn claims(db: &Database) -> BTreeMap<String, String> {
    let claims = db.claims().await.into_iter();
    claims
        .map(|(name, c)| (name, c.metadata.uid.unwrap_or_default()))
        .collect()
}

async fn scale(db: &Database, replicas: i32) {
    let count = format!("--replicas={replicas}");
    kubectl(&["-n", &db.namespace, "scale", "redis", &db.name, &count])
        .await
        .expect("it is scaled");
    db.ready().await;
    until("there are so many pods", LONG, || async {
        let pods: Vec<String> = db.uids().await.into_keys().collect();
        ensure(i32::try_from(pods.len()) == Ok(replicas), || {
            format!("{pods:?}")
        })
    })
    .await;
    db.ready().await;
}
