//! Two managers, one leader.

use std::time::Instant;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::DeleteParams;

use crate::support::cluster::{is_throw_away, tool};
use crate::support::database::{Database, replication, with};
use crate::support::faults::{killable, signal};
use crate::support::hera;
use crate::support::scenario::Scenario;
use crate::support::wait::{LONG, ensure, until};
use crate::support::witness::Witness;
use crate::support::writer::Writer;

/// The leader is gone without a word: the other one waits for the Lease to expire.
#[tokio::test]
async fn the_leader_is_killed() {
    let s = Scenario::alone("leader-killed").await;
    if !is_throw_away().await {
        return s.report(
            "left out: only the throw-away cluster kills a process from outside its container",
        );
    }
    let db = s.ready("db", with(replication(3), killable())).await;
    let leader = hera::leader(&s.client).await.expect("a leader");
    let begin = Instant::now();
    tool(&["signal", "KILL", hera::NAMESPACE, &leader, "hera"])
        .await
        .expect("the leader is killed");
    // The container starts again in place, and may win the election again; in any case there is a new holder.
    until("another process leads", LONG, || async {
        let transitions = transitions(&s).await?;
        ensure(transitions > 0, || "none".into())?;
        let now = hera::leader(&s.client).await?;
        ensure(now != leader, || format!("{now} leads"))
    })
    .await;
    s.report(&format!(
        "leader killed, the next leads after {:?}",
        begin.elapsed()
    ));
    fails_over(&s, &db).await;
    hera::settled(&s.client, hera::REPLICAS).await;
}

/// It is stopped cleanly: it gives the Lease back.
#[tokio::test]
async fn the_leader_is_stopped() {
    let s = Scenario::alone("leader-stopped").await;
    let db = s.ready("db", with(replication(3), killable())).await;
    let leader = hera::leader(&s.client).await.expect("a leader");
    let begin = Instant::now();
    Api::<Pod>::namespaced(s.client.clone(), hera::NAMESPACE)
        .delete(&leader, &DeleteParams::default())
        .await
        .expect("the pod is deleted");
    until("another pod leads", LONG, || async {
        let now = hera::leader(&s.client).await?;
        ensure(now != leader, || format!("{now} leads"))
    })
    .await;
    s.report(&format!(
        "leader stopped, the next leads after {:?}",
        begin.elapsed()
    ));
    fails_over(&s, &db).await;
    hera::settled(&s.client, hera::REPLICAS).await;
}

/// It hangs for longer than the Lease, another one takes over and fails over, and it wakes up believing that it leads.
#[tokio::test]
async fn the_leader_hangs_and_wakes_up() {
    let s = Scenario::alone("leader-hangs").await;
    if !is_throw_away().await {
        return s.report(
            "left out: only the throw-away cluster stops a process from outside its container",
        );
    }
    let db = s.ready("db", with(replication(3), killable())).await;
    let leader = hera::leader(&s.client).await.expect("a leader");
    tool(&["signal", "STOP", hera::NAMESPACE, &leader, "hera"])
        .await
        .expect("the leader is stopped");
    until("another pod leads", LONG, || async {
        let now = hera::leader(&s.client).await?;
        ensure(now != leader, || format!("{now} leads"))
    })
    .await;
    let old = db.primary().await;
    let writer = Writer::start(&db).await;
    let witness = Witness::start(&db).await;
    writer.more(50).await;
    signal(&db, &old, "KILL").await;
    let new = db.another_primary(&old).await;
    db.ready().await;
    let election = db.status().await.election;

    // The kubelet may have ended it by now.
    let _ = tool(&["signal", "CONT", hera::NAMESPACE, &leader, "hera"]).await;
    hera::settled(&s.client, hera::REPLICAS).await;
    writer.more(100).await;
    db.ready().await;
    let report = writer.finish().await;
    s.report(&format!("failover while the former leader hangs: {report}"));
    assert_eq!(db.one_primary().await, new);
    assert_eq!(
        db.status().await.election,
        election,
        "nothing was decided since"
    );
    assert_eq!(witness.tenures(), [old, new]);
    assert!(report.lost.len() <= report.acknowledged / 10, "{report}");
}

async fn transitions(s: &Scenario) -> Result<i32, String> {
    let spec = hera::lease(&s.client).await?.spec;
    Ok(spec.and_then(|s| s.lease_transitions).unwrap_or_default())
}

/// A failover works, whoever leads.
async fn fails_over(s: &Scenario, db: &Database) {
    let old = db.primary().await;
    let writer = Writer::start(db).await;
    writer.more(50).await;
    signal(db, &old, "KILL").await;
    let new = db.another_primary(&old).await;
    writer.more(50).await;
    db.ready().await;
    let report = writer.finish().await;
    s.report(&format!("failover afterwards: {report}"));
    assert!(report.lost.len() <= report.acknowledged / 10, "{report}");
    assert_eq!(db.one_primary().await, new);
}
