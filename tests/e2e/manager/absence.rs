//! Hera is not there for a while: what it finds afterwards, it follows.

use crate::support::database::{replication, with};
use crate::support::faults::{killable, signal};
use crate::support::hera;
use crate::support::scenario::Scenario;
use crate::support::snapshot;
use crate::support::wait::{LONG, SOON, ensure, until};
use crate::support::writer::Writer;

/// Somebody fails over by hand while Hera is away.
#[tokio::test]
async fn a_primary_that_was_chosen_by_hand_is_followed() {
    let s = Scenario::alone("by-hand").await;
    let db = s.ready("db", replication(3)).await;
    let old = db.primary().await;
    db.set("key", "value").await;
    let uids = db.uids().await;
    hera::scale(&s.client, 0).await;

    let pods: Vec<String> = uids.keys().cloned().collect();
    let new = pods.iter().find(|pod| **pod != old).expect("a replica");
    let server = db.server(new).await;
    until("the replica has the write", SOON, || async {
        let value: Option<String> = server
            .ask(&["GET", "key"])
            .await
            .map_err(|e| e.to_string())?;
        ensure(value.as_deref() == Some("value"), || format!("{value:?}"))
    })
    .await;
    let command = ["REPLICAOF", "NO", "ONE"];
    server.ask::<String>(&command).await.expect("a new primary");
    for pod in pods.iter().filter(|pod| *pod != new) {
        let command = ["REPLICAOF", server.host.as_str(), "6379"];
        let replica = db.server(pod).await;
        replica
            .ask::<String>(&command)
            .await
            .expect("a replica of it");
    }
    until("the new primary takes writes", SOON, || async {
        server
            .ask::<String>(&["SET", "by-hand", "yes"])
            .await
            .map_err(|e| e.to_string())
    })
    .await;

    hera::scale(&s.client, hera::REPLICAS).await;
    db.event("PrimaryAdopted").await;
    assert_eq!(db.one_primary().await, *new);
    db.ready().await;
    assert_eq!(db.uids().await, uids, "no pod was replaced");
    let value: String = server.ask(&["GET", "by-hand"]).await.expect("a read");
    assert_eq!(value, "yes");
    db.no_event(&["FailingOver", "HandingOver", "SecondPrimaryDemoted"])
        .await;
}

/// The primary dies while Hera is away; nobody else may promote, and Hera makes up for it.
#[tokio::test]
async fn a_primary_that_died_meanwhile_is_replaced() {
    let s = Scenario::alone("meanwhile").await;
    let db = s.ready("db", with(replication(3), killable())).await;
    let old = db.primary().await;
    let writer = Writer::start(&db).await;
    writer.more(100).await;
    hera::scale(&s.client, 0).await;
    writer.more(100).await;
    signal(&db, &old, "KILL").await;
    until("its container starts again", SOON, || async {
        ensure(db.restarts().await[&old] == 1, || "not yet".into())
    })
    .await;
    let role = until("the server answers", SOON, || async {
        db.server(&old).await.role().await
    })
    .await;
    assert_eq!(role, "slave", "it does not become a primary by itself");

    hera::scale(&s.client, hera::REPLICAS).await;
    let new = db.another_primary(&old).await;
    writer.more(100).await;
    db.ready().await;
    let report = writer.finish().await;
    s.report(&format!("primary killed while Hera is away: {report}"));
    assert!(report.lost.len() <= report.acknowledged / 10, "{report}");
    assert_eq!(db.one_primary().await, new);
}

/// A restart over databases that are as they should be writes nothing at all.
#[tokio::test]
async fn a_restart_writes_nothing() {
    let s = Scenario::alone("again").await;
    let databases = [
        s.ready("one", replication(3)).await,
        s.ready("two", crate::support::database::standalone()).await,
    ];
    quiet(&databases).await;
    let before = snapshot::of_all(&databases).await;
    hera::scale(&s.client, 0).await;
    hera::scale(&s.client, hera::REPLICAS).await;
    let leader = until("a leader that reconciled both", LONG, || async {
        let leader = hera::leader(&s.client).await?;
        let metrics = hera::metrics(&leader).await;
        let done = hera::sum(&metrics, "controller_runtime_reconcile_total", &["success"]);
        ensure(done >= 2.0, || format!("{done} reconciles"))?;
        Ok(leader)
    })
    .await;
    quiet(&databases).await;
    let after = snapshot::of_all(&databases).await;
    let changed = snapshot::difference(&before, &after);
    assert!(changed.is_empty(), "{changed:?}");
    let metrics = hera::metrics(&leader).await;
    let writes = hera::sum(&metrics, "hera_api_writes_total", &[]);
    assert!(writes == 0.0, "{writes} writes: {metrics:?}");
}

/// Waits until a moment in which nothing changes.
pub async fn quiet(databases: &[crate::support::database::Database]) {
    until("nothing changes any more", LONG, || async {
        let before = snapshot::of_all(databases).await;
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        let changed = snapshot::difference(&before, &snapshot::of_all(databases).await);
        ensure(changed.is_empty(), || format!("{changed:?}"))
    })
    .await;
}
