//! A CA with the certificates that it gives, and the Secrets that databases read them from.

use std::collections::BTreeMap;
use std::time::Duration;

use hera::engines::redis::{Address, Limits, ServedCertificate, Tls};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use serde_json::json;

use super::database::Database;
use super::scenario::Scenario;
use super::wait::{LONG, ensure, until};

/// Name of the Secret with the certificate of a test's database.
pub const SECRET: &str = "certificate";

/// A CA with the certificates that it gives.
pub struct Authority {
    /// Its own certificate, PEM.
    pub certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// One that nobody trusts yet.
    pub fn new() -> Self {
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
    pub fn secret(&self, host: &str) -> BTreeMap<String, String> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        // Of two CAs with the same name the servers find the right one by this.
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        BTreeMap::from([
            ("ca.crt".to_owned(), self.certificate.clone()),
            ("tls.crt".to_owned(), leaf.pem()),
            ("tls.key".to_owned(), key.serialize_pem()),
        ])
    }
}

/// A certificate with its key, PEM: who a client is.
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    /// A certificate for a client.
    pub fn identity(&self, name: &str) -> Identity {
        let mut secret = self.secret(name);
        let mut take = |key: &str| secret.remove(key).unwrap();
        Identity {
            certificate: take("tls.crt"),
            key: take("tls.key"),
        }
    }
}

/// Serial number of the certificate of such a Secret.
pub fn serial(secret: &BTreeMap<String, String>) -> String {
    ServedCertificate::from_pem(secret["tls.crt"].as_bytes())
        .unwrap()
        .serial
}

/// Makes the Secret.
pub async fn create(s: &Scenario, data: &BTreeMap<String, String>) {
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
pub async fn change(db: &Database, data: &BTreeMap<String, String>) {
    let patch = Patch::Merge(json!({ "stringData": data }));
    db.api::<Secret>()
        .patch(SECRET, &PatchParams::default(), &patch)
        .await
        .expect("the Secret is changed");
    served(db, data).await;
}

/// Waits until every server serves this certificate.
pub async fn served(db: &Database, data: &BTreeMap<String, String>) {
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
        let server = db.server(&pod).await;
        let address = Address::new(server.host, server.port);
        let limits = Limits {
            connect: Duration::from_secs(5),
            command: Duration::from_secs(5),
        };
        let shown = tls.served_certificate(&address, limits).await;
        assert_eq!(shown.unwrap().serial, wanted, "{pod}");
    }
}
