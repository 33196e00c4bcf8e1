//! Hera itself, as a process that can end at any moment and start again.

use std::sync::Arc;
use std::time::Duration;

use hera::k8s::events::Recorder;
use hera::manager::caches::Caches;
use hera::manager::client::{GuardLayer, Limits};
use hera::manager::clock::Clock;
use hera::manager::metrics::Metrics;
use hera::manager::{Context, Leadership, Rollouts};
use hera::operators::redis;
use hera::settings::Settings;
use kube::Client;
use kube::client::retry::RetryPolicy;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tower::retry::RetryLayer;
use tower::{BoxError, ServiceBuilder, service_fn};

use crate::kubernetes::api;
use crate::network::network;
use crate::world::{START, Shared};

/// Until a new process acts after another one ended.
const RESTART: Duration = Duration::from_millis(500);
/// How long two processes act side by side.
const OVERLAP: Duration = Duration::from_secs(5);

struct Process(#[allow(dead_code)] AbortOnDropHandle<()>);

impl Process {
    fn start(world: &Shared, number: u32, clock: Clock) -> Self {
        #[allow(clippy::expect_used)]
        let metrics = Arc::new(Metrics::new().expect("names of metrics are unique"));
        let limits = Limits {
            timeout: Duration::from_secs(10),
            calls: 32,
        };
        let server = world.clone();
        // As the client of the process is built, without TLS and HTTP below it.
        let service = ServiceBuilder::new()
            .layer(GuardLayer::new(limits, Arc::clone(&metrics)))
            .layer(RetryLayer::new(RetryPolicy::server_retry()))
            .map_err(BoxError::from)
            .service(service_fn(move |request| {
                api::answer(server.clone(), number, request)
            }));
        let client = Client::new(service, "default");
        #[allow(clippy::expect_used)]
        let settings = Settings::from_flags::<[&str; 0]>([]).expect("the defaults are valid");
        let ctx = Context {
            caches: Arc::new(Caches::new(client.clone(), &[], Arc::clone(&metrics))),
            network: network(world, number),
            clock,
            recorder: Recorder::new(client.clone(), "hera", None),
            leadership: Leadership::always(),
            rollouts: Rollouts::new(3, Arc::clone(&metrics)),
            settings: Arc::new(settings),
            shutdown: CancellationToken::new(),
            metrics: Arc::clone(&metrics),
            client,
        };
        let (_, work) = redis::registration().prepare(&ctx);
        world.lock().metrics.push(metrics);
        Self(AbortOnDropHandle::new(tokio::spawn(work)))
    }
}

/// Runs Hera, and starts it again after it ended.
pub async fn supervise(world: Shared) {
    let clock = Clock::simulated(START);
    let changed = Arc::clone(&world.lock().faults.changed);
    let mut running = vec![(0, Process::start(&world, 0, clock))];
    loop {
        changed.notified().await;
        let (alive, overlap) = {
            let mut world = world.lock();
            (
                world.faults.alive,
                std::mem::take(&mut world.faults.overlap),
            )
        };
        running.retain(|(number, _)| *number >= alive.0);
        if overlap {
            let next = alive.1 + 1;
            world.lock().faults.alive.1 = next;
            running.push((next, Process::start(&world, next, clock)));
            tokio::time::sleep(OVERLAP).await;
            let first = {
                let mut world = world.lock();
                world.faults.alive.0 = world.faults.alive.0.max(next);
                world.faults.alive.0
            };
            running.retain(|(number, _)| *number >= first);
        }
        if running.is_empty() {
            tokio::time::sleep(RESTART).await;
            let next = {
                let mut world = world.lock();
                world.faults.alive.1 = world.faults.alive.0;
                world.faults.alive.1
            };
            running.push((next, Process::start(&world, next, clock)));
        }
    }
}
