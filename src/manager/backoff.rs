//! Exponential backoff for each object, with full jitter. Pure: the caller brings the randomness.
//!
//! Full jitter (a delay drawn evenly between nothing and the ceiling) spreads many objects that fail for the same cause
//! better than a fixed delay with a small variation: <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>.

use std::{collections::HashMap, hash::Hash, time::Duration};

/// Ceiling of the first delay.
pub const FIRST: Duration = Duration::from_secs(1);
/// Ceiling of every later delay.
pub const LONGEST: Duration = Duration::from_secs(300);
/// No delay is shorter, so that an unlucky draw does not become a busy loop.
pub const SHORTEST: Duration = Duration::from_millis(100);

/// The ceiling of the delay after `failures` failures in a row: 1 s, 2 s, 4 s, ... 5 min.
pub fn ceiling(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    FIRST.saturating_mul(1 << doublings).min(LONGEST)
}

/// The delay after `failures` failures in a row, for a `draw` from [0, 1).
pub fn delay(failures: u32, draw: f64) -> Duration {
    ceiling(failures)
        .mul_f64(draw.clamp(0.0, 1.0))
        .max(SHORTEST)
}

/// `period` varied by up to 10 % up or down, for a `draw` from [0, 1).
pub fn jittered(period: Duration, draw: f64) -> Duration {
    period.mul_f64(0.9 + 0.2 * draw.clamp(0.0, 1.0))
}

/// Failures in a row of each object.
#[derive(Debug)]
pub struct Backoff<Key> {
    failures: HashMap<Key, Failures>,
}

#[derive(Debug)]
struct Failures {
    generation: i64,
    count: u32,
}

impl<Key> Default for Backoff<Key> {
    fn default() -> Self {
        Self {
            failures: HashMap::new(),
        }
    }
}

impl<Key: Eq + Hash> Backoff<Key> {
    /// Counts a failure of `key` at `generation` of its spec and returns the delay until the next try. A new generation
    /// starts from the beginning, for it may be the correction of what failed.
    pub fn failed(&mut self, key: Key, generation: i64, draw: f64) -> Duration {
        let failures = self.failures.entry(key).or_insert(Failures {
            generation,
            count: 0,
        });
        if failures.generation != generation {
            *failures = Failures {
                generation,
                count: 0,
            };
        }
        failures.count = failures.count.saturating_add(1);
        delay(failures.count, draw)
    }

    /// Forgets the failures of `key`: after a success, or when the object is gone.
    pub fn reset(&mut self, key: &Key) {
        self.failures.remove(key);
    }

    /// How many objects failed the last time.
    pub fn len(&self) -> usize {
        self.failures.len()
    }

    /// Whether no object failed the last time.
    pub fn is_empty(&self) -> bool {
        self.failures.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ceilings_double_up_to_five_minutes() {
        let ceilings: Vec<u64> = (1..=11)
            .map(|failures| ceiling(failures).as_secs())
            .collect();
        assert_eq!(ceilings, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    #[test]
    fn success_and_new_generation_start_over() {
        let mut backoff = Backoff::default();
        for _ in 0..5 {
            backoff.failed("a", 1, 1.0);
        }
        assert_eq!(backoff.failed("a", 1, 1.0), Duration::from_secs(32));
        assert_eq!(backoff.failed("a", 2, 1.0), Duration::from_secs(1));
        backoff.failed("a", 2, 1.0);
        assert_eq!(backoff.len(), 1);
        backoff.reset(&"a");
        assert!(backoff.is_empty());
        assert_eq!(backoff.failed("a", 2, 1.0), Duration::from_secs(1));
    }

    #[test]
    fn one_object_does_not_slow_another() {
        let mut backoff = Backoff::default();
        for _ in 0..9 {
            backoff.failed("a", 1, 1.0);
        }
        assert_eq!(backoff.failed("b", 1, 1.0), Duration::from_secs(1));
    }

    proptest! {
        #[test]
        fn delays_stay_within_their_bounds(failures in 0u32..u32::MAX, draw in 0.0f64..1.0) {
            let delay = delay(failures, draw);
            prop_assert!(delay >= SHORTEST && delay <= ceiling(failures) && delay <= LONGEST);
        }

        #[test]
        fn ceilings_never_fall(failures in 0u32..u32::MAX - 1) {
            prop_assert!(ceiling(failures) <= ceiling(failures + 1));
        }

        #[test]
        fn jitter_is_ten_percent(millis in 1u64..10_000_000, draw in 0.0f64..1.0) {
            let period = Duration::from_millis(millis);
            let varied = jittered(period, draw);
            prop_assert!(varied >= period.mul_f64(0.899) && varied <= period.mul_f64(1.101));
        }
    }
}
