//! The API server's HTTP, as a service under the client of `kube`.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use futures::future::{BoxFuture, pending};
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower::BoxError;

use super::merge;
use super::store::{Key, Refused, Selection};
use crate::fault::Fate;
use crate::world::{Shared, World};

/// How long a call takes.
const LATENCY: Duration = Duration::from_millis(2);

/// The body of an answer: what is sent into a channel, until its sender is dropped or the time of the watch is over.
pub struct Chunks {
    lines: mpsc::UnboundedReceiver<Bytes>,
    end: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Poll::Ready(line) = self.lines.poll_recv(context) {
            return Poll::Ready(line.map(|bytes| Ok(Frame::data(bytes))));
        }
        match &mut self.end {
            Some(end) => end.as_mut().poll(context).map(|()| None),
            None => Poll::Pending,
        }
    }
}

/// What a request asks for.
struct Asked {
    selection: Selection,
    namespace: String,
    name: Option<String>,
    subresource: Option<String>,
    query: Vec<(String, String)>,
}

impl Asked {
    fn of<B>(request: &Request<B>) -> Option<Self> {
        let mut parts = request
            .uri()
            .path()
            .split('/')
            .filter(|p| !p.is_empty())
            .peekable();
        let group = match parts.next()? {
            "api" => String::new(),
            "apis" => parts.next()?.to_owned(),
            _ => return None,
        };
        parts.next()?;
        let mut namespace = None;
        if parts.next_if_eq(&"namespaces").is_some() {
            namespace = Some(parts.next()?.to_owned());
        }
        let plural = parts.next()?;
        let resource = if group.is_empty() {
            plural.to_owned()
        } else {
            format!("{plural}.{group}")
        };
        let query = request.uri().query().unwrap_or_default();
        let query: Vec<(String, String)> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), decoded(value)))
            .collect();
        let labels = query.iter().find(|(name, _)| name == "labelSelector");
        let labels = labels.map(|(_, text)| text.as_str()).unwrap_or_default();
        let accept = request.headers().get(http::header::ACCEPT);
        let accept = accept.and_then(|v| v.to_str().ok()).unwrap_or_default();
        Some(Self {
            selection: Selection {
                resource,
                namespace: namespace.clone(),
                labels: labels
                    .split(',')
                    .filter_map(|pair| pair.split_once('='))
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect(),
                metadata_only: accept.contains("as=PartialObjectMetadata"),
            },
            namespace: namespace.unwrap_or_default(),
            name: parts.next().map(str::to_owned),
            subresource: parts.next().map(str::to_owned),
            query,
        })
    }

    fn value(&self, name: &str) -> Option<&str> {
        let pair = self.query.iter().find(|(n, _)| n == name)?;
        Some(&pair.1)
    }

    fn key(&self) -> Key {
        (
            self.selection.resource.clone(),
            self.namespace.clone(),
            self.name.clone().unwrap_or_default(),
        )
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits: String = rest.by_ref().take(2).map(char::from).collect();
                bytes.extend(u8::from_str_radix(&digits, 16));
            }
            b'+' => bytes.push(b' '),
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Answers a request of the process with this number.
pub fn answer(
    world: Shared,
    process: u32,
    request: Request<Body>,
) -> BoxFuture<'static, Result<Response<Chunks>, BoxError>> {
    Box::pin(async move {
        tokio::time::sleep(LATENCY).await;
        let asked = Asked::of(&request);
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await?;
        if world.lock().faults.is_dead(process) {
            return pending().await;
        }
        let Some(asked) = asked else {
            return Ok(response(Err(Refused::new(404, "NotFound", "no such path"))));
        };
        if parts.method == Method::GET {
            return Ok(read(&mut world.lock(), &asked));
        }
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        // Events change nothing that counts, and are told beside the reconcile.
        if asked.selection.resource == "events.events.k8s.io" {
            return Ok(response(Ok(body_with_name(body))));
        }
        let words = format!(
            "{} {} {}{}",
            parts.method,
            asked.selection.resource,
            asked
                .name
                .clone()
                .or_else(|| body["metadata"]["name"].as_str().map(str::to_owned))
                .unwrap_or_default(),
            asked
                .subresource
                .as_ref()
                .map(|s| format!("/{s}"))
                .unwrap_or_default()
        );
        let fate = world.lock().write(words);
        match fate {
            Fate::NotSent => return pending().await,
            Fate::Reset => return Err("connection reset by peer".into()),
            Fate::Refused(code) => return Ok(refusal(code)),
            _ => {}
        }
        let content = parts.headers.get(http::header::CONTENT_TYPE);
        let content = content.and_then(|v| v.to_str().ok()).unwrap_or_default();
        let done = write(&mut world.lock(), &parts.method, content, &asked, &body);
        match fate {
            Fate::Unseen | Fate::Silent => pending().await,
            Fate::Lost => Err("connection reset by peer".into()),
            _ => Ok(response(done)),
        }
    })
}

fn read(world: &mut World, asked: &Asked) -> Response<Chunks> {
    if let Some(name) = &asked.name {
        let key = asked.key();
        let found = world.store.find(&key).cloned();
        return response(
            found.ok_or_else(|| Refused::new(404, "NotFound", format!("{name:?} not found"))),
        );
    }
    if asked.value("watch") == Some("true") {
        let version = asked.value("resourceVersion").and_then(|v| v.parse().ok());
        let lines = world
            .store
            .watch(asked.selection.clone(), version.unwrap_or_default());
        let seconds = asked.value("timeoutSeconds").and_then(|v| v.parse().ok());
        let end = tokio::time::sleep(Duration::from_secs(seconds.unwrap_or(300)));
        return Response::new(Chunks {
            lines,
            end: Some(Box::pin(end)),
        });
    }
    response(Ok(world.store.list(&asked.selection)))
}

fn write(
    world: &mut World,
    method: &Method,
    content: &str,
    asked: &Asked,
    body: &Value,
) -> Result<Value, Refused> {
    let store = &mut world.store;
    let mut key = asked.key();
    let status = asked.subresource.as_deref() == Some("status");
    match *method {
        Method::POST => {
            body["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .clone_into(&mut key.2);
            store.create(&key, body.clone())
        }
        Method::DELETE => store.delete(&key, body),
        Method::PATCH if content.contains("apply-patch") => {
            let manager = asked.value("fieldManager").unwrap_or_default();
            let force = asked.value("force") == Some("true");
            store.apply(&key, manager, force, status, body)
        }
        Method::PATCH if content.contains("merge-patch") => {
            store.change(&key, |value| merge::patch(value, body));
            let found = store.find(&key).cloned();
            found.ok_or_else(|| Refused::new(404, "NotFound", "not found"))
        }
        _ => Err(Refused::new(
            405,
            "MethodNotAllowed",
            "the simulation does not know it",
        )),
    }
}

fn refusal(code: u16) -> Response<Chunks> {
    let reason = match code {
        409 => "Conflict",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    };
    let mut response = response(Err(Refused::new(code, reason, "as planned")));
    if code == 429 {
        let seconds = http::HeaderValue::from_static("1");
        response
            .headers_mut()
            .insert(http::header::RETRY_AFTER, seconds);
    }
    response
}

fn response(result: Result<Value, Refused>) -> Response<Chunks> {
    let (code, body) = match result {
        Ok(value) => (200, value),
        Err(refused) => (refused.code, refused.status()),
    };
    let (sender, lines) = mpsc::unbounded_channel();
    let _ = sender.send(Bytes::from(body.to_string()));
    let mut response = Response::new(Chunks { lines, end: None });
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or_default();
    response
}

fn body_with_name(mut body: Value) -> Value {
    if !body["metadata"].is_object() {
        body["metadata"] = json!({});
    }
    if body["metadata"]["name"].is_null() {
        body["metadata"]["name"] = "event".into();
    }
    body
}
