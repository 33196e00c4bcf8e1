//! A certificate that Hera asks of an issuer. The test plays the issuer: it writes the Secret that the `Certificate` asks for.

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use hera::operators::redis::api::Certificate;

use crate::support::certificates::{Authority, SECRET, create, served};
use crate::support::database::{replication, with};
use crate::support::scenario::Scenario;
use crate::support::wait::{LONG, ensure, until};

const CRD: &str = "certificates.cert-manager.io";

/// The kind, as far as it is needed here.
fn definition() -> CustomResourceDefinition {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    serde_json::from_value(json!({
        "metadata": {"name": CRD},
        "spec": {
            "group": "cert-manager.io", "scope": "Namespaced",
            "names": {"plural": "certificates", "singular": "certificate", "kind": "Certificate"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": open, "status": open}}},
            }],
        },
    }))
    .expect("a definition")
}

async fn install(client: &Client) {
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    api.create(&PostParams::default(), &definition())
        .await
        .expect("the kind is made");
}

async fn remove(client: &Client) {
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    let _ = api.delete(CRD, &DeleteParams::default()).await;
    until("the kind is gone", LONG, || async {
        let found = api.get_opt(CRD).await.map_err(|e| e.to_string())?;
        ensure(found.is_none(), || "it is there".to_owned())
    })
    .await;
}

#[tokio::test]
async fn a_certificate_is_asked_of_an_issuer() {
    let s = Scenario::shared("tls-issuer").await;
    // What a test before left.
    remove(&s.client).await;
    let issuer = json!({"tls": {"issuerRef": {"name": "company-ca"}}});
    let db = s.create("db", with(replication(2), issuer)).await;
    db.wait_for("CertificateServed", "False", &["IssuerUnknown"])
        .await;
    install(&s.client).await;
    let told = db.wait_for("CertificateServed", "False", &["CertificateNotIssued"]);
    told.await;
    let certificates = db.api::<Certificate>();
    let asked = certificates.get("db").await.expect("the Certificate");
    assert_eq!(asked.spec.issuer_ref.name, "company-ca");
    assert_eq!(asked.spec.issuer_ref.kind, "Issuer");
    let host = format!("db.{}.svc", s.namespace);
    assert!(asked.spec.dns_names.contains(&host), "{:?}", asked.spec);
    let status = json!({"status": {"conditions": [{
        "type": "Ready", "status": "False", "reason": "DoesNotExist",
        "message": "the issuer company-ca does not exist", "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]}});
    certificates
        .patch_status("db", &PatchParams::default(), &Patch::Merge(status))
        .await
        .expect("the status is written");
    until("the words of the issuer are told", LONG, || async {
        let told = db.condition("CertificateServed").await?.message;
        ensure(told.contains("company-ca does not exist"), || told.clone())
    })
    .await;

    let authority = Authority::new();
    let files = authority.secret(&host);
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(asked.spec.secret_name.clone()),
            ..ObjectMeta::default()
        },
        string_data: Some(files.clone()),
        ..Secret::default()
    };
    db.api::<Secret>()
        .create(&PostParams::default(), &secret)
        .await
        .expect("the Secret is made");
    served(&db, &files).await;

    // A Secret of the user's own takes its place.
    let own = authority.secret(&host);
    create(&s, &own).await;
    db.patch(json!({"spec": {"tls": {"issuerRef": null, "secretName": SECRET}}}))
        .await;
    until("the Certificate is gone", LONG, || async {
        let found = certificates
            .get_opt("db")
            .await
            .map_err(|e| e.to_string())?;
        ensure(found.is_none(), || "it is there".to_owned())
    })
    .await;
    served(&db, &own).await;
    remove(&s.client).await;
}
