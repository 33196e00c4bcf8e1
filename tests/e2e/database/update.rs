//! What the user allows: pauses, approval of the primary, a maintenance window.

use std::time::Duration;

use serde_json::json;

use crate::support::database::{replication, with};
use crate::support::scenario::Scenario;
use crate::support::wait::{LONG, ensure, stays, until};
use crate::support::writer::Writer;

#[tokio::test]
async fn a_change_waits_for_what_the_user_allows() {
    let s = Scenario::shared("approval").await;
    let held = json!({"update": {"paused": true, "primary": "Approved"}});
    let db = s.ready("db", with(replication(3), held)).await;
    let old = db.primary().await;
    let before = db.uids().await;
    let writer = Writer::start(&db).await;

    db.patch(json!({"spec": {"config": {"databases": "32"}}}))
        .await;
    db.wait_for("Progressing", "True", &["UpdatePaused"]).await;
    db.wait_for("Ready", "False", &["UpdatePaused"]).await;
    stays("no pod is restarted", Duration::from_secs(5), || async {
        ensure(db.uids().await == before, || "a pod was replaced".into())
    })
    .await;

    db.patch(json!({"spec": {"update": {"paused": false}}}))
        .await;
    let told = db
        .wait_for("Progressing", "True", &["ApprovalNeeded"])
        .await;
    let now = db.uids().await;
    assert_eq!(now[&old], before[&old], "the primary was left alone");
    assert_eq!(db.primary().await, old);
    let kept = now.iter().filter(|(pod, uid)| before[*pod] == **uid);
    assert_eq!(kept.count(), 1, "both replicas were restarted");

    let revision = told.message.rsplit(' ').next().expect("a revision");
    db.annotate("redis.hera.dev/approve-update", Some(revision))
        .await;
    until("the primary is restarted", LONG, || async {
        let now = db.uids().await;
        ensure(
            now.get(&old).is_some_and(|uid| *uid != before[&old]),
            || "not yet".into(),
        )
    })
    .await;
    db.ready().await;
    writer.more(20).await;
    let report = writer.finish().await;
    s.report(&format!("approved change: {report}"));
    assert!(report.lost.is_empty(), "{report}: {:?}", report.lost);
    db.no_event(&["FailingOver"]).await;
}
