//! Carries the plan out: one step that changes the topology, and the chores. An answer that leaves doubt is not repeated blindly: the next
//! reconcile observes anew.

mod bootstrap;
mod cluster;
mod objects;
mod primary;
mod sentinel;
mod tls;
mod users;

use futures::future::join_all;
use kube::{Api, ResourceExt};

use super::api::{BootstrapStatus, Election, ElectionKind, Redis};
use super::build::{self, Published};
use super::model::{
    BootstrapStep, ClusterStep, Instance, Observed, PORT, Plan, Problem, Step, Validated,
};
use super::{FIELD_MANAGER, Operator, reasons};
use crate::engines::redis::{self as engine, Address, Failure};
use crate::k8s::{self, apply};

/// What was done.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Something was changed.
    pub done: bool,
    /// Something was tried in vain; the next reconcile decides anew.
    pub failed: bool,
    /// What the API server refused for a reason that does not go away by itself.
    pub refused: Option<Problem>,
    /// The decision to be written to the status: a new one, or one that was carried out.
    pub election: Option<Election>,
    /// What is to be written to the status of copying an external server.
    pub bootstrap: Option<BootstrapStatus>,
    /// Events: whether it is a warning, reason, words.
    pub events: Vec<(bool, String, String)>,
}

impl Outcome {
    fn event(&mut self, warning: bool, reason: &str, note: impl Into<String>) {
        self.events.push((warning, reason.to_owned(), note.into()));
    }
}

/// Why a step could not be carried out.
#[derive(Debug, thiserror::Error)]
enum Undone {
    #[error(transparent)]
    Server(#[from] Failure),
    #[error(transparent)]
    Kubernetes(#[from] k8s::Error),
    #[error("{0}")]
    Stale(String),
}

fn stale<T>(words: impl Into<String>) -> Result<T, Undone> {
    Err(Undone::Stale(words.into()))
}

/// One pass over a plan.
struct Pass<'a> {
    op: &'a Operator,
    v: &'a Validated,
    o: &'a Observed,
}

impl Operator {
    /// Carries out the step and the chores, and leads the Services to whom the plan names.
    pub(super) async fn act(&self, v: &Validated, o: &Observed, plan: &Plan) -> Outcome {
        let pass = Pass { op: self, v, o };
        let mut outcome = Outcome::default();
        let publishes_itself = matches!(
            plan.step,
            Some(Step::Promote(_) | Step::Complete(_) | Step::Bootstrap(BootstrapStep::CutOver(_)))
        );
        if let Some(step) = &plan.step {
            pass.carry_out(step, &mut outcome).await;
        }
        if !publishes_itself && (plan.primary.is_some() || leads_to_gone_pods(o)) {
            let published = build::published(o, plan.primary.as_deref(), &plan.readers);
            if let Err(error) = pass.publish(&published).await {
                tracing::warn!(%error, "the endpoint slices could not be written");
                outcome.failed = true;
            }
        }
        let chores = join_all(plan.chores.iter().map(|chore| async {
            let mut own = Outcome::default();
            pass.carry_out(chore, &mut own).await;
            own
        }));
        for own in chores.await {
            outcome.done |= own.done;
            outcome.failed |= own.failed;
            outcome.refused = outcome.refused.or(own.refused);
            outcome.events.extend(own.events);
        }
        outcome
    }
}

/// An endpoint slice names a pod that is gone; its address may be given to any other pod.
fn leads_to_gone_pods(o: &Observed) -> bool {
    let endpoints = o.objects.endpoint_slices.iter().flat_map(|s| &s.endpoints);
    let uids = endpoints.filter_map(|e| e.target_ref.as_ref()?.uid.as_deref());
    uids.into_iter()
        .any(|uid| o.instances.iter().all(|i| i.uid != uid))
}

impl Pass<'_> {
    async fn carry_out(&self, step: &Step, outcome: &mut Outcome) {
        if !self.op.ctx.leadership.is_leader() {
            tracing::warn!(%step, "not the leader any more: nothing is done");
            outcome.failed = true;
            return;
        }
        match self.step(step, outcome).await {
            Ok(()) => outcome.done = true,
            Err(error) => {
                tracing::warn!(%step, %error, "a step was not done");
                outcome.failed = true;
                if let (Step::Cluster(ClusterStep::MoveSlots { .. }), Undone::Server(_)) =
                    (step, &error)
                {
                    outcome.event(true, reasons::MovingSlots, format!("{step}: {error}"));
                }
                if let Undone::Kubernetes(
                    refused @ (k8s::Error::Forbidden { .. }
                    | k8s::Error::Invalid { .. }
                    | k8s::Error::NameConflict { .. }),
                ) = &error
                {
                    let object = format!("Redis/{}", self.v.name);
                    outcome.refused = Some(Problem::of(
                        reasons::ApiError,
                        object,
                        format!("{step}: {refused}"),
                    ));
                }
            }
        }
    }

    async fn step(&self, step: &Step, outcome: &mut Outcome) -> Result<(), Undone> {
        match step {
            Step::Decide(election, why) => {
                let (warning, reason) = match election.kind {
                    ElectionKind::Failover => (true, reasons::FailingOver),
                    ElectionKind::Abandoned => (true, reasons::HandOverFailed),
                    ElectionKind::HandOver => (false, reasons::HandingOver),
                    ElectionKind::Adopted => (false, reasons::PrimaryAdopted),
                    ElectionKind::Bootstrap if election.epoch > 1 => (true, reasons::DataSetEmpty),
                    ElectionKind::Bootstrap => (false, reasons::Creating),
                };
                outcome.event(warning, reason, why);
                outcome.election = Some(election.clone());
                Ok(())
            }
            Step::Promote(election) => self.promote(election).await,
            Step::Complete(election) => self.complete(election, outcome).await,
            Step::HandOver { from, to } => self.hand_over(from, to, outcome).await,
            Step::AbortHandOver { from } => Ok(self.client(from).await?.failover_abort().await?),
            Step::Follow { pods, primary } => self.follow(pods, primary, outcome).await,
            Step::Configure { pod, directives } => self.configure(pod, directives).await,
            Step::SetUsers { pod, users } => self.set_users(pod, users).await,
            Step::RemoveUsers { pod, users } => self.remove_users(pod, users).await,
            Step::ReloadCertificate { pod } => self.reload_certificate(pod).await,
            Step::Listen { pods, plaintext } => self.listen(pods, *plaintext).await,
            Step::Gate { pod, ready } => self.gate(pod, *ready).await,
            Step::DeletePod {
                pod,
                uid,
                reason,
                why,
            } => {
                self.delete_pod(pod, uid).await?;
                outcome.event(*reason == reasons::InstanceUnresponsiveDeleted, reason, why);
                Ok(())
            }
            Step::GrowClaim { claim, size } => self.grow_claim(claim, size).await,
            Step::OwnClaim { claim, owned } => self.own_claim(claim, *owned).await,
            Step::MarkClaim { claim, since } => self.mark_claim(claim, since).await,
            Step::AdoptClaim { claim } => {
                self.adopt_claim(claim).await?;
                let note = format!("{claim} existed before and is used from now on");
                outcome.event(false, reasons::ClaimAdopted, note);
                Ok(())
            }
            Step::DeleteClaim { claim, uid, .. } => self.delete_claim(claim, uid).await,
            Step::RecreateStatefulSet(_) => {
                let set = self.o.objects.statefulset.as_ref();
                self.recreate_statefulset(set).await
            }
            Step::Cluster(step) => self.cluster_step(step, outcome).await,
            Step::Bootstrap(step) => self.bootstrap(step, outcome).await,
            Step::Sentinel(step) => self.sentinel_step(step, outcome).await,
        }
    }

    fn instance(&self, pod: &str) -> Result<&Instance, Undone> {
        self.o
            .instances
            .iter()
            .find(|i| i.pod == pod)
            .ok_or_else(|| Undone::Stale(format!("{pod} is gone")))
    }

    fn address(&self, pod: &str) -> Result<Address, Undone> {
        let ip = self
            .instance(pod)?
            .ip
            .clone()
            .ok_or_else(|| Undone::Stale(format!("{pod} has no address")))?;
        Ok(Address::new(ip, PORT))
    }

    async fn client(&self, pod: &str) -> Result<engine::Client, Undone> {
        Ok(self
            .op
            .instances
            .client(&self.o.key, &self.instance(pod)?.uid)
            .await?)
    }

    /// Reads the `Redis` from the API server itself, not from a cache, before an act that cannot be undone: it must be the same object
    /// with the same spec and the same decision.
    async fn confirm(&self) -> Result<Option<Election>, Undone> {
        let api = Api::<Redis>::namespaced(self.op.ctx.client.clone(), &self.v.namespace);
        let live = match tokio::time::timeout(
            self.op.ctx.settings.call_timeout.get(),
            api.get(&self.v.name),
        )
        .await
        {
            Ok(Ok(live)) => live,
            Ok(Err(error)) => return stale(format!("the Redis could not be read: {error}")),
            Err(_) => return stale("the Redis could not be read in time"),
        };
        let same = live.uid().as_deref() == Some(&self.o.uid)
            && live.metadata.generation == Some(self.v.generation)
            && live.metadata.deletion_timestamp.is_none();
        let election = live.status.and_then(|s| s.election);
        if !same
            || election.as_ref().map(|e| e.epoch)
                != self.o.status.election.as_ref().map(|e| e.epoch)
        {
            return stale("the Redis changed since it was observed");
        }
        if !self.op.ctx.leadership.is_leader() {
            return stale("not the leader any more");
        }
        Ok(election)
    }

    async fn publish(&self, published: &Published<'_>) -> Result<(), k8s::Error> {
        let slices = build::endpoint_slices(self.v, published);
        let writes = slices.iter().map(|slice| {
            let observed = self
                .o
                .objects
                .endpoint_slices
                .iter()
                .find(|s| s.metadata.name == slice.metadata.name);
            apply::apply(&self.op.ctx.client, FIELD_MANAGER, slice, observed)
        });
        join_all(writes)
            .await
            .into_iter()
            .try_for_each(|written| written.map(drop))
    }

    async fn configure(
        &self,
        pod: &str,
        directives: &std::collections::BTreeMap<String, String>,
    ) -> Result<(), Undone> {
        let uid = &self.instance(pod)?.uid;
        let client = self.client(pod).await?;
        for (name, value) in directives {
            let directive = (name.clone(), value.clone());
            match client.config_set(&[(name, value)]).await {
                Ok(()) => {
                    let now = client
                        .config_get(&[name])
                        .await?
                        .remove(name)
                        .unwrap_or_default();
                    self.op
                        .instances
                        .remember(&self.o.key, uid, directive, Ok(now));
                }
                Err(Failure::Command(words)) => {
                    self.op
                        .instances
                        .remember(&self.o.key, uid, directive, Err(words));
                }
                Err(other) => return Err(other.into()),
            }
        }
        Ok(())
    }
}
