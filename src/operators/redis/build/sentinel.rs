//! The sentinels: their StatefulSet, configuration, users, Service and disruption budget.
//!
//! A sentinel keeps nothing over a restart of its process: it starts watching nobody, and Hera tells it whom to watch. So one that was
//! away can never come back with an old primary in its file and lead the others to it. Its id follows from the database and the
//! ordinal of its pod, so that the others take a replaced one for the one that it replaces, and no dead sentinel is ever counted.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy};
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource, ObjectFieldSelector,
    PodSpec, PodTemplateSpec, Probe, Secret, SecretVolumeSource, Service, ServicePort, ServiceSpec,
    Volume, VolumeMount,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::super::api::{Engine, RESTARTED_AT_ANNOTATION};
use super::super::model::{
    CONFIG_DIR, CONFIG_HASH_ANNOTATION, Credentials, Observed, SENTINEL_CONTAINER, SENTINEL_PORT,
    UserEntry, ValidSentinel, Validated,
};
use super::super::users::{self, DEFAULT, SENTINEL_USER};
use super::access::OPERATOR_USER;
use super::patch::{self, PatchError};
use super::statefulset::{container_security, pod_security, spread};
use super::{identity, probes, tls};
use crate::engines::redis::{
    hera_sentinel_acl_rules, password_hash, sentinel_client_acl_rules, sentinel_peer_acl_rules,
};
use crate::k8s::labels::Identity;

/// Folder that a sentinel rewrites its configuration in.
const FOLDER: &str = "/data";

/// Labels of all that belongs to the sentinels.
pub fn sentinel_identity(v: &Validated) -> Identity<'_> {
    Identity {
        component: "sentinel",
        ..identity(v)
    }
}

fn metadata(v: &Validated) -> ObjectMeta {
    ObjectMeta {
        name: Some(v.sentinel_set()),
        namespace: Some(v.namespace.clone()),
        labels: Some(sentinel_identity(v).standard()),
        owner_references: Some(vec![v.owner.clone()]),
        ..ObjectMeta::default()
    }
}

fn hash(password: &SecretString) -> String {
    password_hash(password.expose_secret())
}

/// Configuration and users.
pub fn secret(v: &Validated, o: &Observed, c: &Credentials) -> Option<Secret> {
    v.sentinel.as_ref()?;
    let own = |name: &str, password: &SecretString, rules: String| {
        let entry = UserEntry {
            enabled: true,
            hashes: vec![hash(password)],
            rules,
        };
        entry.line(name)
    };
    let mut users = users::at_sentinels(v, o);
    users
        .entry(DEFAULT.to_owned())
        .or_insert_with(|| UserEntry {
            enabled: v.default_user_enabled,
            hashes: vec![hash(&c.default)],
            rules: sentinel_client_acl_rules(),
        });
    let mut file = [
        own(OPERATOR_USER, &c.operator, hera_sentinel_acl_rules()),
        own(SENTINEL_USER, &c.sentinel(), sentinel_peer_acl_rules()),
    ]
    .concat();
    for (name, entry) in &users {
        file.push_str(&entry.line(name));
    }
    let text = format!(
        "{}sentinel sentinel-pass {}\n",
        conf(v),
        c.sentinel().expose_secret()
    );
    let bytes = |text: String| ByteString(text.into_bytes());
    Some(Secret {
        metadata: metadata(v),
        type_: Some("Opaque".into()),
        data: Some(BTreeMap::from([
            ("sentinel.conf".to_owned(), bytes(text)),
            ("users.acl".to_owned(), bytes(file)),
        ])),
        ..Secret::default()
    })
}

/// What a sentinel starts with, without its password. Whom to watch, and how, it is told while it runs.
fn conf(v: &Validated) -> String {
    let mut text = match &v.tls {
        None => format!("port {SENTINEL_PORT}\n"),
        Some(tls) => format!(
            "port 0\ntls-port {SENTINEL_PORT}\ntls-replication yes\ntls-auth-clients {}\n",
            tls.client_auth.directive()
        ),
    };
    for (name, value) in v.tls.iter().flat_map(|_| tls::files()) {
        let _ = writeln!(text, "{name} {value}");
    }
    let _ = write!(
        text,
        "bind * -::*\nprotected-mode no\ndir {FOLDER}\naclfile {CONFIG_DIR}/users.acl\n\
         sentinel deny-scripts-reconfig yes\nsentinel sentinel-user {SENTINEL_USER}\n"
    );
    text
}

/// The first 38 of the 40 hex digits of the sentinels' ids; the last two are the ordinal of the pod.
fn id_prefix(v: &Validated) -> String {
    let digest = Sha256::digest(format!("sentinel {}", v.owner.uid).as_bytes());
    digest
        .iter()
        .take(19)
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

fn port() -> IntOrString {
    IntOrString::Int(i32::from(SENTINEL_PORT))
}

/// Leads to every sentinel.
pub fn service(v: &Validated) -> Option<Service> {
    v.sentinel.as_ref()?;
    Some(Service {
        metadata: metadata(v),
        spec: Some(ServiceSpec {
            selector: Some(sentinel_identity(v).selector()),
            ports: Some(vec![ServicePort {
                name: Some("sentinel".into()),
                port: i32::from(SENTINEL_PORT),
                target_port: Some(port()),
                protocol: Some("TCP".into()),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    })
}

/// One sentinel at a time may be taken away by choice.
pub fn disruption_budget(v: &Validated) -> Option<PodDisruptionBudget> {
    v.sentinel.as_ref().filter(|_| !v.hibernate)?;
    Some(PodDisruptionBudget {
        metadata: metadata(v),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(sentinel_identity(v).selector()),
                ..LabelSelector::default()
            }),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    })
}

/// The StatefulSet of the sentinels.
pub fn statefulset(v: &Validated) -> Option<Result<StatefulSet, PatchError>> {
    let sentinel = v.sentinel.as_ref()?;
    let template = patch::apply(&template(v, sentinel), &sentinel.pod_template.0);
    Some(template.map(|template| StatefulSet {
        metadata: metadata(v),
        spec: Some(StatefulSetSpec {
            service_name: Some(v.sentinel_set()),
            replicas: Some(if v.hibernate { 0 } else { sentinel.replicas }),
            pod_management_policy: Some("Parallel".into()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".into()),
                rolling_update: None,
            }),
            selector: LabelSelector {
                match_labels: Some(sentinel_identity(v).selector()),
                ..LabelSelector::default()
            },
            template,
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }))
}

fn template(v: &Validated, sentinel: &ValidSentinel) -> PodTemplateSpec {
    let mut annotations =
        BTreeMap::from([(CONFIG_HASH_ANNOTATION.to_owned(), password_hash(&conf(v)))]);
    if let Some(at) = &v.restarted_at {
        annotations.insert(RESTARTED_AT_ANNOTATION.to_owned(), at.clone());
    }
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(sentinel_identity(v).standard()),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(10),
            security_context: Some(pod_security()),
            topology_spread_constraints: Some(spread(&sentinel_identity(v).selector())),
            containers: vec![container(v, sentinel)],
            volumes: Some(volumes(v)),
            ..PodSpec::default()
        }),
    }
}

fn container(v: &Validated, sentinel: &ValidSentinel) -> Container {
    let (server, cli) = match v.engine {
        Engine::Redis => ("redis-server", "redis-cli"),
        Engine::Valkey => ("valkey-server", "valkey-cli"),
    };
    let script = format!(
        "umask 077 && cat {CONFIG_DIR}/sentinel.conf > {FOLDER}/sentinel.conf && \
         printf 'sentinel myid {}%02x\\n' \"${{POD_NAME##*-}}\" >> {FOLDER}/sentinel.conf && \
         exec {server} {FOLDER}/sentinel.conf --sentinel",
        id_prefix(v)
    );
    Container {
        name: SENTINEL_CONTAINER.into(),
        image: Some(v.image.clone()),
        command: Some(vec!["sh".into(), "-c".into(), script]),
        env: Some(vec![EnvVar {
            name: "POD_NAME".into(),
            value_from: Some(EnvVarSource {
                field_ref: Some(ObjectFieldSelector {
                    field_path: "metadata.name".into(),
                    ..ObjectFieldSelector::default()
                }),
                ..EnvVarSource::default()
            }),
            ..EnvVar::default()
        }]),
        ports: Some(vec![ContainerPort {
            name: Some("sentinel".into()),
            container_port: i32::from(SENTINEL_PORT),
            protocol: Some("TCP".into()),
            ..ContainerPort::default()
        }]),
        resources: Some(sentinel.resources.clone()),
        security_context: Some(container_security()),
        startup_probe: Some(Probe {
            period_seconds: Some(1),
            failure_threshold: Some(60),
            ..probes::tcp(SENTINEL_PORT)
        }),
        readiness_probe: Some(Probe {
            period_seconds: Some(5),
            failure_threshold: Some(2),
            ..probes::tcp(SENTINEL_PORT)
        }),
        liveness_probe: Some(Probe {
            period_seconds: Some(15),
            timeout_seconds: Some(10),
            failure_threshold: Some(4),
            ..probes::liveness(v, cli, SENTINEL_PORT)
        }),
        volume_mounts: Some(mounts(v)),
        ..Container::default()
    }
}

fn mounts(v: &Validated) -> Vec<VolumeMount> {
    let folder = VolumeMount {
        name: "data".into(),
        mount_path: FOLDER.into(),
        ..VolumeMount::default()
    };
    let config = VolumeMount {
        name: "config".into(),
        mount_path: CONFIG_DIR.into(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    let certificate = v.tls.as_ref().map(|_| tls::mount());
    [folder, config].into_iter().chain(certificate).collect()
}

fn volumes(v: &Validated) -> Vec<Volume> {
    let config = Volume {
        name: "config".into(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(v.sentinel_set()),
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    };
    let folder = Volume {
        name: "data".into(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    };
    let certificate = v.tls.as_ref().map(tls::volume);
    [config, folder].into_iter().chain(certificate).collect()
}
