//! The sentinels, and what they know.

use std::collections::HashSet;

use futures::future::join_all;
use jiff::Timestamp;
use kube::ResourceExt;

use super::super::Operator;
use super::super::api::{Mode, Redis};
use super::super::build::OPERATOR_USER;
use super::super::certificates::Material;
use super::super::model::{
    Credentials, Instance, NAME_LABEL, Observed, PodState, SENTINEL_PORT, Sentinel, SentinelView,
    Server,
};
use super::super::users;
use super::{belongs, instance, update_revision};
use crate::engines::redis::{self as engine, Address, Client, Failure};
use crate::k8s::{names, owner};

impl Operator {
    /// The objects and pods of the sentinels.
    pub(super) fn sentinels(&self, redis: &Redis, observed: &mut Observed, now: Timestamp) {
        let (namespace, name) = (redis.namespace().unwrap_or_default(), redis.name_any());
        let (uid, set_name) = (&observed.uid, format!("{name}-sentinel"));
        let (caches, found) = (&self.caches, &mut observed.sentinels);
        // Outside of mode Sentinel only what is ours concerns us; within it, whatever has the name.
        let wanted = redis.spec.mode == Mode::Sentinel;
        let set = caches.statefulsets.get(&namespace, &set_name);
        let secret = caches.secrets.get(&namespace, &set_name);
        let budget = caches.disruption_budgets.get(&namespace, &set_name);
        found.set = set
            .filter(|o| wanted || owner::is_controlled_by(&**o, uid))
            .map(|o| (*o).clone());
        found.secret = secret
            .filter(|o| wanted || owner::is_controlled_by(&**o, uid))
            .map(|o| (*o).clone());
        found.budget = budget
            .filter(|o| wanted || owner::is_controlled_by(&**o, uid))
            .map(|o| (*o).clone());
        let revision = found.set.as_ref().and_then(update_revision);
        found.settling = found.set.is_some() && revision.is_none();
        let pods = caches.pods.list(&namespace, |pod| {
            pod.labels().get(NAME_LABEL).is_some_and(|n| *n == name) && belongs(pod, &set_name)
        });
        let pods = pods.iter().filter_map(|pod| {
            let ordinal = i32::try_from(names::ordinal(&set_name, &pod.name_any())?).ok()?;
            Some(Sentinel {
                pod: instance(pod, ordinal, revision.as_deref(), now),
                view: None,
            })
        });
        found.pods = pods.collect();
        let spec = found.set.as_ref().and_then(|s| s.spec.as_ref());
        for ordinal in 0..spec.and_then(|s| s.replicas).unwrap_or(0) {
            if found.pods.iter().all(|s| s.pod.ordinal != ordinal) {
                let pod = Instance {
                    pod: format!("{set_name}-{ordinal}"),
                    ordinal,
                    ..Instance::default()
                };
                found.pods.push(Sentinel { pod, view: None });
            }
        }
        found.pods.sort_by_key(|s| s.pod.ordinal);
    }

    /// Asks every sentinel what it knows.
    pub(super) async fn ask_sentinels(
        &self,
        redis: &Redis,
        observed: &mut Observed,
        credentials: &Credentials,
        certificate: Option<&Material>,
    ) {
        observed.sentinels.login = Some(credentials.sentinel());
        let login = engine::Credentials {
            username: OPERATOR_USER.into(),
            password: credentials.operator.clone(),
            tls: certificate.map(|c| c.tls.clone()),
            network: self.ctx.network.clone(),
        };
        let name = format!(
            "{}.{}",
            redis.namespace().unwrap_or_default(),
            redis.name_any()
        );
        let users = users::asked(redis, observed);
        let key = observed.key.clone();
        let pods = &mut observed.sentinels.pods;
        let present: HashSet<String> = pods.iter().map(|s| s.pod.uid.clone()).collect();
        self.sentinels.keep_only(&key, &present);
        let running = pods
            .iter_mut()
            .filter(|s| s.pod.pod_state == PodState::Running && s.pod.ip.is_some());
        join_all(running.map(|s| self.ask_sentinel(&key, s, &name, &users, &login, certificate)))
            .await;
    }

    async fn ask_sentinel(
        &self,
        key: &str,
        s: &mut Sentinel,
        name: &str,
        users: &[String],
        login: &engine::Credentials,
        certificate: Option<&Material>,
    ) {
        let uid = s.pod.uid.clone();
        let address = Address::new(s.pod.ip.clone().unwrap_or_default(), SENTINEL_PORT);
        let view = async {
            let client = self
                .sentinels
                .client(key, &uid, &address, login, certificate);
            look(&client.await?, name, users).await
        };
        match view.await {
            Ok(view) => {
                self.sentinels.answered(key, &uid);
                s.pod.server = Server::Up(Box::default());
                s.view = Some(view);
            }
            Err(failure) => s.pod.server = self.sentinels.failed(key, &uid, &failure),
        }
        if let Some(material) = certificate {
            let serves = self.sentinels.serves(key, &uid, &address, material);
            s.pod.serves_certificate = serves.await;
        }
    }
}

async fn look(client: &Client, name: &str, users: &[String]) -> Result<SentinelView, Failure> {
    let (id, monitored, users) = tokio::join!(
        client.sentinel_id(),
        client.sentinel_primaries(),
        client.acl_get_users(users)
    );
    let mut view = SentinelView {
        id: id?,
        monitored: monitored?,
        users: users.unwrap_or_default(),
        ..SentinelView::default()
    };
    if view.monitored.iter().any(|m| m.name == name) {
        let (told, replicas, peers, quorum) = tokio::join!(
            client.sentinel_primary_address(name),
            client.sentinel_replicas(name),
            client.sentinel_peers(name),
            client.sentinel_check_quorum(name)
        );
        view.told = told?;
        view.replicas = replicas?;
        view.peers = peers?;
        view.quorum = quorum.ok();
    }
    Ok(view)
}
