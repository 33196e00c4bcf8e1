//! Mode Cluster: lost and moved primaries, more shards, and all pods lost at once.

mod by_hand;

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};

use crate::common::options::{Options, say};
use crate::common::page::Results;
use crate::common::statistics::{Runs, time};
use crate::support::database::{Database, with};
use crate::support::faults::{delete_pod, killable, signal};
use crate::support::scenario::Scenario;
use crate::support::server::Endpoint;
use crate::support::sharded::{Sharded, ShardedWriter, slot};
use crate::support::wait::{LONG, ensure, until};

/// Acknowledged writes before and after each change.
const WRITES: usize = 50;
/// Clients that fill a database side by side.
const CLIENTS: usize = 32;
/// All keys of this writer are in one slot, so that the other shards do not hide the gap of its own.
const PREFIX: &str = "{gap}";
const SWITCHOVER: &str = "redis.hera.dev/switchover";
const RECONCILE: &str = "hera.dev/reconcile";
const SHARDS: i32 = 3;
const PAYLOAD: usize = 200;
/// A server that is busy refuses a connection at times.
const RETRIES: usize = 20;

fn cluster(engine: &str, replicas: i32) -> Value {
    json!({
        "engine": engine, "mode": "Cluster", "shards": SHARDS, "replicasPerShard": replicas,
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
    })
}

/// Everything about clusters.
pub async fn measure(scenario: &Scenario, options: Options, results: &mut Results) {
    let begin = Instant::now();
    let database = scenario
        .ready("shards", with(cluster("Redis", 1), killable()))
        .await;
    results.add(
        "Cluster: apply to Ready, 3 shards with a replica each",
        "",
        &time(begin.elapsed()),
    );
    gaps(&database, options, results).await;
    database.delete().await;
    for engine in ["Redis", "Valkey"] {
        more_shards(scenario, engine, options, results).await;
    }
    restart(scenario, options, results).await;
}

/// The longest time between two writes to the shard whose primary goes.
async fn gaps(database: &Database, options: Options, results: &mut Results) {
    let (mut lost, mut acknowledged) = (0, 0);
    let mut runs = Runs::default();
    for run in 0..options.pick(15, 2) {
        let shard = shard_of_the_writer(database).await;
        let old = primary(database, &shard).await;
        let writer = ShardedWriter::start_with(database, PREFIX).await;
        writer.more(WRITES).await;
        signal(database, &old, "KILL").await;
        moved(database, &shard, &old).await;
        writer.more(WRITES).await;
        let report = writer.finish().await;
        say(&format!("run {run}: {report}"));
        runs.push(report.gap);
        (lost, acknowledged) = (lost + report.lost.len(), acknowledged + report.acknowledged);
        // A container that ends often is started again later and later; a new pod begins without that past.
        delete_pod(database, &old).await;
        database.ready().await;
    }
    let of = |lost, all, runs: &Runs| format!("{lost} of {all} in {} runs", runs.count());
    results.add_runs(
        "Cluster: write gap of a shard, `kill -9` of its primary",
        "",
        &runs,
    );
    results.add(
        "Acknowledged writes lost with that",
        "",
        &of(lost, acknowledged, &runs),
    );
    let mut runs = Runs::default();
    (lost, acknowledged) = (0, 0);
    for run in 0..options.pick(15, 2) {
        let shard = shard_of_the_writer(database).await;
        let old = primary(database, &shard).await;
        let mut pods = database.pods().await.into_keys();
        let wanted = pods
            .find(|pod| *pod != old && pod.starts_with(&format!("{shard}-")))
            .expect("a replica");
        let writer = ShardedWriter::start_with(database, PREFIX).await;
        writer.more(WRITES).await;
        database.annotate(SWITCHOVER, Some(&wanted)).await;
        moved(database, &shard, &old).await;
        writer.more(WRITES).await;
        let report = writer.finish().await;
        say(&format!("run {run}: {report}"));
        runs.push(report.gap);
        (lost, acknowledged) = (lost + report.lost.len(), acknowledged + report.acknowledged);
        database.ready().await;
    }
    database.annotate(SWITCHOVER, None).await;
    results.add_runs("Cluster: write gap of a shard, hand-over", "", &runs);
    results.add(
        "Acknowledged writes lost with that",
        "0",
        &of(lost, acknowledged, &runs),
    );
}

/// From three shards to four by Hera, and the same slots back by hand with nothing but the commands of the server.
async fn more_shards(scenario: &Scenario, engine: &str, options: Options, results: &mut Results) {
    let name = format!("more-{}", engine.to_lowercase());
    let database = scenario.ready(&name, cluster(engine, 0)).await;
    let version = database.status().await.version.unwrap_or_default();
    fill(&database, options.pick(200_000, 20_000)).await;
    database
        .patch(json!({"spec": {"shards": SHARDS + 1}}))
        .await;
    let added = format!("{name}-s{SHARDS}-0");
    let target = until("the new shard has a key", LONG, || async {
        let endpoint = node(&database, &added).await.ok_or("it has no address")?;
        ensure(keys(&endpoint).await? > 0, || "it has no key".into())?;
        Ok(endpoint)
    })
    .await;
    let begin = Instant::now();
    until("the slots are spread", LONG, || async {
        let slots = shard_slots(&database, &format!("{name}-s{SHARDS}")).await;
        ensure(slots >= 4096, || format!("{slots} slots"))
    })
    .await;
    let by_hera = begin.elapsed();
    database.ready().await;
    let moved = keys(&target).await.expect("the number of keys");
    let before = bytes(&target).await;
    let rate = |elapsed: Duration| {
        let seconds = elapsed.as_secs_f64();
        #[allow(clippy::cast_precision_loss)] // Shown with four digits.
        let (keys, bytes) = (moved as f64 / seconds, before as f64 / seconds);
        format!("{keys:.0} keys and {:.1} MB per second", bytes / 1e6)
    };
    results.add(
        &format!("{version}, 3 shards to 4: {moved} keys move to the new shard"),
        "",
        &rate(by_hera),
    );
    database.annotate(RECONCILE, Some("paused")).await;
    let home = node(&database, &format!("{name}-s0-0"))
        .await
        .expect("the address of the first shard");
    let begin = Instant::now();
    if engine == "Valkey" {
        by_hand::atomically(&target, &home).await;
    } else {
        by_hand::key_by_key(&target, &home).await;
    }
    results.add(
        "The same slots to another shard, with the commands of the server alone",
        "",
        &rate(begin.elapsed()),
    );
    database.delete().await;
}

/// All pods at once, with volumes.
async fn restart(scenario: &Scenario, options: Options, results: &mut Results) {
    let storage = json!({"storage": {"size": "1Gi", "whenDeleted": "Delete"}});
    let database = scenario
        .ready("restart", with(cluster("Redis", 1), storage))
        .await;
    fill(&database, 1000).await;
    let mut runs = Runs::default();
    for _ in 0..options.pick(5, 1) {
        let pods = database.uids().await;
        let begin = Instant::now();
        join_all(pods.keys().map(|pod| delete_pod(&database, pod))).await;
        until("all pods are others", LONG, || async {
            let now = database.uids().await;
            let all = now.len() == pods.len() && now.iter().all(|(pod, uid)| pods[pod] != *uid);
            ensure(all, || format!("{now:?}"))
        })
        .await;
        database.ready().await;
        runs.push(begin.elapsed());
    }
    results.add_runs(
        "Cluster: all six pods deleted at once, until Ready again, with volumes",
        "",
        &runs,
    );
    database.delete().await;
}

async fn fill(database: &Database, keys: usize) {
    let fill = (0..CLIENTS).map(|client| async move {
        let mut cluster = Sharded::at(database.primary_endpoint().await);
        let value = "x".repeat(PAYLOAD);
        for number in (client..keys).step_by(CLIENTS) {
            let key = format!("filled:{number:07}");
            let words = ["SET", &key, &value];
            let mut result = cluster.ask::<String>(&key, &words).await;
            for _ in 0..RETRIES {
                if result.is_ok() {
                    break;
                }
                result = cluster.ask(&key, &words).await;
            }
            result.expect("a write");
        }
    });
    join_all(fill).await;
}

/// The shard that serves the keys of the writer.
async fn shard_of_the_writer(database: &Database) -> String {
    let service = database.primary_endpoint().await;
    let nodes: String = service.ask(&["CLUSTER", "NODES"]).await.expect("the nodes");
    let owner = nodes.lines().find(|line| {
        let mut ranges = line.split(' ').skip(8).filter_map(range);
        ranges.any(|(first, last)| (first..=last).contains(&slot(PREFIX)))
    });
    let address = owner
        .and_then(|line| line.split(' ').nth(1)?.split(':').next())
        .expect("the address of the owner");
    let pods = database.pods().await.into_iter();
    let mut names = pods.filter_map(|(name, pod)| {
        (pod.status?.pod_ip? == address)
            .then(|| name.rsplit_once('-').map(|(set, _)| set.to_owned()))
    });
    names.next().flatten().expect("the pod of the owner")
}

fn range(slots: &str) -> Option<(u16, u16)> {
    let (first, last) = slots.split_once('-').unwrap_or((slots, slots));
    Some((first.parse().ok()?, last.parse().ok()?))
}

async fn shard_slots(database: &Database, name: &str) -> i32 {
    let shards = database.status().await.shards;
    let shard = shards.into_iter().find(|s| s.name == name);
    shard.map_or(0, |s| s.slots)
}

async fn primary(database: &Database, shard: &str) -> String {
    let shards = database.status().await.shards;
    let found = shards.into_iter().find(|s| s.name == shard);
    found.and_then(|s| s.primary).expect("a primary")
}

async fn moved(database: &Database, shard: &str, old: &str) {
    until("another primary", LONG, || async {
        let shards = database.status().await.shards;
        let now = shards.into_iter().find(|s| s.name == shard);
        let now = now.and_then(|s| s.primary).ok_or("no primary")?;
        ensure(now != old, || now.clone())
    })
    .await;
}

async fn node(database: &Database, pod: &str) -> Option<Endpoint> {
    let pod = database.pods().await.remove(pod)?;
    Some(Endpoint {
        host: pod.status?.pod_ip?,
        ..database.primary_endpoint().await
    })
}

/// How many keys it holds.
async fn keys(endpoint: &Endpoint) -> Result<u64, String> {
    let size = endpoint.ask::<u64>(&["DBSIZE"]).await;
    size.map_err(|error| error.to_string())
}

/// Bytes of the values and keys that a node holds.
async fn bytes(endpoint: &Endpoint) -> u64 {
    let each = PAYLOAD + "filled:0000000".len();
    keys(endpoint).await.unwrap_or_default() * u64::try_from(each).unwrap_or_default()
}
