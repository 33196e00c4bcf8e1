//! The runner: drives one [`Controller`] over the objects of its kind.
//!
//! The queue, its de-duplication and its delays are `kube_runtime`'s ([`applier`]), which never reconciles one object
//! twice at once. Around each reconcile the runner puts what that leaves out: a deadline, a net for panics, backoff for
//! each object, metrics and one tracing span.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    error::Error as StdError,
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt, Stream, StreamExt, future::BoxFuture};
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Resource,
    runtime::{
        applier,
        controller::{Action, Config, Error as ApplierError},
        reflector::ObjectRef,
    },
};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use super::{
    Context,
    backoff::{self, Backoff},
    caches::Kind,
    telemetry::panic_message,
};

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Try again soon, later each time: the cause may go away by itself.
    Backoff,
    /// Wait until something changes (or the resync interval is over): the user has to act.
    OnChange,
}

/// An error of a reconcile.
pub trait ReconcileError: StdError + Send + Sync + 'static {
    /// The reason as a constant in CamelCase: label of a metric, so one of a bounded set.
    fn reason(&self) -> &'static str;

    /// What to do about it.
    fn retry(&self) -> Retry {
        Retry::Backoff
    }
}

/// One operator: brings the world to what objects of its kind ask for.
pub trait Controller: Send + Sync + 'static {
    /// The name of the operator, as in `--controllers` and in metrics.
    const NAME: &'static str;
    /// The kind that is reconciled.
    type Kind: Kind + Resource<Scope = NamespaceResourceScope>;
    /// What can go wrong.
    type Error: ReconcileError;

    /// Takes the next step for `object`, as last seen by the cache. Returns when to look again at the latest; the
    /// runner varies it by 10 % and caps it at the resync interval. A result of zero means at once.
    fn reconcile(
        &self,
        object: Arc<Self::Kind>,
    ) -> impl Future<Output = Result<Duration, Self::Error>> + Send;

    /// Called when an object is gone, also when another of the same name took its place: drops what is
    /// remembered of it. No reconcile of the object runs at that time.
    fn forget(&self, _object: &ObjectRef<Self::Kind>) {}
}

/// Runs `controller` until shutdown, then waits for the reconciles under way.
///
/// Reconciles start when all caches that `ctx` was asked for are complete. Objects of the kind itself trigger by themselves;
/// `triggers` adds those that other objects concern (see [`super::caches::Cache::owners`]).
pub async fn run<C: Controller>(
    ctx: Context,
    controller: Arc<C>,
    triggers: impl Stream<Item = ObjectRef<C::Kind>> + Send + 'static,
) {
    let cache = ctx.caches.all::<C::Kind>();
    tokio::select! {
        () = ctx.caches.ready() => {}
        () = ctx.shutdown.cancelled() => return,
    }
    let concurrency = ctx.settings.concurrency.of(C::NAME);
    ctx.metrics.prepare(C::NAME);
    ctx.metrics
        .max_workers
        .with_label_values(&[C::NAME])
        .set(i64::from(concurrency));
    tracing::info!(
        controller = C::NAME,
        concurrency,
        objects = cache.store().len(),
        "controller starts"
    );

    let shutdown = ctx.shutdown.clone();
    let runner = Arc::new(Runner::new(ctx, controller));
    let queued = Arc::clone(&runner);
    // A deleted object is queued as well: the applier does not find it, which is when it is forgotten.
    let own = cache.triggers(|object| [ObjectRef::from_obj(object)]);
    let queue = futures::stream::select(own, triggers)
        .map(move |object| {
            queued.enqueued(&object);
            Ok::<_, Infallible>(object)
        })
        .take_until(shutdown.cancelled_owned());
    let reconcile = |object, runner: Arc<Runner<C>>| runner.reconcile(object);
    let results = applier(
        reconcile,
        |_, failure: &Failure, _| Action::requeue(failure.retry_after),
        Arc::clone(&runner),
        cache.store(),
        queue,
        Config::default().concurrency(concurrency),
    );
    results
        .for_each(|result| {
            if let Err(ApplierError::ObjectNotFound(gone)) = result {
                runner.gone(&gone.into_kind_unchecked(()));
            }
            std::future::ready(())
        })
        .await;
    tracing::info!(controller = C::NAME, "controller stopped");
}

/// A failed reconcile, after it was logged and counted.
#[derive(Debug)]
struct Failure {
    retry_after: Duration,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "reconcile failed, next try in {:?}",
            self.retry_after
        )
    }
}

impl StdError for Failure {}

/// How a reconcile ended that did not succeed.
enum Problem<E> {
    Error(E),
    Deadline,
    Panic(String),
}

impl<E: ReconcileError> Problem<E> {
    fn reason(&self) -> &'static str {
        match self {
            Self::Error(error) => error.reason(),
            Self::Deadline => "DeadlineExceeded",
            Self::Panic(_) => "Panic",
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Error(error) => error.retry(),
            Self::Deadline | Self::Panic(_) => Retry::Backoff,
        }
    }

    fn message(&self, deadline: Duration) -> String {
        match self {
            Self::Error(error) => with_sources(error),
            Self::Deadline => format!("not done within {deadline:?}"),
            Self::Panic(message) => format!("panicked: {message}"),
        }
    }
}

struct Runner<C: Controller> {
    ctx: Context,
    controller: Arc<C>,
    backoff: Mutex<Backoff<ObjectRef<C::Kind>>>,
    queued: Mutex<HashSet<ObjectRef<C::Kind>>>,
    /// UIDs of the objects that were reconciled, to notice that another object took the name.
    seen: Mutex<HashMap<ObjectRef<C::Kind>, Option<String>>>,
}

impl<C: Controller> Runner<C> {
    fn new(ctx: Context, controller: Arc<C>) -> Self {
        Self {
            ctx,
            controller,
            backoff: Mutex::default(),
            queued: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    fn enqueued(&self, object: &ObjectRef<C::Kind>) {
        self.change_queue(|queued| queued.insert(object.clone()));
    }

    fn change_queue(&self, change: impl FnOnce(&mut HashSet<ObjectRef<C::Kind>>) -> bool) {
        let mut queued = self.queued.lock().unwrap_or_else(PoisonError::into_inner);
        if change(&mut queued) {
            let depth = i64::try_from(queued.len()).unwrap_or(i64::MAX);
            self.ctx
                .metrics
                .queue_depth
                .with_label_values(&[C::NAME])
                .set(depth);
        }
    }

    fn change_backoff<T>(&self, change: impl FnOnce(&mut Backoff<ObjectRef<C::Kind>>) -> T) -> T {
        let mut backoff = self.backoff.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut backoff);
        let count = i64::try_from(backoff.len()).unwrap_or(i64::MAX);
        self.ctx
            .metrics
            .in_backoff
            .with_label_values(&[C::NAME])
            .set(count);
        result
    }

    fn gone(&self, object: &ObjectRef<C::Kind>) {
        self.change_queue(|queued| queued.remove(object));
        self.change_backoff(|backoff| backoff.reset(object));
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(object);
        self.controller.forget(object);
    }

    /// Forgets the earlier object when another took its name.
    fn notice(&self, reference: &ObjectRef<C::Kind>, uid: Option<&str>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = seen.insert(reference.clone(), uid.map(ToOwned::to_owned));
        drop(seen);
        if before.is_some_and(|before| before.as_deref() != uid) {
            self.change_backoff(|backoff| backoff.reset(reference));
            self.controller.forget(reference);
        }
    }

    fn reconcile(
        self: Arc<Self>,
        object: Arc<C::Kind>,
    ) -> BoxFuture<'static, Result<Action, Failure>> {
        async move {
            let reference = ObjectRef::from_obj(object.as_ref());
            self.change_queue(|queued| queued.remove(&reference));
            self.notice(&reference, object.meta().uid.as_deref());
            let generation = object.meta().generation.unwrap_or_default();
            let span = tracing::info_span!(
                parent: None,
                "reconcile",
                controller = C::NAME,
                kind = %C::Kind::kind(&()),
                namespace = reference.namespace.as_deref().unwrap_or_default(),
                // Not `name`: in JSON that is the name of the span.
                object = reference.name,
                generation,
            );
            let work = Arc::clone(&self).attempt(object, reference, generation);
            work.instrument(span).await
        }
        .boxed()
    }

    async fn attempt(
        self: Arc<Self>,
        object: Arc<C::Kind>,
        reference: ObjectRef<C::Kind>,
        generation: i64,
    ) -> Result<Action, Failure> {
        let resync = self.ctx.settings.resync_interval.get();
        if !self.ctx.leadership.is_leader() {
            // The process is about to end.
            return Ok(Action::requeue(resync));
        }
        let started = tokio::time::Instant::now();
        let outcome = self.guarded(object).await;
        let took = started.elapsed();
        let metrics = &self.ctx.metrics;
        let problem = match outcome {
            Ok(requeue) => {
                self.change_backoff(|backoff| backoff.reset(&reference));
                let result = if requeue < resync {
                    "requeue_after"
                } else {
                    "success"
                };
                metrics.reconciled(C::NAME, result, took);
                let requeue = backoff::jittered(requeue.min(resync), rand::random());
                tracing::debug!(?took, ?requeue, "reconciled");
                return Ok(Action::requeue(requeue));
            }
            Err(problem) => problem,
        };
        metrics.reconciled(C::NAME, "error", took);
        metrics.reconcile_errors.with_label_values(&[C::NAME]).inc();
        metrics
            .reconcile_reasons
            .with_label_values(&[C::NAME, problem.reason()])
            .inc();
        match problem {
            Problem::Panic(_) => metrics.reconcile_panics.with_label_values(&[C::NAME]).inc(),
            Problem::Deadline => metrics
                .reconcile_timeouts
                .with_label_values(&[C::NAME])
                .inc(),
            Problem::Error(_) => {}
        }
        let retry_after = match problem.retry() {
            Retry::Backoff => {
                self.change_backoff(|backoff| backoff.failed(reference, generation, rand::random()))
            }
            Retry::OnChange => {
                self.change_backoff(|backoff| backoff.reset(&reference));
                backoff::jittered(resync, rand::random())
            }
        };
        let error = problem.message(self.ctx.settings.reconcile_deadline.get());
        tracing::warn!(
            reason = problem.reason(),
            error,
            ?took,
            ?retry_after,
            "reconcile failed"
        );
        Err(Failure { retry_after })
    }

    /// The reconcile itself, in a task of its own: a panic ends that task and nothing else, and a
    /// reconcile that is given up is aborted.
    async fn guarded(&self, object: Arc<C::Kind>) -> Result<Duration, Problem<C::Error>> {
        let workers = self
            .ctx
            .metrics
            .active_workers
            .with_label_values(&[C::NAME]);
        workers.inc();
        let controller = Arc::clone(&self.controller);
        let deadline = self.ctx.settings.reconcile_deadline.get();
        let work =
            async move { tokio::time::timeout(deadline, controller.reconcile(object)).await };
        let task = AbortOnDropHandle::new(tokio::spawn(work.in_current_span()));
        let result = task.await;
        workers.dec();
        match result {
            Ok(Ok(result)) => result.map_err(Problem::Error),
            Ok(Err(_elapsed)) => Err(Problem::Deadline),
            Err(error) => Err(Problem::Panic(match error.try_into_panic() {
                Ok(payload) => panic_message(payload.as_ref()).to_owned(),
                Err(error) => error.to_string(),
            })),
        }
    }
}

/// The error and its causes in one line.
fn with_sources(error: &dyn StdError) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        // Many errors repeat their cause in their own text.
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        source = cause.source();
    }
    line
}

#[cfg(test)]
#[path = "controller_tests.rs"]
mod tests;
