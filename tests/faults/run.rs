//! One simulation, from an empty cluster to its end.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use crate::fault::Fault;
use crate::manager::supervise;
use crate::oracle;
use crate::workload::{Act, Workload};
use crate::world::{Shared, World};

/// How long nothing is written before it counts as done.
const CALM: Duration = Duration::from_secs(4);
/// How long nothing may be written afterwards.
const QUIET: Duration = Duration::from_secs(40);
/// After this it never ends.
const LIMIT: Duration = Duration::from_secs(1200);

/// How a simulation ended.
#[derive(Debug, Default)]
pub struct Report {
    /// What is left.
    pub end: BTreeMap<String, Value>,
    /// What was deleted.
    pub deleted: BTreeMap<String, u32>,
    /// How many writes there were while something could go wrong.
    pub writes: u32,
    /// What is wrong.
    pub problems: Vec<String>,
    /// What happened, for people.
    pub story: String,
}

/// Simulates a workload under faults.
pub fn simulate(workload: &Workload, faults: &[Fault], seed: u64) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    #[allow(clippy::expect_used)]
    runtime
        .expect("a runtime starts")
        .block_on(run(workload, faults, seed))
}

async fn run(workload: &Workload, faults: &[Fault], seed: u64) -> Report {
    let world = Shared::new(seed);
    {
        let mut world = world.lock();
        world.prepare();
        workload.slice.clone_into(&mut world.writer.slice);
        world.writer.single = workload.single;
        world.writer.on = true;
    }
    let _world = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(world.clone().run()));
    let _hera = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(supervise(world.clone())));
    let mut report = Report::default();
    for act in &workload.before {
        if let Err(problem) = carry_out(&world, act).await {
            report.problems.push(format!("before any fault: {problem}"));
            return told(report, &world.lock());
        }
    }
    world.lock().faults.arm(faults);
    for act in &workload.acts {
        if let Err(problem) = carry_out(&world, act).await {
            report.problems.push(problem);
            return told(report, &world.lock());
        }
    }
    world.lock().writer.on = false;
    let (total, version) = {
        let world = world.lock();
        report.writes = world.faults.count;
        (world.faults.total, world.store.version())
    };
    tokio::time::sleep(QUIET).await;
    let world = world.lock();
    if world.faults.total != total {
        let more = world.faults.total - total;
        report
            .problems
            .push(format!("{more} writes after it was done"));
    } else if world.store.version() != version {
        report
            .problems
            .push("something changed after it was done".into());
    }
    report.problems.extend(oracle::problems(&world, workload));
    report.end = oracle::end_state(&world);
    report.deleted = oracle::deletions(&world);
    told(report, &world)
}

fn told(mut report: Report, world: &World) -> Report {
    let mut story = String::new();
    for line in &world.faults.log {
        let _ = writeln!(story, "{line}");
    }
    let _ = write!(story, "{}", world.describe());
    report.story = story;
    report
}

/// Does an act, and waits until Hera has done its part.
async fn carry_out(world: &Shared, act: &Act) -> Result<(), String> {
    let begun = world.lock().now();
    let rest = world.lock().act(act);
    if let Some((after, rest)) = rest {
        tokio::time::sleep(after).await;
        world.lock().act(&rest);
    }
    // What was done has to be seen before it can be done.
    tokio::time::sleep(Duration::from_millis(300)).await;
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let world = world.lock();
        let now = world.now();
        let calm = now.saturating_sub(world.faults.last.max(begun)) >= CALM;
        if calm && oracle::is_ready(&world) && world.faults.frozen.is_empty() {
            return Ok(());
        }
        if now > begun + LIMIT {
            return Err(format!("not done after {} s: {act:?}", LIMIT.as_secs()));
        }
    }
}
