//! Connections to the servers, as users make them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, RedisError,
};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::certificates::Identity;

/// Of a client that finds a hole in the service: it tries again after this.
pub const HASTY: Duration = Duration::from_secs(1);
/// Of a question that is asked once: a server takes longer only when it is stopped or cut off.
pub const PATIENT: Duration = Duration::from_secs(10);

/// Where a server is and how to log in.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: String,
    /// How to speak TLS; without it nothing is encrypted.
    pub encryption: Option<Encryption>,
}

/// Whom to trust, and which name the certificate has to have.
#[derive(Clone, Debug)]
pub struct Encryption {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Encryption {
    /// Trusts this CA, given as PEM, and shows no certificate.
    pub fn new(ca: &str, name: &str) -> Self {
        Self::with_identity(ca, name, None)
    }

    fn with_identity(ca: &str, name: &str, identity: Option<&Identity>) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
            roots
                .add(certificate.expect("a certificate"))
                .expect("a certificate of a CA");
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes());
                let chain = chain.collect::<Result<Vec<_>, _>>().expect("certificates");
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes());
                builder
                    .with_client_auth_cert(chain, key.expect("a key"))
                    .expect("a certificate with its key")
            }
        };
        Self {
            config: Arc::new(config),
            name: ServerName::try_from(name.to_owned()).expect("a name"),
        }
    }
}

impl Endpoint {
    /// The same server, for a client that trusts this CA and shows a certificate.
    pub fn with_identity(self, ca: &str, name: &str, identity: &Identity) -> Self {
        Self {
            encryption: Some(Encryption::with_identity(ca, name, Some(identity))),
            ..self
        }
    }

    /// Connects, and logs in. The limit is that of each reply as well.
    pub async fn connect(&self, limit: Duration) -> Result<MultiplexedConnection, RedisError> {
        let settings = RedisConnectionInfo::default()
            .set_username(&self.user)
            .set_password(&self.password)
            .set_skip_set_lib_name();
        if let Some(encryption) = &self.encryption {
            return timeout(limit, self.connect_encrypted(encryption, &settings, limit))
                .await
                .unwrap_or_else(
                    |_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
                );
        }
        let info = ConnectionAddr::Tcp(self.host.clone(), self.port)
            .into_connection_info()?
            .set_redis_settings(settings);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limit))
            .set_response_timeout(Some(limit));
        redis::Client::open(info)?
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    async fn connect_encrypted(
        &self,
        encryption: &Encryption,
        settings: &RedisConnectionInfo,
        limit: Duration,
    ) -> Result<MultiplexedConnection, RedisError> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let stream = TlsConnector::from(encryption.config.clone())
            .connect(encryption.name.clone(), stream)
            .await?;
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(limit));
        let (connection, driver) =
            MultiplexedConnection::new_with_config(settings, stream, config).await?;
        tokio::spawn(driver);
        Ok(connection)
    }

    /// One command on a connection of its own.
    pub async fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> Result<T, RedisError> {
        let mut connection = self.connect(PATIENT).await?;
        let (name, arguments) = words.split_first().expect("a command");
        let mut command = redis::cmd(name);
        command.arg(arguments);
        command.query_async(&mut connection).await
    }

    /// A value of `CONFIG GET`.
    pub async fn config(&self, directive: &str) -> Result<String, String> {
        self.ask::<BTreeMap<String, String>>(&["CONFIG", "GET", directive])
            .await
            .map_err(|error| error.to_string())?
            .remove(directive)
            .ok_or_else(|| format!("there is no directive {directive}"))
    }

    /// `master` or `slave`.
    pub async fn role(&self) -> Result<String, String> {
        self.info("replication", "role").await
    }

    /// A field of `INFO`.
    pub async fn info(&self, section: &str, field: &str) -> Result<String, String> {
        let text: String = self
            .ask(&["INFO", section])
            .await
            .map_err(|error| error.to_string())?;
        text.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| *name == field)
            .map(|(_, value)| value.trim().to_owned())
            .ok_or_else(|| format!("INFO has no {field}"))
    }
}

/// What kind of failure it was: the server's word for it, or what happened to the connection.
pub fn kind(error: &RedisError) -> String {
    if let Some(code) = error.code() {
        code.to_owned()
    } else if error.is_timeout() {
        "timeout".to_owned()
    } else if error.is_connection_refusal() {
        "connection refused".to_owned()
    } else if error.is_connection_dropped() || error.is_io_error() {
        "connection lost".to_owned()
    } else {
        error.category().to_owned()
    }
}
