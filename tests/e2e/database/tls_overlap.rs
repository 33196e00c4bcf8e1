//! From plaintext to encryption and back, with clients of both kinds that write all the time.

use serde_json::{Value, json};

use super::cluster::{cluster, whole};
use crate::support::certificates::{Authority, SECRET, create, served};
use crate::support::database::{Database, replication, standalone, with};
use crate::support::faults::{killable, signal};
use crate::support::scenario::Scenario;
use crate::support::server::{Endpoint, PATIENT};
use crate::support::sharded::ShardedWriter;
use crate::support::wait::{LONG, ensure, until};
use crate::support::writer::Writer;

fn tls(plaintext: &str) -> Value {
    json!({"spec": {"tls": {"secretName": SECRET, "plaintext": plaintext}}})
}

/// The Service as clients use it that do not encrypt.
async fn plain(db: &Database) -> Endpoint {
    Endpoint {
        port: 6379,
        encryption: None,
        ..db.primary_endpoint().await
    }
}

/// What every server says of a directive.
async fn everywhere(db: &Database, directive: &str, value: &str) {
    for pod in db.uids().await.into_keys() {
        let found = db.server(&pod).await.config(directive).await;
        assert_eq!(found.as_deref(), Ok(value), "{directive} of {pod}");
    }
}

/// Both kinds of clients are served, and new ones are told to encrypt.
async fn both_are_accepted(db: &Database) {
    let encrypted = db.primary_endpoint().await;
    assert!(encrypted.encryption.is_some());
    assert_eq!(encrypted.port, 6380);
    let uri = db.secret("db-connection", "uri").await;
    assert!(
        uri.starts_with("rediss://") && uri.ends_with(":6380/0"),
        "{uri}"
    );
    for endpoint in [encrypted, plain(db).await] {
        endpoint.ask::<String>(&["PING"]).await.unwrap();
    }
}

/// No server takes plaintext any more, and those who came that way are gone.
async fn plaintext_is_refused(db: &Database, mut open: redis::aio::MultiplexedConnection) {
    let ended: Result<String, _> = redis::cmd("PING").query_async(&mut open).await;
    ended.unwrap_err();
    plain(db).await.ask::<String>(&["PING"]).await.unwrap_err();
    for pod in db.uids().await.into_keys() {
        let server = Endpoint {
            port: 6379,
            encryption: None,
            ..db.server(&pod).await
        };
        server.ask::<String>(&["PING"]).await.unwrap_err();
    }
    everywhere(db, "port", "0").await;
    everywhere(db, "tls-replication", "yes").await;
    // Port 6380 of the Service goes on to lead to encrypted connections.
    for port in [6379, 6380] {
        let endpoint = Endpoint {
            port,
            ..db.primary_endpoint().await
        };
        endpoint.ask::<String>(&["PING"]).await.unwrap();
    }
}

#[tokio::test]
async fn a_replicated_database_is_encrypted_under_load_and_back() {
    let s = Scenario::shared("tls-overlap").await;
    let authority = Authority::new();
    let certificate = authority.secret(&format!("db.{}.svc", s.namespace));
    create(&s, &certificate).await;
    let db = s.ready("db", with(replication(3), killable())).await;
    let former = Writer::start(&db).await;
    let refused = db.try_patch(tls("Refused")).await.unwrap_err();
    assert!(
        refused.to_string().contains("spec.tls.plaintext"),
        "{refused}"
    );

    db.patch(tls("Allowed")).await;
    served(&db, &certificate).await;
    both_are_accepted(&db).await;
    let modern = Writer::start(&db).await;
    former.more(50).await;
    let report = former.finish().await;
    s.report(&format!("encryption is offered: {report}"));
    assert!(report.lost.is_empty(), "{report}: {:?}", report.lost);

    let uids = db.uids().await;
    let open = plain(&db).await.connect(PATIENT).await.unwrap();
    db.patch(tls("Refused")).await;
    db.ready().await;
    plaintext_is_refused(&db, open).await;
    assert_eq!(db.uids().await, uids, "no pod is restarted");
    assert_eq!(db.port().await, 6379);
    signal(&db, &db.primary().await, "KILL").await;
    db.event("FailoverCompleted").await;
    db.ready().await;
    modern.more(50).await;
    let refused = db.try_patch(json!({"spec": {"tls": null}})).await;
    assert!(refused.is_err());

    let uids = db.uids().await;
    db.patch(tls("Allowed")).await;
    db.ready().await;
    both_are_accepted(&db).await;
    assert_eq!(db.uids().await, uids, "no pod is restarted");
    everywhere(&db, "tls-replication", "no").await;
    modern.more(50).await;
    let before_last = Writer::start_at(plain(&db).await).await;
    let report = modern.finish().await;
    s.report(&format!(
        "plaintext refused, primary killed, plaintext allowed: {report}"
    ));
    // The primary was killed in the middle, so the last moment before may be lost.
    assert!(report.lost.len() <= report.acknowledged / 20, "{report}");

    db.patch(json!({"spec": {"tls": null}})).await;
    without_certificates(&db).await;
    before_last.more(50).await;
    let report = before_last.finish().await;
    s.report(&format!("encryption is taken away: {report}"));
    assert!(report.lost.is_empty(), "{report}: {:?}", report.lost);
    assert_eq!(db.port().await, 6379);
    assert!(db.primary_endpoint().await.encryption.is_none());
    db.condition("CertificateServed").await.unwrap_err();
}

async fn without_certificates(db: &Database) {
    until("no pod has a certificate", LONG, || async {
        let has = |pod: &k8s_openapi::api::core::v1::Pod| {
            let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
            volumes.into_iter().any(|v| v.name == "tls")
        };
        let pods = db.pods().await;
        ensure(!pods.values().any(has), || "some have".to_owned())
    })
    .await;
    db.ready().await;
}

/// The user changes their mind faster than servers restart.
#[tokio::test]
#[ignore = "one more of its kind: make test-long"]
async fn a_single_server_with_a_volume_follows_quick_changes() {
    let s = Scenario::shared("tls-single").await;
    let authority = Authority::new();
    let certificate = authority.secret(&format!("db.{}.svc", s.namespace));
    create(&s, &certificate).await;
    let volume = json!({"storage": {"size": "1Gi", "whenDeleted": "Delete"}});
    let db = s.ready("db", with(standalone(), volume)).await;
    db.set("key", "value").await;
    db.patch(tls("Allowed")).await;
    db.patch(tls("Refused")).await;
    served(&db, &certificate).await;
    everywhere(&db, "port", "0").await;
    db.patch(tls("Allowed")).await;
    db.patch(json!({"spec": {"tls": null}})).await;
    without_certificates(&db).await;
    until("the data is there", LONG, || async {
        let found = plain(&db).await.ask::<String>(&["GET", "key"]).await;
        ensure(found.as_deref() == Ok("value"), || format!("{found:?}"))
    })
    .await;
}

#[tokio::test]
async fn a_cluster_is_encrypted_under_load_and_back() {
    clustered("tls-shards", json!({})).await;
}

#[tokio::test]
#[ignore = "one more of its kind: make test-long"]
async fn a_cluster_of_valkey_is_encrypted_under_load_and_back() {
    let valkey = json!({"engine": "Valkey", "image": "localhost/valkey:9"});
    clustered("tls-valkey", valkey).await;
}

async fn clustered(name: &'static str, engine: Value) {
    let s = Scenario::shared(name).await;
    let authority = Authority::new();
    let certificate = authority.secret(&format!("db.{}.svc", s.namespace));
    create(&s, &certificate).await;
    let db = s.ready("db", with(cluster(), engine)).await;
    let former = ShardedWriter::start(&db).await;
    db.patch(tls("Allowed")).await;
    served(&db, &certificate).await;
    whole(&db, 3, 1).await;
    both_are_accepted(&db).await;
    let modern = ShardedWriter::start(&db).await;
    former.more(50).await;
    let report = former.finish().await;
    s.report(&format!("encryption is offered: {report}"));
    assert!(report.lost.is_empty(), "{report}: {:?}", report.lost);

    let uids = db.uids().await;
    let open = plain(&db).await.connect(PATIENT).await.unwrap();
    db.patch(tls("Refused")).await;
    db.ready().await;
    plaintext_is_refused(&db, open).await;
    everywhere(&db, "tls-cluster", "yes").await;
    whole(&db, 3, 1).await;
    modern.more(100).await;
    db.patch(tls("Allowed")).await;
    db.ready().await;
    whole(&db, 3, 1).await;
    both_are_accepted(&db).await;
    everywhere(&db, "tls-cluster", "no").await;
    assert_eq!(db.uids().await, uids, "no pod is restarted");
    modern.more(50).await;
    let report = modern.finish().await;
    s.report(&format!("plaintext refused and allowed again: {report}"));
    assert!(report.lost.is_empty(), "{report}: {:?}", report.lost);
    db.patch(json!({"spec": {"tls": null}})).await;
    without_certificates(&db).await;
    whole(&db, 3, 1).await;
    db.no_event(&["FailingOver", "SlotsLost"]).await;
}
