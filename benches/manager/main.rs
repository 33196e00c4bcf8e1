//! Measures the manager over an API server without nodes: memory, requests at rest, cold start, time to the last object.
//!
//! No pod ever runs here, so that a thousand databases fit on any machine. `cargo bench --bench redis` measures with pods.
#![allow(clippy::expect_used, clippy::panic, clippy::cast_precision_loss)]

#[path = "../../tests/common/apiserver.rs"]
mod apiserver;
#[path = "../common/mod.rs"]
mod common;
mod measured;
#[allow(dead_code)] // The tests need more of it.
#[path = "../../tests/manager/process.rs"]
mod process;
mod resources;

use std::time::{Duration, Instant};

use apiserver::ApiServer;
use kube::Client;

use common::objects::Objects;
use common::options::{Options, say};
use common::page::Results;
use common::statistics::{Runs, time};
use measured::{Measured, Snapshot, build, program};
use resources::Resources;

/// How long the manager gets to return memory and to write its last events before something at rest is measured.
const CALM: Duration = Duration::from_secs(10);
/// One whole life of a watch: in this time, each of the watches is started again once.
const REST: Duration = Duration::from_secs(200);
/// The resync interval while requests at rest are counted: every resource is reconciled several times in that period.
const RESYNC: &str = "--resync-interval=1m";
/// Memory without resources that the design allows, in MiB.
const MEMORY: &str = "25 MiB";

struct Bench {
    options: Options,
    server: &'static ApiServer,
    client: Client,
    namespace: String,
    results: Results,
}

#[tokio::main]
async fn main() {
    let options = Options::read();
    let server = ApiServer::shared();
    let client = server.client().await;
    resources::install(&client).await;
    let namespace = server.namespace(&client).await;
    let mut bench = Bench {
        options,
        server,
        client: client.clone(),
        namespace,
        results: Results::new("manager", options, build()),
    };
    bench.binary();
    let mut resources = Resources::new(client, server);
    bench.growth(&mut resources).await;
    bench.restart(&resources).await;
    bench.with_pods(&mut resources).await;
    bench.results.finish();
}

impl Bench {
    async fn start(&self, flags: &[&str]) -> Measured {
        Measured::start(&program(), self.server, &self.namespace, flags).await
    }

    fn many(&self) -> usize {
        self.options.pick(1000, 200)
    }

    fn binary(&mut self) {
        let size = std::fs::metadata(program()).map_or(0, |m| m.len());
        self.results.add(
            "Size of the program",
            "40 MB",
            &format!("{:.1} MB", size as f64 / 1e6),
        );
    }

    async fn memory(&mut self, what: &str, target: &str, manager: &Measured) {
        tokio::time::sleep(CALM).await;
        let (now, highest) = manager.memory();
        self.results.add(
            &format!("Memory, {what}"),
            target,
            &format!("{now:.0} MiB (highest so far {highest:.0} MiB)"),
        );
    }

    /// One manager from nothing to many resources.
    async fn growth(&mut self, resources: &mut Resources) {
        let manager = self.start(&[]).await;
        manager.leads().await;
        manager.settled().await;
        self.memory("no `Redis`", MEMORY, &manager).await;
        self.apply_to_last_object("idle, no other `Redis`").await;

        resources.create(self.many() / 10, &manager).await;
        self.memory(&format!("{} `Redis`", resources.count()), "", &manager)
            .await;

        let before = manager.snapshot();
        let missing = self.many() - resources.count();
        let took = resources.create(missing, &manager).await;
        let writes = manager.snapshot().writes - before.writes;
        self.results.add(
            &format!("{missing} `Redis` applied at once, until all their objects are there"),
            "",
            &format!(
                "{}, {:.0} API writes for each `Redis`, {:.0} per second",
                time(took),
                writes / missing as f64,
                writes / took.as_secs_f64(),
            ),
        );
        self.memory(&format!("{} `Redis`", resources.count()), "", &manager)
            .await;
        self.apply_to_last_object(&format!("beside {} others", resources.count()))
            .await;
        manager.settled().await;
        manager.stop().await;
    }

    async fn apply_to_last_object(&mut self, when: &str) {
        let namespace = self.server.namespace(&self.client).await;
        let objects = Objects::watch(&self.client, &namespace);
        let mut runs = Runs::default();
        let mut count = 0;
        for number in 0..self.options.pick(30, 5) {
            let name = format!("latency-{number}");
            let begin = Instant::now();
            resources::apply(&self.client, &namespace, &name).await;
            let (found, last) = objects.complete(&name).await;
            runs.push(last - begin);
            count = found;
            resources::delete(&self.client, &namespace, &name).await;
        }
        self.results.add_runs(
            &format!("Apply to the last of {count} objects, {when}"),
            "300 ms",
            &runs,
        );
    }

    /// Another manager over what is converged already, and then a long rest.
    async fn restart(&mut self, resources: &Resources) {
        let count = resources.count();
        let manager = self
            .cold_start(count, &format!("{count} `Redis`"), "0 writes, 5 s")
            .await;
        self.memory(&format!("{count} `Redis`, after a restart"), "", &manager)
            .await;

        let period = self.options.pick(REST, Duration::from_secs(70));
        say(&format!("at rest for {period:?}"));
        let (before, cpu) = (manager.snapshot(), manager.cpu());
        tokio::time::sleep(period).await;
        let rest = manager.snapshot() - before;
        let minutes = period.as_secs_f64() / 60.0;
        self.results.add(
            &format!("API writes at rest, {count} `Redis`, {minutes:.1} minutes"),
            "0",
            &format!("{:.0}", rest.writes),
        );
        self.results.add(
            &format!("API requests at rest, {count} `Redis`, each reconciled every minute"),
            "",
            &format!(
                "{:.1} per minute, of which {:.1} start watches again ({:.0} reconciles; {:.1} % of a core)",
                rest.requests / minutes,
                rest.watches / minutes,
                rest.reconciles,
                (manager.cpu() - cpu) / period.as_secs_f64() * 100.0,
            ),
        );
        manager.stop().await;
    }

    /// Starts a manager and waits until it has reconciled everything once.
    async fn cold_start(&mut self, count: usize, what: &str, target: &str) -> Measured {
        let begin = Instant::now();
        let manager = self.start(&[RESYNC]).await;
        let (leading, done, then) = manager.reconciled_all(count).await;
        // What it writes, it writes at once; a little later it must still be nothing.
        manager.settled().await;
        let Snapshot {
            writes, requests, ..
        } = manager.snapshot();
        self.results.add(
            &format!("Cold start over {what}, until each was reconciled"),
            target,
            &format!(
                "{writes:.0} writes, {} ({requests:.0} requests; leads after {}, then {:.0} reconciles per second)",
                time(done - begin),
                time(leading - begin),
                then.reconciles / (done - leading).as_secs_f64(),
            ),
        );
        manager
    }

    /// The same resources with their pods, which wait for a node for ever.
    async fn with_pods(&mut self, resources: &mut Resources) {
        let count = resources.count();
        let manager = self.start(&[]).await;
        manager.leads().await;
        let pods = resources.make_pods(&manager).await;
        manager.settled().await;
        let what = format!("{count} `Redis` with {pods} pods that wait for a node");
        self.memory(&what, "", &manager).await;
        manager.stop().await;
        let manager = self.cold_start(count, &what, "").await;
        self.memory(&format!("{what}, after a restart"), "", &manager)
            .await;
        manager.stop().await;
    }
}
