//! Runs of one measure.

use std::fmt;
use std::time::Duration;

/// The results of several runs.
#[derive(Clone, Debug, Default)]
pub struct Runs(Vec<Duration>);

impl Runs {
    /// Adds a run.
    pub fn push(&mut self, run: Duration) {
        self.0.push(run);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest result that is at least as large as `percent` of all (nearest rank).
    fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or_default()
    }
}

impl fmt::Display for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (median, high) = (time(self.percentile(50)), time(self.percentile(99)));
        write!(f, "{median} median, {high} p99")
    }
}

/// A time with the unit that suits it.
pub fn time(time: Duration) -> String {
    match time.as_millis() {
        0..10_000 => format!("{} ms", time.as_millis()),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}
