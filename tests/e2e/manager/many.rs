//! Many databases, and one server among them that hangs: the others do not feel it.

use std::time::{Duration, Instant};

use kube::Resource;
use serde_json::{Value, json};

use crate::support::database::{Database, standalone, with};
use crate::support::faults::{killable, signal};
use crate::support::hera;
use crate::support::scenario::Scenario;
use crate::support::wait::LONG;

/// All of them.
const ALL: usize = 200;
/// Those with a server that runs; the others have a pod that finds no node.
const RUNNING: usize = 40;
/// How many are asked for a change in each round.
const SAMPLE: usize = 60;

fn spec(number: usize) -> Value {
    let small = json!({"resources": {"requests": {"cpu": "1m", "memory": "8Mi"}, "limits": {"memory": "32Mi"}}});
    let base = with(with(standalone(), small), killable());
    if number < RUNNING {
        base
    } else {
        let nowhere = json!({"nodeSelector": {"example.org/none": "true"}});
        with(base, json!({"podTemplate": {"spec": nowhere}}))
    }
}

#[tokio::test]
#[ignore = "takes several minutes"]
async fn one_frozen_server_slows_no_other() {
    let s = Scenario::alone("many").await;
    let mut all = Vec::new();
    for number in 0..ALL {
        all.push(s.create(&format!("db-{number:03}"), spec(number)).await);
    }
    for db in &all[..RUNNING] {
        db.ready().await;
    }
    for db in &all[RUNNING..] {
        db.wait_for("Ready", "False", &["PodUnschedulable"]).await;
    }
    let sample: Vec<&Database> = all.iter().skip(1).step_by(ALL / SAMPLE).collect();
    let before = round(&sample, "before").await;
    let leader = hera::leader(&s.client).await.expect("a leader");

    signal(&all[0], "db-000-0", "STOP").await;
    all[0].wait_for("Ready", "False", &[]).await;
    let frozen = round(&sample, "frozen").await;
    // While it hangs nothing is written, for it or for the others.
    let metrics = hera::metrics(&leader).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let later = hera::metrics(&leader).await;
    let grown = |name: &str| hera::sum(&later, name, &[]) - hera::sum(&metrics, name, &[]);
    let (writes, calls) = (
        grown("hera_api_writes_total"),
        grown("rest_client_requests_total"),
    );
    let memory = hera::sum(&later, "process_resident_memory_bytes", &[]) / f64::from(1 << 20);
    s.report(&format!(
        "{ALL} databases, {RUNNING} with a server: from a change of the spec to the status that is about it, median and longest: {before:?}, \
         with one frozen server {frozen:?}; {memory:.0} MiB, in a minute {writes} writes and {calls} calls, the Lease's included"
    ));
    assert_eq!(
        hera::leader(&s.client).await,
        Ok(leader),
        "the leader stayed"
    );
    assert!(
        frozen.0 < before.0 * 3 + Duration::from_secs(1),
        "{before:?} {frozen:?}"
    );
    assert!(
        frozen.1 < before.1 * 3 + Duration::from_secs(2),
        "{before:?} {frozen:?}"
    );
    assert!(writes < 1.0, "{writes} writes");
}

/// Changes each of them, one after the other, and waits until its status is about the change: the median and the longest time.
async fn round(sample: &[&Database], word: &str) -> (Duration, Duration) {
    let mut times = Vec::new();
    for db in sample {
        let start = Instant::now();
        let annotations = json!({"annotations": {"round": word}});
        let patch = json!({"spec": {"services": {"primary": annotations}}});
        let generation = db.try_patch(patch).await.expect("a change");
        let generation = generation.meta().generation;
        while db.status().await.observed_generation != generation {
            assert!(start.elapsed() < LONG, "{} is not looked at", db.name);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        times.push(start.elapsed());
    }
    times.sort();
    (times[times.len() / 2], times[times.len() - 1])
}
