//! How to speak TLS with a server, and which certificate it serves.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use secrecy::{ExposeSecret, SecretSlice};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::address::{Address, Limits};
use super::failure::Failure;

/// Whom to trust, whom to expect, and who to be. Clones share it.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// A certificate by which the client shows who it is.
#[derive(Clone, Debug)]
pub struct ClientIdentity {
    /// The certificate and what leads to its CA, as PEM.
    pub certificates: Vec<u8>,
    /// Its private key, as PEM.
    pub key: SecretSlice<u8>,
}

/// Why a [`Tls`] cannot be made of what was given.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TlsError {
    /// The CA bundle holds no certificate that can be read.
    #[error("the CA bundle: {0}")]
    Ca(String),
    /// The client's certificate or key cannot be read, or they do not belong together.
    #[error("the client certificate: {0}")]
    Identity(String),
    /// The expected name is no DNS name and no IP address.
    #[error("{0:?} is no name of a server")]
    Name(String),
    /// A certificate cannot be read.
    #[error("the certificate: {0}")]
    Certificate(String),
}

impl Tls {
    /// Trusts the CAs of the PEM bundle `ca` and nobody else, and expects a certificate for `name` wherever it connects to: the
    /// address of a pod is in no certificate, so the DNS name that all pods share is expected.
    pub fn new(ca: &[u8], name: &str, identity: Option<&ClientIdentity>) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca).map_err(TlsError::Ca)? {
            roots
                .add(certificate)
                .map_err(|error| TlsError::Ca(error.to_string()))?;
        }
        // The process has one provider; a program that has not chosen yet gets the same one.
        let provider = CryptoProvider::get_default()
            .cloned()
            .unwrap_or_else(|| Arc::new(ring::default_provider()));
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Ca(error.to_string()))?
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = certificates(&identity.certificates).map_err(TlsError::Identity)?;
                let key = PrivateKeyDer::from_pem_slice(identity.key.expose_secret())
                    .map_err(|error| TlsError::Identity(error.to_string()))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| TlsError::Identity(error.to_string()))?
            }
        };
        let name =
            ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name(name.to_owned()))?;
        Ok(Self {
            config: Arc::new(config),
            name,
        })
    }

    /// Asks the server for its certificate, which is verified as for any connection, and does not log in.
    ///
    /// A server that wants a certificate of the client answers this also to one without, with TLS 1.3.
    pub async fn served_certificate(
        &self,
        address: &Address,
        limits: Limits,
    ) -> Result<ServedCertificate, Failure> {
        let attempt = TcpStream::connect((address.host.as_str(), address.port));
        let stream = timeout(limits.connect, attempt)
            .await
            .map_err(|_| Failure::Timeout)?
            .map_err(|error| Failure::from_connect(&error))?;
        let stream = self.handshake(stream, limits.command).await?;
        let (_, session) = stream.get_ref();
        let leaf = session
            .peer_certificates()
            .and_then(<[_]>::first)
            .ok_or_else(|| Failure::Tls("no certificate was served".into()))?;
        ServedCertificate::from_der(leaf).map_err(|error| Failure::Tls(error.to_string()))
    }

    /// Makes a TLS stream of a connection.
    pub(super) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        limit: Duration,
    ) -> Result<TlsStream<S>, Failure> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        timeout(limit, connector.connect(self.name.clone(), stream))
            .await
            .map_err(|_| Failure::Timeout)?
            .map_err(|error| Failure::from_connect(&error))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What tells a certificate from another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedCertificate {
    /// Serial number in lower-case hex, without leading zeros. A CA gives each one once.
    pub serial: String,
    /// From when it is valid.
    pub not_before: Timestamp,
    /// Until when it is valid.
    pub not_after: Timestamp,
}

impl ServedCertificate {
    /// The first certificate of a PEM text, such as `tls.crt` of a Secret: what a server should serve.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TlsError> {
        let all = certificates(pem).map_err(TlsError::Certificate)?;
        all.first()
            .ok_or_else(|| TlsError::Certificate("none".into()))
            .and_then(Self::from_der)
    }

    fn from_der(der: &CertificateDer<'_>) -> Result<Self, TlsError> {
        let (_, certificate) = X509Certificate::from_der(der)
            .map_err(|error| TlsError::Certificate(error.to_string()))?;
        let time = |seconds: i64| {
            Timestamp::from_second(seconds)
                .map_err(|error| TlsError::Certificate(error.to_string()))
        };
        Ok(Self {
            serial: certificate.tbs_certificate.serial.to_str_radix(16),
            not_before: time(certificate.validity().not_before.timestamp())?,
            not_after: time(certificate.validity().not_after.timestamp())?,
        })
    }
}

/// The certificates of a PEM text, at least one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    if all.is_empty() {
        return Err("it holds none".into());
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_named() {
        let none = Tls::new(b"", "redis", None).unwrap_err();
        assert_eq!(none, TlsError::Ca("it holds none".into()));
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(
            Tls::new(broken, "redis", None),
            Err(TlsError::Ca(_))
        ));
        let certificate = ServedCertificate::from_pem(broken);
        assert!(matches!(certificate, Err(TlsError::Certificate(_))));
    }
}
