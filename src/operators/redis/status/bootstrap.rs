//! The condition of a database that copies, or copied, an external server.

use super::super::api::{BootstrapState, BootstrapStatus, RedisStatus};
use super::super::reasons;
use super::{NOT_IN_SYNC, Picture};
use crate::k8s::conditions;

/// The database took over from the external server.
pub const BOOTSTRAPPED: &str = "Bootstrapped";

/// The status with how far the copy is, when there is or was an external server. `record`: what this pass did about it.
pub fn added(
    p: &Picture<'_>,
    mut new: RedisStatus,
    record: Option<BootstrapStatus>,
) -> RedisStatus {
    new.bootstrap = record.or(new.bootstrap);
    let over = |b: &&BootstrapStatus| b.state == BootstrapState::Completed;
    if let Some(done) = new.bootstrap.as_ref().filter(over) {
        let words = format!("the database took over from {}", done.source);
        set(p, &mut new, true, reasons::BootstrapCompleted, &words);
        return new;
    }
    let Some(problem) = &p.plan.findings.bootstrap else {
        return new;
    };
    set(p, &mut new, false, problem.reason, &problem.message);
    if p.hold.is_none() && !p.v.hibernate {
        new.phase = Some("Bootstrapping".into());
    }
    // They are in sync with what they copy; there is no primary to be in sync with.
    for i in &mut new.instances {
        i.message = i.message.take().filter(|m| m != NOT_IN_SYNC);
    }
    new
}

fn set(p: &Picture<'_>, new: &mut RedisStatus, holds: bool, reason: &str, message: &str) {
    let generation = Some(p.v.generation);
    conditions::set(
        &mut new.conditions,
        BOOTSTRAPPED,
        holds,
        reason,
        message,
        generation,
        p.now,
    );
}
