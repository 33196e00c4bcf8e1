//! What the status says of the sentinels.

use super::{Picture, conditions};
use crate::operators::redis::api::RedisStatus;
use crate::operators::redis::reasons;

/// Every sentinel watches the primary and sees everybody: they can fail over.
pub const SENTINELS_HEALTHY: &str = "SentinelsHealthy";

/// Adds it in mode Sentinel; without sentinels nothing is said.
pub(super) fn add(p: &Picture<'_>, new: &mut RedisStatus) {
    let Some(wanted) = p.v.sentinel.as_ref().filter(|_| !p.v.hibernate) else {
        new.conditions.retain(|c| c.type_ != SENTINELS_HEALTHY);
        return;
    };
    new.sentinels = Some(format!("{}/{}", p.plan.sentinels, wanted.replicas));
    let good = p.plan.sentinels >= usize::try_from(wanted.replicas).unwrap_or_default();
    let (reason, message) = match &p.plan.findings.sentinels {
        Some(problem) => (problem.reason, problem.message.as_str()),
        None if good => (
            reasons::SentinelsAgree,
            "every sentinel watches the primary and sees every instance",
        ),
        None => (
            reasons::SentinelsLearning,
            "the sentinels are not told whom to watch yet",
        ),
    };
    conditions::set(
        &mut new.conditions,
        SENTINELS_HEALTHY,
        good && p.plan.findings.sentinels.is_none(),
        reason,
        message,
        Some(p.v.generation),
        p.now,
    );
}
