//! Warnings that there is little room left. They do not make the database unready.

use super::super::api::RedisStatus;
use super::super::model::Problem;
use super::super::model::capacity::{MEMORY_HEADROOM, VOLUME_HEADROOM};
use super::super::reasons;
use super::Picture;
use crate::k8s::conditions;

/// Sets the conditions. While no server answers they stay as they are.
pub(super) fn set(p: &Picture<'_>, new: &mut RedisStatus) {
    if p.o.instances.iter().all(|i| i.info().is_none()) {
        return;
    }
    let mut set = |type_: &str, problem: Option<&Problem>, otherwise: &str, words: &str| {
        let (reason, message) =
            problem.map_or((otherwise, words), |p| (p.reason, p.message.as_str()));
        conditions::set(
            &mut new.conditions,
            type_,
            problem.is_none(),
            reason,
            message,
            Some(p.v.generation),
            p.now,
        );
    };
    let f = &p.plan.findings;
    if p.v.storage.is_some() {
        set(
            VOLUME_HEADROOM,
            f.volumes.as_ref(),
            reasons::VolumesHaveRoom,
            "the files of every server can be written anew on its volume",
        );
    }
    set(
        MEMORY_HEADROOM,
        f.memory.as_ref(),
        reasons::MemoryHasRoom,
        "no server is about to refuse writes for want of memory",
    );
}
