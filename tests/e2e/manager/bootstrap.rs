//! Hera ends while a database takes over from another server.

use crate::database::bootstrap::{PASSWORD, copying, cut_over, follows, moves};
use crate::support::cluster::{is_throw_away, tool};
use crate::support::database::replication;
use crate::support::foreign;
use crate::support::hera;
use crate::support::scenario::Scenario;
use crate::support::wait::{SOON, ensure, until};
use crate::support::writer::Writer;

/// The leader is killed as soon as the decision is written; the next one finishes it.
#[tokio::test]
#[ignore = "one more of its kind: make test-long"]
async fn a_cut_over_survives_the_end_of_hera() {
    let s = Scenario::alone("bootstrap-end").await;
    if !is_throw_away().await {
        return s.report(
            "left out: only the throw-away cluster kills a process from outside its container",
        );
    }
    let manifests = foreign::single("docker.io/library/redis:8.0", PASSWORD);
    foreign::apply(&s, &manifests).await;
    let old = foreign::endpoint(&s, "old", PASSWORD).await;
    let writer = Writer::start_at(old).await;
    let db = s.create("db", copying(replication(2))).await;
    follows(&db).await;
    let leader = hera::leader(&s.client).await.expect("a leader");
    cut_over(&db).await;
    until("the decision", SOON, || async {
        let status = db.status().await;
        ensure(status.election.is_some(), || format!("{:?}", status.phase))
    })
    .await;
    tool(&["signal", "KILL", hera::NAMESPACE, &leader, "hera"])
        .await
        .expect("the leader is killed");
    moves(&s, writer, &db).await;
    db.one_primary().await;
}
