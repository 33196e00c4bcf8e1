//! The other engine.

use serde_json::json;

use crate::support::database::{replication, with};
use crate::support::faults::{killable, signal};
use crate::support::scenario::Scenario;
use crate::support::witness::Witness;
use crate::support::writer::Writer;

#[tokio::test]
async fn valkey_fails_over_and_hands_over() {
    let s = Scenario::shared("valkey").await;
    let spec = with(
        with(replication(3), killable()),
        json!({"engine": "Valkey", "image": "localhost/valkey:9"}),
    );
    let db = s.ready("db", spec).await;
    let version = db.status().await.version.unwrap_or_default();
    assert!(version.starts_with("Valkey 9."), "{version}");
    let old = db.primary().await;
    let writer = Writer::start(&db).await;
    let witness = Witness::start(&db).await;
    writer.more(50).await;

    signal(&db, &old, "KILL").await;
    let new = db.another_primary(&old).await;
    db.ready().await;
    db.annotate("redis.hera.dev/switchover", Some(&old)).await;
    let again = db.another_primary(&new).await;
    assert_eq!(again, old);
    db.event("HandOverCompleted").await;
    db.ready().await;
    writer.more(50).await;
    let report = writer.finish().await;
    s.report(&format!("kill -9, then a hand-over back: {report}"));
    assert!(report.lost.len() <= report.acknowledged / 10, "{report}");
    assert_eq!(witness.tenures(), [old.clone(), new, old.clone()]);
    assert_eq!(db.one_primary().await, old);
}
