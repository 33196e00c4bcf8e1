//! Reads everything that a decision needs, once, in parallel. A server that does not answer is data, not an error.

mod claims;
mod cluster;
mod sentinels;
mod servers;
mod source;

use std::collections::HashSet;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use secrecy::SecretString;

use self::claims::claim;
use super::accounts::Referenced;
use super::api::{Mode, Redis};
use super::build::OPERATOR_USER;
use super::certificates::Material;
use super::instances::Reach;
use super::model::{
    CONFIG_HASH_ANNOTATION, CONTAINER, Credentials, EXPORTER, Instance, Listening, NAME_LABEL,
    Objects, Observed, PodState, Problem, READINESS_GATE, SENTINEL_CONTAINER, Server,
    certificate_secret,
};
use super::users::{self, DEFAULT};
use super::{Operator, directives, encryption, external};
use crate::engines::redis as engine;
use crate::k8s::{names, owner};

impl Operator {
    /// The objects, pods and servers of one `Redis`.
    pub(super) async fn observe(
        &self,
        redis: &Redis,
        credentials: Option<&Credentials>,
        problem: Option<Problem>,
        now: Timestamp,
    ) -> Observed {
        let (namespace, name, uid) = (
            redis.namespace().unwrap_or_default(),
            redis.name_any(),
            redis.uid().unwrap_or_default(),
        );
        let mut observed = Observed {
            status: redis.status.clone().unwrap_or_default(),
            key: format!("{namespace}/{name}"),
            uid: uid.clone(),
            age: age(redis.meta().creation_timestamp.as_ref().map(|t| t.0), now),
            objects: self.objects(&namespace, &name, &uid),
            password_problem: problem,
            manager_namespace: self.namespace().to_owned(),
            ..Observed::default()
        };
        observed.claims = observed
            .objects
            .claims
            .iter()
            .filter_map(|c| claim(c, &name, redis, now))
            .collect();
        observed.claims.sort_by_key(|c| c.ordinal);
        let statefulset = observed.objects.statefulset.as_ref();
        observed.update_revision = statefulset.and_then(update_revision);
        observed.settling = statefulset.is_some() && observed.update_revision.is_none();
        observed.instances = self.pods(redis, &observed, now);
        let clustered = redis.spec.mode == Mode::Cluster;
        if clustered {
            self.shards(redis, &mut observed, now);
        }
        self.sentinels(redis, &mut observed, now);
        claims::outdate(&mut observed);
        let certificate = self.certificate(redis, &mut observed).await;
        let encrypted = encryption::secret_name(redis, &observed).is_some();
        let plain = observed.instances.iter().any(|i| !i.has_certificate);
        let reachable = !encrypted || plain || certificate.is_some();
        if !reachable {
            // Nothing is concluded from what cannot be asked.
            let mut running = observed.instances.iter_mut();
            while let Some(i) = running.find(|i| i.pod_state == PodState::Running) {
                i.server = Server::Silent(Duration::ZERO);
            }
        }
        if let Some(credentials) = credentials.filter(|_| reachable) {
            self.ask_servers(redis, &mut observed, credentials, certificate.as_deref())
                .await;
            if clustered {
                self.ask_nodes(&mut observed).await;
            }
            self.ask_sentinels(redis, &mut observed, credentials, certificate.as_deref())
                .await;
        }
        self.storage_class(redis, &mut observed).await;
        self.foreign_claims(redis, &mut observed).await;
        observed
    }

    /// The namespace that this process runs in.
    fn namespace(&self) -> &str {
        let set = &self.ctx.settings.lease_namespace;
        if set.is_empty() {
            self.ctx.client.default_namespace()
        } else {
            set
        }
    }

    fn objects(&self, namespace: &str, name: &str, uid: &str) -> Objects {
        let c = &self.caches;
        let get = |suffix: &str| format!("{name}-{suffix}");
        let services = c.services.owned_by(uid);
        let of_our_service = |slice: &EndpointSlice| {
            let controller = owner::controller_of(&slice.metadata);
            controller.is_some_and(|owner| {
                services
                    .iter()
                    .any(|s| s.uid().as_ref() == Some(&owner.uid))
            })
        };
        Objects {
            statefulset: c.statefulsets.get(namespace, name).map(|o| (*o).clone()),
            start_config_maps: c
                .config_maps
                .owned_by(uid)
                .iter()
                .filter(|o| o.name_any() != get("config"))
                .map(|o| (**o).clone())
                .collect(),
            config_map: c
                .config_maps
                .get(namespace, &get("config"))
                .map(|o| (*o).clone()),
            server_secret: c
                .secrets
                .get(namespace, &get("server"))
                .map(|o| (*o).clone()),
            connection_secret: c
                .secrets
                .get(namespace, &get("connection"))
                .map(|o| (*o).clone()),
            service_slices: c
                .endpoint_slices
                .list(namespace, of_our_service)
                .iter()
                .map(|o| (**o).clone())
                .collect(),
            user_secrets: c
                .secrets
                .owned_by(uid)
                .iter()
                .filter(|s| users::is_of_a_user(name, &s.name_any()))
                .map(|o| (**o).clone())
                .collect(),
            services: services.iter().map(|o| (**o).clone()).collect(),
            endpoint_slices: c
                .endpoint_slices
                .owned_by(uid)
                .iter()
                .map(|o| (**o).clone())
                .collect(),
            disruption_budget: c
                .disruption_budgets
                .get(namespace, name)
                .map(|o| (*o).clone()),
            network_policies: c
                .network_policies
                .owned_by(uid)
                .iter()
                .map(|o| (**o).clone())
                .collect(),
            foreign_claims: Vec::new(),
            claims: c
                .claims
                .list(namespace, |claim| {
                    claim.labels().get(NAME_LABEL).is_some_and(|n| n == name)
                })
                .iter()
                .map(|o| (**o).clone())
                .collect(),
        }
    }

    /// One instance for each ordinal that is wanted or exists.
    fn pods(&self, redis: &Redis, observed: &Observed, now: Timestamp) -> Vec<Instance> {
        let (namespace, name) = (redis.namespace().unwrap_or_default(), redis.name_any());
        let statefulset = observed.objects.statefulset.as_ref();
        let pods = self.caches.pods.list(&namespace, |pod| {
            pod.labels().get(NAME_LABEL).is_some_and(|n| *n == name) && belongs(pod, &name)
        });
        let mut instances: Vec<Instance> = pods
            .iter()
            .filter_map(|pod| {
                let ordinal = i32::try_from(names::ordinal(&name, &pod.name_any())?).ok()?;
                Some(instance(
                    pod,
                    ordinal,
                    observed.update_revision.as_deref(),
                    now,
                ))
            })
            .collect();
        let wanted = statefulset
            .and_then(|s| s.spec.as_ref())
            .and_then(|s| s.replicas)
            .unwrap_or(0)
            .max(redis.spec.replicas.unwrap_or(0));
        for ordinal in 0..wanted {
            if instances.iter().all(|i| i.ordinal != ordinal) {
                instances.push(Instance {
                    pod: format!("{name}-{ordinal}"),
                    ordinal,
                    ..Instance::default()
                });
            }
        }
        instances.sort_by_key(|i| i.ordinal);
        instances
    }

    async fn ask_servers(
        &self,
        redis: &Redis,
        observed: &mut Observed,
        credentials: &Credentials,
        certificate: Option<&Material>,
    ) {
        let object = ObjectRef::from_obj(redis);
        let key = observed.key.clone();
        let login = engine::Credentials {
            username: OPERATOR_USER.into(),
            password: credentials.operator.clone(),
            tls: None,
            network: self.ctx.network.clone(),
        };
        let running = |i: &&Instance| i.pod_state == PodState::Running && i.ip.is_some();
        let held: HashSet<String> = observed
            .instances
            .iter()
            .filter(running)
            .map(|i| i.uid.clone())
            .collect();
        for i in observed.instances.iter().filter(running) {
            let mut routes = encryption::routes(redis, observed, i);
            routes.retain(|route| !route.tls || certificate.is_some());
            let reach = Reach {
                host: i.ip.as_deref().unwrap_or_default(),
                login: &login,
                certificate,
                routes: &routes,
            };
            self.instances.hold(&key, &object, &i.uid, &reach);
        }
        self.instances.keep_only(&key, &held);
        let mut names: Vec<String> = directives::before(observed)
            .into_keys()
            .chain(redis.spec.config.keys().cloned())
            .collect();
        if redis.spec.mode == Mode::Cluster {
            names.extend(external::DIRECTIVES.map(str::to_owned));
        }
        names.extend(
            [
                "maxmemory",
                "maxmemory-policy",
                "save",
                "min-replicas-to-write",
                "min-replicas-max-lag",
                "appendonly",
            ]
            .map(str::to_owned),
        );
        if encryption::secret_name(redis, observed).is_some() {
            names.extend(Listening::DIRECTIVES.map(str::to_owned));
            names.push(directives::AUTH_CLIENTS.to_owned());
        }
        let users = users::asked(redis, observed);
        let asked = observed
            .instances
            .iter_mut()
            .filter(|i| held.contains(&i.uid))
            .map(|i| self.ask_server(&key, i, &names, &users, certificate));
        join_all(asked).await;
    }

    /// The passwords, from the Secret that Hera keeps them in and the one that the user names. Missing ones are `None`.
    pub(super) fn passwords(
        &self,
        redis: &Redis,
        referenced: &Referenced,
    ) -> (Passwords, Option<Problem>) {
        let name = redis.name_any();
        let value =
            |secret: &str, key: &str| self.own_password(redis, &format!("{name}-{secret}"), key);
        let kept = |key: &str| value("credentials", key).or_else(|| value("server", key));
        let server_secret = self.caches.secrets.get(
            &redis.namespace().unwrap_or_default(),
            &format!("{name}-server"),
        );
        let filed = users::entries(server_secret.as_deref());
        let copies = ["connection", "credentials"].map(|secret| value(secret, "password"));
        let copies: Vec<SecretString> = copies.into_iter().flatten().collect();
        let present = users::present(&copies, filed.get(DEFAULT));
        let mut passwords = Passwords {
            default: present,
            operator: kept("operator-password"),
            replication: kept("replication-password"),
            probe: kept("probe-password"),
        };
        let named = users::default_references(redis);
        if named.is_empty() {
            return (passwords, None);
        }
        match referenced.values(named) {
            Ok(values) => {
                passwords.default = values.into_iter().next();
                (passwords, None)
            }
            // The servers go on with the password that they have.
            Err(problem) => {
                passwords.default = value("connection", "password");
                (passwords, Some(problem))
            }
        }
    }
}

/// Passwords as far as they are known.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Passwords {
    pub default: Option<SecretString>,
    pub operator: Option<SecretString>,
    pub replication: Option<SecretString>,
    pub probe: Option<SecretString>,
}

fn age(since: Option<Timestamp>, now: Timestamp) -> Duration {
    since
        .and_then(|since| Duration::try_from(now.duration_since(since)).ok())
        .unwrap_or_default()
}

/// It is controlled by the StatefulSet, or by nobody while the StatefulSet is made anew around it.
fn belongs(pod: &Pod, statefulset: &str) -> bool {
    owner::controller_of(pod.meta())
        .is_none_or(|o| o.kind == "StatefulSet" && o.name == statefulset)
}

/// The revision that new pods get; `None` until the StatefulSet controller has seen the newest template.
fn update_revision(set: &StatefulSet) -> Option<String> {
    let status = set.status.as_ref()?;
    (status.observed_generation? >= set.metadata.generation?)
        .then(|| status.update_revision.clone())
        .flatten()
}

fn instance(pod: &Pod, ordinal: i32, revision: Option<&str>, now: Timestamp) -> Instance {
    let status = pod.status.clone().unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let condition = |type_: &str| conditions.iter().find(|c: &&PodCondition| c.type_ == type_);
    let holds = |type_: &str| condition(type_).is_some_and(|c| c.status == "True");
    let ready_reason = condition("Ready").and_then(|c| c.reason.as_deref());
    Instance {
        pod: pod.name_any(),
        ordinal,
        uid: pod.uid().unwrap_or_default(),
        ip: status.pod_ip.clone().filter(|ip| !ip.is_empty()),
        ips: status
            .pod_ips
            .iter()
            .flatten()
            .map(|ip| ip.ip.clone())
            .collect(),
        node: pod.spec.as_ref().and_then(|s| s.node_name.clone()),
        host_ip: status.host_ip.clone().filter(|ip| !ip.is_empty()),
        pod_state: pod_state(pod, condition("PodScheduled")),
        exporter_down: exporter_down(pod),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        disrupted: holds("DisruptionTarget"),
        outdated: revision.is_some_and(|r| {
            pod.labels()
                .get("controller-revision-hash")
                .is_some_and(|have| have != r)
        }),
        has_certificate: pod.spec.as_ref().and_then(certificate_secret).is_some(),
        config_hash: pod.annotations().get(CONFIG_HASH_ANNOTATION).cloned(),
        pod_ready: holds("Ready"),
        ready_for: condition("Ready")
            .filter(|c| c.status == "True")
            .map(|c| age(c.last_transition_time.as_ref().map(|t| t.0), now)),
        gate: condition(READINESS_GATE).map(|c| c.status == "True"),
        age: age(pod.metadata.creation_timestamp.as_ref().map(|t| t.0), now),
        node_lost: status.reason.as_deref() == Some("NodeLost")
            || ready_reason == Some("NodeNotReady"),
        ..Instance::default()
    }
}

/// Why the exporter's container does not run.
fn exporter_down(pod: &Pod) -> Option<String> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    let state = containers
        .iter()
        .find(|c| c.name == EXPORTER)?
        .state
        .as_ref()?;
    let words = |reason: &Option<String>, message: &Option<String>| {
        let all = [reason, message].into_iter().flatten().map(String::as_str);
        all.collect::<Vec<_>>().join(": ")
    };
    match (&state.waiting, &state.terminated) {
        (Some(waiting), _) => Some(words(&waiting.reason, &waiting.message)),
        (_, Some(ended)) => Some(words(&ended.reason, &ended.message)),
        _ => None,
    }
}

fn pod_state(pod: &Pod, scheduled: Option<&PodCondition>) -> PodState {
    let status = pod.status.as_ref();
    if matches!(
        status.and_then(|s| s.phase.as_deref()),
        Some("Failed" | "Succeeded")
    ) {
        let words = status.and_then(|s| s.message.clone().or_else(|| s.reason.clone()));
        return PodState::Ended(words.unwrap_or_else(|| "the pod ended".into()));
    }
    if pod.spec.as_ref().is_none_or(|s| s.node_name.is_none()) {
        return PodState::Unscheduled(
            scheduled
                .filter(|c| c.reason.as_deref() == Some("Unschedulable"))
                .and_then(|c| c.message.clone()),
        );
    }
    let is_main = |name: &str| [CONTAINER, SENTINEL_CONTAINER].contains(&name);
    let container = status
        .and_then(|s| s.container_statuses.as_ref())
        .and_then(|c| c.iter().find(|c| is_main(&c.name)));
    let Some(state) = container.and_then(|c| c.state.as_ref()) else {
        return PodState::Waiting("ContainerCreating".into(), String::new());
    };
    if state.running.is_some() {
        return PodState::Running;
    }
    if let Some(ended) = &state.terminated {
        return PodState::Ended(
            format!(
                "exit code {} {}",
                ended.exit_code,
                ended.reason.clone().unwrap_or_default()
            )
            .trim_end()
            .to_owned(),
        );
    }
    let waiting = state.waiting.clone().unwrap_or_default();
    PodState::Waiting(
        waiting.reason.unwrap_or_default(),
        waiting.message.unwrap_or_default(),
    )
}
