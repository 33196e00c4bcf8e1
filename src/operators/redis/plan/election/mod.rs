//! Who is the primary: failover, hand-over in progress, adoption, bootstrap.
//!
//! The rules are those that asynchronous replication allows: a server is promoted only when its data is proven to be the
//! newest that can be reached, the decision is written down before it is carried out, and what is found alive is followed.

mod first;
mod hand_over;
mod live;
mod lost;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::operators::redis::api::{Election, ElectionKind};
use crate::operators::redis::model::{Instance, Observed, Problem, Step, Validated};
use crate::operators::redis::reasons;

/// How long the server's own hand-over may take; after that it gives up by itself (`FAILOVER ... TIMEOUT`).
pub const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(5);

/// What was found about the primary.
#[derive(Debug, Default)]
pub struct Verdict<'a> {
    /// The instance that clients are led to; it is not certain that it answers.
    pub primary: Option<&'a Instance>,
    /// No decision is open and the primary answers: everything else may go on.
    pub settled: bool,
    /// What is to be done about it.
    pub step: Option<Step>,
    /// Why there is no primary, or no certainty.
    pub problem: Option<Problem>,
    /// What would lose data.
    pub risk: Option<Problem>,
    /// When to look again.
    pub requeue: Option<Duration>,
}

/// What is known, and by which rules it is judged.
pub(super) struct Electorate<'a> {
    pub(super) v: &'a Validated,
    pub(super) o: &'a Observed,
    pub(super) now: Timestamp,
}

/// Finds the primary, or what has to be done to get one.
pub fn decide<'a>(v: &'a Validated, o: &'a Observed, now: Timestamp) -> Verdict<'a> {
    let electorate = Electorate { v, o, now };
    let election = o.status.election.as_ref();
    if let Some(open) = election.filter(|e| !e.completed && e.kind == ElectionKind::HandOver) {
        return electorate.hand_over(open);
    }
    let live: Vec<&Instance> = o.instances.iter().filter(|i| i.is_primary()).collect();
    match live.as_slice() {
        [] => electorate.no_primary(),
        [one] => electorate.one_primary(one),
        many => electorate.many_primaries(many),
    }
}

/// `a` and `b` hold the same history, or one continues the other's (`master_replid`, `master_replid2`).
pub fn related(a: &Instance, b: &Instance) -> bool {
    let (Some(a), Some(b)) = (a.info(), b.info()) else {
        return false;
    };
    a.replid == b.replid
        || a.replid2.as_ref() == Some(&b.replid)
        || b.replid2.as_ref() == Some(&a.replid)
}

fn continues(i: &Instance, replication_id: &str) -> bool {
    i.info().is_some_and(|info| {
        info.replid == replication_id || info.replid2.as_deref() == Some(replication_id)
    })
}

fn reason_of(kind: ElectionKind) -> &'static str {
    match kind {
        ElectionKind::Failover => reasons::FailingOver,
        ElectionKind::HandOver => reasons::HandingOver,
        ElectionKind::Abandoned => reasons::HandOverFailed,
        ElectionKind::Adopted => reasons::PrimaryAdopted,
        ElectionKind::Bootstrap => reasons::Creating,
    }
}

fn keys(i: &Instance) -> u64 {
    i.info().map_or(0, |info| info.keys)
}

pub(super) fn wait<'a>(problem: Problem, seconds: f64) -> Verdict<'a> {
    Verdict {
        problem: Some(problem),
        requeue: Some(Duration::from_secs_f64(seconds)),
        ..Verdict::default()
    }
}

impl<'a> Electorate<'a> {
    pub(super) fn election(&self) -> Option<&'a Election> {
        self.o.status.election.as_ref()
    }

    pub(super) fn find(&self, pod: &str, uid: &str) -> Option<&'a Instance> {
        self.o
            .instances
            .iter()
            .find(|i| i.pod == pod && i.uid == uid)
    }

    pub(super) fn named(&self, pod: &str) -> Option<&'a Instance> {
        self.o.instances.iter().find(|i| i.pod == pod)
    }

    /// What the user names for want of proof; an empty instance is never taken over one with data, so that an annotation
    /// that was left behind does no harm.
    pub(super) fn approved(&self) -> Option<&'a Instance> {
        let approved = self
            .v
            .approved_primary
            .as_deref()
            .and_then(|pod| self.named(pod))?;
        let usable = approved
            .info()
            .is_some_and(|i| !i.loading && !i.sync_in_progress);
        (usable && (keys(approved) > 0 || self.o.instances.iter().all(|i| keys(i) == 0)))
            .then_some(approved)
    }

    pub(super) fn since_decision(&self, election: &Election) -> Duration {
        Duration::try_from(self.now.duration_since(election.decided_at.0)).unwrap_or_default()
    }

    pub(super) fn elect(&self, kind: ElectionKind, chosen: &Instance, why: String) -> Verdict<'a> {
        let last = self.election();
        let from = last.map(|e| {
            if e.kind == ElectionKind::HandOver && !e.completed {
                e.from.clone().unwrap_or_default()
            } else {
                e.candidate.clone()
            }
        });
        let election = Election {
            epoch: last.map_or(1, |e| e.epoch + 1),
            kind,
            candidate: chosen.pod.clone(),
            candidate_uid: chosen.uid.clone(),
            run_id: chosen.info().map(|i| i.run_id.clone()).unwrap_or_default(),
            from: from.filter(|f| *f != chosen.pod && !f.is_empty()),
            decided_at: Time(self.now),
            completed: kind == ElectionKind::Abandoned,
        };
        let reason = reason_of(kind);
        Verdict {
            problem: Some(Problem::of(
                reason,
                format!("Pod/{}", chosen.pod),
                why.clone(),
            )),
            step: Some(Step::Decide(election, why)),
            ..Verdict::default()
        }
    }

    pub(super) fn serving(primary: &'a Instance) -> Verdict<'a> {
        Verdict {
            primary: Some(primary),
            settled: true,
            ..Verdict::default()
        }
    }
}
