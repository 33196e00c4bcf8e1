//! An API server of the tests: lists and watches of ConfigMaps from memory, nothing else.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use axum::body::Bytes;
use http::{Request, Response};
use http_body::Frame;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower::service_fn;

/// A body made of what is sent into a channel; ends when the sender is dropped.
pub struct Chunks(mpsc::UnboundedReceiver<Bytes>);

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(context)
            .map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[derive(Default)]
struct State {
    objects: BTreeMap<(String, String), ConfigMap>,
    version: u64,
    watches: Vec<mpsc::UnboundedSender<Bytes>>,
    /// Requests so far, as method and URI.
    requests: Vec<String>,
    /// Answer of every list, when it is to fail.
    list_status: Option<u16>,
}

/// The server. Cloning shares its objects.
#[derive(Clone, Default)]
pub struct FakeApi(Arc<Mutex<State>>);

impl FakeApi {
    pub fn client(&self) -> Client {
        let api = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let response = api.answer(&request);
            async move { Ok::<_, Infallible>(response) }
        });
        Client::new(service, "default")
    }

    pub fn requests(&self) -> Vec<String> {
        self.0.lock().unwrap().requests.clone()
    }

    /// Lists fail with this status from now on.
    pub fn fail_lists(&self, status: Option<u16>) {
        self.0.lock().unwrap().list_status = status;
    }

    /// Creates or changes an object and tells the watches.
    pub fn put(&self, namespace: &str, name: &str, change: impl FnOnce(&mut ConfigMap)) {
        let mut state = self.0.lock().unwrap();
        state.version += 1;
        let version = state.version.to_string();
        let key = (namespace.to_owned(), name.to_owned());
        let known = state.objects.contains_key(&key);
        let object = state.objects.entry(key).or_default();
        if !known {
            object.metadata.namespace = Some(namespace.to_owned());
            object.metadata.name = Some(name.to_owned());
            object.metadata.uid = Some(format!("uid-{version}"));
            object.metadata.generation = Some(1);
        }
        change(object);
        object.metadata.resource_version = Some(version);
        let event =
            json!({ "type": if known { "MODIFIED" } else { "ADDED" }, "object": typed(object) });
        state.tell(&event);
    }

    /// Deletes an object and tells the watches.
    pub fn delete(&self, namespace: &str, name: &str) {
        let mut state = self.0.lock().unwrap();
        if let Some(object) = state
            .objects
            .remove(&(namespace.to_owned(), name.to_owned()))
        {
            let event = json!({ "type": "DELETED", "object": typed(&object) });
            state.tell(&event);
        }
    }

    /// Deletes an object without a word, as when a watch is broken, and ends the watches so that everybody lists again.
    pub fn delete_unseen_and_break(&self, namespace: &str, name: &str) {
        let mut state = self.0.lock().unwrap();
        state
            .objects
            .remove(&(namespace.to_owned(), name.to_owned()));
        let gone = json!({
            "type": "ERROR",
            "object": { "kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old" },
        });
        state.tell(&gone);
        state.watches.clear();
    }

    fn answer(&self, request: &Request<Body>) -> Response<Chunks> {
        let mut state = self.0.lock().unwrap();
        state
            .requests
            .push(format!("{} {}", request.method(), request.uri()));
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut status = 200;
        if request
            .uri()
            .query()
            .unwrap_or_default()
            .contains("watch=true")
        {
            state.watches.push(sender);
        } else {
            let answer = if let Some(code) = state.list_status {
                status = code;
                json!({ "kind": "Status", "status": "Failure", "code": code, "reason": "Failed", "message": "as told" })
            } else {
                let namespace = request
                    .uri()
                    .path()
                    .split('/')
                    .skip_while(|part| *part != "namespaces")
                    .nth(1);
                let objects = state.objects.iter();
                let items =
                    objects.filter(|(key, _)| namespace.is_none_or(|namespace| key.0 == namespace));
                let items: Vec<Value> = items.map(|(_, object)| typed(object)).collect();
                let version = state.version.to_string();
                json!({ "kind": "ConfigMapList", "apiVersion": "v1", "metadata": { "resourceVersion": version }, "items": items })
            };
            let _ = sender.send(Bytes::from(answer.to_string()));
        }
        let mut response = Response::new(Chunks(receiver));
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        response
    }
}

impl State {
    fn tell(&mut self, event: &Value) {
        let line = Bytes::from(format!("{event}\n"));
        self.watches
            .retain(|watch| watch.send(line.clone()).is_ok());
    }
}

fn typed(object: &ConfigMap) -> Value {
    serde_json::to_value(object).unwrap()
}
