//! How much of its volume and of its memory a server needs.
//!
//! Neither the kubelet nor the pod is asked how full a volume is: what counts is whether the files can be written anew, and that can
//! be estimated from what the server says.

use std::collections::BTreeSet;

use super::{Claim, Info, Instance};
use crate::k8s::conditions;
use crate::operators::redis::api::RedisStatus;

/// Condition: the files of every server can be written anew on its volume.
pub const VOLUME_HEADROOM: &str = "VolumeHeadroom";
/// Condition: no server is close to its limit of memory.
pub const MEMORY_HEADROOM: &str = "MemoryHeadroom";

/// How much of its volume a server needs while it writes its files anew, in percent; at most, since their size is not known before.
pub fn volume_percent(i: &Instance, claims: &[Claim]) -> Option<u64> {
    let claim = claims
        .iter()
        .find(|c| c.bound && (c.shard, c.ordinal) == (i.shard, i.ordinal))?;
    let snapshots = i.config.get("save").is_some_and(|save| !save.is_empty());
    percent(bytes_on_disk(i.info()?, snapshots), usable(claim.capacity))
}

/// What the file system of a volume leaves to the server, in bytes: it keeps some for its log and its tables, and some that only root
/// may use.
fn usable(capacity: u64) -> u64 {
    const MIB: u64 = 1 << 20;
    let share = capacity / 100 * 7;
    let kept = if capacity < 256 * MIB {
        share
    } else {
        share.max(64 * MIB)
    };
    capacity - kept
}

/// The append-only file, the snapshot that was written last, and one of both that is written beside them before it takes their place.
fn bytes_on_disk(info: &Info, snapshots: bool) -> u64 {
    let next = if info.aof_enabled {
        // Whatever a rewritten file holds, the present one holds too, and memory holds it with more overhead than a file.
        info.aof_size.min(info.used_memory.max(info.aof_base_size))
    } else {
        info.used_memory
    };
    let files = 1 + u64::from(snapshots);
    info.aof_size.saturating_add(next.saturating_mul(files))
}

/// How much of `maxmemory` is used, in percent; `None` without a limit.
pub fn memory_percent(i: &Instance) -> Option<u64> {
    let info = i.info()?;
    let used = info.used_memory.saturating_sub(info.uncounted_memory);
    percent(used, info.maxmemory)
}

fn percent(part: u64, whole: u64) -> Option<u64> {
    let share = (u128::from(part) * 100).checked_div(u128::from(whole))?;
    Some(u64::try_from(share).unwrap_or(u64::MAX))
}

/// What a warning about these pods says: the pods first, so that [`warned`] finds them again.
pub fn warning(pods: &[&str], words: &str) -> String {
    format!("{}: {words}", pods.join(", "))
}

/// The pods that the condition of this type warns of.
pub fn warned<'a>(status: &'a RedisStatus, type_: &str) -> BTreeSet<&'a str> {
    conditions::get(&status.conditions, type_)
        .filter(|c| c.status == "False")
        .and_then(|c| c.message.split_once(": "))
        .map(|(pods, _)| pods.split(", ").collect())
        .unwrap_or_default()
}
