//! Encryption: the certificate's volume, the directives, and the flags of the programs in the pod.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{SecretVolumeSource, Volume, VolumeMount};

use super::super::api::Tls;
use super::super::model::{CA_KEY, Observed, PORT, TLS_DIR};

const VOLUME: &str = "tls";

/// How a server listens: encrypted or not, never both.
pub fn listening(tls: Option<&Tls>) -> BTreeMap<String, String> {
    let Some(tls) = tls else {
        return BTreeMap::from([("port".to_owned(), PORT.to_string())]);
    };
    let mut directives = BTreeMap::from([
        ("port".to_owned(), "0".to_owned()),
        ("tls-port".to_owned(), PORT.to_string()),
        ("tls-replication".to_owned(), "yes".to_owned()),
        (
            "tls-auth-clients".to_owned(),
            tls.client_auth.directive().to_owned(),
        ),
    ]);
    directives.extend(files());
    directives
}

/// The directives that name the files. Setting them again makes a server read the files again.
pub fn files() -> BTreeMap<String, String> {
    let file = |directive: &str, name: &str| (directive.to_owned(), format!("{TLS_DIR}/{name}"));
    BTreeMap::from([
        file("tls-cert-file", "tls.crt"),
        file("tls-key-file", "tls.key"),
        file("tls-ca-cert-file", "ca.crt"),
    ])
}

/// Flags with which the command-line client of the image reaches the server in its own pod, also when the certificate is not valid
/// for that address or any more.
pub fn client_flags(tls: Option<&Tls>) -> String {
    tls.map(|_| format!(" --tls --insecure --cert {TLS_DIR}/tls.crt --key {TLS_DIR}/tls.key"))
        .unwrap_or_default()
}

/// The CA that clients are to trust: that of the Secret as soon as every server serves a certificate of it, until then the one
/// before.
pub fn published_ca(o: &Observed) -> Option<ByteString> {
    let new = o
        .certificate
        .as_ref()
        .map(|c| ByteString(c.ca.clone().into_bytes()));
    let present = o
        .objects
        .connection_secret
        .as_ref()
        .and_then(|s| s.data.as_ref()?.get(CA_KEY).cloned());
    let late = o
        .instances
        .iter()
        .any(|i| i.serves_certificate == Some(false));
    if late {
        present.or(new)
    } else {
        new.or(present)
    }
}

/// The volume with the certificate.
pub fn volume(tls: &Tls) -> Volume {
    Volume {
        name: VOLUME.into(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(tls.secret_name.clone()),
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// Where it is mounted.
pub fn mount() -> VolumeMount {
    VolumeMount {
        name: VOLUME.into(),
        mount_path: TLS_DIR.into(),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}
