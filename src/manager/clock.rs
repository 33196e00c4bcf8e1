//! What time it is.

use jiff::Timestamp;
use tokio::time::Instant;

/// The clock by which operators judge how old something is that carries a time. The default is that of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock(Option<(Timestamp, Instant)>);

impl Clock {
    /// A clock that shows `time` now and goes with the clock of the runtime, which a simulation sets forward.
    pub fn simulated(time: Timestamp) -> Self {
        Self(Some((time, Instant::now())))
    }

    /// The time now.
    pub fn now(self) -> Timestamp {
        match self.0 {
            None => Timestamp::now(),
            Some((start, since)) => start.checked_add(since.elapsed()).unwrap_or(Timestamp::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_simulated_clock_goes_with_the_runtime() {
        let clock = Clock::simulated(Timestamp::UNIX_EPOCH);
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(clock.now().as_second(), 90);
    }
}
