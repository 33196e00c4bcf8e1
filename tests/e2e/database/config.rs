//! Directives that the servers take while they run.

use std::time::Duration;

use serde_json::json;

use crate::support::database::{Database, replication, with};
use crate::support::scenario::Scenario;
use crate::support::wait::{LONG, SOON, ensure, stays, until};
use crate::support::writer::Writer;

#[tokio::test]
async fn directives_are_set_live_and_taken_back() {
    let s = Scenario::shared("live").await;
    let db = s.ready("db", replication(2)).await;
    let uids = db.uids().await;
    let before = value(&db, "slowlog-log-slower-than").await;

    db.patch(
        json!({"spec": {"config": {"slowlog-log-slower-than": "12345", "maxclients": "1234"}}}),
    )
    .await;
    db.wait_for("ConfigApplied", "True", &["ConfigVerified"])
        .await;
    everywhere(&db, "slowlog-log-slower-than", "12345").await;
    everywhere(&db, "maxclients", "1234").await;

    db.patch(json!({"spec": {"config": {"slowlog-log-slower-than": null}}}))
        .await;
    everywhere(&db, "slowlog-log-slower-than", &before).await;
    db.ready().await;
    everywhere(&db, "maxclients", "1234").await;
    assert_eq!(db.uids().await, uids, "no pod was replaced");
    assert!(db.restarts().await.values().all(|n| *n == 0));

    // A new server has it from the start.
    let replica = replica(&db).await;
    crate::support::faults::delete_pod(&db, &replica).await;
    until("the pod is another one", SOON, || async {
        let now = db.uids().await;
        ensure(
            now.get(&replica).is_some_and(|u| *u != uids[&replica]),
            || "not yet".into(),
        )
    })
    .await;
    db.ready().await;
    everywhere(&db, "maxclients", "1234").await;
}

/// The server says no: nothing restarts, the rest is applied, and the condition names the directive.
#[tokio::test]
async fn a_value_that_the_server_refuses_is_told() {
    let s = Scenario::shared("refused").await;
    let db = s.ready("db", replication(2)).await;
    let uids = db.uids().await;
    let writer = Writer::start(&db).await;
    for (directive, bad) in [("maxclients", "many"), ("no-such-directive", "1")] {
        db.patch(json!({"spec": {"config": {directive: bad}}}))
            .await;
        let told = db
            .wait_for("ConfigApplied", "False", &["InvalidConfig"])
            .await;
        assert!(told.message.contains(directive), "{}", told.message);
        db.wait_for("Ready", "False", &["InvalidConfig"]).await;
        db.blocked("InvalidConfig").await;
        db.wait_for("PrimaryAvailable", "True", &[]).await;
        db.patch(json!({"spec": {"config": {directive: null}}}))
            .await;
        db.ready().await;
    }
    assert_eq!(db.uids().await, uids, "no pod was replaced");
    assert!(db.restarts().await.values().all(|n| *n == 0));
    let report = writer.finish().await;
    assert!(
        report.lost.is_empty() && report.errors.is_empty(),
        "{report}"
    );
}

/// The server does not start with it: one replica is lost, the others serve, and the spec that is put right heals it.
#[tokio::test]
async fn a_value_that_keeps_a_server_from_starting_stops_the_roll() {
    let s = Scenario::shared("crash-loop").await;
    let db = s.ready("db", replication(3)).await;
    let primary = db.primary().await;
    let uids = db.uids().await;
    let writer = Writer::start(&db).await;

    db.patch(json!({"spec": {"config": {"databases": "-5"}}}))
        .await;
    db.wait_for("Ready", "False", &["PodCrashing"]).await;
    db.blocked("PodCrashing").await;
    stays(
        "only one pod is replaced",
        Duration::from_secs(5),
        || async {
            let now = db.uids().await;
            let replaced = uids
                .iter()
                .filter(|(pod, uid)| now.get(*pod) != Some(uid))
                .count();
            ensure(replaced == 1, || format!("{replaced} are replaced"))
        },
    )
    .await;

    db.patch(json!({"spec": {"config": {"databases": null}}}))
        .await;
    db.ready().await;
    let report = writer.finish().await;
    s.report(&report.to_string());
    assert!(
        report.lost.is_empty() && report.errors.is_empty(),
        "{report}"
    );
    assert_eq!(db.one_primary().await, primary);
    assert_eq!(
        db.uids().await[&primary],
        uids[&primary],
        "the primary stayed"
    );
}

/// `maxmemory` follows the limit of the container without a restart of its own.
#[tokio::test]
async fn memory_follows_the_limit() {
    let s = Scenario::shared("memory").await;
    let spec = with(
        replication(1),
        json!({"memory": {"maxMemoryPercent": 50, "policy": "allkeys-lru"}}),
    );
    let db = s.ready("db", spec).await;
    everywhere(&db, "maxmemory", &(48 * 1024 * 1024).to_string()).await;
    everywhere(&db, "maxmemory-policy", "allkeys-lru").await;
    let uids = db.uids().await;
    db.patch(json!({"spec": {"memory": {"maxMemoryPercent": 25, "policy": "noeviction"}}}))
        .await;
    everywhere(&db, "maxmemory", &(24 * 1024 * 1024).to_string()).await;
    everywhere(&db, "maxmemory-policy", "noeviction").await;
    assert_eq!(db.uids().await, uids, "no pod was replaced");
}

async fn replica(db: &Database) -> String {
    let primary = db.primary().await;
    let pods = db.uids().await.into_keys();
    pods.into_iter()
        .find(|pod| *pod != primary)
        .expect("a replica")
}

async fn value(db: &Database, directive: &str) -> String {
    let primary = db.primary().await;
    db.server(&primary)
        .await
        .config(directive)
        .await
        .expect("a value")
}

async fn everywhere(db: &Database, directive: &str, wanted: &str) {
    until(&format!("{directive} is {wanted}"), LONG, || async {
        for pod in db.uids().await.into_keys() {
            let found = db.server(&pod).await.config(directive).await?;
            ensure(found == wanted, || format!("{pod} has {found}"))?;
        }
        Ok(())
    })
    .await;
}
