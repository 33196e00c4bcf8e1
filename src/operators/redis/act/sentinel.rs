//! Steps on sentinels.

use futures::future::join_all;
use secrecy::SecretString;

use super::{Outcome, Pass, Undone, stale};
use crate::engines::redis::{
    Client, SentinelFailoverKind, SentinelFailoverStart, SentinelHandOver, SentinelOption, Target,
};
use crate::k8s::delete::Options;
use crate::k8s::owner::Proof;
use crate::operators::redis::api::Election;
use crate::operators::redis::build::{self, Published};
use crate::operators::redis::model::{Instance, Sentinel, SentinelStep};
use crate::operators::redis::plan::{leader, usable_replicas};
use crate::operators::redis::reasons;
use crate::operators::redis::users::{self, SENTINEL_USER};

impl Pass<'_> {
    pub(super) async fn sentinel_step(
        &self,
        step: &SentinelStep,
        outcome: &mut Outcome,
    ) -> Result<(), Undone> {
        match step {
            SentinelStep::Admit { pods } => self.admit(pods).await,
            SentinelStep::Watch { sentinel, primary } => self.watch(sentinel, primary).await,
            SentinelStep::Set { sentinel } => {
                let client = self.sentinel_client(sentinel)?;
                Ok(client
                    .sentinel_set(&self.v.monitored_name(), &self.options()?)
                    .await?)
            }
            SentinelStep::SetUsers { sentinel, users } => {
                self.set_sentinel_users(sentinel, users).await
            }
            SentinelStep::Forget { sentinels, why } => {
                self.confirm().await?;
                let name = self.v.monitored_name();
                let forgotten = sentinels.iter().map(|sentinel| async {
                    self.sentinel_client(sentinel)?
                        .sentinel_remove(&name)
                        .await?;
                    Ok::<(), Undone>(())
                });
                tracing::info!(why, "the sentinels forget the primary");
                join_all(forgotten).await.into_iter().collect()
            }
            SentinelStep::Drop { sentinel, names } => {
                let client = self.sentinel_client(sentinel)?;
                for name in names {
                    client.sentinel_remove(name).await?;
                }
                Ok(())
            }
            SentinelStep::Reset { sentinel } => {
                let client = self.sentinel_client(sentinel)?;
                client.sentinel_reset(&self.v.monitored_name()).await?;
                Ok(())
            }
            SentinelStep::FailOver { sentinel, why, .. } => {
                self.fail_over(sentinel).await?;
                outcome.event(true, reasons::FailingOver, why);
                Ok(())
            }
            SentinelStep::DeletePod {
                pod,
                uid,
                reason,
                why,
            } => {
                self.delete_sentinel(pod, uid).await?;
                outcome.event(*reason == reasons::InstanceUnresponsiveDeleted, reason, why);
                Ok(())
            }
            SentinelStep::Remove => {
                let set = self.o.sentinels.set.as_ref();
                self.delete_statefulset(set, &Options::default()).await
            }
        }
    }

    fn sentinel(&self, pod: &str) -> Result<&Sentinel, Undone> {
        let found = self.o.sentinels.pods.iter().find(|s| s.name() == pod);
        found.ok_or_else(|| Undone::Stale(format!("{pod} is gone")))
    }

    fn sentinel_client(&self, pod: &str) -> Result<Client, Undone> {
        let uid = &self.sentinel(pod)?.pod.uid;
        Ok(self.op.sentinels.open(&self.o.key, uid)?)
    }

    fn sentinel_password(&self) -> Result<&SecretString, Undone> {
        let password = self.o.sentinels.login.as_ref();
        password.ok_or_else(|| Undone::Stale("the sentinels' password is not known".into()))
    }

    fn options(&self) -> Result<Vec<SentinelOption>, Undone> {
        let Some(wanted) = &self.v.sentinel else {
            return stale("the database has no sentinels any more");
        };
        Ok(vec![
            SentinelOption::AuthUser(SENTINEL_USER.into()),
            SentinelOption::AuthPass(self.sentinel_password()?.clone()),
            SentinelOption::Quorum(wanted.quorum),
            SentinelOption::DownAfter(wanted.down_after),
            SentinelOption::FailoverTimeout(wanted.failover_timeout),
        ])
    }

    async fn admit(&self, pods: &[String]) -> Result<(), Undone> {
        let arguments = &users::of_sentinels(self.sentinel_password()?).arguments();
        let admitted = pods.iter().map(|pod| async move {
            let client = self.client(pod).await?;
            Ok::<(), Undone>(client.acl_set_user(SENTINEL_USER, arguments).await?)
        });
        join_all(admitted).await.into_iter().collect()
    }

    async fn watch(&self, sentinel: &str, primary: &str) -> Result<(), Undone> {
        let (name, address) = (self.v.monitored_name(), self.address(primary)?);
        let client = self.sentinel_client(sentinel)?;
        let options = self.options()?;
        let quorum = self.v.sentinel.as_ref().map_or(1, |s| s.quorum);
        self.confirm().await?;
        client.sentinel_remove(&name).await?;
        client.sentinel_monitor(&name, &address, quorum).await?;
        Ok(client.sentinel_set(&name, &options).await?)
    }

    async fn set_sentinel_users(&self, sentinel: &str, names: &[String]) -> Result<(), Undone> {
        let client = self.sentinel_client(sentinel)?;
        let wanted = users::at_sentinels(self.v, self.o);
        for name in names {
            match wanted.get(name) {
                Some(entry) => client.acl_set_user(name, &entry.arguments()).await?,
                None => client.acl_delete_users(std::slice::from_ref(name)).await?,
            }
        }
        Ok(())
    }

    async fn fail_over(&self, sentinel: &str) -> Result<(), Undone> {
        self.confirm().await?;
        let client = self.sentinel_client(sentinel)?;
        let start = client
            .sentinel_failover(&self.v.monitored_name(), SentinelFailoverKind::Plain)
            .await?;
        match start {
            SentinelFailoverStart::Started => Ok(()),
            SentinelFailoverStart::InProgress => stale("a failover is under way already"),
            SentinelFailoverStart::NoGoodReplica => {
                stale(format!("{sentinel} knows no fit replica"))
            }
        }
    }

    /// Whether the hand-over was made by the sentinels; if not, none watches, and the servers make it.
    pub(super) async fn hand_over_by_sentinels(
        &self,
        from: &str,
        to: &str,
        outcome: &mut Outcome,
    ) -> Result<bool, Undone> {
        let Some(replicas) = usable_replicas(self.v, self.o) else {
            return Ok(false);
        };
        let Some(leader) = leader(self.v, self.o, to) else {
            return stale(format!("no sentinel would choose {to}"));
        };
        self.confirm().await?;
        let sentinel = self.sentinel_client(leader.name())?;
        let primary = self.client(from).await?;
        let login = self
            .op
            .instances
            .login(&self.o.key, &self.instance(from)?.uid)?;
        let target = |pod: &str| -> Result<Target, Undone> {
            Ok(Target::new(self.address(pod)?, login.clone()))
        };
        let replicas: Vec<Target> = replicas
            .iter()
            .filter(|i| i.pod != from)
            .map(|i| target(&i.pod))
            .collect::<Result<_, _>>()?;
        let hand_over = SentinelHandOver {
            sentinel: &sentinel,
            name: &self.v.monitored_name(),
            primary: &primary,
            replicas: &replicas,
        };
        match hand_over.run().await {
            Ok(address) => {
                let at = |i: &&Instance| i.ip.as_deref() == Some(address.host.as_str());
                let primary = self.o.instances.iter().find(at);
                if let Some(other) = primary.filter(|i| i.pod != to) {
                    self.handed_to_another(other, to, outcome);
                }
                self.publish_at(primary).await?;
                Ok(true)
            }
            Err(error) => stale(format!("the hand-over to {to}: {error}")),
        }
    }

    /// The sentinel chose another replica than the one of the decision, and nothing is lost by that: it is the decision now.
    fn handed_to_another(&self, other: &Instance, to: &str, outcome: &mut Outcome) {
        let Some(open) = &self.o.status.election else {
            return;
        };
        let words = format!("the sentinels chose {} in place of {to}", other.pod);
        outcome.event(false, reasons::HandingOver, words);
        outcome.election = Some(Election {
            epoch: open.epoch + 1,
            candidate: other.pod.clone(),
            candidate_uid: other.uid.clone(),
            run_id: other.info().map(|i| i.run_id.clone()).unwrap_or_default(),
            ..open.clone()
        });
    }

    /// Leads clients to the new primary at once; the next pass looks at the rest.
    async fn publish_at(&self, primary: Option<&Instance>) -> Result<(), Undone> {
        let is_primary = |i: &Instance| primary.is_some_and(|p| p.uid == i.uid) || i.is_primary();
        let others = self
            .o
            .instances
            .iter()
            .filter(|i| !is_primary(i) && !i.leaving() && i.info().is_some());
        let readers = others.collect();
        if let Some(i) = primary {
            self.op.instances.poll_now(&self.o.key, &i.uid);
        }
        Ok(self.publish(&Published { primary, readers }).await?)
    }

    async fn delete_sentinel(&self, pod: &str, uid: &str) -> Result<(), Undone> {
        let labels = &build::sentinel_identity(self.v).selector();
        let proof = Proof::Labelled { name: pod, labels };
        self.delete_pod_of(pod, uid, proof).await
    }
}
