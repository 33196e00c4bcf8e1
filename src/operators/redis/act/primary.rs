//! Steps that change who is the primary.

use futures::future::join_all;

use super::{Outcome, Pass, Undone, stale};
use crate::engines::redis::{Address, Failure};
use crate::operators::redis::api::{Election, ElectionKind};
use crate::operators::redis::build::Published;
use crate::operators::redis::model::{Instance, Role};
use crate::operators::redis::plan::HAND_OVER_TIMEOUT;
use crate::operators::redis::{reasons, versions};

impl Pass<'_> {
    pub(super) async fn promote(&self, election: &Election) -> Result<(), Undone> {
        let decided = self.confirm().await?;
        if decided.as_ref() != Some(election) {
            return stale("the decision changed");
        }
        let candidate = self.instance(&election.candidate)?;
        let client = self.client(&election.candidate).await?;
        if client.info().await?.run_id != election.run_id {
            return stale(format!(
                "{} restarted since it was chosen",
                election.candidate
            ));
        }
        let leader = self.address(&election.candidate)?;
        let others = || {
            self.o
                .instances
                .iter()
                .filter(|i| i.pod != election.candidate && i.info().is_some())
        };
        // Fence first: a server that still takes writes stops taking them before another one starts to.
        let fenced = others()
            .filter(|i| i.is_primary())
            .map(|i| self.demote(i, &leader));
        join_all(fenced)
            .await
            .into_iter()
            .collect::<Result<Vec<()>, _>>()?;
        client.promote().await?;
        if client.info().await?.role != Role::Primary {
            return stale(format!("{} did not become the primary", election.candidate));
        }
        // A server that could not read the data would empty itself in the attempt.
        let readable = |i: &&Instance| {
            let pair = i.info().zip(candidate.info());
            pair.is_some_and(|(reader, writer)| versions::can_follow(reader, writer))
        };
        let readers = others().filter(|i| !i.leaving()).filter(readable).collect();
        let published = Published {
            primary: Some(candidate),
            readers,
        };
        let follow = join_all(others().filter(|i| !i.terminating).filter(readable).map(
            |i| async {
                if let Err(error) = self.attach(i, &leader).await {
                    tracing::warn!(pod = i.pod, %error, "could not be made a replica yet");
                }
            },
        ));
        let (written, _) = tokio::join!(self.publish(&published), follow);
        self.op.instances.poll_now(&self.o.key, &candidate.uid);
        Ok(written?)
    }

    async fn attach(&self, i: &Instance, leader: &Address) -> Result<(), Undone> {
        Ok(self.client(&i.pod).await?.replica_of(leader).await?)
    }

    /// Makes a primary a replica and cuts its clients off, so that they look for the new one.
    async fn demote(&self, i: &Instance, leader: &Address) -> Result<(), Undone> {
        let client = self.client(&i.pod).await?;
        client.replica_of(leader).await?;
        client.kill_normal_clients().await?;
        Ok(())
    }

    pub(super) async fn complete(
        &self,
        election: &Election,
        outcome: &mut Outcome,
    ) -> Result<(), Undone> {
        let primary = self.instance(&election.candidate)?;
        let readers = self
            .o
            .instances
            .iter()
            .filter(|i| {
                i.pod != primary.pod
                    && !i.leaving()
                    && i.info().is_some_and(|info| info.role == Role::Replica)
            })
            .collect();
        self.publish(&Published {
            primary: Some(primary),
            readers,
        })
        .await?;
        if let Some(from) = election
            .from
            .as_deref()
            .and_then(|pod| self.instance(pod).ok())
            .filter(|i| i.info().is_some() && !i.is_primary())
        {
            let client = self.client(&from.pod).await?;
            let closed = client.kill_normal_clients().await?;
            tracing::info!(
                pod = from.pod,
                closed,
                "clients of the former primary were disconnected"
            );
        }
        match election.kind {
            ElectionKind::Failover => outcome.event(
                false,
                reasons::FailoverCompleted,
                format!("{} is the primary", election.candidate),
            ),
            ElectionKind::HandOver => outcome.event(
                false,
                reasons::HandOverCompleted,
                format!("{} is the primary", election.candidate),
            ),
            _ => {}
        }
        self.op.metrics.elected(election, self.op.ctx.clock.now());
        outcome.election = Some(Election {
            completed: true,
            ..election.clone()
        });
        Ok(())
    }

    pub(super) async fn hand_over(
        &self,
        from: &str,
        to: &str,
        outcome: &mut Outcome,
    ) -> Result<(), Undone> {
        if self.v.watched() && self.hand_over_by_sentinels(from, to, outcome).await? {
            return Ok(());
        }
        self.confirm().await?;
        let target = self.address(to)?;
        let (primary, replica) = (self.client(from).await?, self.client(to).await?);
        match primary
            .hand_over_to(&replica, &target, HAND_OVER_TIMEOUT)
            .await
        {
            // Another reconcile sent it already.
            Err(Failure::Command(words)) if words.contains("already in progress") => Ok(()),
            other => Ok(other?),
        }
    }

    pub(super) async fn follow(
        &self,
        pods: &[String],
        primary: &str,
        outcome: &mut Outcome,
    ) -> Result<(), Undone> {
        let leader = &self.address(primary)?;
        let results = join_all(pods.iter().map(|pod| async move {
            let i = self.instance(pod)?;
            if i.is_primary() {
                self.confirm().await?;
                self.demote(i, leader).await.map(|()| Some(pod))
            } else {
                self.attach(i, leader).await.map(|()| None)
            }
        }));
        for result in results.await {
            // A temporary replica starts as a primary when the single server does so.
            if let Some(pod) = result?
                && self.v.surge.is_none()
            {
                outcome.event(
                    true,
                    reasons::SecondPrimaryDemoted,
                    format!("{pod} was a second primary and follows {primary} now"),
                );
            }
        }
        Ok(())
    }
}
