//! What a monitor knows of a server, and which differences are worth telling.

use tokio::time::Instant;

use super::failure::Failure;
use super::info::Info;

/// After how many failures in a row the monitor falls silent: by then whoever listens has decided.
const FAILURES_TOLD: u32 = 5;

/// What a [`super::Monitor`] knows of its server.
#[derive(Clone, Debug, Default)]
pub struct MonitorState {
    /// The last `INFO`. It may be old: see `last_answer`. The sections other than replication are refreshed at a new
    /// connection, after each change, and else every tenth poll.
    pub last: Option<Info>,
    /// Why the last attempt did not give a clean answer; `None` when it did. It may be one that proves life
    /// ([`Failure::is_alive`]).
    pub failure: Option<Failure>,
    /// When the server last answered anything, also an error.
    pub last_answer: Option<Instant>,
    /// When the first attempt since then failed without an answer; `None` while the server answers.
    pub failing_since: Option<Instant>,
    /// Attempts since the last answer that failed without one. The loss of an open connection counts as the first.
    pub consecutive_failures: u32,
}

/// A difference that matters to whoever watches a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// The first `INFO`, or the first answer after a silence.
    Answering,
    /// One more attempt without an answer; told for the first few in a row.
    Silent,
    /// The server answers, but with another failure than before, or without one now (busy, loading, login).
    Condition,
    /// Another process runs.
    RunId,
    /// Primary became replica or the other way round.
    Role,
    /// Another history of data (`replid`).
    History,
    /// The replica follows another primary.
    Primary,
    /// The link to the primary came up or went down.
    Link,
    /// A full synchronization began or ended.
    Sync,
    /// The load of the data set began or ended.
    Loading,
    /// A replica came, went, or changed its state; or the number of good replicas changed.
    Replicas,
    /// A planned hand-over moved on.
    Failover,
}

impl MonitorState {
    /// Takes in an attempt without an answer.
    pub(super) fn silent(&mut self, failure: Failure, now: Instant) {
        self.failure = Some(failure);
        self.failing_since.get_or_insert(now);
        self.consecutive_failures = self.consecutive_failures.saturating_add(1);
    }

    /// Takes in an answer: `info` when it was one, `failure` when (a part of) it was an error.
    pub(super) fn answered(&mut self, info: Option<Info>, failure: Option<Failure>, now: Instant) {
        if info.is_some() {
            self.last = info;
        }
        self.failure = failure;
        self.last_answer = Some(now);
        self.failing_since = None;
        self.consecutive_failures = 0;
    }

    /// What a listener should know that knew `before`.
    pub(super) fn differences(&self, before: &Self) -> Vec<What> {
        let mut found = Vec::new();
        let mut note = |differs: bool, what: What| {
            if differs {
                found.push(what);
            }
        };
        let is_silent = self.consecutive_failures > 0;
        let was_silent = before.consecutive_failures > 0;
        note(
            is_silent
                && self.consecutive_failures.min(FAILURES_TOLD)
                    != before.consecutive_failures.min(FAILURES_TOLD),
            What::Silent,
        );
        note(
            !is_silent && (was_silent || before.last_answer.is_none()),
            What::Answering,
        );
        note(
            !is_silent && !was_silent && self.failure != before.failure,
            What::Condition,
        );
        if let (Some(new), Some(old)) = (&self.last, &before.last) {
            note(new.run_id != old.run_id, What::RunId);
            note(new.role != old.role, What::Role);
            note(
                new.replid != old.replid || new.replid2 != old.replid2,
                What::History,
            );
            note(new.primary() != old.primary(), What::Primary);
            note(new.link_up != old.link_up, What::Link);
            note(new.sync_in_progress != old.sync_in_progress, What::Sync);
            note(new.loading != old.loading, What::Loading);
            note(
                !new.replicas
                    .iter()
                    .map(|link| (&link.ip, link.port, &link.state))
                    .eq(old
                        .replicas
                        .iter()
                        .map(|link| (&link.ip, link.port, &link.state)))
                    || new.good_replicas != old.good_replicas,
                What::Replicas,
            );
            note(new.failover_state != old.failover_state, What::Failover);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::redis::{FailoverState, ReplicaLink, Role};

    type Edit = fn(&mut Info);

    fn answering(info: Info) -> MonitorState {
        let mut state = MonitorState::default();
        state.answered(Some(info), None, Instant::now());
        state
    }

    #[test]
    fn each_difference_is_told_and_progress_of_offsets_is_not() {
        let link = |state: &str, offset: u64| ReplicaLink {
            ip: "10.0.0.2".into(),
            port: 6379,
            state: state.into(),
            offset,
            lag: 0,
        };
        let cases: [(&str, Edit, &[What]); 9] = [
            ("run id", |info| info.run_id = "b".into(), &[What::RunId]),
            ("role", |info| info.role = Role::Replica, &[What::Role]),
            ("history", |info| info.replid = "b".into(), &[What::History]),
            (
                "primary",
                |info| {
                    info.primary_host = Some("10.0.0.9".into());
                    info.primary_port = Some(1);
                },
                &[What::Primary],
            ),
            ("link", |info| info.link_up = true, &[What::Link]),
            ("sync", |info| info.sync_in_progress = true, &[What::Sync]),
            ("loading", |info| info.loading = true, &[What::Loading]),
            (
                "failover",
                |info| info.failover_state = FailoverState::InProgress,
                &[What::Failover],
            ),
            ("offset", |info| info.offset += 1, &[]),
        ];
        let before = Info {
            replicas: vec![link("online", 1)],
            ..Info::default()
        };
        for (name, edit, expected) in cases {
            let mut after = before.clone();
            edit(&mut after);
            assert_eq!(
                answering(after).differences(&answering(before.clone())),
                expected,
                "{name}"
            );
        }
        let replicas = |links: Vec<ReplicaLink>| {
            let after = Info {
                replicas: links,
                ..before.clone()
            };
            answering(after).differences(&answering(before.clone()))
        };
        assert_eq!(replicas(vec![]), [What::Replicas]);
        assert_eq!(replicas(vec![link("wait_bgsave", 1)]), [What::Replicas]);
        assert_eq!(replicas(vec![link("online", 2)]), []);
    }

    #[test]
    fn silence_is_counted_and_told_a_few_times_and_any_answer_ends_it() {
        let mut state = answering(Info::default());
        for attempt in 1..=FAILURES_TOLD + 2 {
            let before = state.clone();
            state.silent(Failure::Timeout, Instant::now());
            assert_eq!(state.consecutive_failures, attempt);
            let told: &[What] = if attempt <= FAILURES_TOLD {
                &[What::Silent]
            } else {
                &[]
            };
            assert_eq!(state.differences(&before), told, "attempt {attempt}");
        }
        let began = state.failing_since;
        assert!(began.is_some());

        // An error that proves life ends the silence as well, and the last known facts stay.
        let before = state.clone();
        state.answered(None, Some(Failure::Busy), Instant::now());
        assert_eq!(state.differences(&before), [What::Answering]);
        assert_eq!((state.consecutive_failures, state.failing_since), (0, None));
        assert!(state.last.is_some());

        let before = state.clone();
        state.answered(Some(Info::default()), None, Instant::now());
        assert_eq!(state.differences(&before), [What::Condition]);
    }
}
