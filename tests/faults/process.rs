//! Hera's operator as a process that can end at any moment and start again.

use std::sync::Arc;
use std::time::Duration;

use hera::engines::network::Network;
use hera::k8s::events::Recorder;
use hera::manager::caches::Caches;
use hera::manager::clock::Clock;
use hera::manager::metrics::Metrics;
use hera::manager::{Context, Leadership, Rollouts};
use hera::operators::redis;
use hera::settings::Settings;
use kube::Client;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::fault::Faults;

/// Until a new process acts after another one ended.
const RESTART: Duration = Duration::from_millis(500);
/// How long two processes act side by side.
const OVERLAP: Duration = Duration::from_secs(5);

/// What a process reaches the world by.
pub struct Parts {
    pub client: Client,
    pub network: Network,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    /// The namespaces that it looks at; all when there are none.
    pub namespaces: Vec<String>,
}

/// A process that runs until it is dropped.
pub struct Process(#[allow(dead_code)] AbortOnDropHandle<()>);

impl Process {
    pub fn start(parts: Parts) -> Self {
        let Parts {
            client,
            network,
            clock,
            metrics,
            namespaces,
        } = parts;
        #[allow(clippy::expect_used)]
        let settings = Settings::from_flags::<[&str; 0]>([]).expect("the defaults are valid");
        let ctx = Context {
            caches: Arc::new(Caches::new(
                client.clone(),
                &namespaces,
                Arc::clone(&metrics),
            )),
            network,
            clock,
            recorder: Recorder::new(client.clone(), "hera", None),
            leadership: Leadership::always(),
            rollouts: Rollouts::new(3, Arc::clone(&metrics)),
            settings: Arc::new(settings),
            shutdown: CancellationToken::new(),
            metrics,
            client,
        };
        let (_, work) = redis::registration().prepare(&ctx);
        Self(AbortOnDropHandle::new(tokio::spawn(work)))
    }
}

/// Where the faults are.
pub trait Faulty {
    fn with<T>(&self, work: impl FnOnce(&mut Faults) -> T) -> T;
}

/// Runs Hera, and starts it again after it ended. `start` gets the number of the process.
pub async fn supervise(world: impl Faulty, start: impl Fn(u32) -> Process) {
    let changed = world.with(|faults| Arc::clone(&faults.changed));
    let mut running = vec![(0, start(0))];
    loop {
        changed.notified().await;
        let (alive, overlap) =
            world.with(|faults| (faults.alive, std::mem::take(&mut faults.overlap)));
        running.retain(|(number, _)| *number >= alive.0);
        if overlap {
            let next = alive.1 + 1;
            world.with(|faults| faults.alive.1 = next);
            running.push((next, start(next)));
            tokio::time::sleep(OVERLAP).await;
            let first = world.with(|faults| {
                faults.alive.0 = faults.alive.0.max(next);
                faults.alive.0
            });
            running.retain(|(number, _)| *number >= first);
        }
        if running.is_empty() {
            tokio::time::sleep(RESTART).await;
            let next = world.with(|faults| {
                faults.alive.1 = faults.alive.0;
                faults.alive.1
            });
            running.push((next, start(next)));
        }
    }
}
