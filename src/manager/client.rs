//! The one client stack of the process.
//!
//! Around kube's own stack lies one layer that gives every call that is not a watch a time limit (kube has none for
//! reading an answer), bounds how many such calls are under way, and counts all. The time limit covers the body
//! of the answer. A watch holds no slot and lives as long as it likes; only its start is limited.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use axum::body::Bytes;
use futures::{FutureExt, future::BoxFuture};
use http::{Method, Request, Response, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Sleep,
};
use tower::{BoxError, Layer, Service, timeout::error::Elapsed};

use super::metrics::Metrics;

/// How long the API server may take to begin a watch: it may have to fill its own cache first.
const WATCH_START: Duration = Duration::from_secs(30);

/// The client of the process, from kubeconfig or from the service account of the pod.
///
/// Answers that ask to come again (429, 503, 504) are tried again by kube within the time limit of the call.
///
/// # Errors
/// When the configuration cannot be used, for example because of a bad certificate.
pub fn shared(config: Config, limits: Limits, metrics: Arc<Metrics>) -> kube::Result<Client> {
    build(config, limits, metrics)
}

/// A client for the Lease alone: without retries, because election decides itself when to try again, and with a
/// connection and slots of its own, so that many reconciles never delay a renewal.
///
/// # Errors
/// See [`shared`].
pub fn for_lease(
    mut config: Config,
    timeout: Duration,
    metrics: Arc<Metrics>,
) -> kube::Result<Client> {
    config.default_retry = false;
    build(config, Limits { timeout, calls: 2 }, metrics)
}

fn build(mut config: Config, limits: Limits, metrics: Arc<Metrics>) -> kube::Result<Client> {
    config.connect_timeout = Some(limits.timeout);
    let layer = GuardLayer::new(limits, metrics);
    Ok(ClientBuilder::try_from(config)?.with_layer(&layer).build())
}

/// Limits of a client.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Time limit of one call from its start to the end of the answer. A call over it fails with
    /// [`tower::timeout::error::Elapsed`] as its cause. Time spent waiting for a slot is not counted.
    pub timeout: Duration,
    /// Calls under way at the same time, watches not counted.
    pub calls: usize,
}

/// The layer with the limits and the metrics.
#[derive(Debug, Clone)]
pub struct GuardLayer {
    timeout: Duration,
    slots: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl GuardLayer {
    /// A layer whose slots are shared by all services that it wraps.
    pub fn new(limits: Limits, metrics: Arc<Metrics>) -> Self {
        Self {
            timeout: limits.timeout,
            slots: Arc::new(Semaphore::new(limits.calls)),
            metrics,
        }
    }
}

impl<Inner> Layer<Inner> for GuardLayer {
    type Service = Guard<Inner>;

    fn layer(&self, inner: Inner) -> Guard<Inner> {
        Guard {
            inner,
            settings: self.clone(),
        }
    }
}

/// The service of [`GuardLayer`].
#[derive(Debug, Clone)]
pub struct Guard<Inner> {
    inner: Inner,
    settings: GuardLayer,
}

impl<Inner, Answer> Service<Request<Body>> for Guard<Inner>
where
    Inner: Service<Request<Body>, Response = Response<Answer>>,
    Inner::Future: Send + 'static,
    Inner::Error: Into<BoxError>,
    Answer: HttpBody<Data = Bytes> + Unpin + Send + 'static,
    Answer::Error: Into<BoxError>,
{
    type Response = Response<GuardedBody<Answer>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let call = Call::of(&request);
        let GuardLayer {
            timeout,
            slots,
            metrics,
        } = self.settings.clone();
        // Nothing is sent before the future is polled: it waits for a slot first.
        let answer = self.inner.call(request);
        async move {
            let watch = call.verb == "watch";
            let slot = if watch {
                None
            } else {
                Some(Slot::take(slots, &metrics).await?)
            };
            let limit = if watch { WATCH_START } else { timeout };
            let started = Instant::now();
            let deadline = tokio::time::Instant::now() + limit;
            let answer = tokio::time::timeout_at(deadline, answer).await;
            let code = match &answer {
                Ok(Ok(response)) => response.status().as_u16().to_string(),
                Ok(Err(_)) => "error".to_owned(),
                Err(_) => "timeout".to_owned(),
            };
            metrics
                .requests
                .with_label_values(&[&code, call.method, call.verb, &call.resource])
                .inc();
            if !watch {
                metrics
                    .request_seconds
                    .with_label_values(&[call.verb])
                    .observe(started.elapsed().as_secs_f64());
            }
            if call.writes() {
                metrics
                    .api_writes
                    .with_label_values(&[call.verb, &call.resource])
                    .inc();
            }
            let response = answer.map_err(|_| Elapsed::new())?.map_err(Into::into)?;
            let seen = if watch {
                Some((metrics, call.resource))
            } else {
                None
            };
            if let Some((metrics, resource)) = &seen {
                metrics.watch_seen(resource);
            }
            let deadline = (!watch).then(|| Box::pin(tokio::time::sleep_until(deadline)));
            Ok(response.map(|inner| GuardedBody {
                inner,
                deadline,
                seen,
                _slot: slot,
            }))
        }
        .boxed()
    }
}

/// A slot for a call that is not a watch, held until its answer was read.
#[derive(Debug)]
struct Slot {
    metrics: Arc<Metrics>,
    _permit: OwnedSemaphorePermit,
}

impl Slot {
    async fn take(slots: Arc<Semaphore>, metrics: &Arc<Metrics>) -> Result<Self, BoxError> {
        let permit = slots.acquire_owned().await?;
        metrics.requests_in_flight.inc();
        Ok(Self {
            metrics: Arc::clone(metrics),
            _permit: permit,
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.metrics.requests_in_flight.dec();
    }
}

/// The body of an answer: fails when the time of its call is over; for a watch, notes when something came.
#[derive(Debug)]
pub struct GuardedBody<Inner> {
    inner: Inner,
    deadline: Option<Pin<Box<Sleep>>>,
    seen: Option<(Arc<Metrics>, String)>,
    _slot: Option<Slot>,
}

impl<Inner> HttpBody for GuardedBody<Inner>
where
    Inner: HttpBody<Data = Bytes> + Unpin,
    Inner::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) {
            if let (Some((metrics, resource)), Some(Ok(_))) = (&this.seen, &frame) {
                metrics.watch_seen(resource);
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        match &mut this.deadline {
            Some(deadline) => {
                ready!(deadline.as_mut().poll(context));
                Poll::Ready(Some(Err(Elapsed::new().into())))
            }
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What a request asks for, in words of a bounded set.
#[derive(Debug, PartialEq, Eq)]
struct Call {
    method: &'static str,
    verb: &'static str,
    resource: String,
}

impl Call {
    fn of<B>(request: &Request<B>) -> Self {
        let content = |name| {
            request
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        let query = request.uri().query().unwrap_or_default();
        let watch = query
            .split('&')
            .any(|pair| pair == "watch=true" || pair == "watch=1");
        let (resource, named) = resource(request.uri().path());
        let (method, verb) = match *request.method() {
            Method::GET if watch => ("GET", "watch"),
            Method::GET if named => ("GET", "get"),
            Method::GET => ("GET", "list"),
            Method::POST => ("POST", "create"),
            Method::PUT => ("PUT", "update"),
            Method::PATCH if content(header::CONTENT_TYPE).contains("apply-patch") => {
                ("PATCH", "apply")
            }
            Method::PATCH => ("PATCH", "patch"),
            Method::DELETE if named => ("DELETE", "delete"),
            Method::DELETE => ("DELETE", "deletecollection"),
            _ => ("other", "other"),
        };
        let part = if content(header::ACCEPT).contains("as=PartialObjectMetadata") {
            "/metadata"
        } else {
            ""
        };
        Self {
            method,
            verb,
            resource: resource + part,
        }
    }

    /// Whether the call changes something that counts: the renewal of the Lease goes on at rest as well.
    fn writes(&self) -> bool {
        self.method != "GET" && !self.resource.starts_with("leases.")
    }
}

/// The resource of a path (`pods`, `redises.redis.hera.dev/status`) and whether the path names one object.
/// See <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris>.
fn resource(path: &str) -> (String, bool) {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    let group = match segments.next() {
        Some("api") => "",
        Some("apis") => segments.next().unwrap_or_default(),
        _ => return ("none".to_owned(), false),
    };
    let mut rest: Vec<&str> = segments.skip(1).collect();
    if rest.first() == Some(&"namespaces")
        && rest.len() > 2
        && !matches!(rest[2], "status" | "finalize")
    {
        rest.drain(..2);
    }
    let Some(plural) = rest.first() else {
        return ("none".to_owned(), false);
    };
    let mut resource = (*plural).to_owned();
    if !group.is_empty() {
        resource = format!("{resource}.{group}");
    }
    if let Some(subresource) = rest.get(2) {
        resource = format!("{resource}/{subresource}");
    }
    (resource, rest.len() > 1)
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
