//! Every fault at every write of a workload.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::fault::{Fault, What};
use crate::run::{Report, simulate};
use crate::workload::{self, Workload};

/// Failed plans that are told in full.
const TOLD: usize = 3;
/// Writes of one workload at which something goes wrong.
const MOST: u32 = 150;
/// Plans of one workload that are run unless it is said otherwise, and in the long form.
const SHORT: usize = 1;
const LONG: usize = 100;
/// The workloads of mode Sentinel that are run without the long form: sentinels take their time.
const BRIEF: [&str; 8] = [
    "sentinel-create",
    "sentinel-scale-in",
    "sentinel-rotate",
    "sentinel-hand-over",
    "sentinel-crash",
    "sentinel-evict",
    "sentinel-from-replication",
    "sentinel-to-replication",
];

/// A workload, its end without faults, and what is wrong with it already then.
struct Case {
    workload: Workload,
    reference: Report,
}

impl Case {
    fn new(workload: Workload) -> Self {
        let reference = simulate(&workload, &[], 0);
        Self {
            workload,
            reference,
        }
    }

    /// All plans, those of one kind spread over the writes.
    fn plans(&self) -> Vec<Fault> {
        let kinds = What::of_writes().into_iter().chain(What::of_watches());
        let writes = self.reference.writes;
        // Thousands of slots that are moved one by one are all alike.
        let step = writes.div_ceil(MOST).max(1) as usize;
        let writes = (1..=writes).step_by(step);
        kinds
            .flat_map(|what| writes.clone().map(move |nth| Fault { what, nth }))
            .collect()
    }

    /// What is wrong with the end under a fault.
    fn failure(&self, fault: Fault, seed: u64) -> Option<String> {
        let report = simulate(&self.workload, &[fault], seed);
        let mut problems = report.problems.clone();
        if problems.is_empty() {
            problems.extend(compared(&self.reference, &report));
        }
        if problems.is_empty() {
            return None;
        }
        let name = self.workload.name;
        Some(format!(
            "HERA_FAULT='{name} {fault}' HERA_SEED={seed}\n{}\n{}",
            problems.join("\n"),
            report.story
        ))
    }
}

/// Where two ends are not the same.
fn differences(reference: &BTreeMap<String, Value>, end: &BTreeMap<String, Value>) -> Vec<String> {
    let mut found = Vec::new();
    for (name, wanted) in reference {
        match end.get(name) {
            None => found.push(format!("{name} is missing")),
            Some(present) if present != wanted => {
                found.push(format!("{name} is\n  {present}\nand not\n  {wanted}"));
            }
            Some(_) => {}
        }
    }
    let left = end.keys().filter(|n| !reference.contains_key(*n));
    found.extend(left.map(|name| format!("{name} is left over")));
    found
}

/// Where two simulations did not end the same.
fn compared(reference: &Report, report: &Report) -> Vec<String> {
    let mut found = differences(&reference.end, &report.end);
    if reference.deleted != report.deleted {
        found.push(format!(
            "deleted {:?}, not {:?}",
            report.deleted, reference.deleted
        ));
    }
    found
}

/// How many plans of each workload are run: `HERA_FAULT_PLANS`, or as many as there is time for.
fn wanted() -> usize {
    let number = std::env::var("HERA_FAULT_PLANS").ok();
    let long = std::env::var("HERA_TEST_LONG").is_ok_and(|v| v == "1");
    let number = number.and_then(|n| n.parse().ok());
    number.unwrap_or(if long { LONG } else { SHORT })
}

/// Runs the plans of these workloads on all processors, and tells how they ended.
fn sweep(workloads: Vec<Workload>) {
    let mut queue = VecDeque::new();
    let mut failed = Vec::new();
    let mut counts = BTreeMap::new();
    let cases: Vec<Case> = workloads.into_iter().map(Case::new).collect();
    for (n, case) in cases.iter().enumerate() {
        if !case.reference.problems.is_empty() {
            let name = case.workload.name;
            failed.push(format!(
                "{name} without faults\n{}\n{}",
                case.reference.problems.join("\n"),
                case.reference.story
            ));
            continue;
        }
        let plans = case.plans();
        let step = plans.len().div_ceil(wanted()).max(1);
        counts.insert(case.workload.name, (case.reference.writes, plans.len()));
        // The part is another one for each workload.
        for fault in plans.into_iter().skip(7 * n % step).step_by(step) {
            queue.push_back((case, fault));
        }
    }
    let plans = queue.len();
    let queue = Mutex::new(queue);
    let all_failed = Mutex::new(failed);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let next = queue
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .pop_front();
                    let Some((case, fault)) = next else { break };
                    let seed = u64::from(fault.nth);
                    if let Some(failure) = case.failure(fault, seed) {
                        println!("failed: {}", failure.lines().next().unwrap_or_default());
                        let mut failed = all_failed.lock().unwrap_or_else(PoisonError::into_inner);
                        failed.push(failure);
                    }
                }
            });
        }
    });
    let failed = all_failed
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    println!("{plans} plans; writes and plans of each workload: {counts:?}");
    for failure in failed.iter().take(TOLD) {
        println!("\n=== {failure}");
    }
    for failure in &failed {
        println!("{}", failure.lines().take(2).collect::<Vec<_>>().join("  "));
    }
    assert!(
        failed.is_empty(),
        "{} of {plans} plans failed",
        failed.len()
    );
}

fn all() -> impl Iterator<Item = Workload> {
    workload::all()
        .into_iter()
        .chain(workload::sentinels())
        .chain(workload::clusters())
}

fn named(part: &str) -> Vec<Workload> {
    all().filter(|w| w.name.starts_with(part)).collect()
}

#[test]
fn standalone() {
    sweep(named("standalone-"));
}

#[test]
fn replication() {
    sweep(named("replication-"));
}

#[test]
fn sentinel() {
    let mut workloads = named("sentinel-");
    if wanted() == SHORT {
        workloads.retain(|w| BRIEF.contains(&w.name));
    }
    sweep(workloads);
}

#[test]
fn cluster() {
    sweep(named("cluster-"));
}

/// Runs the plan of `HERA_FAULT` alone, and tells what happened.
#[test]
fn replay() {
    let Ok(text) = std::env::var("HERA_FAULT") else {
        return;
    };
    let mut words = text.split_whitespace();
    let name = words.next().unwrap_or_default();
    let workload = all().find(|w| w.name == name).unwrap();
    let faults: Vec<Fault> = words.map(|w| w.parse().unwrap()).collect();
    let seed = std::env::var("HERA_SEED").ok().and_then(|s| s.parse().ok());
    let seed = seed.unwrap_or_else(|| faults.first().map_or(0, |f| u64::from(f.nth)));
    let reference = simulate(&workload, &[], 0);
    let report = simulate(&workload, &faults, seed);
    println!("{}\n{} writes", report.story, report.writes);
    let differences = compared(&reference, &report);
    println!("{}\n{}", report.problems.join("\n"), differences.join("\n"));
    assert!(report.problems.is_empty() && differences.is_empty());
}
