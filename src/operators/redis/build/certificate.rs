//! What an issuer is asked for.

use super::super::api::{Certificate, CertificateSpec};
use super::super::model::Validated;
use super::metadata;

/// The certificate that an issuer is asked for; `None` when somebody else writes the Secret. It is valid for every name by which
/// clients and servers find each other, and for both, as replicas and nodes of a cluster show it too.
pub fn certificate(v: &Validated) -> Option<Certificate> {
    let tls = v.tls.as_ref()?;
    let issuer = tls.issuer.clone()?;
    let namespace = &v.namespace;
    let service = |name: &str| {
        [
            format!("{name}.{namespace}.svc"),
            format!("{name}.{namespace}.svc.cluster.local"),
        ]
    };
    let primary = v.primary_service();
    let mut dns_names = vec![primary.clone(), format!("{primary}.{namespace}")];
    dns_names.extend(service(&primary));
    dns_names.extend(service(&v.replicas_service()));
    dns_names.extend(service(&format!("*.{}", v.pods_service())));
    dns_names.push("localhost".to_owned());
    let mut certificate = Certificate::new(
        "",
        CertificateSpec {
            secret_name: tls.secret_name.clone(),
            issuer_ref: issuer,
            dns_names,
            usages: ["server auth", "client auth"].map(str::to_owned).to_vec(),
        },
    );
    certificate.metadata = metadata(v, v.name.clone());
    Some(certificate)
}
