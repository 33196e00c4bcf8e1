//! The rollout budget: how many databases may restart pods at the same time, in all operators together.
//!
//! A new image for a thousand databases, or a new version of Hera that changes a pod template, must not restart all of them at
//! once. The count lives in the memory of the leader: after a change of leader, rollouts that had begun are
//! admitted first and even above the limit, because they must end.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use super::metrics::Metrics;

/// The slots of the rollout budget. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Rollouts {
    limit: usize,
    running: Arc<Mutex<BTreeSet<String>>>,
    metrics: Arc<Metrics>,
}

impl Rollouts {
    /// `limit` slots; 0 is no limit.
    pub fn new(limit: u16, metrics: Arc<Metrics>) -> Self {
        Self {
            limit: usize::from(limit),
            running: Arc::default(),
            metrics,
        }
    }

    /// Whether the object with `uid` may restart a pod now. It then holds a slot until [`Rollouts::finished`].
    /// `begun` says that some of its pods are restarted already.
    pub fn admit(&self, uid: &str, begun: bool) -> bool {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.limit == 0 || running.len() < self.limit;
        let admitted = running.contains(uid) || begun || free;
        if admitted && running.insert(uid.to_owned()) {
            self.measure(&running);
        }
        admitted
    }

    /// Gives the slot of `uid` back: its pods are all as wanted, or it is gone or paused. No effect without a slot.
    pub fn finished(&self, uid: &str) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.remove(uid) {
            self.measure(&running);
        }
    }

    fn measure(&self, running: &BTreeSet<String>) {
        self.metrics
            .rollouts
            .set(i64::try_from(running.len()).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollouts(limit: u16) -> Rollouts {
        Rollouts::new(limit, Arc::new(Metrics::new().unwrap()))
    }

    #[test]
    fn no_more_than_the_limit() {
        let rollouts = rollouts(2);
        assert!(rollouts.admit("a", false) && rollouts.admit("b", false));
        assert!(!rollouts.admit("c", false));
        assert!(rollouts.admit("a", false), "a slot is kept");
        rollouts.finished("a");
        assert!(rollouts.admit("c", false));
        assert_eq!(rollouts.metrics.rollouts.get(), 2);
    }

    #[test]
    fn what_has_begun_goes_on() {
        let rollouts = rollouts(1);
        assert!(rollouts.admit("a", false) && rollouts.admit("b", true));
        assert!(!rollouts.admit("c", false));
        rollouts.finished("a");
        assert!(!rollouts.admit("c", false), "b holds the only slot");
    }

    #[test]
    fn zero_is_no_limit() {
        let rollouts = rollouts(0);
        assert!((0..100).all(|number| rollouts.admit(&number.to_string(), false)));
    }
}
