//! The shards of a cluster, and what their nodes know.

use std::collections::BTreeSet;

use futures::future::join_all;
use jiff::Timestamp;
use kube::ResourceExt;

use super::super::Operator;
use super::super::api::Redis;
use super::super::build::REPLICATION_USER;
use super::super::model::{
    Instance, NAME_LABEL, NodeView, Observed, SHARD_LABEL, SlotMigrationWay,
};
use super::claims::{claim, data_volume, set_name};
use super::{belongs, instance, update_revision};
use crate::engines::redis::{Client, Failure};
use crate::k8s::names;

/// Shard and ordinal of `REDIS-sSHARD-ORDINAL`.
fn place(redis: &str, pod: &str) -> Option<(i32, i32)> {
    let (set, _) = pod.rsplit_once('-')?;
    let shard = set.strip_prefix(redis)?.strip_prefix("-s")?;
    let shard: i32 = shard.parse().ok().filter(|n| *n >= 0)?;
    let ordinal = names::ordinal(&set_name(redis, shard), pod)?;
    Some((shard, i32::try_from(ordinal).ok()?))
}

impl Operator {
    /// The StatefulSets, pods and claims of all shards.
    pub(super) fn shards(&self, redis: &Redis, observed: &mut Observed, now: Timestamp) {
        let (namespace, name) = (redis.namespace().unwrap_or_default(), redis.name_any());
        let uid = redis.uid().unwrap_or_default();
        let shard_of = |labels: &std::collections::BTreeMap<String, String>| {
            labels.get(SHARD_LABEL)?.parse::<i32>().ok()
        };
        for set in self.caches.statefulsets.owned_by(&uid) {
            if let Some(shard) = shard_of(set.labels()) {
                observed.cluster.sets.insert(shard, (*set).clone());
            }
        }
        let budgets = self.caches.disruption_budgets.owned_by(&uid);
        observed.cluster.budgets = budgets.iter().map(|b| (**b).clone()).collect();
        observed.cluster.budgets.sort_by_key(ResourceExt::name_any);
        observed.instances = self.shard_pods(&namespace, &name, redis, observed, now);
        let volume = data_volume(redis);
        let prefix = format!("{volume}-");
        observed.claims = observed
            .objects
            .claims
            .iter()
            .filter_map(|c| {
                let pod = c.name_any().strip_prefix(&prefix)?.to_owned();
                let (shard, _) = place(&name, &pod)?;
                let mut found = claim(c, &set_name(&name, shard), redis, now)?;
                found.shard = shard;
                Some(found)
            })
            .collect();
        observed.claims.sort_by_key(|c| (c.shard, c.ordinal));
        let revisions: Vec<Option<String>> = observed
            .cluster
            .sets
            .values()
            .map(update_revision)
            .collect();
        observed.settling = revisions.iter().any(Option::is_none);
        observed.update_revision = revisions.into_iter().next().flatten();
    }

    fn shard_pods(
        &self,
        namespace: &str,
        name: &str,
        redis: &Redis,
        observed: &Observed,
        now: Timestamp,
    ) -> Vec<Instance> {
        let sets = &observed.cluster.sets;
        let mut instances: Vec<Instance> = self
            .caches
            .pods
            .list(namespace, |pod| {
                pod.labels().get(NAME_LABEL).is_some_and(|n| n == name)
            })
            .iter()
            .filter_map(|pod| {
                let (shard, ordinal) = place(name, &pod.name_any())?;
                if !belongs(pod, &set_name(name, shard)) {
                    return None;
                }
                let revision = sets.get(&shard).and_then(update_revision);
                let mut found = instance(pod, ordinal, revision.as_deref(), now);
                found.shard = shard;
                Some(found)
            })
            .collect();
        let have: BTreeSet<(i32, i32)> = instances.iter().map(|i| (i.shard, i.ordinal)).collect();
        let wanted = redis.spec.shards.unwrap_or(3);
        let each = redis.spec.replicas_per_shard.unwrap_or(1).saturating_add(1);
        let live = |shard: i32| {
            let spec = sets.get(&shard).and_then(|s| s.spec.as_ref());
            spec.and_then(|s| s.replicas).unwrap_or(0)
        };
        let shards: BTreeSet<i32> = (0..wanted).chain(sets.keys().copied()).collect();
        for shard in shards {
            let count = if shard < wanted { each } else { 0 };
            for ordinal in 0..live(shard).max(count) {
                if !have.contains(&(shard, ordinal)) {
                    instances.push(Instance {
                        pod: format!("{}-{ordinal}", set_name(name, shard)),
                        ordinal,
                        shard,
                        ..Instance::default()
                    });
                }
            }
        }
        instances.sort_by_key(|i| (i.shard, i.ordinal));
        instances
    }

    /// Asks every server that answers what it knows of the cluster.
    pub(super) async fn ask_nodes(&self, observed: &mut Observed) {
        let key = &observed.key;
        let up = || observed.instances.iter().filter(|i| i.info().is_some());
        let mut way = None;
        if let Some(first) = up().next()
            && let Ok(client) = self.instances.client(key, &first.uid).await
        {
            way = client.slot_migration_way().await.ok();
        }
        let asked = up().map(|i| async {
            let client = self.instances.client(key, &i.uid).await;
            let view = match client {
                Ok(client) => look(&client, way).await,
                Err(failure) => Err(failure),
            };
            match view {
                Ok(view) => Some((i.pod.clone(), view)),
                Err(failure) => {
                    tracing::warn!(pod = i.pod, %failure, "the node did not tell its view");
                    None
                }
            }
        });
        let views = join_all(asked).await.into_iter().flatten().collect();
        observed.cluster.views = views;
        observed.cluster.way = way;
    }
}

async fn look(client: &Client, way: Option<SlotMigrationWay>) -> Result<NodeView, Failure> {
    let moves = async {
        match way {
            // Without the right to ask, no migration was begun.
            Some(way) => client.slot_migrations(way).await.unwrap_or_default(),
            None => Vec::new(),
        }
    };
    let (info, nodes, user, moves) = tokio::join!(
        client.cluster_info(),
        client.cluster_nodes(),
        client.acl_get_user(REPLICATION_USER),
        moves
    );
    let user = user.ok().flatten();
    Ok(NodeView {
        info: info?,
        nodes: nodes?,
        replication_widened: user.as_ref().is_some_and(|user| !user.keys.is_empty()),
        replication_open: user.map(|user| user.is_on()),
        moves,
    })
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn a_pod_of_a_shard_is_told_by_its_name() {
        assert_eq!(place("db", "db-s0-1"), Some((0, 1)));
        assert_eq!(place("db-s1", "db-s1-s12-0"), Some((12, 0)));
        for other in [
            "db-0",
            "db-s0",
            "db-s-1-0",
            "other-s0-0",
            "db-s00-1",
            "db-s0-01",
        ] {
            assert_eq!(place("db", other), None, "{other}");
        }
    }
}
