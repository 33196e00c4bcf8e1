//! Changes that need restarts: replicas first, the primary last after a hand-over, one pod at a time, and no write is lost.

use serde_json::{Value, json};

use crate::support::database::{Database, replication, with};
use crate::support::replacements::Replacements;
use crate::support::scenario::Scenario;
use crate::support::wait::{LONG, ensure, until};
use crate::support::witness::Witness;
use crate::support::writer::Writer;

#[tokio::test]
async fn the_image_changes() {
    let s = Scenario::shared("image").await;
    let db = s
        .ready(
            "db",
            with(
                replication(3),
                json!({"image": "docker.io/library/redis:8.0"}),
            ),
        )
        .await;
    roll(&s, &db, json!({"spec": {"image": "localhost/redis:8.0"}})).await;
    for pod in db.pods().await.into_values() {
        let container = &pod.spec.expect("a spec").containers[0];
        assert_eq!(container.image.as_deref(), Some("localhost/redis:8.0"));
    }
}

/// A server of the old version cannot read what a newer primary sends it.
#[tokio::test]
async fn the_version_goes_up() {
    let s = Scenario::shared("version").await;
    let db = s
        .ready("db", with(replication(3), json!({"version": "7.0"})))
        .await;
    let before = db.status().await.version.unwrap_or_default();
    assert!(before.starts_with("Redis 7.0"), "{before}");
    roll(&s, &db, json!({"spec": {"version": "8.0"}})).await;
    let after = db.status().await.version.unwrap_or_default();
    assert!(after.starts_with("Redis 8.0"), "{after}");
}

/// A version that cannot read the data is told before any pod is restarted, and what it has stays served.
#[tokio::test]
async fn the_version_does_not_go_down() {
    let s = Scenario::shared("downgrade").await;
    let db = s
        .ready("db", with(replication(2), json!({"version": "8.0"})))
        .await;
    let uids = db.uids().await;
    let writer = Writer::start(&db).await;
    db.patch(json!({"spec": {"version": "7.0"}})).await;
    db.wait_for("Ready", "False", &["IncompatibleVersion"])
        .await;
    db.blocked("IncompatibleVersion").await;
    writer.more(100).await;
    assert_eq!(db.uids().await, uids, "no pod is restarted");
    db.patch(json!({"spec": {"version": "8.0"}})).await;
    db.ready().await;
    let report = writer.finish().await;
    assert!(
        report.lost.is_empty() && report.errors.is_empty(),
        "{report}"
    );
    assert_eq!(db.uids().await, uids, "no pod is restarted");
}

#[tokio::test]
async fn a_directive_that_needs_a_restart_changes() {
    let s = Scenario::shared("databases").await;
    let db = s.ready("db", replication(3)).await;
    roll(&s, &db, json!({"spec": {"config": {"databases": "32"}}})).await;
    db.wait_for("ConfigApplied", "True", &["ConfigVerified"])
        .await;
    for pod in db.uids().await.into_keys() {
        assert_eq!(
            db.server(&pod).await.config("databases").await.unwrap(),
            "32"
        );
    }
}

/// Two pods without volumes: a restart is only allowed because the other one has the data.
#[tokio::test]
async fn a_restart_is_asked_for() {
    let s = Scenario::shared("restart").await;
    let db = s.ready("db", replication(2)).await;
    roll(
        &s,
        &db,
        json!({"metadata": {"annotations": {"hera.dev/restarted-at": "2026-01-01T00:00:00Z"}}}),
    )
    .await;
}

/// A second change comes while the first one is carried out.
#[tokio::test]
async fn the_spec_changes_during_a_roll() {
    let s = Scenario::shared("twice").await;
    let db = s.ready("db", replication(3)).await;
    let writer = Writer::start(&db).await;
    let first = db.uids().await;
    db.patch(json!({"spec": {"config": {"databases": "20"}}}))
        .await;
    until("the first pod is replaced", LONG, || async {
        ensure(db.uids().await != first, || "none yet".into())
    })
    .await;
    db.patch(json!({"spec": {"config": {"databases": "24"}}}))
        .await;
    db.ready().await;
    writer.more(50).await;
    let report = writer.finish().await;
    s.report(&report.to_string());
    assert!(report.lost.is_empty(), "{report}: {:?}", report.lost);
    for pod in db.uids().await.into_keys() {
        assert_eq!(
            db.server(&pod).await.config("databases").await.unwrap(),
            "24"
        );
    }
    db.one_primary().await;
    db.no_event(&["FailingOver"]).await;
}

/// Makes the change under load and checks how it was carried out.
async fn roll(s: &Scenario, db: &Database, change: Value) {
    let old = db.one_primary().await;
    let uids = db.uids().await;
    let writer = Writer::start(db).await;
    let witness = Witness::start(db).await;
    let replacements = Replacements::start(db).await;
    writer.more(50).await;

    db.patch(change).await;

    until("every pod is another one", LONG, || async {
        let now = db.uids().await;
        let kept = uids.iter().filter(|(pod, uid)| now.get(*pod) == Some(uid));
        let kept: Vec<&String> = kept.map(|(pod, _)| pod).collect();
        ensure(kept.is_empty() && now.len() == uids.len(), || {
            format!("not yet replaced: {kept:?}")
        })
    })
    .await;
    db.ready().await;
    writer.more(50).await;
    let report = writer.finish().await;
    s.report(&format!("rolling change: {report}"));

    assert!(report.lost.is_empty(), "{report}: {:?}", report.lost);
    let order = replacements.order();
    assert_eq!(order.last(), Some(&old), "the primary last: {order:?}");
    assert_eq!(order.len(), uids.len(), "each pod once: {order:?}");
    assert_eq!(replacements.most_missing(), 1, "one pod at a time");
    let new = db.one_primary().await;
    assert_eq!(witness.tenures(), [old, new]);
    db.event("HandOverCompleted").await;
    db.no_event(&["FailingOver", "HandOverFailed"]).await;
}
