//! Room on the volumes and in memory: a warning before either is used up, and what to say when a server cannot write its files.

use std::time::Duration;

use super::super::model::capacity::{
    MEMORY_HEADROOM, VOLUME_HEADROOM, memory_percent, volume_percent, warned, warning,
};
use super::super::model::{Instance, Observed, Plan, Problem, Validated};
use super::super::reasons;

/// From which share, in percent, on it is told, and below which it is told no more: a value that moves around a single bound would
/// change the status all the time.
struct Bounds {
    from: u64,
    below: u64,
}

const VOLUME: Bounds = Bounds {
    from: 85,
    below: 75,
};
const MEMORY: Bounds = Bounds {
    from: 90,
    below: 85,
};
/// From this share on it is looked at more often.
const WATCHED: u64 = 60;
const AGAIN: Duration = Duration::from_secs(60);

/// Finds servers that are about to run out of room.
pub fn plan(v: &Validated, o: &Observed, plan: &mut Plan) {
    let on_volume = |i: &Instance| volume_percent(i, &o.claims);
    if v.storage.is_some() {
        let pods = short(o, VOLUME_HEADROOM, &VOLUME, on_volume);
        plan.findings.volumes = found(
            &pods,
            reasons::VolumeNearlyFull,
            "the files may not fit on the volume when they are written anew; let spec.storage.size grow",
        );
        watch(o, on_volume, plan);
        failing(o, plan);
    }
    if v.memory_policy == "noeviction" {
        let pods = short(o, MEMORY_HEADROOM, &MEMORY, memory_percent);
        plan.findings.memory = found(
            &pods,
            reasons::MemoryNearlyFull,
            "maxmemory is nearly used up, and writes are refused when it is; raise resources.limits.memory",
        );
        watch(o, memory_percent, plan);
    }
}

/// The pods that are short of room. Of one that does not answer nothing new is known.
fn short<'a>(
    o: &'a Observed,
    type_: &str,
    bounds: &Bounds,
    share: impl Fn(&Instance) -> Option<u64>,
) -> Vec<&'a str> {
    let warned = warned(&o.status, type_);
    let is_short = |i: &&Instance| {
        let was = warned.contains(i.pod.as_str());
        if i.info().is_none() {
            return was && !i.uid.is_empty();
        }
        let bound = if was { bounds.below } else { bounds.from };
        share(i).is_some_and(|share| share >= bound)
    };
    let pods = o.instances.iter().filter(is_short);
    pods.map(|i| i.pod.as_str()).collect()
}

fn found(pods: &[&str], reason: &'static str, words: &str) -> Option<Problem> {
    let first = pods.first()?;
    Some(Problem::of(
        reason,
        format!("Pod/{first}"),
        warning(pods, words),
    ))
}

fn watch(o: &Observed, share: impl Fn(&Instance) -> Option<u64>, plan: &mut Plan) {
    if o.instances.iter().filter_map(share).any(|s| s >= WATCHED) {
        plan.again(AGAIN);
    }
}

/// A server that could not write its files refuses writes, as it is configured by default.
fn failing(o: &Observed, plan: &mut Plan) {
    let fails = |i: &&Instance| {
        i.info()
            .is_some_and(|info| info.aof_write_failed || info.last_save_failed)
    };
    let pods: Vec<&str> = o
        .instances
        .iter()
        .filter(fails)
        .map(|i| i.pod.as_str())
        .collect();
    if plan.findings.storage.is_none() {
        plan.findings.storage = found(
            &pods,
            reasons::PersistenceFailing,
            "the last attempt to write the data to the volume failed",
        );
    }
    if !pods.is_empty() {
        plan.again(AGAIN / 6);
    }
}
