//! Hera over the simulated API server and the simulated network.

use std::sync::Arc;
use std::time::Duration;

use hera::manager::client::{GuardLayer, Limits};
use hera::manager::clock::Clock;
use hera::manager::metrics::Metrics;
use kube::Client;
use kube::client::retry::RetryPolicy;
use tower::retry::RetryLayer;
use tower::{BoxError, ServiceBuilder, service_fn};

use crate::fault::Faults;
use crate::kubernetes::api;
use crate::network::network;
use crate::process::{self, Faulty, Parts, Process};
use crate::world::{START, Shared};

fn start(world: &Shared, number: u32, clock: Clock) -> Process {
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
    world.lock().metrics.push(Arc::clone(&metrics));
    Process::start(Parts {
        client: Client::new(service, "default"),
        network: network(world, number),
        clock,
        metrics,
        namespaces: Vec::new(),
    })
}

impl Faulty for Shared {
    fn with<T>(&self, work: impl FnOnce(&mut Faults) -> T) -> T {
        work(&mut self.lock().faults)
    }
}

/// Runs Hera, and starts it again after it ended.
pub async fn supervise(world: Shared) {
    let clock = Clock::simulated(START);
    process::supervise(world.clone(), |number| start(&world, number, clock)).await;
}
