//! Who is the primary, by the word of the sentinels.

use std::time::Duration;

use jiff::Timestamp;

use super::truth::Truth;
use crate::operators::redis::api::{Election, ElectionKind};
use crate::operators::redis::model::{
    Instance, Observed, Problem, SentinelStep, Step, Validated, was_in_sync,
};
use crate::operators::redis::plan::election::{self, Electorate, Verdict, related, wait};
use crate::operators::redis::{reasons, status};

/// A hand-over that did not begin is not tried any longer.
const HAND_OVER_PATIENCE: Duration = Duration::from_secs(20);
/// After so long without a primary the sentinels are not waited for any more.
const FAILOVER_PATIENCE: Duration = Duration::from_secs(20);
/// How long a primary that the sentinels do not speak of may be one that they are about to.
const SETTLING: Duration = Duration::from_secs(5);

/// Finds the primary, or what has to be done to get one.
pub fn decide<'a>(v: &'a Validated, o: &'a Observed, now: Timestamp) -> Verdict<'a> {
    let court = Court {
        truth: Truth::of(v, o),
        electorate: Electorate { v, o, now },
    };
    let Some(claim) = court.truth.claim() else {
        return court.without_sentinels();
    };
    let told = court.truth.pod_at(&claim);
    match told.filter(|i| i.is_primary()) {
        Some(primary) => court.told(primary),
        None => court.told_wrong(),
    }
}

struct Court<'a> {
    truth: Truth<'a, 'a>,
    electorate: Electorate<'a>,
}

impl<'a> Court<'a> {
    fn election(&self) -> Option<&'a Election> {
        self.electorate.election()
    }

    fn open_hand_over(&self) -> Option<&'a Election> {
        self.election()
            .filter(|e| !e.completed && e.kind == ElectionKind::HandOver)
    }

    /// Nobody watches: Hera decides, unless sentinels that do not answer may.
    fn without_sentinels(&self) -> Verdict<'a> {
        let mut verdict =
            election::decide(self.electorate.v, self.electorate.o, self.electorate.now);
        let silent = self.truth.silent().count();
        if self.election().is_none() || silent < self.truth.majority() {
            return verdict;
        }
        let follows = match &verdict.step {
            None | Some(Step::Complete(_)) => true,
            Some(Step::Decide(e, _)) => e.kind == ElectionKind::Adopted,
            Some(_) => false,
        };
        if !follows {
            verdict.step = None;
            verdict.settled = false;
            verdict.requeue = Some(Duration::from_secs(1));
            verdict.problem = Some(Problem::of(
                reasons::SentinelUnavailable,
                format!("StatefulSet/{}", self.electorate.v.sentinel_set()),
                "a majority of the sentinels does not answer, and may fail over by itself",
            ));
        }
        verdict
    }

    /// The pod that the sentinels name is a primary.
    fn told(&self, primary: &'a Instance) -> Verdict<'a> {
        let is_it = |e: &Election| e.candidate == primary.pod && e.candidate_uid == primary.uid;
        match self.election() {
            Some(e) if is_it(e) && e.completed => self.serving(primary),
            Some(e) if is_it(e) => Verdict {
                primary: Some(primary),
                step: Some(Step::Complete(e.clone())),
                ..Verdict::default()
            },
            Some(e) if self.hands_over(e, primary) => self.hand_over(e, primary),
            None => self.electorate.elect(
                ElectionKind::Adopted,
                primary,
                format!("{} is what the sentinels call the primary", primary.pod),
            ),
            Some(_) => self.electorate.elect(
                ElectionKind::Failover,
                primary,
                format!("the sentinels made {} the primary", primary.pod),
            ),
        }
    }

    fn hands_over(&self, e: &Election, primary: &Instance) -> bool {
        let open = self.open_hand_over();
        open.is_some_and(|open| open.epoch == e.epoch)
            && e.from.as_deref() == Some(primary.pod.as_str())
    }

    fn serving(&self, primary: &'a Instance) -> Verdict<'a> {
        let all = self.electorate.o.instances.iter();
        let others: Vec<&Instance> = all
            .filter(|i| i.is_primary() && i.pod != primary.pod)
            .collect();
        if others.is_empty() {
            return Electorate::serving(primary);
        }
        if self.truth.is_failing_over() {
            return Verdict {
                primary: Some(primary),
                ..self.failing_over()
            };
        }
        Verdict {
            primary: Some(primary),
            step: Some(Step::Follow {
                pods: others.iter().map(|i| i.pod.clone()).collect(),
                primary: primary.pod.clone(),
            }),
            ..Verdict::default()
        }
    }

    fn failing_over(&self) -> Verdict<'a> {
        wait(
            Problem::of(
                reasons::FailingOver,
                format!("Redis/{}", self.electorate.v.name),
                "the sentinels fail over",
            ),
            0.1,
        )
    }

    fn handing(e: &Election, step: Option<Step>) -> Verdict<'a> {
        let from = e.from.clone().unwrap_or_default();
        Verdict {
            step,
            ..wait(
                Problem::of(
                    reasons::HandingOver,
                    format!("Pod/{}", e.candidate),
                    format!("{} takes over from {from}", e.candidate),
                ),
                0.05,
            )
        }
    }

    /// A hand-over that was decided, from a primary that still is one.
    fn hand_over(&self, open: &'a Election, from: &'a Instance) -> Verdict<'a> {
        let to = self.electorate.find(&open.candidate, &open.candidate_uid);
        if self.truth.is_failing_over() {
            return Verdict {
                primary: Some(from),
                ..Self::handing(open, None)
            };
        }
        let fits = to.is_some_and(|to| to.in_sync_with(from) && !to.terminating);
        if fits && self.electorate.since_decision(open) < HAND_OVER_PATIENCE {
            let step = Step::HandOver {
                from: from.pod.clone(),
                to: open.candidate.clone(),
            };
            return Verdict {
                primary: Some(from),
                ..Self::handing(open, Some(step))
            };
        }
        self.electorate.elect(
            ElectionKind::Abandoned,
            from,
            format!(
                "the hand-over to {} did not finish; {} stays the primary",
                open.candidate, from.pod
            ),
        )
    }

    /// What the sentinels name is no primary: they are failing over, cannot, or are wrong.
    fn told_wrong(&self) -> Verdict<'a> {
        let patient = self.without_primary() < FAILOVER_PATIENCE;
        if self.truth.is_failing_over() && patient {
            let handing = |open| Self::handing(open, None);
            return self
                .open_hand_over()
                .map_or_else(|| self.failing_over(), handing);
        }
        let live = self.electorate.o.instances.iter().find(|i| i.is_primary());
        let recorded = self
            .election()
            .and_then(|e| Some((e, self.electorate.find(&e.candidate, &e.candidate_uid)?)))
            .filter(|(_, i)| i.is_primary());
        match (recorded, live) {
            (Some((e, primary)), _) if e.completed => return self.serving(primary),
            (Some((e, _)), _) if self.electorate.since_decision(e) < HAND_OVER_PATIENCE => {
                return Self::handing(e, None);
            }
            (_, Some(_)) if self.without_primary() < SETTLING => return self.failing_over(),
            (_, Some(live)) => {
                let why = format!("{} is the primary, and they name another one", live.pod);
                return self.forget(&why, Verdict::default());
            }
            (_, None) => {}
        }
        let mut verdict =
            election::decide(self.electorate.v, self.electorate.o, self.electorate.now);
        match verdict.step.take() {
            None => verdict,
            Some(Step::Decide(e, why)) if e.kind == ElectionKind::Failover && patient => {
                match self.truth.chooser(|i| self.as_good_as(i, &e)) {
                    Some((sentinel, to)) => Verdict {
                        step: Some(Step::Sentinel(SentinelStep::FailOver {
                            sentinel: sentinel.name().to_owned(),
                            to: to.pod.clone(),
                            why,
                        })),
                        requeue: Some(Duration::from_millis(100)),
                        ..verdict
                    },
                    None => self.forget(&why, verdict),
                }
            }
            Some(step) => self.forget(&step.to_string(), verdict),
        }
    }

    /// Nothing is lost when the sentinels choose this one and not the one that Hera would.
    fn as_good_as(&self, i: &Instance, e: &Election) -> bool {
        let best = self.electorate.find(&e.candidate, &e.candidate_uid);
        let Some((best, own)) = best.and_then(Instance::info).zip(i.info()) else {
            return false;
        };
        let same =
            |b: &Instance| i.pod == b.pod || (related(i, b) && was_in_sync(self.electorate.o, i));
        own.offset >= best.offset
            && self
                .electorate
                .find(&e.candidate, &e.candidate_uid)
                .is_some_and(same)
    }

    /// The sentinels forget the primary first; the next pass decides without them.
    fn forget(&self, why: &str, verdict: Verdict<'a>) -> Verdict<'a> {
        Verdict {
            settled: false,
            step: self.truth.forget(why),
            problem: verdict.problem.or_else(|| {
                Some(Problem::of(
                    reasons::FailingOver,
                    format!("Redis/{}", self.electorate.v.name),
                    why.to_owned(),
                ))
            }),
            requeue: Some(Duration::from_millis(100)),
            ..verdict
        }
    }

    /// How long no primary has served.
    fn without_primary(&self) -> Duration {
        let conditions = &self.electorate.o.status.conditions;
        let lost = conditions
            .iter()
            .find(|c| c.type_ == status::PRIMARY_AVAILABLE && c.status == "False");
        lost.and_then(|c| {
            Duration::try_from(self.electorate.now.duration_since(c.last_transition_time.0)).ok()
        })
        .unwrap_or_default()
    }
}
