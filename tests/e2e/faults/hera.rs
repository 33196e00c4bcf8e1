//! Hera's operator in this process, in place of the installed one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hera::manager::client::{GuardLayer, Limits};
use hera::manager::clock::Clock;
use hera::manager::metrics::Metrics;
use kube::client::ClientBuilder;
use kube::config::AuthInfo;
use kube::{Client, Config};
use tokio_util::task::AbortOnDropHandle;

use super::api;
use super::fault::{Fate, Fault, Faults};
use super::network::network;
use super::process::{Faulty, Parts, Process, supervise};
use crate::support::cluster::kubectl;
use crate::support::database::Database;
use crate::support::hera::{NAMESPACE, RELEASE, REPLICAS, scale};
use crate::support::scenario::Scenario;
use crate::support::wait::{LONG, ensure, until};

/// How long nothing is written before it counts as done.
const CALM: Duration = Duration::from_secs(3);

/// What is to go wrong, shared by all processes.
#[derive(Clone)]
pub struct Shared {
    state: Arc<Mutex<State>>,
    begin: Instant,
}

struct State {
    faults: Faults,
    /// What the words of a write contain that counts.
    at: &'static str,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_dead(&self, process: u32) -> bool {
        self.lock().faults.is_dead(process)
    }

    /// A write of Hera, and what becomes of it.
    pub fn write(&self, words: &str) -> Fate {
        let now = self.begin.elapsed();
        let mut state = self.lock();
        if words.contains(state.at) {
            return state.faults.write(words, now).0;
        }
        state.faults.total += 1;
        state.faults.last = now;
        Fate::Done
    }

    /// How long the watches of a resource stand still from now on, and whether they end then.
    pub fn frozen(&self, resource: &str) -> Option<(Duration, bool)> {
        let now = self.begin.elapsed();
        let state = self.lock();
        let still = state.faults.frozen.iter();
        let mut still = still.filter(|f| f.0 == resource && f.1 > now);
        still.next().map(|f| (f.1.saturating_sub(now), f.2))
    }
}

impl Faulty for Shared {
    fn with<T>(&self, work: impl FnOnce(&mut Faults) -> T) -> T {
        work(&mut self.lock().faults)
    }
}

/// The operator at work.
pub struct Hera {
    shared: Shared,
    client: Client,
    running: AbortOnDropHandle<()>,
}

impl Hera {
    /// Takes the place of the installed one, for the namespace of a test, with its permissions.
    pub async fn start(s: &Scenario) -> Self {
        scale(&s.client, 0).await;
        let token = kubectl(&["create", "token", RELEASE, "--namespace", NAMESPACE])
            .await
            .expect("a token of the ServiceAccount");
        let mut config = Config::infer().await.expect("a configuration");
        config.auth_info = AuthInfo {
            token: Some(token.into()),
            ..AuthInfo::default()
        };
        let shared = Shared {
            state: Arc::new(Mutex::new(State {
                faults: Faults::default(),
                at: "",
            })),
            begin: Instant::now(),
        };
        let (world, namespace) = (shared.clone(), s.namespace.clone());
        let start = move |number| process(&world, number, &config, &namespace);
        Self {
            running: AbortOnDropHandle::new(tokio::spawn(supervise(shared.clone(), start))),
            shared,
            client: s.client.clone(),
        }
    }

    /// From now on this goes wrong: the `nth` of a fault counts the writes whose words contain `at`.
    pub fn plan(&self, at: &'static str, fault: &str) {
        let fault: Fault = fault.parse().expect("a fault");
        let mut state = self.shared.lock();
        state.at = at;
        state.faults.arm(&[fault]);
    }

    /// Waits until it went wrong, the database is ready, and nothing is written any more.
    pub async fn done(&self, database: &Database) {
        until("the fault, an end, and calm", LONG, || async {
            let (log, calm) = {
                let state = self.shared.lock();
                let calm = self
                    .shared
                    .begin
                    .elapsed()
                    .saturating_sub(state.faults.last);
                (state.faults.log.clone(), calm)
            };
            let struck = log.iter().any(|line| line.contains("----"));
            ensure(struck, || format!("nothing went wrong yet: {log:?}"))?;
            let ready = database.condition("Ready").await?;
            ensure(ready.status == "True", || ready.message.clone())?;
            ensure(calm >= CALM, || format!("written to {calm:?} ago"))
        })
        .await;
    }

    /// Gives the place back.
    pub async fn stop(self) {
        drop(self.running);
        scale(&self.client, REPLICAS).await;
    }
}

fn process(shared: &Shared, number: u32, config: &Config, namespace: &str) -> Process {
    let metrics = Arc::new(Metrics::new().expect("names of metrics are unique"));
    let limits = Limits {
        timeout: Duration::from_secs(10),
        calls: 32,
    };
    let faults = api::Faults {
        shared: shared.clone(),
        process: number,
    };
    let client = ClientBuilder::try_from(config.clone())
        .expect("a client")
        .with_layer(&faults)
        .with_layer(&GuardLayer::new(limits, Arc::clone(&metrics)))
        .build();
    Process::start(Parts {
        client,
        network: network(shared, number),
        clock: Clock::default(),
        metrics,
        namespaces: vec![namespace.to_owned()],
    })
}
