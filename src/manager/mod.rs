//! The process: client, leader election, caches, controller runner, HTTP, metrics, shutdown.

pub mod backoff;
mod cache;
pub mod caches;
pub mod catalog;
pub mod client;
pub mod clock;
pub mod controller;
#[cfg(test)]
mod fake_api;
mod http;
mod leader;
mod leadership;
mod lease;
pub mod metrics;
mod process;
mod rollouts;
mod run;
mod store;
pub mod telemetry;

use std::sync::Arc;

use futures::future::BoxFuture;
use kube::Client;
use tokio_util::sync::CancellationToken;

use self::{caches::Caches, clock::Clock, metrics::Metrics};
pub use self::{
    leadership::Leadership,
    rollouts::Rollouts,
    run::{Error, run},
};
use crate::{engines::network::Network, k8s::events::Recorder, settings::Settings};

/// What an operator gets from the process. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The client of the process: with a time limit on every call and a limit on calls at the same time.
    pub client: Client,
    /// The shared caches.
    pub caches: Arc<Caches>,
    /// How connections to servers are opened.
    pub network: Network,
    /// What time it is.
    pub clock: Clock,
    /// The one recorder of events.
    pub recorder: Recorder,
    /// The metrics of the process.
    pub metrics: Arc<Metrics>,
    /// Whether this process leads; ask right before every act that cannot be undone.
    pub leadership: Leadership,
    /// The rollout budget; ask before a pod is restarted.
    pub rollouts: Rollouts,
    /// The settings of the process.
    pub settings: Arc<Settings>,
    /// Cancelled when the process is to stop.
    pub shutdown: CancellationToken,
}

/// The part of a controller that runs while the process leads.
pub type Work = BoxFuture<'static, ()>;

/// An operator, as the process sees it.
pub struct Registration {
    /// The name in `--controllers`.
    pub name: &'static str,
    prepare: Box<dyn FnOnce(Context) -> Work + Send>,
}

impl Registration {
    /// Registers the operator `name`.
    ///
    /// `prepare` is called before leadership: it asks for all caches that the operator reads, so that they are warm
    /// when this process takes over. The future that it returns is polled once the process leads; it subscribes to the
    /// caches, awaits [`controller::run`] and ends on shutdown.
    pub fn new<Prepare, Running>(name: &'static str, prepare: Prepare) -> Self
    where
        Prepare: FnOnce(Context) -> Running + Send + 'static,
        Running: Future<Output = ()> + Send + 'static,
    {
        Self {
            name,
            prepare: Box::new(move |ctx| Box::pin(prepare(ctx))),
        }
    }

    /// Lets the operator ask for its caches, and returns the part that runs while the process leads. The context that it
    /// gets waits for those caches alone.
    pub fn prepare(self, ctx: &Context) -> (&'static str, Work) {
        let scoped = Context {
            caches: Arc::new(ctx.caches.scoped()),
            ..ctx.clone()
        };
        (self.name, (self.prepare)(scoped))
    }
}
