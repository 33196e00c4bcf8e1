//! The kind `Certificate` of cert-manager, as far as Hera asks for certificates with it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::IssuerRef;

/// What is asked for.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "cert-manager.io",
    version = "v1",
    kind = "Certificate",
    namespaced,
    schema = "disabled",
    status = "CertificateStatus",
    derive = "PartialEq",
    doc = "A certificate that an issuer is asked for."
)]
#[serde(rename_all = "camelCase")]
pub struct CertificateSpec {
    /// The Secret to write.
    pub secret_name: String,
    /// Who is to issue it.
    pub issuer_ref: IssuerRef,
    /// The names that it is to be valid for.
    pub dns_names: Vec<String>,
    /// What it is to be used for.
    pub usages: Vec<String>,
}

/// What came of it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct CertificateStatus {
    /// `Ready`, among others.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}
