//! Steps on the nodes of a cluster. Each can be done twice: what is done already is left alone.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use secrecy::ExposeSecret as _;
use tokio::time::{Instant, sleep};

use super::{Outcome, Pass, Undone, stale};
use crate::engines::redis::{
    self as engine, Client, ClusterFailover, Credentials, Failure, Limits, MigrateTo, Role,
    SlotMigrationWay, SlotState, migration_acl_rules, password_hash, replication_acl_rules,
};
use crate::k8s::delete;
use crate::operators::redis::accounts::generated;
use crate::operators::redis::build::{OPERATOR_USER, REPLICATION_USER};
use crate::operators::redis::model::{ClusterStep, SlotSet, Takeover};
use crate::operators::redis::reasons;

/// A planned failover is given up by the servers after 5 s.
const TAKEOVER_LIMIT: Duration = Duration::from_secs(6);
/// Between two looks at the role.
const LOOK: Duration = Duration::from_millis(20);
/// How long the moving of keys goes on in one pass.
const MOVE_LIMIT: Duration = Duration::from_secs(4);
/// Slots that are moved side by side: most of the time goes into waiting for answers.
const AT_A_TIME: usize = 64;
/// Keys of one `MIGRATE`: both servers stand still meanwhile.
const KEYS: u32 = 50;
/// How long the two nodes of a `MIGRATE` may stay silent towards each other.
const MIGRATE_LIMIT: Duration = Duration::from_millis(1500);
/// The same for a single key. While a node reads a large value it answers nobody, and after `cluster-node-timeout` (15 s by default, 5 s
/// here) it is taken for down: a key that takes longer has to be made smaller, or moved by a server that does it piece by piece.
const LARGE_KEY_LIMIT: Duration = Duration::from_secs(4);
/// The user that moves keys; it can log in only while a move is carried out.
const MIGRATION_USER: &str = "hera-migration";

impl Pass<'_> {
    pub(super) async fn cluster_step(
        &self,
        step: &ClusterStep,
        outcome: &mut Outcome,
    ) -> Result<(), Undone> {
        match step {
            ClusterStep::SetEpochs(epochs) => {
                for (pod, epoch) in epochs {
                    self.client(pod)
                        .await?
                        .cluster_set_config_epoch(*epoch)
                        .await?;
                }
                Ok(())
            }
            ClusterStep::Meet { from, pods } => {
                let seed = self.client(from).await?;
                for pod in pods {
                    seed.cluster_meet(&self.address(pod)?, None).await?;
                }
                Ok(())
            }
            ClusterStep::AddSlots { slots, lost } => self.add_slots(slots, *lost, outcome).await,
            ClusterStep::Replicate(of) => self.replicate(of).await,
            ClusterStep::OpenReplication { pod } => self.open_replication(pod).await,
            ClusterStep::NarrowReplication { pod } => {
                let rules: Vec<String> = replication_acl_rules()
                    .split(' ')
                    .map(str::to_owned)
                    .collect();
                let client = self.client(pod).await?;
                Ok(client.acl_set_user(REPLICATION_USER, &rules).await?)
            }
            ClusterStep::FailOver { pod, how, why } => {
                self.take_over(pod, *how, why, outcome).await
            }
            ClusterStep::Forget { ids, lost, why } => self.forget(ids, lost, why, outcome).await,
            ClusterStep::MoveSlots { from, to, slots } => self.move_slots(from, to, slots).await,
            ClusterStep::CloseSlots { pod, slots } => {
                let client = self.client(pod).await?;
                for slot in slots.iter() {
                    client.cluster_set_slot(slot, SlotState::Stable).await?;
                }
                Ok(())
            }
            ClusterStep::CancelMoves { pod, .. } => {
                let client = self.client(pod).await?;
                let way = client.slot_migration_way().await?;
                Ok(client.cancel_slot_migrations(way).await?)
            }
            ClusterStep::RemoveShard { shard } => {
                let set = self.o.cluster.sets.get(shard);
                self.delete_statefulset(set, &delete::Options::default())
                    .await
            }
            ClusterStep::RecreateStatefulSet { shard, .. } => {
                self.recreate_statefulset(self.o.cluster.sets.get(shard))
                    .await
            }
        }
    }

    async fn add_slots(
        &self,
        slots: &BTreeMap<String, SlotSet>,
        lost: bool,
        outcome: &mut Outcome,
    ) -> Result<(), Undone> {
        self.confirm().await?;
        for (pod, slots) in slots {
            self.client(pod).await?.cluster_add_slots(slots).await?;
            self.open_replication(pod).await?;
        }
        if lost {
            let note =
                "every copy of some slots was lost; they have an owner again, and start empty";
            outcome.event(true, reasons::SlotsLost, note);
        }
        Ok(())
    }

    async fn open_replication(&self, pod: &str) -> Result<(), Undone> {
        let client = self.client(pod).await?;
        Ok(client
            .acl_set_user(REPLICATION_USER, &["on".to_owned()])
            .await?)
    }

    async fn replicate(&self, of: &BTreeMap<String, String>) -> Result<(), Undone> {
        for primary in of.values() {
            self.open_replication(primary).await?;
        }
        let results = join_all(of.iter().map(|(pod, primary)| async move {
            let id = self.client(primary).await?.cluster_id().await?;
            Ok::<_, Undone>(self.client(pod).await?.cluster_replicate(&id).await?)
        }));
        results.await.into_iter().collect()
    }

    /// Starts it and waits for its end, which is a matter of milliseconds: sent again while it is under way, it would begin anew.
    async fn take_over(
        &self,
        pod: &str,
        how: Takeover,
        why: &str,
        outcome: &mut Outcome,
    ) -> Result<(), Undone> {
        self.confirm().await?;
        let client = self.client(pod).await?;
        let (kind, warning, reason, done) = match how {
            Takeover::Planned => (
                ClusterFailover::Planned,
                false,
                reasons::HandingOver,
                reasons::HandOverCompleted,
            ),
            Takeover::Forced => (
                ClusterFailover::Force,
                true,
                reasons::FailingOver,
                reasons::FailoverCompleted,
            ),
            Takeover::Alone => (
                ClusterFailover::Takeover,
                true,
                reasons::FailingOver,
                reasons::FailoverCompleted,
            ),
        };
        if client.info().await?.role == Role::Primary {
            return Ok(());
        }
        outcome.event(warning, reason, why);
        client.cluster_failover(kind).await?;
        let start = Instant::now();
        while start.elapsed() < TAKEOVER_LIMIT {
            if client.info().await?.role == Role::Primary {
                outcome.event(false, done, format!("{pod} is the primary of its shard"));
                return Ok(());
            }
            sleep(LOOK).await;
        }
        stale(format!(
            "{pod} did not become the primary of its shard in time"
        ))
    }

    async fn forget(
        &self,
        ids: &[String],
        lost: &SlotSet,
        why: &str,
        outcome: &mut Outcome,
    ) -> Result<(), Undone> {
        self.confirm().await?;
        // A node that is to be forgotten is not asked to forget the others: it only goes.
        let knows = |pod: &str, id: &str| {
            let view = self.o.cluster.views.get(pod);
            view.is_some_and(|v| v.nodes.iter().any(|n| n.id == id))
        };
        let is_one = |pod: &str| {
            let view = self.o.cluster.views.get(pod);
            let me = view.and_then(|v| v.nodes.iter().find(|n| n.is_myself()));
            me.is_some_and(|me| ids.contains(&me.id))
        };
        let pods = self.o.cluster.views.keys().filter(|pod| !is_one(pod));
        let results = join_all(pods.map(|pod| async move {
            let client = self.client(pod).await?;
            for id in ids.iter().filter(|id| knows(pod, id)) {
                client.cluster_forget(id).await?;
            }
            Ok::<_, Undone>(())
        }));
        for result in results.await {
            result?;
        }
        if !lost.is_empty() {
            outcome.event(true, reasons::SlotsLost, why);
        }
        Ok(())
    }

    async fn id(&self, pod: &str) -> Result<String, Undone> {
        Ok(self.client(pod).await?.cluster_id().await?)
    }

    async fn move_slots(&self, from: &str, to: &str, slots: &SlotSet) -> Result<(), Undone> {
        self.confirm().await?;
        let (source, target) = (self.client(from).await?, self.client(to).await?);
        let way = source.slot_migration_way().await?;
        let open = [from, to].iter().any(|pod| {
            let view = self.o.cluster.views.get(*pod);
            let me = view.and_then(|v| v.nodes.iter().find(|n| n.is_myself()));
            me.is_some_and(engine::ClusterNode::has_open_slots)
        });
        // What was begun key by key is finished key by key.
        if open || way == SlotMigrationWay::Legacy {
            return self.move_keys(from, to, slots).await;
        }
        self.allow(way).await?;
        match way {
            SlotMigrationWay::Push => source.push_slots(slots, &self.id(to).await?).await?,
            _ => drop(target.pull_slots(slots).await?),
        }
        Ok(())
    }

    /// What the users need for an atomic migration, on every node. Servers refuse rules on commands that they do not have, so the
    /// file of users cannot give it.
    async fn allow(&self, way: SlotMigrationWay) -> Result<(), Undone> {
        let rules = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        for pod in self.o.cluster.views.keys() {
            let client = self.client(pod).await?;
            client
                .acl_set_user(OPERATOR_USER, &rules(way.hera_acl_rules()))
                .await?;
            client
                .acl_set_user(REPLICATION_USER, &rules(way.replication_acl_rules()))
                .await?;
        }
        Ok(())
    }

    /// Moves slot by slot, key by key, until all are moved or the time is over.
    async fn move_keys(&self, from: &str, to: &str, slots: &SlotSet) -> Result<(), Undone> {
        let login = Credentials {
            tls: self
                .op
                .instances
                .encryption(&self.o.key, &self.instance(from)?.uid),
            ..Credentials::new(MIGRATION_USER, generated().expose_secret())
                .through(&self.op.ctx.network)
        };
        for pod in [from, to] {
            self.migration_user(pod, Some(&login)).await?;
        }
        let moved = self.move_keys_as(&login, from, to, slots).await;
        for pod in [from, to] {
            self.migration_user(pod, None).await?;
        }
        moved
    }

    /// The user that moves keys, with this password or without any.
    async fn migration_user(&self, pod: &str, login: Option<&Credentials>) -> Result<(), Undone> {
        let mut rules = vec!["resetpass".to_owned()];
        match login {
            Some(login) => {
                rules.extend(migration_acl_rules().split(' ').map(str::to_owned));
                rules.push(format!(
                    "#{}",
                    password_hash(login.password.expose_secret())
                ));
                rules.push("on".into());
            }
            None => rules.push("off".into()),
        }
        Ok(self
            .client(pod)
            .await?
            .acl_set_user(MIGRATION_USER, &rules)
            .await?)
    }

    async fn move_keys_as(
        &self,
        login: &Credentials,
        from: &str,
        to: &str,
        slots: &SlotSet,
    ) -> Result<(), Undone> {
        let (source, target) = (self.client(from).await?, self.client(to).await?);
        let (source_id, target_id) = (self.id(from).await?, self.id(to).await?);
        let address = self.address(to)?;
        let limits = Limits {
            command: LARGE_KEY_LIMIT * 2,
            ..Limits::default()
        };
        let mover = Client::connect(&self.address(from)?, login, limits).await?;
        let route = Route {
            source: &source,
            target: &target,
            source_id: &source_id,
            target_id: &target_id,
            mover: &mover,
            to: MigrateTo {
                address: &address,
                credentials: login,
                replace: true,
            },
            others: self.other_primaries(from, to).await,
            until: Instant::now() + MOVE_LIMIT,
        };
        let each = slots.iter().map(|slot| route.move_slot(slot));
        let mut results = futures::stream::iter(each).buffer_unordered(AT_A_TIME);
        while let Some(result) = results.next().await {
            result?;
        }
        Ok(())
    }

    /// The other primaries learn of the new owner at once; should one not, it hears of it from the new owner.
    async fn other_primaries(&self, from: &str, to: &str) -> Vec<Client> {
        let pods = self
            .o
            .instances
            .iter()
            .filter(|i| i.is_primary() && i.pod != from && i.pod != to);
        let clients = join_all(pods.map(|i| self.client(&i.pod))).await;
        clients.into_iter().flatten().collect()
    }
}

/// From one primary to another, key by key.
struct Route<'a> {
    source: &'a Client,
    target: &'a Client,
    source_id: &'a str,
    target_id: &'a str,
    /// Logged in at the source as the user that may read keys.
    mover: &'a Client,
    to: MigrateTo<'a>,
    others: Vec<Client>,
    /// No slot is begun after this, and no more keys are moved.
    until: Instant,
}

impl Route<'_> {
    async fn move_slot(&self, slot: u16) -> Result<(), Undone> {
        if Instant::now() > self.until {
            return Ok(());
        }
        let (importing, migrating) = (
            SlotState::Importing(self.source_id),
            SlotState::Migrating(self.target_id),
        );
        already(self.target.cluster_set_slot(slot, importing).await)?;
        already(self.source.cluster_set_slot(slot, migrating).await)?;
        loop {
            let keys = self.mover.keys_in_slot(slot, KEYS).await?;
            if keys.is_empty() {
                break;
            }
            if Instant::now() > self.until {
                return Ok(());
            }
            self.move_batch(&keys).await?;
        }
        // The one that gets it first: a slot is never without an owner.
        let node = SlotState::Node(self.target_id);
        self.target.cluster_set_slot(slot, node).await?;
        self.source.cluster_set_slot(slot, node).await?;
        let told = self.others.iter().map(|o| o.cluster_set_slot(slot, node));
        join_all(told).await;
        Ok(())
    }
}

impl Route<'_> {
    /// Large values may take longer together than the two nodes may stand still, so they go one by one then.
    async fn move_batch(&self, keys: &[Vec<u8>]) -> Result<(), Undone> {
        let moved = self.mover.migrate_keys(self.to, keys, MIGRATE_LIMIT).await;
        match moved {
            Err(Failure::Command(words)) if words.starts_with("IOERR") => {
                tracing::info!(words, keys = keys.len(), "keys are moved one by one");
            }
            other => return other.map(drop).map_err(Undone::from),
        }
        for key in keys {
            let alone = std::slice::from_ref(key);
            self.mover
                .migrate_keys(self.to, alone, LARGE_KEY_LIMIT)
                .await?;
            if Instant::now() > self.until {
                break;
            }
        }
        Ok(())
    }
}

/// That a node owns the slot already, or does not any more, is told by the next step.
fn already(result: Result<(), Failure>) -> Result<(), Failure> {
    match result {
        Err(Failure::Command(words))
            if words.contains("already the owner") || words.contains("not the owner") =>
        {
            tracing::debug!(words, "the slot has moved already");
            Ok(())
        }
        other => other,
    }
}
