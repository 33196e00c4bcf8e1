//! Encryption: the certificate's volume, the directives, and the flags of the programs in the pod.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{SecretVolumeSource, Volume, VolumeMount};

use super::super::model::{
    CA_KEY, CERTIFICATE_VOLUME, Instance, Listening, Observed, PORT, TLS_DIR, TLS_PORT, ValidTls,
    Validated,
};

/// How a server listens when it starts. The bus of a cluster is encrypted as its clients are, and so is what moves with the slots.
pub fn listening(v: &Validated) -> BTreeMap<String, String> {
    let Some(tls) = &v.tls else {
        return BTreeMap::from([("port".to_owned(), PORT.to_string())]);
    };
    let mut directives = ports(tls);
    if !tls.plaintext {
        directives.insert("tls-replication".to_owned(), "yes".to_owned());
    }
    if v.clustered() && !tls.plaintext {
        directives.insert("tls-cluster".to_owned(), "yes".to_owned());
    }
    directives.extend(files());
    directives
}

/// The ports of a server.
pub fn ports(tls: &ValidTls) -> BTreeMap<String, String> {
    let plain = if tls.plaintext { PORT } else { 0 };
    BTreeMap::from([
        ("port".to_owned(), plain.to_string()),
        ("tls-port".to_owned(), tls.port().to_string()),
    ])
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

/// Flags with which the command-line client of the image reaches a server that takes encrypted connections only, in its own pod,
/// also when the certificate is not valid for that address or any more.
pub fn client_flags() -> String {
    format!(" --tls --insecure --cert {TLS_DIR}/tls.crt --key {TLS_DIR}/tls.key")
}

/// Pods that are there to stay.
fn present(o: &Observed) -> impl Iterator<Item = &Instance> {
    o.instances
        .iter()
        .filter(|i| !i.uid.is_empty() && !i.terminating)
}

/// Where a server takes encrypted connections, or will.
pub fn port_of(tls: &ValidTls, i: &Instance) -> u16 {
    match i.listening() {
        None => tls.port(),
        // It has no certificate yet.
        Some(Listening { tls_port: 0, .. }) => TLS_PORT,
        Some(Listening { tls_port, .. }) => tls_port,
    }
}

/// Where the servers take encrypted connections, when a Service leads to all of them.
pub fn port_of_all(tls: &ValidTls, o: &Observed) -> u16 {
    present(o)
        .map(|i| port_of(tls, i))
        .max()
        .unwrap_or(tls.port())
}

/// Clients are told to encrypt: every server can, or it was so before.
pub fn is_published(v: &Validated, o: &Observed) -> bool {
    let Some(tls) = &v.tls else { return false };
    let told = o.objects.connection_secret.as_ref();
    let told = told.and_then(|s| s.data.as_ref());
    let before = told.is_none_or(|data| {
        data.contains_key(CA_KEY)
            || data
                .get("port")
                .is_some_and(|port| port.0 == TLS_PORT.to_string().as_bytes())
    });
    let mut pods = present(o);
    !tls.plaintext || before || pods.all(|i| i.serves_certificate == Some(true))
}

/// The port that clients are told. That for encrypted connections leads to them in any case, the other one only when nothing else is
/// accepted there.
pub fn port(v: &Validated, o: &Observed) -> u16 {
    let accepted = |tls: &ValidTls| {
        tls.plaintext || present(o).any(|i| i.listening().is_some_and(|l| l.plaintext))
    };
    match &v.tls {
        Some(tls) if is_published(v, o) && accepted(tls) => TLS_PORT,
        _ => PORT,
    }
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
pub fn volume(tls: &ValidTls) -> Volume {
    Volume {
        name: CERTIFICATE_VOLUME.into(),
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
        name: CERTIFICATE_VOLUME.into(),
        mount_path: TLS_DIR.into(),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}
