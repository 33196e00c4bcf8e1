//! A single server without a volume is restarted while a temporary replica serves.

use serde_json::{Value, json};

use crate::support::database::{replication, standalone, with};
use crate::support::scenario::Scenario;
use crate::support::wait::{LONG, ensure, until};
use crate::support::writer::Writer;

async fn carried(name: &'static str, spec: Value) {
    let s = Scenario::shared(name).await;
    let db = s
        .ready("db", with(spec, json!({"update": {"surge": true}})))
        .await;
    let writer = Writer::start(&db).await;
    writer.more(100).await;
    // The second time everything begins from where the first time ended.
    for databases in ["32", "33"] {
        let uid = db.uids().await["db-0"].clone();
        db.patch(json!({"spec": {"config": {"databases": databases}}}))
            .await;
        until("the server is another one, and alone", LONG, || async {
            let pods = db.uids().await;
            let replaced = pods.get("db-0").is_some_and(|now| *now != uid);
            ensure(replaced && pods.len() == 1, || format!("{pods:?}"))
        })
        .await;
        let status = db.ready().await;
        assert_eq!(
            (status.surge, status.primary.as_deref()),
            (None, Some("db-0"))
        );
        let server = db.server("db-0").await;
        assert_eq!(
            server.config("databases").await.expect("a value"),
            databases
        );
        writer.more(100).await;
    }
    until("the Service leads to it", LONG, || async {
        let led = db.endpoints("db").await;
        ensure(led == ["db-0"], || format!("{led:?}"))
    })
    .await;
    let report = writer.finish().await;
    s.report(&format!(
        "two restarts of a single server without a volume: {report}"
    ));
    assert!(report.lost.is_empty(), "{report}: {:?}", report.lost);
    db.no_event(&["FailingOver", "DataSetEmpty", "SecondPrimaryDemoted"])
        .await;
}

#[tokio::test]
async fn a_standalone_server_is_carried_over() {
    carried("surge", standalone()).await;
}

#[tokio::test]
async fn a_primary_without_replicas_is_carried_over() {
    carried("surge-repl", replication(1)).await;
}

/// The temporary replica never starts: the server goes on, and a spec that is set back leaves nothing behind.
#[tokio::test]
#[ignore = "one more of its kind: make test-long"]
async fn a_temporary_replica_that_does_not_start_harms_nothing() {
    let s = Scenario::shared("surge-bad").await;
    let db = s
        .ready("db", with(standalone(), json!({"update": {"surge": true}})))
        .await;
    let uids = db.uids().await;
    let writer = Writer::start(&db).await;
    db.patch(json!({"spec": {"image": "docker.io/library/redis:none"}}))
        .await;
    db.wait_for("Ready", "False", &["ImagePullFailed"]).await;
    writer.more(50).await;
    db.patch(json!({"spec": {"image": null}})).await;
    db.ready().await;
    assert_eq!(db.uids().await, uids);
    writer.more(50).await;
    let report = writer.finish().await;
    assert!(report.lost.is_empty(), "{report}: {:?}", report.lost);
    assert!(report.errors.is_empty(), "{report}");
}
