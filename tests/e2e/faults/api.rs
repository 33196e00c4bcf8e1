//! Faults of the API server: a layer of the client at which writes and watches go wrong.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, pending};
use http::{Method, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use kube::client::Body;
use serde_json::json;
use tokio::time::Sleep;
use tower::{BoxError, Layer, Service};

use super::fault::Fate;
use super::hera::Shared;

/// The layer of the client of one process.
#[derive(Clone)]
pub struct Faults {
    pub shared: Shared,
    pub process: u32,
}

impl<Inner> Layer<Inner> for Faults {
    type Service = Faulty<Inner>;

    fn layer(&self, inner: Inner) -> Faulty<Inner> {
        Faulty {
            inner,
            faults: self.clone(),
        }
    }
}

/// The service of [`Faults`].
pub struct Faulty<Inner> {
    inner: Inner,
    faults: Faults,
}

impl<Inner, Answer> Service<Request<Body>> for Faulty<Inner>
where
    Inner: Service<Request<Body>, Response = Response<Answer>, Error = BoxError>,
    Inner::Future: Send + 'static,
    Answer: HttpBody<Data = Bytes, Error = BoxError> + Unpin + Send + 'static,
{
    type Response = Response<FaultyBody<Answer>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Faults { shared, process } = self.faults.clone();
        let (resource, name) = target(request.uri().path());
        // Events change nothing that counts.
        let writes = request.method() != Method::GET && resource != "events.events.k8s.io";
        let fate = if shared.is_dead(process) {
            Fate::NotSent
        } else if writes {
            shared.write(&format!("{} {resource} {name}", request.method()))
        } else {
            Fate::Done
        };
        match fate {
            Fate::NotSent => return pending().boxed(),
            Fate::Reset => return async { Err("connection reset by peer".into()) }.boxed(),
            Fate::Refused(code) => return async move { Ok(refusal(code)) }.boxed(),
            _ => {}
        }
        let query = request.uri().query().unwrap_or_default();
        let watched = query.contains("watch=true").then_some(resource);
        let answer = self.inner.call(request);
        async move {
            let answer = answer.await;
            match fate {
                Fate::Unseen | Fate::Silent => pending().await,
                Fate::Lost => Err("connection reset by peer".into()),
                _ => Ok(answer?.map(|inner| FaultyBody {
                    inner: Some(inner),
                    words: None,
                    watched: watched.map(|resource| (shared, resource)),
                    still: None,
                })),
            }
        }
        .boxed()
    }
}

/// The resource of a path, and the name with the subresource.
fn target(path: &str) -> (String, String) {
    let mut parts = path.split('/').filter(|p| !p.is_empty()).peekable();
    let group = match parts.next() {
        Some("apis") => parts.next(),
        _ => None,
    };
    parts.next();
    if parts.next_if_eq(&"namespaces").is_some() {
        parts.next();
    }
    let plural = parts.next().unwrap_or_default();
    let resource = group.map_or_else(|| plural.to_owned(), |group| format!("{plural}.{group}"));
    (resource, parts.collect::<Vec<_>>().join("/"))
}

fn status(code: u16, reason: &str) -> serde_json::Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": "as planned"})
}

fn refusal<Answer>(code: u16) -> Response<FaultyBody<Answer>> {
    let reason = if code == 409 {
        "Conflict"
    } else {
        "InternalError"
    };
    let mut response = Response::new(FaultyBody {
        inner: None,
        words: Some(status(code, reason).to_string()),
        watched: None,
        still: None,
    });
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or_default();
    response
}

/// The body of an answer. That of a watch can stand still for a while, and end then.
pub struct FaultyBody<Inner> {
    inner: Option<Inner>,
    /// Told once before the end.
    words: Option<String>,
    watched: Option<(Shared, String)>,
    still: Option<(Pin<Box<Sleep>>, bool)>,
}

impl<Inner> FaultyBody<Inner> {
    /// How long the watch stands still from now on, and whether it ends then.
    fn frozen(&self) -> Option<(Duration, bool)> {
        let (shared, resource) = self.watched.as_ref()?;
        shared.frozen(resource)
    }
}

impl<Inner> HttpBody for FaultyBody<Inner>
where
    Inner: HttpBody<Data = Bytes, Error = BoxError> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.still.is_none()
            && let Some((time, ends)) = self.frozen()
        {
            self.still = Some((Box::pin(tokio::time::sleep(time)), ends));
        }
        if let Some((time, ends)) = &mut self.still {
            let ends = *ends;
            ready!(time.as_mut().poll(context));
            self.still = None;
            if ends {
                let end = json!({"type": "ERROR", "object": status(410, "Expired")});
                self.inner = None;
                self.words = Some(format!("{end}\n"));
            }
        }
        if let Some(words) = self.words.take() {
            return Poll::Ready(Some(Ok(Frame::data(words.into()))));
        }
        match &mut self.inner {
            Some(inner) => Pin::new(inner).poll_frame(context),
            None => Poll::Ready(None),
        }
    }
}
