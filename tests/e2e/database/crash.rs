//! The primary is lost: its process is killed, or its pod is deleted by force.

use crate::support::database::{replication, with};
use crate::support::faults::{killable, signal};
use crate::support::scenario::Scenario;
use crate::support::witness::Witness;
use crate::support::writer::Writer;

/// Its container starts again in place, with an empty disk: the same pod, the same address, a server that must not serve.
#[tokio::test]
async fn the_process_of_the_primary_is_killed() {
    let s = Scenario::shared("kill").await;
    let db = s.ready("db", with(replication(3), killable())).await;
    let old = db.primary().await;
    let uid = db.uids().await[&old].clone();
    let writer = Writer::start(&db).await;
    let witness = Witness::start(&db).await;
    writer.more(100).await;

    signal(&db, &old, "KILL").await;

    let new = db.another_primary(&old).await;
    writer.more(100).await;
    db.ready().await;
    let report = writer.finish().await;
    s.report(&format!("kill -9 of the primary: {report}"));

    assert_eq!(db.one_primary().await, new);
    assert_eq!(db.uids().await[&old], uid, "the pod is the same");
    assert_eq!(db.restarts().await[&old], 1);
    assert_eq!(witness.tenures(), [old, new]);
    db.event("FailingOver").await;
    db.event("FailoverCompleted").await;
    db.no_event(&["DataSetEmpty"]).await;
}
