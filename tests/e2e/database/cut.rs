//! The network of the primary is cut: from everybody, or from Hera alone.

use std::time::Duration;

use kube::ResourceExt;
use serde_json::json;

use crate::support::cluster::is_throw_away;
use crate::support::database::{Database, replication, with};
use crate::support::faults::Cut;
use crate::support::hera;
use crate::support::scenario::Scenario;
use crate::support::server::PATIENT;
use crate::support::wait::{SOON, ensure, stays, until};
use crate::support::witness::Witness;
use crate::support::writer::Writer;

/// It lives and does not know that it is the primary no more. When the network heals, it must not be found by anybody as such.
#[tokio::test]
async fn the_primary_is_cut_off_from_everything_and_comes_back() {
    let s = Scenario::shared("cut").await;
    if !is_throw_away().await {
        return s.report("left out: only the throw-away cluster's network can be cut");
    }
    let spec = with(
        replication(3),
        json!({"availability": {"unresponsiveAfterSeconds": 5}}),
    );
    let db = s.ready("db", spec).await;
    let old = db.primary().await;
    let held = db.server(&old).await;
    let mut connection = held
        .connect(PATIENT)
        .await
        .expect("a connection to the primary");
    let writer = Writer::start(&db).await;
    let witness = Witness::start(&db).await;
    writer.more(100).await;

    let cut = Cut::from_everything(&held.host).await;
    let new = db.another_primary(&old).await;
    writer.more(100).await;
    db.event("FailoverCompleted").await;
    drop(cut);

    db.ready().await;
    let report = writer.finish().await;
    s.report(&format!("the primary cut off from everything: {report}"));
    assert!(report.lost.len() <= report.acknowledged / 10, "{report}");
    assert_eq!(db.one_primary().await, new);
    assert_eq!(witness.tenures(), [old, new]);
    let after = redis::cmd("SET")
        .arg("late")
        .arg("x")
        .query_async::<()>(&mut connection)
        .await;
    assert!(after.is_err(), "a client of the old primary writes on");
}

/// Hera does not hear from the primary, but the replicas do: it is not dead, and nothing happens.
#[tokio::test]
async fn the_primary_is_cut_off_from_hera_alone() {
    let s = Scenario::shared("cut-hera").await;
    if !is_throw_away().await {
        return s.report("left out: only the throw-away cluster's network can be cut");
    }
    let spec = with(
        replication(3),
        json!({"availability": {"unresponsiveAfterSeconds": 3}}),
    );
    let db = s.ready("db", spec).await;
    let primary = db.primary().await;
    let uids = db.uids().await;
    let writer = Writer::start(&db).await;
    writer.more(50).await;

    let ip = db.server(&primary).await.host;
    let mut cuts = Vec::new();
    for pod in hera::pods(&s.client).await {
        let own = pod.status.as_ref().and_then(|s| s.pod_ip.clone());
        let own = own.unwrap_or_else(|| panic!("{} has no address", pod.name_any()));
        cuts.push(Cut::between(&own, &ip).await);
    }
    let seen = db.wait_for("Ready", "False", &[]).await;
    assert_eq!(seen.reason, "PrimaryUnreachable", "{}", seen.message);
    stays("the primary", Duration::from_secs(15), || async {
        let status = db.status().await;
        let election = status.election.map(|e| e.candidate);
        ensure(election.as_ref() == Some(&primary), || {
            format!("{election:?}")
        })?;
        let led = db.endpoints(&db.name).await;
        ensure(led == [primary.clone()], || {
            format!("the Service leads to {led:?}")
        })
    })
    .await;
    drop(cuts);

    db.ready().await;
    let report = writer.finish().await;
    s.report(&format!("the primary cut off from Hera alone: {report}"));
    assert!(
        report.lost.is_empty() && report.errors.is_empty(),
        "{report}"
    );
    assert_eq!(db.one_primary().await, primary);
    assert_eq!(db.uids().await, uids, "no pod was replaced");
    db.no_event(&["FailingOver", "HandingOver"]).await;
}

/// A replica that is cut off counts no longer, and comes back in sync.
#[tokio::test]
async fn a_replica_is_cut_off_and_comes_back() {
    let s = Scenario::shared("cut-replica").await;
    if !is_throw_away().await {
        return s.report("left out: only the throw-away cluster's network can be cut");
    }
    let db = s.ready("db", replication(3)).await;
    let primary = db.primary().await;
    let replica = db.uids().await.into_keys().find(|pod| *pod != primary);
    let replica = replica.expect("a replica");
    let writer = Writer::start(&db).await;
    writer.more(50).await;

    let cut = Cut::from_everything(&db.server(&replica).await.host).await;
    not_led_to(&db, &replica).await;
    db.wait_for("ReplicationHealthy", "False", &["ReplicasBehind"])
        .await;
    drop(cut);

    db.ready().await;
    let report = writer.finish().await;
    s.report(&format!("a replica cut off: {report}"));
    assert!(
        report.lost.is_empty() && report.errors.is_empty(),
        "{report}"
    );
    assert_eq!(db.one_primary().await, primary);
}

async fn not_led_to(db: &Database, replica: &str) {
    until("readers are not led to the lost replica", SOON, || async {
        let readers = db.endpoints(&format!("{}-replicas", db.name)).await;
        ensure(!readers.iter().any(|r| r == replica), || {
            format!("{readers:?}")
        })
    })
    .await;
}
