//! No live primary: is the last one dead for certain, and who has the newest data.

use std::cmp::Reverse;
use std::time::Duration;

use super::{Electorate, Verdict, continues, keys, reason_of, related, wait};
use crate::operators::redis::api::{Election, ElectionKind};
use crate::operators::redis::model::{Instance, PodState, Problem, Server, Step, was_in_sync};
use crate::operators::redis::reasons;

/// A replica that heard from the primary within this many seconds proves that the primary lives. Replicas are pinged every two seconds.
const FRESH_LINK_SECONDS: u64 = 5;
/// How long an instance that was in sync, and gives no answer now, is waited for before another one is promoted.
const MISSING_PATIENCE: Duration = Duration::from_secs(5);

/// Neither its node nor the pod is known to be going.
fn unaccounted(i: &Instance) -> bool {
    !i.terminating && !i.node_lost
}

impl<'a> Electorate<'a> {
    /// No live primary, or one without proof: it may not make us believe that the last one is dead, so the same waits apply.
    pub(super) fn no_primary(&self) -> Verdict<'a> {
        let Some(election) = self.election() else {
            return self.bootstrap();
        };
        if !election.completed && election.kind != ElectionKind::HandOver {
            if self.chosen_still_runs(election) {
                return Self::promote(election);
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
        // Until a decision is carried out, the primary before it is the last one that served.
        let before = election.from.as_deref().filter(|_| !election.completed);
        let last = match before {
            Some(from) => self.named(from),
            None => self.find(&election.candidate, &election.candidate_uid),
        };
        last.and_then(|last| self.maybe_alive(last))
            .unwrap_or_else(|| self.fail_over(election, last))
    }

    fn chosen_still_runs(&self, election: &Election) -> bool {
        self.find(&election.candidate, &election.candidate_uid)
            .and_then(Instance::info)
            .is_some_and(|i| i.run_id == election.run_id && !i.loading)
    }

    pub(super) fn promote(election: &Election) -> Verdict<'a> {
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
            // With enough silent replicas on its side of a cut it may still take writes.
            Server::Silent(_) if self.may_have_replicas(last) => keep(
                reasons::PrimaryUnreachable,
                format!(
                    "{} and so many replicas do not answer that they may serve without Hera",
                    last.pod
                ),
                1.0,
            ),
            Server::Silent(_) | Server::Down | Server::Up(_) | Server::Loading => None,
        }
    }

    /// As many replicas are out of sight as the primary needs to accept writes (`min-replicas-to-write`).
    fn may_have_replicas(&self, last: &Instance) -> bool {
        let needed = usize::try_from(self.v.min_replicas_to_write).unwrap_or_default();
        let silent = |i: &&Instance| {
            i.pod != last.pod && matches!(i.server, Server::Silent(_)) && unaccounted(i)
        };
        unaccounted(last) && needed > 0 && self.o.instances.iter().filter(silent).count() >= needed
    }

    pub(super) fn eligible(&self) -> impl Iterator<Item = &'a Instance> + use<'a> {
        // Under sentinels the priority is Hera's own word to them.
        let any_priority = self.v.watched();
        self.o.instances.iter().filter(move |i| {
            i.info().is_some_and(|info| {
                !info.loading && !info.sync_in_progress && (any_priority || info.priority > 0)
            })
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

    fn fail_over(&self, election: &Election, former: Option<&'a Instance>) -> Verdict<'a> {
        let lost = former.map_or_else(|| election.candidate.clone(), |l| l.pod.clone());
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
        if let Some(heard) = self.hears_a_stranger() {
            let message = format!(
                "{lost} is gone, but {} still hears from its address",
                heard.pod
            );
            return wait(
                Problem::of(
                    reasons::PrimaryUnreachable,
                    format!("Pod/{}", heard.pod),
                    message,
                ),
                0.2,
            );
        }
        let known = self.o.status.replication_id.as_deref();
        // A server takes over the primary's history at the start of its first synchronization, before any data: only one that was in
        // sync has it. The former primary itself has it when it answers as a replica and did not restart.
        let proven = self.eligible().filter(|i| {
            let synced = was_in_sync(self.o, i) || former.is_some_and(|f| f.uid == i.uid);
            synced && known.is_some_and(|id| continues(i, id))
        });
        match Self::best(proven) {
            Some(chosen) => self.elect(
                ElectionKind::Failover,
                chosen,
                format!("{lost} is lost; {} has the most of its data", chosen.pod),
            ),
            None => self.without_proof(&lost, former),
        }
    }

    /// A replica with a fresh link to an address that no pod has any more: the server of a pod that was deleted by force still runs.
    fn hears_a_stranger(&self) -> Option<&'a Instance> {
        let known = |host: &str| {
            self.o
                .instances
                .iter()
                .any(|i| i.ip.as_deref() == Some(host))
        };
        self.o.instances.iter().find(|i| {
            i.info().is_some_and(|info| {
                let fresh =
                    info.link_up && info.last_io_seconds.is_some_and(|s| s < FRESH_LINK_SECONDS);
                fresh
                    && info
                        .primary_host
                        .as_deref()
                        .is_some_and(|host| !known(host))
            })
        })
    }

    /// An instance that was in sync, gives no answer, and may be ahead of those that do.
    fn missing_ahead(&self, lost: &str) -> Option<&'a Instance> {
        self.o.instances.iter().find(|i| {
            let unheard = match i.server {
                Server::Silent(silence) => silence < MISSING_PATIENCE,
                Server::Busy | Server::Loading => true,
                _ => false,
            };
            i.pod != lost && unheard && was_in_sync(self.o, i)
        })
    }

    /// No instance continues the known history: all restarted, or the history was lost.
    fn without_proof(&self, lost: &str, former: Option<&'a Instance>) -> Verdict<'a> {
        if let Some(approved) = self.approved() {
            return self.elect(
                ElectionKind::Failover,
                approved,
                format!("{} was approved by annotation", approved.pod),
            );
        }
        let former = former.or_else(|| self.named(lost));
        let others_have_data = self.eligible().any(|i| i.pod != lost && keys(i) > 0);
        match former {
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
            }) => return Self::awaited(lost),
            None | Some(_)
                if self.v.storage.is_some() && former.is_none_or(|l| l.info().is_none()) =>
            {
                return Self::awaited(lost);
            }
            _ => {}
        }
        let unheard = self.o.instances.iter().find(|i| match i.server {
            Server::Silent(_) => unaccounted(i),
            Server::Loading | Server::Busy => true,
            _ => false,
        });
        if let Some(patient) = unheard {
            let message = format!("{} may hold data and does not answer", patient.pod);
            let problem = Problem::of(
                reasons::WaitingForInstance,
                format!("Pod/{}", patient.pod),
                message,
            );
            return Verdict {
                risk: Some(problem.clone()),
                ..wait(problem, 1.0)
            };
        }
        self.elect_from_what_is_left(lost)
    }

    fn awaited(lost: &str) -> Verdict<'a> {
        let message = format!(
            "{lost} has the newest data and does not answer; no other instance continues its history"
        );
        let problem = Problem::of(reasons::WaitingForInstance, format!("Pod/{lost}"), message);
        Verdict {
            risk: Some(problem.clone()),
            ..wait(problem, 10.0)
        }
    }

    /// The data of the last primary is gone for certain.
    fn elect_from_what_is_left(&self, lost: &str) -> Verdict<'a> {
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

    pub(super) fn no_proof(&self, among: &[&Instance]) -> Verdict<'a> {
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

    pub(super) fn nobody(&self) -> Verdict<'a> {
        let starting = self
            .o
            .instances
            .iter()
            .any(|i| matches!(i.pod_state, PodState::Running));
        // The first answer of a server and each change of a pod start a pass by themselves.
        let (message, seconds) = if starting {
            ("no instance answers yet", 5.0)
        } else {
            ("no instance runs yet", 30.0)
        };
        wait(
            Problem::of(
                reasons::NoPrimary,
                format!("Redis/{}", self.v.name),
                message,
            ),
            seconds,
        )
    }
}
