//! The certificates of databases, read from the Secrets that users name, and kept as long as the Secrets do not change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use secrecy::SecretSlice;

use super::api::{ClientAuth, Redis};
use super::model::{CA_KEY, Certificate, Observed, Problem};
use super::reasons;
use super::{Operator, encryption};
use crate::engines::redis::{ClientIdentity, ServedCertificate, Tls, TlsError};

/// A certificate with what Hera needs to speak with the servers that serve it.
#[derive(Clone, Debug)]
pub struct Material {
    /// Changes when the Secret does, or when the servers are done with the CA before.
    pub version: String,
    resource_version: Option<String>,
    former_ca: String,
    /// How Hera connects.
    pub tls: Tls,
    /// What the servers should serve.
    pub certificate: Certificate,
}

impl Material {
    /// Version of the Secret.
    pub fn resource_version(&self) -> Option<&str> {
        self.resource_version.as_deref()
    }
}

/// The last material of each `Redis`, by `namespace/name`.
#[derive(Debug, Default)]
pub struct Certificates(Mutex<HashMap<String, Arc<Material>>>);

impl Certificates {
    fn last(&self, key: &str) -> Option<Arc<Material>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(key).cloned()
    }

    fn keep(&self, key: &str, material: &Arc<Material>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(key.to_owned(), material.clone());
    }

    /// Nothing is kept of this `Redis`.
    pub fn forget(&self, key: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(key);
    }
}

impl Operator {
    /// What is known of the certificate. When the Secret cannot be read or used, the servers go on with what they have, and so does
    /// Hera.
    pub(super) async fn certificate(
        &self,
        redis: &Redis,
        observed: &mut Observed,
    ) -> Option<Arc<Material>> {
        let name = &encryption::secret_name(redis, observed)?;
        let last = self.certificates.last(&observed.key);
        let found = match self.current(redis, name, observed, last.as_deref()).await {
            Ok(None) => last,
            Ok(Some(material)) => {
                let material = Arc::new(material);
                self.certificates.keep(&observed.key, &material);
                Some(material)
            }
            Err(problem) => {
                observed.certificate_problem = Some(problem);
                last
            }
        };
        observed.certificate = found.as_ref().map(|m| m.certificate.clone());
        found
    }

    /// The material of the Secret; `None` when it is what was read last.
    async fn current(
        &self,
        redis: &Redis,
        name: &str,
        observed: &Observed,
        last: Option<&Material>,
    ) -> Result<Option<Material>, Problem> {
        let namespace = redis.namespace().unwrap_or_default();
        let problem = |reason, message| Problem::of(reason, format!("Secret/{name}"), message);
        let cached = self.caches.all_secrets.get(&namespace, name);
        let unchanged = |last: &Material| {
            cached.is_some_and(|secret| secret.resource_version() == last.resource_version)
                && former_ca(observed, &last.certificate.ca) == last.former_ca
        };
        if last.is_some_and(unchanged) {
            return Ok(None);
        }
        let secret = Api::<Secret>::namespaced(self.ctx.client.clone(), &namespace)
            .get_opt(name)
            .await
            .map_err(|error| {
                problem(
                    reasons::ApiError,
                    format!("Secret {name} could not be read: {error}"),
                )
            })?
            .ok_or_else(|| {
                problem(
                    reasons::SecretNotFound,
                    format!("Secret {name} does not exist"),
                )
            })?;
        let value = |key: &str| {
            let bytes = secret.data.as_ref().and_then(|d| d.get(key));
            bytes.map(|b| b.0.clone()).ok_or_else(|| {
                problem(
                    reasons::SecretKeyMissing,
                    format!("Secret {name} has no key {key}"),
                )
            })
        };
        let (ca, certificates, key) = (value(CA_KEY)?, value("tls.crt")?, value("tls.key")?);
        let client_auth = redis.spec.tls.as_ref().map(|t| t.client_auth);
        let identity = (client_auth == Some(ClientAuth::Required)).then(|| ClientIdentity {
            certificates: certificates.clone(),
            key: SecretSlice::from(key),
        });
        // Servers that have not read a certificate of a new CA yet still serve one of the CA that was published last.
        let ca = String::from_utf8_lossy(&ca).into_owned();
        let former_ca = former_ca(observed, &ca);
        let trusted = format!("{ca}\n{former_ca}");
        let host = format!("{}.{namespace}.svc", redis.name_any());
        let invalid = |error: TlsError| {
            problem(
                reasons::CertificateInvalid,
                format!("Secret {name}: {error}"),
            )
        };
        let served = ServedCertificate::from_pem(&certificates).map_err(invalid)?;
        let resource_version = secret.resource_version();
        Ok(Some(Material {
            version: format!(
                "{} {former_ca}",
                resource_version.as_deref().unwrap_or_default()
            ),
            resource_version,
            former_ca,
            tls: Tls::new(trusted.as_bytes(), &host, identity.as_ref()).map_err(invalid)?,
            certificate: Certificate {
                serial: served.serial,
                not_before: served.not_before,
                not_after: served.not_after,
                ca,
            },
        }))
    }
}

/// The CA that clients were told last, when it is another one: every server served a certificate of it then.
fn former_ca(observed: &Observed, ca: &str) -> String {
    let data = observed
        .objects
        .connection_secret
        .as_ref()
        .and_then(|s| s.data.as_ref());
    data.and_then(|d| d.get(CA_KEY))
        .map(|b| String::from_utf8_lossy(&b.0).into_owned())
        .filter(|published| published != ca)
        .unwrap_or_default()
}
