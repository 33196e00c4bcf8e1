//! Warnings before a volume or the memory is full.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::elections::with_storage;
use super::*;
use crate::operators::redis::model::Claim;
use crate::operators::redis::model::capacity::{
    MEMORY_HEADROOM, VOLUME_HEADROOM, memory_percent, volume_percent,
};

const MIB: u64 = 1 << 20;

fn with_volumes(capacity: u64) -> (Validated, Observed) {
    let (v, mut o) = healthy(2);
    let mut v = with_storage(v);
    if let Some(storage) = &mut v.storage {
        storage.bytes = capacity;
    }
    o.claims = (0..2)
        .map(|ordinal| Claim {
            name: format!("data-db-{ordinal}"),
            ordinal,
            shard: 0,
            uid: format!("claim-{ordinal}"),
            bound: true,
            class: None,
            requested: capacity,
            capacity,
            failed: None,
            file_system_behind: None,
            adopted: false,
            owned: false,
            primary_since: None,
        })
        .collect();
    (v, o)
}

fn info(i: &mut Instance) -> &mut Info {
    match &mut i.server {
        Server::Up(info) => info,
        _ => panic!("it answers"),
    }
}

#[test]
fn what_the_files_need_is_estimated_from_what_the_server_says() {
    let (_, mut o) = with_volumes(100 * MIB);
    // Size of the append-only file, after the last rewrite, memory, directive save; percent of what the file system leaves: 93 MiB.
    let cases = [
        (10, 10, 15, "", 21),
        // As much again as the file holds, at most.
        (40, 10, 15, "", 59),
        (40, 30, 15, "", 75),
        // A snapshot, too.
        (40, 10, 15, "3600 1", 75),
        (0, 0, 15, "3600 1", 32),
        (90, 90, 200, "", 193),
    ];
    for (aof, base, memory, save, percent) in cases {
        let i = &mut o.instances[0];
        i.config.insert("save".into(), save.into());
        *info(i) = Info {
            aof_enabled: aof > 0,
            aof_size: aof * MIB,
            aof_base_size: base * MIB,
            used_memory: memory * MIB,
            ..Info::default()
        };
        let found = volume_percent(&o.instances[0], &o.claims);
        assert_eq!(found, Some(percent), "{aof} {base} {memory} {save:?}");
    }
    o.claims[0].capacity = 0;
    assert_eq!(volume_percent(&o.instances[0], &o.claims), None);
    o.claims.clear();
    assert_eq!(volume_percent(&o.instances[0], &o.claims), None);
}

#[test]
fn buffers_do_not_count_against_the_limit_and_no_limit_is_never_used_up() {
    let (_, mut o) = healthy(1);
    let i = &mut o.instances[0];
    (info(i).used_memory, info(i).uncounted_memory) = (95, 15);
    assert_eq!(memory_percent(i), None);
    info(i).maxmemory = 100;
    assert_eq!(memory_percent(i), Some(80));
}

fn remember(o: &mut Observed, type_: &str, problem: Option<&Problem>) {
    let condition = problem.map(|p| Condition {
        type_: type_.into(),
        status: "False".into(),
        reason: p.reason.into(),
        message: p.message.clone(),
        observed_generation: None,
        last_transition_time: Time(now()),
    });
    o.status.conditions = condition.into_iter().collect();
}

/// Around a bound the warning stays as it is, to the letter: each change would be a write.
#[test]
fn a_warning_comes_late_and_goes_late() {
    let (v, mut o) = with_volumes(100 * MIB);
    let mut told = Vec::new();
    for size in [10, 39, 40, 41, 36, 35, 34, 39] {
        for i in &mut o.instances {
            (info(i).aof_enabled, info(i).aof_size) = (true, size * MIB);
            info(i).used_memory = 50 * MIB;
        }
        let p = run(&v, &o);
        remember(&mut o, VOLUME_HEADROOM, p.findings.volumes.as_ref());
        told.push(p.findings.volumes.map(|f| (f.reason, f.message)));
        assert_eq!(p.findings.memory, None);
    }
    assert!(told[..2].iter().all(Option::is_none), "{told:?}");
    let (reason, message) = told[2].clone().unwrap();
    assert_eq!(reason, reasons::VolumeNearlyFull);
    assert!(message.starts_with("db-0, db-1: "), "{message}");
    assert!(told[3..6].iter().all(|t| *t == told[2]), "{told:?}");
    assert!(told[6..].iter().all(Option::is_none), "{told:?}");
}

#[test]
fn each_server_has_a_memory_of_its_own_and_one_that_is_silent_stays_warned_of() {
    let (v, mut o) = healthy(3);
    for i in &mut o.instances {
        (info(i).used_memory, info(i).maxmemory) = (87, 100);
    }
    assert_eq!(run(&v, &o).findings.memory, None);
    info(&mut o.instances[1]).used_memory = 93;
    let first = run(&v, &o).findings.memory.unwrap();
    assert_eq!(first.reason, reasons::MemoryNearlyFull);
    assert!(first.message.starts_with("db-1: "), "{}", first.message);
    remember(&mut o, MEMORY_HEADROOM, Some(&first));
    info(&mut o.instances[1]).used_memory = 86;
    assert_eq!(run(&v, &o).findings.memory.as_ref(), Some(&first));
    o.instances[1].server = Server::Silent(Duration::from_secs(1));
    assert_eq!(run(&v, &o).findings.memory.as_ref(), Some(&first));
    o.instances[1].uid.clear();
    assert_eq!(run(&v, &o).findings.memory, None, "its pod is gone");
}

#[test]
fn with_eviction_full_memory_is_as_it_should_be() {
    let (mut v, mut o) = healthy(1);
    (info(&mut o.instances[0]).used_memory, v.memory_policy) = (100, "allkeys-lru");
    info(&mut o.instances[0]).maxmemory = 100;
    assert_eq!(run(&v, &o).findings.memory, None);
}

/// At rest the figures are looked at again only when there is a reason to.
#[test]
fn it_is_looked_at_more_often_when_it_gets_close() {
    let (v, mut o) = healthy(1);
    info(&mut o.instances[0]).maxmemory = 100;
    for (used, again) in [(59, None), (60, Some(Duration::from_secs(60)))] {
        info(&mut o.instances[0]).used_memory = used;
        assert_eq!(run(&v, &o).requeue, again, "{used}");
    }
}

#[test]
fn a_server_that_cannot_write_its_files_is_told() {
    let (v, mut o) = with_volumes(100 * MIB);
    let fails: [fn(&mut Info, bool); 2] = [
        |i, failed| i.aof_write_failed = failed,
        |i, failed| i.last_save_failed = failed,
    ];
    for fail in fails {
        fail(info(&mut o.instances[1]), true);
        let found = run(&v, &o).findings.storage.unwrap();
        assert_eq!(found.reason, reasons::PersistenceFailing);
        assert!(found.message.starts_with("db-1: "), "{}", found.message);
        fail(info(&mut o.instances[1]), false);
        assert_eq!(run(&v, &o).findings.storage, None);
    }
}
