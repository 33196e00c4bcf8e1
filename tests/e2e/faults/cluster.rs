//! Plans of mode Cluster.

use super::all_replaced;
use super::hera::Hera;
use crate::database::cluster::{cluster, whole};
use crate::support::scenario::Scenario;
use crate::support::sharded::ShardedWriter;

/// Every pod is replaced, and Hera ends in the middle of the first hand-over.
#[tokio::test]
#[ignore = "one more of its kind: make test-long"]
async fn it_rolls() {
    let s = Scenario::alone("fault-cluster").await;
    let hera = Hera::start(&s).await;
    let db = s.ready("db", cluster()).await;
    let before = db.uids().await;
    let writer = ShardedWriter::start(&db).await;
    hera.plan("CLUSTER FAILOVER", "crash-after@1");
    db.annotate("hera.dev/restarted-at", Some("now")).await;
    all_replaced(&db, &before).await;
    hera.done(&db).await;
    whole(&db, 3, 1).await;
    let report = writer.finish().await;
    s.report(&format!("roll of a cluster with a fault: {report}"));
    assert!(report.lost.is_empty(), "{report}");
    hera.stop().await;
}
