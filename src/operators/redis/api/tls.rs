//! Encryption of all connections.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use schemars::JsonSchema;

/// Encryption of all connections: of clients, of replicas, of the nodes of a cluster, and Hera's own.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.secretName) != has(self.issuerRef)").message("spec.tls: needs either secretName or issuerRef")
)]
pub struct Tls {
    /// Secret with `tls.crt`, `tls.key` and `ca.crt`, as certificate managers write it. The certificate must be valid for the
    /// host of the connection Secret, `NAME.NAMESPACE.svc`. When the Secret changes the servers take it without a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: Option<String>,
    /// Whom to ask for a certificate, by a `Certificate` of cert-manager that Hera makes and keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerRef>,
    /// Whether clients have to show a certificate of `ca.crt`. Default: Optional.
    #[serde(default)]
    pub client_auth: ClientAuth,
    /// Whether connections that are not encrypted are accepted beside those that are: on port 6379 then, and encrypted ones on port
    /// 6380. Default: Refused.
    #[serde(default)]
    pub plaintext: Plaintext,
}

/// An issuer of certificates.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuerRef {
    /// Name of the issuer.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its kind. Default: Issuer.
    #[serde(default = "issuer_kind")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Its API group. Default: cert-manager.io.
    #[serde(default = "issuer_group")]
    #[schemars(length(min = 1, max = 253))]
    pub group: String,
}

fn issuer_kind() -> String {
    "Issuer".to_owned()
}

fn issuer_group() -> String {
    "cert-manager.io".to_owned()
}

/// Whether clients show certificates.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum ClientAuth {
    /// They are not asked for one.
    Off,
    /// One that is shown has to be valid.
    #[default]
    Optional,
    /// Without one nobody gets in; replicas and Hera show the server's certificate, which must be valid for clients too.
    Required,
}

/// What becomes of connections that are not encrypted.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Plaintext {
    /// They are not accepted.
    #[default]
    Refused,
    /// They are accepted on port 6379, and replicas use it too; encrypted ones are accepted on port 6380.
    Allowed,
}

impl Tls {
    /// Name of the Secret with the certificate of the database `redis`.
    pub fn secret(&self, redis: &str) -> String {
        let own = || format!("{redis}-certificate");
        self.secret_name.clone().unwrap_or_else(own)
    }
}

impl ClientAuth {
    /// The word that redis.conf uses for `tls-auth-clients`.
    pub fn directive(self) -> &'static str {
        match self {
            Self::Off => "no",
            Self::Optional => "optional",
            Self::Required => "yes",
        }
    }
}
