//! One or more live primaries: what is found is followed, as far as it is proven.

use super::{Electorate, Verdict, continues, keys, related};
use crate::operators::redis::api::{Election, ElectionKind};
use crate::operators::redis::model::{Instance, Problem, Server, Step};
use crate::operators::redis::reasons;
use std::time::Duration;

impl<'a> Electorate<'a> {
    pub(super) fn one_primary(&self, live: &'a Instance) -> Verdict<'a> {
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
        if !self.v.led() {
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

    pub(super) fn many_primaries(&self, live: &[&'a Instance]) -> Verdict<'a> {
        let recorded = self.election().and_then(|e| {
            live.iter()
                .find(|i| i.pod == e.candidate && i.uid == e.candidate_uid)
        });
        let keep = if let Some(keep) = recorded {
            *keep
        } else {
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
        };
        let others = live.iter().filter(|i| i.pod != keep.pod);
        if keys(keep) == 0
            && let Some(full) = others.clone().find(|i| keys(i) > 0 && !related(i, keep))
        {
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
                    "{} is empty while {} holds data of another history",
                    keep.pod, full.pod
                ),
            );
            return Verdict {
                primary: Some(keep),
                risk: Some(risk),
                requeue: Some(Duration::from_secs(5)),
                ..Verdict::default()
            };
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
}
