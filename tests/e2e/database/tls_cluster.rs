//! Mode Cluster with every connection encrypted: clients, replicas, the bus between the nodes, and slots on their way.

use serde_json::{Value, json};

use super::cluster::{cluster, primaries, whole};
use crate::support::certificates::{Authority, SECRET, change, create};
use crate::support::database::with;
use crate::support::faults::{killable, signal};
use crate::support::scenario::Scenario;
use crate::support::server::Endpoint;
use crate::support::sharded::ShardedWriter;
use crate::support::wait::{LONG, ensure, until};

#[tokio::test]
#[ignore = "one more of its kind: make test-long"]
async fn an_encrypted_cluster_grows_and_takes_a_new_certificate_under_load() {
    encrypted("tls-cluster", json!({})).await;
}

/// The servers of this version move slots by themselves.
#[tokio::test]
async fn an_encrypted_cluster_grows_with_atomic_migration() {
    let valkey = json!({"engine": "Valkey", "image": "localhost/valkey:9"});
    encrypted("tls-atomic", valkey).await;
}

async fn encrypted(name: &'static str, engine: Value) {
    let s = Scenario::shared(name).await;
    let authority = Authority::new();
    let host = format!("db.{}.svc", s.namespace);
    create(&s, &authority.secret(&host)).await;
    let spec = with(with(cluster(), engine), killable());
    let spec = with(spec, json!({"tls": {"secretName": SECRET}}));
    let db = s.ready("db", spec).await;
    whole(&db, 3, 1).await;
    let plain = Endpoint {
        encryption: None,
        ..db.primary_endpoint().await
    };
    plain.ask::<String>(&["PING"]).await.unwrap_err();
    for pod in db.uids().await.into_keys() {
        let server = db.server(&pod).await;
        for directive in ["tls-cluster", "tls-replication"] {
            assert_eq!(server.config(directive).await.unwrap(), "yes", "{pod}");
        }
    }

    let writer = ShardedWriter::start(&db).await;
    writer.more(200).await;
    db.patch(json!({"spec": {"shards": 4}})).await;
    whole(&db, 4, 1).await;
    writer.always_covered();
    let uids = db.uids().await;
    change(&db, &authority.secret(&host)).await;
    assert_eq!(db.uids().await, uids, "no pod is restarted");
    writer.more(50).await;
    let report = writer.finish().await;
    s.report(&format!(
        "3 to 4 shards and a new certificate, encrypted: {report}"
    ));
    assert!(report.lost.is_empty(), "{report}: {:?}", report.lost);

    let old = primaries(&db).await;
    signal(&db, &old[0], "KILL").await;
    until("another primary", LONG, || async {
        let now = primaries(&db).await;
        ensure(now.len() == 4 && now[0] != old[0], || format!("{now:?}"))
    })
    .await;
    whole(&db, 4, 1).await;
}
