//! Whether this process leads, judged at the moment of the question.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// A handle that says whether this process leads right now. Cheap to clone and to ask.
///
/// The answer compares the local monotonic clock with the deadline of the last renewal, so that it is already `false`
/// when a process wakes up after it was stopped for longer than that, before any other code of it ran. Operators ask
/// right before every act that cannot be undone.
#[derive(Debug, Clone)]
pub struct Leadership {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    /// The times below count from here.
    epoch: Instant,
    /// Nanoseconds after `epoch` until which this process leads; 0 is never, `u64::MAX` is always.
    until: AtomicU64,
}

impl Leadership {
    /// A process that does not lead (yet).
    pub fn none() -> Self {
        Self::until(0)
    }

    /// A process that leads for ever: without leader election, and in tests.
    pub fn always() -> Self {
        Self::until(u64::MAX)
    }

    fn until(until: u64) -> Self {
        Self {
            state: Arc::new(State {
                epoch: Instant::now(),
                until: AtomicU64::new(until),
            }),
        }
    }

    /// Whether this process leads at this moment.
    pub fn is_leader(&self) -> bool {
        nanoseconds(self.now()) < self.state.until.load(Ordering::Acquire)
    }

    /// Time since the handle was made, by the monotonic clock that all its times refer to.
    pub(super) fn now(&self) -> Duration {
        self.state.epoch.elapsed()
    }

    /// The process leads until the local time `deadline`.
    pub(super) fn extend(&self, deadline: Duration) {
        self.state
            .until
            .store(nanoseconds(deadline), Ordering::Release);
    }

    /// The process leads no longer.
    pub(super) fn end(&self) {
        self.state.until.store(0, Ordering::Release);
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leads_until_the_deadline_and_not_longer() {
        let leadership = Leadership::none();
        assert!(!leadership.is_leader());
        leadership.extend(leadership.now() + Duration::from_secs(60));
        assert!(leadership.is_leader() && leadership.clone().is_leader());
        leadership.extend(leadership.now());
        assert!(!leadership.is_leader());
        assert!(Leadership::always().is_leader());
        let ended = Leadership::always();
        ended.end();
        assert!(!ended.is_leader());
    }
}
