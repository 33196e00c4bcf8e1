//! Encryption of all connections.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Encryption of all connections: of clients, of replicas, and Hera's own. The port stays the same and takes nothing else.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Secret with `tls.crt`, `tls.key` and `ca.crt`, as certificate managers write it. The certificate must be valid for the
    /// host of the connection Secret, `NAME.NAMESPACE.svc`. When the Secret changes the servers take it without a restart.
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,
    /// Whether clients have to show a certificate of `ca.crt`. Default: Optional.
    #[serde(default)]
    pub client_auth: ClientAuth,
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
