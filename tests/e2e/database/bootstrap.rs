//! A new database that copies a running server, and takes over from it.

use hera::operators::redis::api::BootstrapState;
use serde_json::{Value, json};

use crate::support::cluster::kubectl;
use crate::support::database::{Database, replication, standalone, with};
use crate::support::faults::{delete_pod, killable, signal};
use crate::support::foreign;
use crate::support::scenario::Scenario;
use crate::support::server::kind;
use crate::support::writer::Writer;

/// Of the server `old`.
pub const PASSWORD: &str = "old-secret";

/// This spec, as a copy of the server `old`.
pub fn copying(base: Value) -> Value {
    let external = json!({"host": "old", "passwordSecretRef": {"name": "old", "key": "password"}});
    with(base, json!({"bootstrap": {"external": external}}))
}

/// Asks for the cut-over.
pub async fn cut_over(db: &Database) {
    db.patch(json!({"spec": {"bootstrap": {"cutOver": true}}}))
        .await;
}

/// Waits until the copy has everything.
pub async fn follows(db: &Database) {
    db.wait_for("Bootstrapped", "False", &["BootstrapFollowing"])
        .await;
}

/// Every write that the old server acknowledged is there, and those that the new one did; nothing is copied afterwards.
pub async fn moves(s: &Scenario, writer: Writer, db: &Database) {
    db.wait_for("Bootstrapped", "True", &["BootstrapCompleted"])
        .await;
    writer.move_to(db.primary_endpoint().await);
    stop_old(s).await;
    writer.more(100).await;
    db.ready().await;
    let report = writer.finish().await;
    s.report(&report.to_string());
    assert!(report.lost.is_empty(), "{report}");
    let record = db.status().await.bootstrap.expect("a record");
    assert_eq!(record.state, BootstrapState::Completed);
    for pod in db.pods().await.into_keys() {
        let server = db.server(&pod).await;
        let login = server.config("masteruser").await.expect("a value");
        let announced = server.config("replica-announce-ip").await.expect("a value");
        assert_eq!(
            (login.as_str(), announced.as_str()),
            ("hera-replication", "")
        );
    }
}

async fn stop_old(s: &Scenario) {
    let namespace = &s.namespace;
    kubectl(&["delete", "pod", "old", "--namespace", namespace, "--now"])
        .await
        .expect("the old server is stopped");
}

/// From Redis 7.0 to Valkey 9, which can read its data, with three pods.
#[tokio::test]
async fn a_copy_takes_over_without_losing_a_write() {
    let s = Scenario::shared("bootstrap").await;
    foreign::apply(
        &s,
        &foreign::single("docker.io/library/redis:7.0", PASSWORD),
    )
    .await;
    let old = foreign::endpoint(&s, "old", PASSWORD).await;
    let writer = Writer::start_at(old.clone()).await;
    writer.more(100).await;
    let spec = with(
        replication(3),
        json!({"engine": "Valkey", "version": "9.0"}),
    );
    let db = s.create("db", copying(spec)).await;
    follows(&db).await;
    let status = db.status().await;
    assert_eq!(
        (status.primary, status.phase.as_deref()),
        (None, Some("Bootstrapping"))
    );

    // Reads are served, writes are not.
    let copy = db.primary_endpoint().await;
    let read = copy.ask::<Option<String>>(&["GET", "write:00000001"]).await;
    assert_eq!(read.expect("a value").as_deref(), Some("1"));
    let refused = copy.ask::<String>(&["SET", "k", "v"]).await;
    assert_eq!(kind(&refused.expect_err("no write")), "READONLY");

    // The pod that copies is lost, and copies anew.
    let pod = status.bootstrap.expect("a record").pod;
    delete_pod(&db, &pod).await;
    db.wait_for("Bootstrapped", "False", &["BootstrapCopying"])
        .await;
    follows(&db).await;
    cut_over(&db).await;
    moves(&s, writer, &db).await;
    let primary = db.one_primary().await;

    // It is a database like any other now: the spec that is still there copies nothing again.
    foreign::apply(
        &s,
        &foreign::single("docker.io/library/redis:7.0", PASSWORD),
    )
    .await;
    foreign::endpoint(&s, "old", PASSWORD).await;
    db.set("after", "v").await;
    delete_pod(&db, &primary).await;
    db.another_primary(&primary).await;
    db.ready().await;
    let kept = db.primary_endpoint().await;
    let kept = kept.ask::<Option<String>>(&["GET", "after"]).await;
    assert_eq!(kept.expect("a value").as_deref(), Some("v"));
    db.patch(json!({"spec": {"bootstrap": null}})).await;
    db.ready().await;
}

/// A version that cannot read the data copies nothing; the right one heals it. A single server with a volume.
#[tokio::test]
async fn a_server_that_cannot_be_read_is_left_alone() {
    let s = Scenario::shared("bootstrap-gate").await;
    foreign::apply(
        &s,
        &foreign::single("docker.io/library/redis:8.0", PASSWORD),
    )
    .await;
    let old = foreign::endpoint(&s, "old", PASSWORD).await;
    let writer = Writer::start_at(old.clone()).await;
    let spec = with(
        standalone(),
        json!({"version": "7.0", "storage": {"size": "1Gi", "whenDeleted": "Delete"}}),
    );
    let db = s.create("db", copying(spec)).await;
    let told = db
        .wait_for("Bootstrapped", "False", &["IncompatibleVersion"])
        .await;
    assert!(told.message.contains("8.0"), "{}", told.message);
    db.blocked("IncompatibleVersion").await;
    let links = old.info("replication", "connected_slaves").await;
    assert_eq!(links.as_deref(), Ok("0"));

    db.patch(json!({"spec": {"version": "8.0"}})).await;
    follows(&db).await;
    cut_over(&db).await;
    moves(&s, writer, &db).await;
}

/// The old server is gone for good: without the field, what was copied is served.
#[tokio::test]
async fn what_was_copied_is_served_when_the_field_is_removed() {
    let s = Scenario::shared("bootstrap-lost").await;
    foreign::apply(
        &s,
        &foreign::single("docker.io/library/redis:8.0", PASSWORD),
    )
    .await;
    let old = foreign::endpoint(&s, "old", PASSWORD).await;
    old.ask::<String>(&["SET", "k", "v"])
        .await
        .expect("a write");
    let db = s
        .create("db", copying(with(replication(2), killable())))
        .await;
    follows(&db).await;
    stop_old(&s).await;
    db.wait_for("Bootstrapped", "False", &["BootstrapSourceUnavailable"])
        .await;
    db.blocked("BootstrapSourceUnavailable").await;
    db.patch(json!({"spec": {"bootstrap": null}})).await;
    db.ready().await;
    let copy = db.primary_endpoint().await;
    let kept = copy.ask::<Option<String>>(&["GET", "k"]).await;
    assert_eq!(kept.expect("a value").as_deref(), Some("v"));
    // The one that copied fails over to the other like any primary.
    let primary = db.one_primary().await;
    signal(&db, &primary, "KILL").await;
    db.another_primary(&primary).await;
    db.ready().await;
}
