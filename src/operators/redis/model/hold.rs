//! What stops all changes.

use kube::ResourceExt;

use crate::operators::redis::api::{PLAN_ONLY_ANNOTATION, RECONCILE_ANNOTATION, Redis};

/// An annotation that stops all changes; the state is told all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// `hera.dev/reconcile: paused`.
    Paused,
    /// `hera.dev/plan-only: "true"`: what would be done is shown.
    PlanOnly,
}

impl Hold {
    /// The one that a `Redis` asks for.
    pub fn of(redis: &Redis) -> Option<Self> {
        let has = |key: &str, value: &str| redis.annotations().get(key).is_some_and(|v| v == value);
        if has(RECONCILE_ANNOTATION, "paused") {
            Some(Self::Paused)
        } else {
            has(PLAN_ONLY_ANNOTATION, "true").then_some(Self::PlanOnly)
        }
    }
}
