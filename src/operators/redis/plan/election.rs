//! Who is the primary: failover, hand-over in progress, adoption, bootstrap.
//!
//! The rules are those that asynchronous replication allows: a server is promoted only when its data is proven to be the
//! newest that can be reached, the decision is written down before it is carried out, and what is found alive is followed.

use std::cmp::Reverse;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::api::{Election, ElectionKind};
use super::super::model::{Instance, Observed, PodState, Problem, Role, Server, Step, Validated};
use super::super::reasons;
use crate::engines::redis::FailoverState;

/// A replica that heard from the primary within this many seconds proves that the primary lives. Replicas are pinged every two seconds.
const FRESH_LINK_SECONDS: u64 = 5;
/// How long an instance that was in sync, and gives no answer now, is waited for before another one is promoted.
const MISSING_PATIENCE: Duration = Duration::from_secs(5);
/// How long a silent instance is waited for when no instance with data answers.
const EMPTY_PATIENCE: Duration = Duration::from_secs(30);
/// How long the server's own hand-over may take; after that it gives up by itself (`FAILOVER ... TIMEOUT`).
pub const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(5);
/// After this a hand-over is not started again but given up.
const HAND_OVER_PATIENCE: Duration = Duration::from_secs(8);
/// After this a hand-over that hangs is stopped from outside.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(15);

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

struct Electorate<'a> {
    v: &'a Validated,
    o: &'a Observed,
    now: Timestamp,
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

fn wait<'a>(problem: Problem, seconds: f64) -> Verdict<'a> {
    Verdict {
        problem: Some(problem),
        requeue: Some(Duration::from_secs_f64(seconds)),
        ..Verdict::default()
    }
}

impl<'a> Electorate<'a> {
    fn election(&self) -> Option<&'a Election> {
        self.o.status.election.as_ref()
    }

    fn find(&self, pod: &str, uid: &str) -> Option<&'a Instance> {
        self.o
            .instances
            .iter()
            .find(|i| i.pod == pod && i.uid == uid)
    }

    fn named(&self, pod: &str) -> Option<&'a Instance> {
        self.o.instances.iter().find(|i| i.pod == pod)
    }

    /// What the user names for want of proof; an empty instance is never taken over one with data, so that an annotation
    /// that was left behind does no harm.
    fn approved(&self) -> Option<&'a Instance> {
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

    fn since_decision(&self, election: &Election) -> Duration {
        Duration::try_from(self.now.duration_since(election.decided_at.0)).unwrap_or_default()
    }

    fn elect(&self, kind: ElectionKind, chosen: &Instance, why: String) -> Verdict<'a> {
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

    fn serving(primary: &'a Instance) -> Verdict<'a> {
        Verdict {
            primary: Some(primary),
            settled: true,
            ..Verdict::default()
        }
    }

    // ---- one or more live primaries: follow what is found

    fn one_primary(&self, live: &'a Instance) -> Verdict<'a> {
        if let Some(approved) = self
            .approved()
            .filter(|a| keys(live) == 0 && keys(a) > 0 && !related(a, live))
        {
            return self.elect(
                ElectionKind::Failover,
                approved,
                format!("{} was approved by annotation", approved.pod),
            );
        }
        match self.election() {
            Some(e) if e.candidate == live.pod && e.candidate_uid == live.uid => {
                if e.completed {
                    Self::serving(live)
                } else {
                    Verdict {
                        primary: Some(live),
                        step: Some(Step::Complete(e.clone())),
                        ..Verdict::default()
                    }
                }
            }
            None => self.elect(
                ElectionKind::Adopted,
                live,
                format!("{} is a live primary", live.pod),
            ),
            Some(e) if self.may_adopt(live, e) => self.elect(
                ElectionKind::Adopted,
                live,
                format!(
                    "{} is the live primary; {} is not any more",
                    live.pod, e.candidate
                ),
            ),
            Some(_) => self.no_primary(),
        }
    }

    /// A primary that Hera did not choose is followed when it has the known history; an old primary that comes back has not.
    fn may_adopt(&self, live: &Instance, election: &Election) -> bool {
        if !self.v.gated() {
            return true;
        }
        let recorded = self.find(&election.candidate, &election.candidate_uid);
        if recorded.is_some_and(|r| r.info().is_some() && related(r, live)) {
            return true;
        }
        let answers_or_gone = recorded.is_none_or(|r| {
            !matches!(
                r.server,
                Server::Silent(_) | Server::Busy | Server::Denied(_)
            )
        });
        let known = self.o.status.replication_id.as_deref();
        election.completed && answers_or_gone && known.is_some_and(|id| continues(live, id))
    }

    fn many_primaries(&self, live: &[&'a Instance]) -> Verdict<'a> {
        let recorded = self.election().and_then(|e| {
            live.iter()
                .find(|i| i.pod == e.candidate && i.uid == e.candidate_uid)
        });
        let keep = match recorded {
            Some(keep) => *keep,
            None => {
                let mut adoptable = live
                    .iter()
                    .filter(|i| self.election().is_none_or(|e| self.may_adopt(i, e)));
                match (adoptable.next(), adoptable.next()) {
                    (Some(one), None) => return self.one_primary(one),
                    _ => {
                        return match self.approved() {
                            Some(approved) => self.elect(
                                ElectionKind::Failover,
                                approved,
                                format!("{} was approved by annotation", approved.pod),
                            ),
                            None => self.no_proof(live),
                        };
                    }
                }
            }
        };
        let others = live.iter().filter(|i| i.pod != keep.pod);
        if keys(keep) == 0 {
            if let Some(full) = others.clone().find(|i| keys(i) > 0 && !related(i, keep)) {
                if let Some(approved) = self.approved() {
                    return self.elect(
                        ElectionKind::Failover,
                        approved,
                        format!("{} was approved by annotation", approved.pod),
                    );
                }
                let risk = Problem::of(
                    reasons::EmptyPrimary,
                    format!("Pod/{}", full.pod),
                    format!(
                        "{} is empty while {} holds {} keys of another history",
                        keep.pod,
                        full.pod,
                        keys(full)
                    ),
                );
                return Verdict {
                    primary: Some(keep),
                    risk: Some(risk),
                    requeue: Some(Duration::from_secs(5)),
                    ..Verdict::default()
                };
            }
        }
        if let Some(open) = self
            .election()
            .filter(|e| !e.completed && e.candidate == keep.pod)
        {
            return Verdict {
                primary: Some(keep),
                step: Some(Step::Complete(open.clone())),
                ..Verdict::default()
            };
        }
        let pods = others.map(|i| i.pod.clone()).collect();
        Verdict {
            primary: Some(keep),
            step: Some(Step::Follow {
                pods,
                primary: keep.pod.clone(),
            }),
            ..Verdict::default()
        }
    }

    // ---- hand-over

    fn hand_over(&self, open: &'a Election) -> Verdict<'a> {
        let to = self.find(&open.candidate, &open.candidate_uid);
        let from = open.from.as_deref().and_then(|pod| self.named(pod));
        let age = self.since_decision(open);
        let handing = |step, requeue| Verdict {
            primary: from,
            step,
            problem: Some(Problem::of(
                reasons::HandingOver,
                format!("Pod/{}", open.candidate),
                format!(
                    "{} takes over from {}",
                    open.candidate,
                    open.from.clone().unwrap_or_default()
                ),
            )),
            requeue: Some(Duration::from_millis(requeue)),
            ..Verdict::default()
        };
        if let Some(to) = to.filter(|t| t.is_primary()) {
            return Verdict {
                primary: Some(to),
                step: Some(Step::Complete(open.clone())),
                ..Verdict::default()
            };
        }
        let Some(from) = from else {
            return self.no_primary();
        };
        let state = from.info().map(|i| i.failover_state).unwrap_or_default();
        if from.is_primary() {
            if state != FailoverState::None {
                return handing(
                    (age > HAND_OVER_LIMIT).then(|| Step::AbortHandOver {
                        from: from.pod.clone(),
                    }),
                    50,
                );
            }
            let synced = to.is_some_and(|t| t.in_sync_with(from) && !t.terminating);
            if synced && age < HAND_OVER_PATIENCE {
                return handing(
                    Some(Step::HandOver {
                        from: from.pod.clone(),
                        to: open.candidate.clone(),
                    }),
                    50,
                );
            }
            return self.elect(
                ElectionKind::Abandoned,
                from,
                format!(
                    "the hand-over to {} did not finish; {} stays the primary",
                    open.candidate, from.pod
                ),
            );
        }
        let both_replicas = from.info().is_some_and(|i| i.role == Role::Replica)
            && to.is_some_and(|t| t.info().is_some());
        if both_replicas && age < HAND_OVER_LIMIT {
            // The old primary has made itself a replica of the candidate, which takes over by itself within moments.
            let overdue = age > HAND_OVER_PATIENCE && from.in_sync_with_candidate(to);
            return handing(overdue.then(|| Step::Promote(open.clone())), 50);
        }
        self.no_primary()
    }

    // ---- no live primary

    /// No live primary, or one without proof: it may not make us believe that the last one is dead, so the same waits apply.
    fn no_primary(&self) -> Verdict<'a> {
        let Some(election) = self.election() else {
            return self.bootstrap();
        };
        if !election.completed && election.kind != ElectionKind::HandOver {
            if self.chosen_still_runs(election) {
                return self.promote(election);
            }
            let chosen = self.find(&election.candidate, &election.candidate_uid);
            if let Some(Server::Silent(silence)) = chosen.map(|c| &c.server)
                && *silence < self.v.unresponsive_after
            {
                return wait(
                    Problem::of(
                        reasons::WaitingForInstance,
                        format!("Pod/{}", election.candidate),
                        format!("{} was chosen and does not answer", election.candidate),
                    ),
                    0.3,
                );
            }
        }
        let open_hand_over = !election.completed && election.kind == ElectionKind::HandOver;
        let last = if open_hand_over {
            election.from.as_deref().and_then(|pod| self.named(pod))
        } else {
            self.find(&election.candidate, &election.candidate_uid)
        };
        last.and_then(|last| self.maybe_alive(last))
            .unwrap_or_else(|| self.fail_over(election, last))
    }

    fn chosen_still_runs(&self, election: &Election) -> bool {
        self.find(&election.candidate, &election.candidate_uid)
            .and_then(Instance::info)
            .is_some_and(|i| i.run_id == election.run_id && !i.loading)
    }

    fn promote(&self, election: &Election) -> Verdict<'a> {
        Verdict {
            step: Some(Step::Promote(election.clone())),
            problem: Some(Problem::of(
                reason_of(election.kind),
                format!("Pod/{}", election.candidate),
                format!("{} is being promoted", election.candidate),
            )),
            ..Verdict::default()
        }
    }

    /// Some verdict when the last primary may still live: busy, or silent for too short a time, or heard by a replica.
    fn maybe_alive(&self, last: &'a Instance) -> Option<Verdict<'a>> {
        let pod = format!("Pod/{}", last.pod);
        let heard_by = self.o.instances.iter().find(|i| {
            i.follows(last)
                && i.info().is_some_and(|info| {
                    info.link_up && info.last_io_seconds.is_some_and(|s| s < FRESH_LINK_SECONDS)
                })
        });
        let keep = |reason, message: String, seconds| {
            Some(Verdict {
                primary: Some(last),
                ..wait(Problem::of(reason, pod.clone(), message), seconds)
            })
        };
        match &last.server {
            Server::Up(_) | Server::Loading => None,
            Server::Busy => keep(
                reasons::PrimaryBusy,
                format!("{} answers BUSY", last.pod),
                2.0,
            ),
            Server::Denied(words) => keep(
                reasons::AccessDenied,
                format!("{} refuses Hera's user: {words}", last.pod),
                5.0,
            ),
            Server::Silent(_) | Server::Down if heard_by.is_some() => {
                let replica = heard_by.map(|i| i.pod.as_str()).unwrap_or_default();
                keep(
                    reasons::PrimaryUnreachable,
                    format!(
                        "{} does not answer Hera, but {replica} hears from it",
                        last.pod
                    ),
                    0.2,
                )
            }
            Server::Silent(silence) if *silence < self.v.unresponsive_after => keep(
                reasons::PrimaryUnreachable,
                format!("{} does not answer", last.pod),
                0.5,
            ),
            Server::Silent(_) | Server::Down => None,
        }
    }

    fn eligible(&self) -> impl Iterator<Item = &'a Instance> + use<'a> {
        self.o.instances.iter().filter(|i| {
            i.info()
                .is_some_and(|info| !info.loading && !info.sync_in_progress && info.priority > 0)
        })
    }

    /// The one with the most of the history; among equals one that stays, of the present revision, with the lowest ordinal.
    fn best<'b>(candidates: impl Iterator<Item = &'b Instance>) -> Option<&'b Instance> {
        candidates.max_by_key(|i| {
            (
                i.info().map_or(0, |info| info.offset),
                !i.leaving(),
                !i.outdated,
                Reverse(i.ordinal),
            )
        })
    }

    fn fail_over(&self, election: &Election, last: Option<&'a Instance>) -> Verdict<'a> {
        let lost = last.map_or_else(|| election.candidate.clone(), |l| l.pod.clone());
        if let Some(missing) = self.missing_ahead(&lost) {
            let message = format!(
                "{lost} is lost, and {} that was in sync does not answer",
                missing.pod
            );
            return wait(
                Problem::of(
                    reasons::WaitingForInstance,
                    format!("Pod/{}", missing.pod),
                    message,
                ),
                0.3,
            );
        }
        let known = self.o.status.replication_id.as_deref();
        let proven = self
            .eligible()
            .filter(|i| known.is_some_and(|id| continues(i, id)));
        match Self::best(proven) {
            Some(chosen) => self.elect(
                ElectionKind::Failover,
                chosen,
                format!("{lost} is lost; {} has the most of its data", chosen.pod),
            ),
            None => self.without_proof(&lost, last),
        }
    }

    /// An instance that was in sync, gives no answer, and may be ahead of those that do.
    fn missing_ahead(&self, lost: &str) -> Option<&'a Instance> {
        let in_sync = |pod: &str| {
            self.o
                .status
                .instances
                .iter()
                .any(|s| s.pod == pod && s.ready && s.pod != lost)
        };
        self.o.instances.iter().find(|i| {
            in_sync(&i.pod)
                && matches!(i.server, Server::Silent(silence) if silence < MISSING_PATIENCE)
        })
    }

    /// No instance continues the known history: all restarted, or the history was lost.
    fn without_proof(&self, lost: &str, last: Option<&'a Instance>) -> Verdict<'a> {
        if let Some(approved) = self.approved() {
            return self.elect(
                ElectionKind::Failover,
                approved,
                format!("{} was approved by annotation", approved.pod),
            );
        }
        let last = last.or_else(|| self.named(lost));
        let others_have_data = self.eligible().any(|i| i.pod != lost && keys(i) > 0);
        match last {
            // The volume of the last primary holds the newest data there is, once it is loaded.
            Some(l)
                if self.v.storage.is_some()
                    && l.info().is_some_and(|i| !i.loading)
                    && (keys(l) > 0 || !others_have_data) =>
            {
                return self.elect(
                    ElectionKind::Failover,
                    l,
                    format!("{} restarted with the newest volume", l.pod),
                );
            }
            Some(l)
                if matches!(l.server, Server::Loading) || l.info().is_some_and(|i| i.loading) =>
            {
                return wait(
                    Problem::of(
                        reasons::PrimaryLoading,
                        format!("Pod/{}", l.pod),
                        format!("{} loads its data", l.pod),
                    ),
                    1.0,
                );
            }
            Some(Instance {
                server: Server::Silent(_),
                ..
            }) => return self.awaited(lost),
            last if self.v.storage.is_some() && last.is_none_or(|l| l.info().is_none()) => {
                return self.awaited(lost);
            }
            _ => {}
        }
        if let Some(patient) = self.o.instances.iter().find(|i| match i.server {
            Server::Silent(silence) => silence < EMPTY_PATIENCE,
            Server::Loading | Server::Busy => true,
            _ => false,
        }) {
            let message = format!("{} may hold data and does not answer yet", patient.pod);
            return wait(
                Problem::of(
                    reasons::WaitingForInstance,
                    format!("Pod/{}", patient.pod),
                    message,
                ),
                1.0,
            );
        }
        self.from_what_is_left(lost)
    }

    fn awaited(&self, lost: &str) -> Verdict<'a> {
        let message = format!(
            "{lost} has the newest data and does not answer; no other instance continues its history"
        );
        let problem = Problem::of(reasons::WaitingForInstance, format!("Pod/{lost}"), message);
        Verdict {
            risk: Some(problem.clone()),
            ..wait(problem, 2.0)
        }
    }

    /// The data of the last primary is gone for certain.
    fn from_what_is_left(&self, lost: &str) -> Verdict<'a> {
        let with_data: Vec<&Instance> = self.eligible().filter(|i| keys(i) > 0).collect();
        match with_data.split_first() {
            Some((first, rest)) if rest.iter().all(|i| related(i, first)) => {
                Self::best(with_data.iter().copied()).map_or_else(Verdict::default, |chosen| {
                    self.elect(
                        ElectionKind::Failover,
                        chosen,
                        format!("{lost} is lost; only {} and its kin hold data", chosen.pod),
                    )
                })
            }
            Some(_) => self.no_proof(&with_data),
            None => match self.eligible().min_by_key(|i| (i.leaving(), i.ordinal)) {
                Some(chosen) => self.elect(
                    ElectionKind::Bootstrap,
                    chosen,
                    format!("every instance restarted empty; {} starts anew", chosen.pod),
                ),
                None => self.nobody(),
            },
        }
    }

    fn no_proof(&self, among: &[&Instance]) -> Verdict<'a> {
        let list: Vec<String> = among
            .iter()
            .map(|i| format!("{} ({} keys)", i.pod, keys(i)))
            .collect();
        let problem = Problem::of(
            reasons::NoLineageProof,
            format!("Redis/{}", self.v.name),
            format!("no proof which of {} has the newest data", list.join(", ")),
        );
        Verdict {
            risk: Some(problem.clone()),
            ..wait(problem, 5.0)
        }
    }

    fn nobody(&self) -> Verdict<'a> {
        let starting = self
            .o
            .instances
            .iter()
            .any(|i| matches!(i.pod_state, PodState::Running));
        let message = if starting {
            "no instance answers yet"
        } else {
            "no instance runs yet"
        };
        wait(
            Problem::of(
                reasons::NoPrimary,
                format!("Redis/{}", self.v.name),
                message,
            ),
            2.0,
        )
    }

    /// The first primary of a database: at once when all volumes are new, else when every volume with possible data was seen.
    fn bootstrap(&self) -> Verdict<'a> {
        let adopted = |i: &Instance| {
            self.o
                .claims
                .iter()
                .any(|c| c.adopted && c.ordinal == i.ordinal)
        };
        if self.o.claims.iter().any(|c| c.adopted) {
            if let Some(missing) = self
                .o
                .instances
                .iter()
                .find(|i| adopted(i) && i.info().is_none_or(|info| info.loading))
            {
                return wait(
                    Problem::of(
                        reasons::WaitingForInstance,
                        format!("Pod/{}", missing.pod),
                        format!(
                            "the volume of {} existed before and may hold data",
                            missing.pod
                        ),
                    ),
                    1.0,
                );
            }
        }
        match self
            .eligible()
            .max_by_key(|i| (keys(i), !i.leaving(), Reverse(i.ordinal)))
        {
            Some(chosen) => self.elect(
                ElectionKind::Bootstrap,
                chosen,
                format!("{} is the first primary", chosen.pod),
            ),
            None => self.nobody(),
        }
    }
}

impl Instance {
    fn in_sync_with_candidate(&self, candidate: Option<&Instance>) -> bool {
        candidate.is_some_and(|c| self.follows(c))
    }
}
