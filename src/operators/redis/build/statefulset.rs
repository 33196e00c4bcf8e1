//! The StatefulSet. It is `OnDelete` and `Parallel`: the plan chooses which pod goes next, never the StatefulSet controller.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapProjection, Container, ContainerPort, EmptyDirVolumeSource, EnvVar,
    EnvVarSource, ExecAction, KeyToPath, Lifecycle, LifecycleHandler, ObjectFieldSelector,
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PodReadinessGate, PodSecurityContext,
    PodSpec, PodTemplateSpec, Probe, ProjectedVolumeSource, SeccompProfile, SecretProjection,
    SecurityContext, TopologySpreadConstraint, Volume, VolumeMount, VolumeProjection,
    VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::super::api::{Engine, RESTARTED_AT_ANNOTATION};
use super::super::model::{
    BUS_PORT, CONFIG_DIR, CONFIG_HASH_ANNOTATION, CONTAINER, DATA_VOLUME, Instance, Observed, PORT,
    READINESS_GATE, TLS_PORT, ValidStorage, Validated,
};
use super::access::PROBE_USER;
use super::patch::{self, PatchError};
use super::{
    claim_labels, config, exporter, identity, metadata, probes, selector, shard_label, tls,
};
use crate::k8s::names;

/// User and group of the server; the upstream images use 999 as well.
const USER: i64 = 999;
/// A server with the append-only file on does not look at a snapshot. Where a volume that was taken over has only that one, the server
/// starts with the file off; Hera sets it on while the server runs.
const SNAPSHOT_FIRST: &str = "file=no; for f in /data/appendonlydir/*.manifest /data/appendonly.aof; do [ -e \"$f\" ] && file=yes; done; \
     [ $file = no ] && [ -e /data/dump.rdb ] && set -- \"$@\" --appendonly no; exec \"$0\" \"$@\"";
/// Time for a hand-over (5 s), the server's own shutdown (10 s), and some to spare.
const TERMINATION_SECONDS: i64 = 40;

/// The StatefulSet. Its number of replicas stays up while the primary is on a pod that scaling in would remove.
pub fn statefulset(v: &Validated, o: &Observed) -> Result<StatefulSet, PatchError> {
    let live = o.objects.statefulset.as_ref().and_then(|s| s.spec.as_ref());
    let claims = v.storage.as_ref().map(|s| claim_template(v, s, live));
    Ok(StatefulSet {
        metadata: metadata(v, v.statefulset_name()),
        spec: Some(StatefulSetSpec {
            service_name: Some(v.pods_service()),
            replicas: Some(replicas(v, o, live.and_then(|s| s.replicas))),
            pod_management_policy: Some("Parallel".into()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".into()),
                rolling_update: None,
            }),
            selector: LabelSelector {
                match_labels: Some(selector(v)),
                ..LabelSelector::default()
            },
            template: patch::apply(&template(v), &v.pod_template.0)?,
            volume_claim_templates: claims.map(|c| vec![c]),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    })
}

fn replicas(v: &Validated, o: &Observed, live: Option<i32>) -> i32 {
    if v.hibernate {
        return 0;
    }
    if v.clustered() {
        return shard_replicas(v, o, live);
    }
    let wanted = if v.led() && !leads(v, o) {
        // Until the Service has no selector any more it would lead to the temporary replica as well.
        v.replicas
    } else {
        v.copies()
    };
    let primary = o
        .status
        .primary
        .as_deref()
        .and_then(|pod| o.instances.iter().find(|i| i.pod == pod));
    let recorded = o
        .status
        .election
        .as_ref()
        .and_then(|e| o.instances.iter().find(|i| i.pod == e.candidate));
    let handing_over = o
        .status
        .election
        .as_ref()
        .filter(|e| !e.completed)
        .and_then(|e| e.from.as_deref())
        .and_then(|pod| o.instances.iter().find(|i| i.pod == pod));
    let kept = primary
        .into_iter()
        .chain(recorded)
        .chain(handing_over)
        .chain(o.instances.iter().filter(|i| i.is_primary()))
        .any(|i| i.ordinal >= wanted);
    let existing = o.instances.iter().filter(|i| !i.uid.is_empty());
    let highest = existing.map(|i| i.ordinal + 1).max().unwrap_or(0);
    if let Some(ordinal) = asleep(v, o, live) {
        return v.replicas.max(ordinal + 1);
    }
    let wanted = if kept {
        live.unwrap_or(highest).max(wanted)
    } else {
        wanted
    };
    on_own_claims(o, live, wanted)
}

/// No pod is made on a claim that is not ours.
fn on_own_claims(o: &Observed, live: Option<i32>, wanted: i32) -> i32 {
    let first = o.foreign.iter().map(|f| f.ordinal).min();
    first.map_or(wanted, |first| wanted.min(first.max(live.unwrap_or(0))))
}

/// The Service of the primary, as it is, leads only where Hera leads it.
fn leads(v: &Validated, o: &Observed) -> bool {
    let name = v.primary_service();
    let mut services = o.objects.services.iter();
    let service = services.find(|s| s.metadata.name.as_ref() == Some(&name));
    let spec = service.and_then(|s| s.spec.as_ref());
    spec.is_some_and(|s| s.selector.as_ref().is_none_or(BTreeMap::is_empty))
}

/// In a shard as well the pods stay while one that is to go is the primary.
fn shard_replicas(v: &Validated, o: &Observed, live: Option<i32>) -> i32 {
    let set = v.statefulset_name();
    let recorded = o.status.shards.iter().find(|s| s.name == set);
    let recorded = recorded.and_then(|s| s.primary.as_deref());
    let owns = |i: &Instance| {
        let view = o.cluster.views.get(&i.pod);
        view.is_some_and(|view| {
            view.nodes
                .iter()
                .any(|n| n.is_myself() && !n.slots.is_empty())
        })
    };
    let kept = o
        .instances
        .iter()
        .filter(|i| i.ordinal >= v.replicas && !i.uid.is_empty())
        .any(|i| owns(i) || recorded == Some(i.pod.as_str()));
    let wanted = if kept {
        live.unwrap_or(v.replicas).max(v.replicas)
    } else {
        v.replicas
    };
    on_own_claims(o, live, wanted)
}

/// The ordinal of the last primary of a database that sleeps: its volume has the newest data, so it wakes too, also when the database
/// was made smaller meanwhile.
fn asleep(v: &Validated, o: &Observed, live: Option<i32>) -> Option<i32> {
    let no_pod = live == Some(0) && o.instances.iter().all(|i| i.uid.is_empty());
    let last = o.status.election.as_ref().filter(|_| no_pod)?;
    let ordinal = names::ordinal(&v.statefulset_name(), &last.candidate)?;
    let claim = o
        .claims
        .iter()
        .find(|c| i64::from(c.ordinal) == i64::from(ordinal))?;
    Some(claim.ordinal)
}

/// Claim templates cannot be changed: as long as the StatefulSet lives its own are repeated, and the plan makes it anew when they differ.
fn claim_template(
    v: &Validated,
    storage: &ValidStorage,
    live: Option<&StatefulSetSpec>,
) -> PersistentVolumeClaim {
    let old = live
        .and_then(|s| s.volume_claim_templates.as_ref())
        .and_then(|t| t.first())
        .and_then(|t| t.spec.as_ref());
    let (class, size) = match old {
        Some(old) => (
            old.storage_class_name.clone(),
            old.resources
                .as_ref()
                .and_then(|r| r.requests.as_ref())
                .and_then(|r| r.get("storage"))
                .cloned(),
        ),
        None => (storage.class.clone(), None),
    };
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(storage.template.clone()),
            labels: Some(claim_labels(v)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".into()]),
            storage_class_name: class,
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([(
                    "storage".to_owned(),
                    size.unwrap_or_else(|| storage.size.clone()),
                )])),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

fn template(v: &Validated) -> PodTemplateSpec {
    let mut annotations =
        BTreeMap::from([(CONFIG_HASH_ANNOTATION.to_owned(), config::restart_hash(v))]);
    if let Some(at) = &v.restarted_at {
        annotations.insert(RESTARTED_AT_ANNOTATION.to_owned(), at.clone());
    }
    let mut labels = identity(v).standard();
    labels.extend(shard_label(v));
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(TERMINATION_SECONDS),
            security_context: Some(pod_security()),
            readiness_gates: (v.gated() || v.clustered()).then(|| {
                vec![PodReadinessGate {
                    condition_type: READINESS_GATE.into(),
                }]
            }),
            topology_spread_constraints: Some(spread(&selector(v))),
            containers: [container(v)]
                .into_iter()
                .chain(exporter::container(v))
                .collect(),
            volumes: Some(volumes(v)),
            ..PodSpec::default()
        }),
    }
}

/// What the restricted Pod Security Standard asks of a pod.
pub(super) fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        fs_group: Some(USER),
        fs_group_change_policy: Some("OnRootMismatch".into()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".into(),
            localhost_profile: None,
        }),
        ..PodSecurityContext::default()
    }
}

/// What it asks of a container, and a root file system that nobody writes to.
pub(super) fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".into()]),
            add: None,
        }),
        ..SecurityContext::default()
    }
}

/// Pods with these labels are spread as evenly as can be.
pub(super) fn spread(labels: &BTreeMap<String, String>) -> Vec<TopologySpreadConstraint> {
    let over = |key: &str| TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key.into(),
        when_unsatisfiable: "ScheduleAnyway".into(),
        label_selector: Some(LabelSelector {
            match_labels: Some(labels.clone()),
            ..LabelSelector::default()
        }),
        ..TopologySpreadConstraint::default()
    };
    vec![
        over("kubernetes.io/hostname"),
        over("topology.kubernetes.io/zone"),
    ]
}

fn container(v: &Validated) -> Container {
    let (server, cli) = match v.engine {
        Engine::Redis => ("redis-server", "redis-cli"),
        Engine::Valkey => ("valkey-server", "valkey-cli"),
    };
    Container {
        name: CONTAINER.into(),
        image: Some(v.image.clone()),
        command: Some(command(v, server)),
        env: v.clustered().then(|| vec![pod_ip()]),
        ports: Some(ports(v)),
        resources: Some(v.resources.clone()),
        security_context: Some(container_security()),
        // A server that loads, synchronises or runs a long script still answers something, so these never end it. One that gives no
        // answer at all for three minutes is ended; in mode Replication Hera has taken over from it long before.
        startup_probe: Some(Probe {
            period_seconds: Some(1),
            failure_threshold: Some(120),
            ..probes::tcp(PORT)
        }),
        readiness_probe: Some(Probe {
            period_seconds: Some(5),
            failure_threshold: Some(2),
            ..probes::tcp(PORT)
        }),
        liveness_probe: Some(Probe {
            period_seconds: Some(30),
            timeout_seconds: Some(10),
            failure_threshold: Some(6),
            ..probes::liveness(v, cli, PORT)
        }),
        lifecycle: (v.gated() || v.clustered()).then(|| Lifecycle {
            pre_stop: Some(LifecycleHandler {
                exec: Some(ExecAction {
                    command: Some(vec!["sh".into(), "-c".into(), hand_over_hook(v, cli)]),
                }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        volume_mounts: Some(mounts(v)),
        ..Container::default()
    }
}

fn mounts(v: &Validated) -> Vec<VolumeMount> {
    let data = VolumeMount {
        name: v.data_volume().to_owned(),
        mount_path: "/data".into(),
        ..VolumeMount::default()
    };
    let config = VolumeMount {
        name: "config".into(),
        mount_path: CONFIG_DIR.into(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    let certificate = v.tls.as_ref().map(|_| tls::mount());
    [data, config].into_iter().chain(certificate).collect()
}

/// A node of a cluster announces its address, which it would learn only when it meets another. Without a volume its identity ends with
/// its process, as its data does: it would come back as the empty primary of its slots otherwise, or with the snapshot that it got when
/// it was a replica, and its replicas would follow it.
fn command(v: &Validated, server: &str) -> Vec<String> {
    let mut command = vec![server.to_owned(), format!("{CONFIG_DIR}/redis.conf")];
    if v.clustered() {
        command.extend(["--cluster-announce-ip".to_owned(), "$(POD_IP)".to_owned()]);
    }
    let script = if v.takes_over() {
        SNAPSHOT_FIRST
    } else if v.clustered() && v.storage.is_none() {
        "rm -rf /data/* && exec \"$0\" \"$@\""
    } else {
        return command;
    };
    let shell = ["sh", "-c", script].map(str::to_owned);
    [shell.to_vec(), command].concat()
}

fn pod_ip() -> EnvVar {
    EnvVar {
        name: "POD_IP".into(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: "status.podIP".into(),
                ..ObjectFieldSelector::default()
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

fn ports(v: &Validated) -> Vec<ContainerPort> {
    let port = |name: &str, port: u16| ContainerPort {
        name: Some(name.into()),
        container_port: i32::from(port),
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    };
    let mut ports = vec![port("redis", PORT)];
    ports.extend(v.tls.is_some().then(|| port("redis-tls", TLS_PORT)));
    ports.extend(v.clustered().then(|| port("bus", BUS_PORT)));
    ports
}

/// A primary that is being stopped waits until it has handed over, or has no replica that could take over; at most 15 s.
fn hand_over_hook(v: &Validated, cli: &str) -> String {
    let ask = |flags: &str| format!("{cli}{flags} -p {PORT} --user {PROBE_USER} info replication");
    // A server that takes encrypted connections only ends the other kind at once.
    let encrypted = v.tls.as_ref().map_or_else(String::new, |_| {
        format!(" || {}", ask(&tls::client_flags()))
    });
    let plain = ask("");
    format!(
        "export REDISCLI_AUTH=\"$(cat {CONFIG_DIR}/probe-password)\"; n=0; while [ $n -lt 75 ]; do \
         i=$({plain}{encrypted}) || exit 0; \
         case $i in *role:slave*|*connected_slaves:0*) exit 0;; esac; n=$((n+1)); sleep 0.2; done"
    )
}

fn item(key: &str) -> KeyToPath {
    KeyToPath {
        key: key.into(),
        path: key.into(),
        mode: None,
    }
}

fn from_config_map(name: String, keys: &[&str]) -> VolumeProjection {
    VolumeProjection {
        config_map: Some(ConfigMapProjection {
            name,
            items: Some(keys.iter().map(|key| item(key)).collect()),
            optional: None,
        }),
        ..VolumeProjection::default()
    }
}

fn volumes(v: &Validated) -> Vec<Volume> {
    let mut volumes = vec![Volume {
        name: "config".into(),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(0o440),
            sources: Some(vec![
                from_config_map(
                    v.start_config_map(&config::restart_hash(v)),
                    &["redis.conf"],
                ),
                from_config_map(v.config_map(), &["live.conf", "user.conf"]),
                VolumeProjection {
                    secret: Some(SecretProjection {
                        name: v.server_secret(),
                        items: Some(vec![
                            item("users.acl"),
                            item("replication.conf"),
                            item("probe-password"),
                        ]),
                        optional: None,
                    }),
                    ..VolumeProjection::default()
                },
            ]),
        }),
        ..Volume::default()
    }];
    volumes.extend(v.tls.as_ref().map(tls::volume));
    volumes.extend(exporter::volume(v));
    if v.storage.is_none() {
        volumes.push(Volume {
            name: DATA_VOLUME.into(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        });
    }
    volumes
}
