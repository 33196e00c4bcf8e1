//! Where the first data of a new database comes from.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretKeyRef;

/// A new database copies a server outside of it, and takes over from it when asked.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bootstrap {
    /// The server to replicate from. Its data is served for reading; writes are refused until the cut-over.
    pub external: External,
    /// Take over now: writes at the external server are paused, the rest of them is copied, and this database becomes the primary.
    /// It never replicates from the external server again.
    #[serde(default)]
    pub cut_over: bool,
}

/// A Redis or Valkey primary that this database is not part of.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct External {
    /// Host name or IP address. A name without a dot is a Service of the same namespace. It has to lead to a primary, and to the same
    /// one for the pods of this database and for Hera.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9.:]*[A-Za-z0-9])?$")
    )]
    pub host: String,
    /// Port. Default: 6379.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// ACL user to log in with. Default: the user `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[!-~]+$"))]
    pub username: Option<String>,
    /// Key of a Secret with the password. Absent: no login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKeyRef>,
    /// The connection is encrypted, and the server's certificate has to be of the `ca.crt` in `spec.tls.secretName`.
    #[serde(default)]
    pub tls: bool,
}
