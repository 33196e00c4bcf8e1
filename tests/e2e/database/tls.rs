//! Encrypted connections, and certificates that change without a restart.

use std::collections::BTreeMap;
use std::time::Duration;

use hera::engines::redis::{Address, Limits, ServedCertificate, Tls};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use serde_json::json;

use crate::support::database::{Database, replication, with};
use crate::support::faults::{killable, signal};
use crate::support::scenario::Scenario;
use crate::support::server::Endpoint;
use crate::support::wait::{LONG, ensure, until};
use crate::support::writer::Writer;

pub(super) const SECRET: &str = "certificate";

/// A CA with the certificates that it gives.
pub(super) struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        // OpenSSL takes a certificate whose subject is its issuer for a self-signed one.
        params
            .distinguished_name
            .push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().pem();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    /// The content of a Secret with a new certificate for this host, valid for servers and clients.
    pub(super) fn secret(&self, host: &str) -> BTreeMap<String, String> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        BTreeMap::from([
            ("ca.crt".to_owned(), self.certificate.clone()),
            ("tls.crt".to_owned(), leaf.pem()),
            ("tls.key".to_owned(), key.serialize_pem()),
        ])
    }
}

fn serial(secret: &BTreeMap<String, String>) -> String {
    ServedCertificate::from_pem(secret["tls.crt"].as_bytes())
        .unwrap()
        .serial
}

pub(super) async fn create(s: &Scenario, data: &BTreeMap<String, String>) {
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(SECRET.to_owned()),
            ..ObjectMeta::default()
        },
        string_data: Some(data.clone()),
        ..Secret::default()
    };
    kube::Api::<Secret>::namespaced(s.client.clone(), &s.namespace)
        .create(&PostParams::default(), &secret)
        .await
        .expect("the Secret is made");
}

/// Puts another certificate into the Secret, and waits until every server serves it.
async fn change(db: &Database, data: &BTreeMap<String, String>) {
    let patch = Patch::Merge(json!({ "stringData": data }));
    db.api::<Secret>()
        .patch(SECRET, &PatchParams::default(), &patch)
        .await
        .expect("the Secret is changed");
    let wanted = serial(data);
    until("the condition tells the new certificate", LONG, || async {
        let told = db.condition("CertificateServed").await?;
        ensure(
            told.status == "True" && told.message.contains(&wanted),
            || format!("{} {}", told.reason, told.message),
        )
    })
    .await;
    db.ready().await;
    let host = format!("{}.{}.svc", db.name, db.namespace);
    let tls = Tls::new(data["ca.crt"].as_bytes(), &host, None).unwrap();
    for pod in db.uids().await.into_keys() {
        let address = Address::new(db.server(&pod).await.host, 6379);
        let limits = Limits {
            connect: Duration::from_secs(5),
            command: Duration::from_secs(5),
        };
        let served = tls.served_certificate(&address, limits).await;
        assert_eq!(served.unwrap().serial, wanted, "{pod}");
    }
}

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
    create(&s, &authority.secret(&format!("db.{}.svc", s.namespace))).await;
    let spec = with(
        replication(2),
        json!({"tls": {"secretName": SECRET, "clientAuth": "Required"}}),
    );
    let db = s.ready("db", spec).await;
    let anonymous = db.primary_endpoint().await;
    anonymous.ask::<String>(&["PING"]).await.unwrap_err();
    db.wait_for("ReplicationHealthy", "True", &["ReplicasInSync"])
        .await;
}
