//! Measures what users of a database see, with real pods: Hera installed by its chart, a client that writes all the time.
//!
//! The cluster is that of `KUBECONFIG`, with Hera's image and the image of the database there already (`make bench`).
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod gaps;
mod shards;
#[allow(dead_code)] // The tests need more of it.
#[path = "../../tests/e2e/support/mod.rs"]
mod support;

use std::time::Instant;

use hera::operators::redis::api::Redis;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::DeleteParams;
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};

use common::objects::Objects;
use common::options::{Options, say};
use common::page::Results;
use common::statistics::Runs;
use gaps::Gaps;
use support::database::{Database, replication, with};
use support::faults::killable;
use support::hera as release;
use support::scenario::Scenario;
use support::wait::{LONG, ensure, until};

/// Three pods on one node, small enough for any machine.
fn three() -> Value {
    with(
        replication(3),
        json!({"availability": {"minReplicasToWrite": 1}}),
    )
}

#[tokio::main]
async fn main() {
    let options = Options::read();
    let mut results = Results::new(
        "redis",
        options,
        "its image, installed by the chart, two replicas",
    );
    let scenario = Scenario::alone("bench").await;
    // The settings of users: the tests log more.
    release::helm_upgrade(&["logFilter=info"])
        .await
        .expect("the chart is installed");
    release::settled(&scenario.client, release::REPLICAS).await;

    starts(&scenario, options, &mut results).await;

    gaps(&scenario, "Replication", options, &mut results).await;
    gaps(&scenario, "Sentinel", options, &mut results).await;
    shards::measure(&scenario, options, &mut results).await;
    results.finish();
    remove(&scenario).await;
}

/// Lost and replaced primaries of this mode.
async fn gaps(scenario: &Scenario, mode: &str, options: Options, results: &mut Results) {
    let spec = with(with(three(), killable()), json!({"mode": mode}));
    let database = scenario.ready(&mode.to_lowercase(), spec).await;
    let mut gaps = Gaps::new(database.clone()).await;
    let runs = options.pick(30, 3);
    for run in 0..runs {
        gaps.kill(run).await;
    }
    results.add_runs(
        &format!("{mode}: write gap, `kill -9` of the primary's server process"),
        if mode == "Sentinel" {
            ""
        } else {
            "1500 ms median, 3000 ms p99"
        },
        &gaps.runs,
    );
    results.add("Acknowledged writes lost with that", "", &gaps.lost());
    gaps.clear();
    for run in 0..runs {
        gaps.hand_over(run).await;
    }
    results.add_runs(
        &format!("{mode}: write gap, hand-over by `redis.hera.dev/switchover`"),
        if mode == "Sentinel" { "" } else { "500 ms" },
        &gaps.runs,
    );
    results.add("Acknowledged writes lost with that", "0", &gaps.lost());
    database.delete().await;
    gone(&database).await;
}

/// Databases that are made one after the other.
async fn starts(scenario: &Scenario, options: Options, results: &mut Results) {
    let objects = Objects::watch(&scenario.client, &scenario.namespace);
    let (mut created, mut ready) = (Runs::default(), Runs::default());
    let mut count = 0;
    for run in 0..options.pick(5, 2) {
        let name = format!("start-{run}");
        let begin = Instant::now();
        let database = scenario.create(&name, three()).await;
        await_condition(database.api::<Redis>(), &name, is_ready)
            .await
            .expect("the Redis is watched");
        ready.push(begin.elapsed());
        let (found, last) = objects.complete(&name).await;
        created.push(last - begin);
        count = found;
        say(&format!("Ready after {:?}", begin.elapsed()));
        database.delete().await;
        gone(&database).await;
    }
    let measure = format!("Apply to the last of {count} objects, beside the start of pods");
    results.add_runs(&measure, "300 ms", &created);
    results.add_runs("Apply to Ready, three pods, image present", "10 s", &ready);
}

fn is_ready(redis: Option<&Redis>) -> bool {
    let conditions = redis.and_then(|r| Some(&r.status.as_ref()?.conditions));
    conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
}

/// Waits until the pods are gone, so that they do not disturb the next run.
async fn gone(database: &Database) {
    until("the pods are gone", LONG, || async {
        let left = database.list::<Pod>().await.len();
        ensure(left == 0, || format!("{left} are left"))
    })
    .await;
}

/// The namespace is removed here already, because the end of the process does not wait for it.
async fn remove(scenario: &Scenario) {
    let api = Api::<Namespace>::all(scenario.client.clone());
    api.delete(&scenario.namespace, &DeleteParams::default())
        .await
        .expect("the namespace is deleted");
    until("the namespace is gone", LONG, || async {
        let left = api.get_opt(&scenario.namespace).await;
        ensure(matches!(left, Ok(None)), || "it is still there".to_owned())
    })
    .await;
}
