//! How connections are encrypted.

use k8s_openapi::api::core::v1::PodSpec;

use super::{Instance, PORT, TLS_PORT};
use crate::operators::redis::api::{ClientAuth, IssuerRef};

/// Name of the volume with the certificate.
pub const CERTIFICATE_VOLUME: &str = "tls";

/// The Secret with the certificate that such a pod mounts.
pub fn certificate_secret(pod: &PodSpec) -> Option<String> {
    let mut volumes = pod.volumes.iter().flatten();
    let own = volumes.find(|v| v.name == CERTIFICATE_VOLUME)?;
    own.secret.as_ref()?.secret_name.clone()
}

/// Encryption of a [`super::Validated`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidTls {
    /// Secret with the certificate.
    pub secret_name: String,
    /// Whom to ask for it; `None` when somebody else writes the Secret.
    pub issuer: Option<IssuerRef>,
    /// Whether clients have to show a certificate.
    pub client_auth: ClientAuth,
    /// Connections that are not encrypted are accepted too.
    pub plaintext: bool,
}

impl ValidTls {
    /// Port for encrypted connections. Something listens on [`PORT`] in any case: what takes both has encrypted ones on another port.
    pub fn port(&self) -> u16 {
        if self.plaintext { TLS_PORT } else { PORT }
    }
}

/// How a server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// It accepts connections that are not encrypted.
    pub plaintext: bool,
    /// Port for encrypted connections; 0: none.
    pub tls_port: u16,
    /// Its own connection to its primary is encrypted.
    pub replication: bool,
    /// Its connections to other nodes of a cluster are encrypted.
    pub bus: bool,
}

impl Listening {
    /// The directives that tell.
    pub const DIRECTIVES: [&str; 4] = ["port", "tls-port", "tls-replication", "tls-cluster"];

    /// How a server is to listen.
    pub fn wanted(tls: &ValidTls, clustered: bool) -> Self {
        Self {
            plaintext: tls.plaintext,
            tls_port: tls.port(),
            replication: !tls.plaintext,
            bus: clustered && !tls.plaintext,
        }
    }
}

impl Instance {
    /// How the server listens, as it says; `None` when it was not asked or did not answer.
    pub fn listening(&self) -> Option<Listening> {
        let value = |name: &str| self.config.get(name).map(String::as_str);
        Some(Listening {
            plaintext: value("port")? == PORT.to_string(),
            tls_port: value("tls-port")?.parse().ok()?,
            replication: value("tls-replication") == Some("yes"),
            bus: value("tls-cluster") == Some("yes"),
        })
    }
}

/// A way to connect to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Port.
    pub port: u16,
    /// Encrypted.
    pub tls: bool,
}
