//! The exporter: a second container in each pod that reads the figures of its server, and the user that it logs in as.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, KeyToPath, SecretVolumeSource, SecurityContext, Volume,
    VolumeMount,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::super::model::{
    Credentials, EXPORTER, EXPORTER_PORT, METRICS_PORT_NAME, PORT, TLS_DIR, Validated,
};
use super::tls;
use crate::engines::redis::password_hash;

/// The user of the exporter on the servers.
pub const EXPORTER_USER: &str = "hera-exporter";
/// Key of the Secret of the servers with the file that the exporter reads its password from.
pub const PASSWORD_FILE: &str = "exporter.json";

const IMAGE: &str = "docker.io/oliver006/redis_exporter:v1.80.1";
const DIRECTORY: &str = "/etc/hera-exporter";

/// Its password, derived from a generated one, so that nothing more has to be kept: it tells nothing about the other one.
pub fn password(c: &Credentials) -> SecretString {
    let source = format!("{EXPORTER_USER}\n{}", c.operator.expose_secret());
    SecretString::from(password_hash(&source))
}

/// The file with the password, by the address that it is for. Older exporters look for the address as it is given to them, newer ones
/// for the one with the user in it.
pub fn password_file(v: &Validated, c: &Credentials) -> ByteString {
    let password = password(c);
    let entry = |user: &str| (address(v, user), password.expose_secret().to_owned());
    let file = BTreeMap::from([entry(""), entry(&format!("{EXPORTER_USER}@"))]);
    ByteString(json!(file).to_string().into_bytes())
}

fn address(v: &Validated, user: &str) -> String {
    let encrypted = v.tls.as_ref().is_some_and(|tls| !tls.plaintext);
    let scheme = if encrypted { "rediss" } else { "redis" };
    format!("{scheme}://{user}127.0.0.1:{PORT}")
}

/// The container, when the spec asks for it.
///
/// It does not ask for the configuration, which has the password of replication in it, and has no right to. The certificate is for
/// the name of the Service, so it is not checked within the pod.
pub fn container(v: &Validated) -> Option<Container> {
    let exporter = v.monitoring.exporter.as_ref()?;
    let mut args = vec![
        format!("--redis.addr={}", address(v, "")),
        format!("--redis.user={EXPORTER_USER}"),
        format!("--redis.password-file={DIRECTORY}/{PASSWORD_FILE}"),
        format!("--web.listen-address=:{EXPORTER_PORT}"),
        "--config-command=-".to_owned(),
    ];
    if v.tls.is_some() {
        args.extend([
            "--skip-tls-verification".to_owned(),
            format!("--tls-client-cert-file={TLS_DIR}/tls.crt"),
            format!("--tls-client-key-file={TLS_DIR}/tls.key"),
        ]);
    }
    args.extend(exporter.args.iter().cloned());
    let password = VolumeMount {
        name: EXPORTER.into(),
        mount_path: DIRECTORY.into(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    let certificate = v.tls.as_ref().map(|_| tls::mount());
    Some(Container {
        name: EXPORTER.into(),
        image: Some(exporter.image.clone().unwrap_or_else(|| IMAGE.to_owned())),
        args: Some(args),
        ports: Some(vec![ContainerPort {
            name: Some(METRICS_PORT_NAME.into()),
            container_port: i32::from(EXPORTER_PORT),
            protocol: Some("TCP".into()),
            ..ContainerPort::default()
        }]),
        resources: Some(exporter.resources.clone().unwrap_or_default()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".into()]),
                add: None,
            }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some([password].into_iter().chain(certificate).collect()),
        // No probe: an exporter that hangs must not take its server out of service.
        ..Container::default()
    })
}

/// The volume with its password and nothing else.
pub fn volume(v: &Validated) -> Option<Volume> {
    v.monitoring.exporter.as_ref().map(|_| Volume {
        name: EXPORTER.into(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(v.server_secret()),
            default_mode: Some(0o440),
            items: Some(vec![KeyToPath {
                key: PASSWORD_FILE.into(),
                path: PASSWORD_FILE.into(),
                mode: None,
            }]),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    })
}
