//! A hand-over that was decided: started, watched, completed or given up.

use std::time::Duration;

use super::{Electorate, Verdict};
use crate::engines::redis::FailoverState;
use crate::operators::redis::api::{Election, ElectionKind};
use crate::operators::redis::model::{Problem, Step};
use crate::operators::redis::reasons;

/// After this a hand-over is not started again but given up.
const HAND_OVER_PATIENCE: Duration = Duration::from_secs(8);
/// After this a hand-over that hangs is stopped from outside.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(15);

impl<'a> Electorate<'a> {
    pub(super) fn hand_over(&self, open: &'a Election) -> Verdict<'a> {
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
        // The old primary has made itself a replica of the candidate, which takes over by itself within moments.
        let under_way = to.is_some_and(|t| t.info().is_some() && from.follows(t));
        if under_way && age < HAND_OVER_LIMIT {
            let overdue = age > HAND_OVER_PATIENCE;
            return handing(overdue.then(|| Step::Promote(open.clone())), 50);
        }
        self.no_primary()
    }
}
