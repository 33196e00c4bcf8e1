//! Encrypted connections, and certificates that change without a restart.

use serde_json::json;

use crate::support::certificates::{Authority, SECRET, change, create, serial};
use crate::support::database::{replication, with};
use crate::support::faults::{killable, signal};
use crate::support::scenario::Scenario;
use crate::support::server::Endpoint;
use crate::support::wait::{LONG, ensure, until};
use crate::support::writer::Writer;

#[tokio::test]
async fn certificates_change_under_load_without_a_restart() {
    let s = Scenario::shared("tls").await;
    let authority = Authority::new();
    let host = format!("db.{}.svc", s.namespace);
    let first = authority.secret(&host);
    let spec = with(
        with(replication(3), killable()),
        json!({"tls": {"secretName": SECRET}}),
    );
    let db = s.create("db", spec).await;
    db.wait_for("Ready", "False", &["SecretNotFound"]).await;
    create(&s, &first).await;
    db.ready().await;
    let told = db.condition("CertificateServed").await.unwrap();
    assert!(told.message.contains(&serial(&first)), "{}", told.message);

    let uri = db.secret("db-connection", "uri").await;
    assert!(uri.starts_with("rediss://"), "{uri}");
    let plain = Endpoint {
        encryption: None,
        ..db.primary_endpoint().await
    };
    plain.ask::<String>(&["PING"]).await.unwrap_err();

    let uids = db.uids().await;
    let writer = Writer::start(&db).await;
    change(&db, &authority.secret(&host)).await;
    assert_eq!(db.uids().await, uids, "no pod is restarted");

    signal(&db, &db.primary().await, "KILL").await;
    db.event("FailoverCompleted").await;
    db.ready().await;
    writer.more(50).await;
    let report = writer.finish().await;
    s.report(&format!("certificate changed, primary killed: {report}"));
    assert_eq!(db.uids().await, uids, "no pod is replaced");

    // A CA that nobody trusted before: Hera trusts both until every server has the new certificate.
    let other = Authority::new();
    change(&db, &other.secret(&host)).await;
    assert_eq!(
        db.secret("db-connection", "ca.crt").await,
        other.certificate
    );
    db.set("key", "value").await;
    assert_eq!(db.uids().await, uids, "no pod is replaced");
}

/// Clients without a certificate stay outside; replicas and Hera show that of the Secret.
#[tokio::test]
async fn clients_have_to_show_a_certificate() {
    let s = Scenario::shared("mtls").await;
    let authority = Authority::new();
    let host = format!("db.{}.svc", s.namespace);
    create(&s, &authority.secret(&host)).await;
    let spec = with(
        replication(2),
        json!({"tls": {"secretName": SECRET, "clientAuth": "Required"}}),
    );
    let db = s.ready("db", spec).await;
    let anonymous = db.primary_endpoint().await;
    anonymous.ask::<String>(&["PING"]).await.unwrap_err();
    let known = |by: &Authority| {
        anonymous
            .clone()
            .with_identity(&authority.certificate, &host, &by.identity("app"))
    };
    known(&authority).ask::<String>(&["PING"]).await.unwrap();
    let stranger = known(&Authority::new());
    stranger.ask::<String>(&["PING"]).await.unwrap_err();
    // Without a restart nobody has to show one any more.
    db.patch(json!({"spec": {"tls": {"clientAuth": "Optional"}}}))
        .await;
    db.wait_for("ConfigApplied", "True", &[]).await;
    anonymous.ask::<String>(&["PING"]).await.unwrap();
    db.wait_for("ReplicationHealthy", "True", &["ReplicasInSync"])
        .await;
}

/// As the page of the kind says: both CAs, then the certificate, then the new CA alone. Replicas show their certificates to each
/// other all the time.
#[tokio::test]
async fn a_ca_is_replaced_with_an_overlap() {
    let s = Scenario::shared("tls-ca").await;
    let (old, new) = (Authority::new(), Authority::new());
    let host = format!("db.{}.svc", s.namespace);
    let first = old.secret(&host);
    create(&s, &first).await;
    let spec = with(replication(3), killable());
    let spec = with(
        spec,
        json!({"tls": {"secretName": SECRET, "clientAuth": "Required"}}),
    );
    let db = s.ready("db", spec).await;
    let uids = db.uids().await;
    let both = format!("{}{}", old.certificate, new.certificate);
    let mut bundle = first.clone();
    bundle.insert("ca.crt".to_owned(), both.clone());
    change(&db, &bundle).await;
    // That a server trusts the new CA is seen by whom it lets in.
    let client = new.identity(&host);
    for pod in uids.keys() {
        let server = db.server(pod).await.with_identity(&both, &host, &client);
        until(&format!("{pod} trusts both"), LONG, || async {
            let answer = server.ask::<String>(&["PING"]).await;
            answer.map_err(|error| error.to_string())
        })
        .await;
    }
    let writer = Writer::start_at(
        db.primary_endpoint()
            .await
            .with_identity(&both, &host, &client),
    )
    .await;
    let mut leaf = new.secret(&host);
    leaf.insert("ca.crt".to_owned(), both);
    change(&db, &leaf).await;
    signal(&db, &db.primary().await, "KILL").await;
    db.event("FailoverCompleted").await;
    db.ready().await;
    writer.more(50).await;
    leaf.insert("ca.crt".to_owned(), new.certificate.clone());
    change(&db, &leaf).await;
    let stranger = old.identity(&host);
    for pod in uids.keys() {
        let server = db
            .server(pod)
            .await
            .with_identity(&new.certificate, &host, &stranger);
        until(&format!("{pod} trusts the new one alone"), LONG, || async {
            let answer = server.ask::<String>(&["PING"]).await;
            ensure(answer.is_err(), || "it lets the old one in".to_owned())
        })
        .await;
    }
    let report = writer.finish().await;
    s.report(&format!("CA replaced, primary killed: {report}"));
    assert_eq!(db.uids().await, uids, "no pod is replaced");
}
