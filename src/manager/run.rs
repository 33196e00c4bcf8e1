//! Start and stop of the process: HTTP, caches, Lease, controllers, and back.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use kube::{Client, Config};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    Context, Leadership, Registration, Rollouts, Work,
    caches::Caches,
    client::{self, Limits},
    clock::Clock,
    http::{self, Exposed},
    leader::Timing,
    lease::Elector,
    metrics::Metrics,
    telemetry::LogFilter,
};
use crate::{
    engines::network::Network,
    k8s::events::Recorder,
    settings::{Settings, SettingsError},
};

/// How long to wait for the caches before taking part in the election all the same: the watch of one kind may be broken (its
/// CustomResourceDefinition missing, say) and must not keep the operators of other kinds from working.
const WARM_UP: Duration = Duration::from_secs(30);

/// Why the process ended although nobody asked it to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting names something that does not exist.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// There is no way to reach an API server.
    #[error("no configuration of an API server: {0}")]
    Config(#[from] kube::config::InferConfigError),
    /// The client cannot be built from the configuration.
    #[error("the configuration of the API server cannot be used: {0}")]
    Client(#[source] kube::Error),
    /// The address of the HTTP server cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address as set.
        address: std::net::SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// Signals cannot be received.
    #[error("cannot receive signals: {0}")]
    Signals(#[source] std::io::Error),
    /// Two metrics have the same name.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// Another process may lead.
    #[error(transparent)]
    Lost(#[from] super::lease::Lost),
    /// A part of the process ended that never should.
    #[error("{0} ended unexpectedly")]
    Ended(&'static str),
    /// Reconciles went on for longer than they may after SIGTERM.
    #[error("reconciles were still under way after {0:?}")]
    Drain(Duration),
    /// A second signal came during shutdown.
    #[error("stopped by a second signal")]
    Forced,
}

/// Runs the operators until SIGTERM or SIGINT.
///
/// # Errors
/// When the process cannot start, or has to end although nobody asked it to.
pub async fn run(
    settings: Settings,
    registrations: Vec<Registration>,
    log_filter: LogFilter,
) -> Result<(), Error> {
    let registrations = select(&settings, registrations)?;
    let settings = Arc::new(settings);
    let metrics = Arc::new(Metrics::new()?);
    let shutdown = CancellationToken::new();
    let mut signals = Signals::new()?;

    let exposed = Exposed {
        metrics: Arc::clone(&metrics),
        caches: Arc::new(OnceLock::new()),
        shutdown: shutdown.clone(),
        log_filter,
    };
    let ready_caches = Arc::clone(&exposed.caches);
    let address = settings.bind_address;
    let listener = http::bind(address)
        .await
        .map_err(|source| Error::Listen { address, source })?;
    let address = listener.local_addr().unwrap_or(address);
    tracing::info!(version = crate::VERSION, %address, "hera starts");
    let mut http = tokio::spawn(http::serve(listener, exposed));

    let process = Process::connect(settings, metrics, shutdown).await?;
    let (ctx, mut elector) = (process.ctx, process.elector);
    let prepared: Vec<(&str, Work)> = registrations
        .into_iter()
        .map(|registration| registration.prepare(&ctx))
        .collect();
    // Only now is every cache known that has to be complete.
    let _ = ready_caches.set(Arc::clone(&ctx.caches));

    let mut controllers = JoinSet::new();
    let ended = tokio::select! {
        result = lead(&ctx, elector.as_mut(), prepared, &mut controllers) => result,
        () = signals.next() => Ok(()),
        () = ctx.caches.failed() => Err(Error::Ended("a watch")),
        _ = &mut http => Err(Error::Ended("the HTTP server")),
    };
    ended?;

    tracing::info!("shutting down");
    ctx.shutdown.cancel();
    let drain = ctx.settings.drain_timeout.get();
    tokio::select! {
        () = drained(&mut controllers) => {}
        // The Lease is kept while reconciles end: nobody else may begin before.
        error = held(elector.as_mut()) => return Err(error),
        () = tokio::time::sleep(drain) => return Err(Error::Drain(drain)),
        () = signals.next() => return Err(Error::Forced),
    }
    if let Some(elector) = &mut elector {
        elector.release().await;
    }
    tracing::info!("stopped");
    Ok(())
}

/// The registrations that the settings ask for.
fn select(
    settings: &Settings,
    registrations: Vec<Registration>,
) -> Result<Vec<Registration>, SettingsError> {
    let known: Vec<&str> = registrations
        .iter()
        .map(|registration| registration.name)
        .collect();
    let check = |flag, name: &str| {
        if known.contains(&name) {
            Ok(())
        } else {
            Err(SettingsError::new(
                flag,
                format!("there is no operator {name:?}, only {}", known.join(", ")),
            ))
        }
    };
    for name in &settings.controllers {
        check("--controllers", name)?;
    }
    for name in settings.concurrency.names() {
        check("--concurrency", name)?;
    }
    let wanted = |name: &str| {
        settings.controllers.is_empty() || settings.controllers.iter().any(|one| one == name)
    };
    Ok(registrations
        .into_iter()
        .filter(|registration| wanted(registration.name))
        .collect())
}

struct Process {
    ctx: Context,
    elector: Option<Elector>,
}

impl Process {
    async fn connect(
        settings: Arc<Settings>,
        metrics: Arc<Metrics>,
        shutdown: CancellationToken,
    ) -> Result<Self, Error> {
        let config = Config::infer().await?;
        let limits = Limits {
            timeout: settings.call_timeout.get(),
            calls: usize::from(settings.max_concurrent_calls),
        };
        let elector = if settings.leader_elect {
            let timing = Timing {
                duration: settings.lease_duration.get(),
                renew_deadline: settings.lease_renew_deadline.get(),
                retry: settings.lease_retry_period.get(),
            };
            let client =
                client::for_lease(config.clone(), timing.renew_deadline, Arc::clone(&metrics));
            let client = client.map_err(Error::Client)?;
            let namespace =
                Some(settings.lease_namespace.as_str()).filter(|namespace| !namespace.is_empty());
            let namespace = namespace.unwrap_or(&config.default_namespace);
            Some(Elector::new(
                client,
                namespace,
                &settings.lease_name,
                timing,
                &metrics,
            ))
        } else {
            metrics
                .leader
                .with_label_values(&[&settings.lease_name])
                .set(1);
            None
        };
        let client = client::shared(config, limits, Arc::clone(&metrics)).map_err(Error::Client)?;
        let ctx = Context {
            caches: Arc::new(Caches::new(
                client.clone(),
                &settings.namespaces,
                Arc::clone(&metrics),
            )),
            network: Network::default(),
            clock: Clock::default(),
            recorder: recorder(client.clone()),
            leadership: elector
                .as_ref()
                .map_or_else(Leadership::always, Elector::leadership),
            rollouts: Rollouts::new(settings.rollout_budget, Arc::clone(&metrics)),
            client,
            metrics,
            settings,
            shutdown,
        };
        Ok(Self { ctx, elector })
    }
}

fn recorder(client: Client) -> Recorder {
    Recorder::new(client, "hera", std::env::var("HOSTNAME").ok())
}

/// Waits for leadership, starts the controllers and keeps the Lease. Returns only when something is wrong.
async fn lead(
    ctx: &Context,
    mut elector: Option<&mut Elector>,
    prepared: Vec<(&'static str, Work)>,
    controllers: &mut JoinSet<()>,
) -> Result<(), Error> {
    let all = ctx.caches.all_ready();
    if tokio::time::timeout(WARM_UP, all).await.is_err() {
        let waiting_for = ctx.caches.unsynced().join(", ");
        tracing::warn!(
            waiting_for,
            "going on without complete caches, the controllers that need them wait"
        );
    }
    if let Some(elector) = &mut elector {
        elector.acquire().await;
    }
    for (name, work) in prepared {
        tracing::debug!(controller = name, "starting");
        controllers.spawn(work);
    }
    tokio::select! {
        error = held(elector) => Err(error),
        // A controller ends only on shutdown, or when it panics outside of a reconcile.
        _ = controllers.join_next(), if !controllers.is_empty() => Err(Error::Ended("a controller")),
    }
}

/// Keeps the Lease. Returns only when it is lost; never without leader election, or before this process leads.
async fn held(elector: Option<&mut Elector>) -> Error {
    match elector {
        Some(elector) if elector.leads() => elector.hold().await.into(),
        _ => std::future::pending().await,
    }
}

async fn drained(controllers: &mut JoinSet<()>) {
    while controllers.join_next().await.is_some() {}
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self, Error> {
        let terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
        let interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
        Ok(Self {
            terminate,
            interrupt,
        })
    }

    /// Waits for the next SIGTERM or SIGINT.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
