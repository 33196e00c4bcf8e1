use std::convert::Infallible;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams, WatchParams},
};
use serde_json::json;
use tower::service_fn;

use super::*;

/// What a server of the tests does with a call.
#[derive(Clone, Copy)]
enum Server {
    /// Answers with an empty list.
    Answers,
    /// Never answers.
    Hangs,
    /// Sends the head of an answer and then nothing.
    HangsInBody,
}

/// A body that ends, or never does.
struct TestBody(Option<Bytes>);

impl HttpBody for TestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.as_mut() {
            None => Poll::Pending,
            Some(bytes) if bytes.is_empty() => Poll::Ready(None),
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
        }
    }
}

fn client(server: Server, calls: usize) -> (Client, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new().unwrap());
    let service = service_fn(move |request: Request<Body>| async move {
        let watch = request
            .uri()
            .query()
            .is_some_and(|query| query.contains("watch=true"));
        let body = match server {
            Server::Hangs if !watch => std::future::pending().await,
            Server::HangsInBody | Server::Hangs => TestBody(None),
            Server::Answers => TestBody(Some(Bytes::from(
                json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": []})
                    .to_string(),
            ))),
        };
        Ok::<_, Infallible>(Response::new(body))
    });
    let layer = GuardLayer::new(
        Limits {
            timeout: Duration::from_secs(10),
            calls,
        },
        Arc::clone(&metrics),
    );
    (
        ClientBuilder::new(service, "default")
            .with_layer(&layer)
            .build(),
        metrics,
    )
}

fn is_timeout(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Service(cause) if cause.is::<Elapsed>())
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_ends() {
    for server in [Server::Hangs, Server::HangsInBody] {
        let (client, metrics) = client(server, 4);
        let started = tokio::time::Instant::now();
        let api = Api::<Pod>::all(client);
        let params = ListParams::default();
        let answer = tokio::time::timeout(Duration::from_secs(3600), api.list(&params)).await;
        let error = answer.expect("an end").unwrap_err();
        assert!(is_timeout(&error), "{error:?}");
        assert_eq!(started.elapsed().as_secs(), 10);
        assert_eq!(metrics.requests_in_flight.get(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_is_not_cut_and_holds_no_slot() {
    let (client, metrics) = client(Server::Hangs, 1);
    let api = Api::<Pod>::all(client.clone());
    let mut watches = Vec::new();
    for _ in 0..3 {
        watches.push(
            api.watch(&WatchParams::default(), "0")
                .await
                .unwrap()
                .boxed(),
        );
    }
    let silence = tokio::time::timeout(Duration::from_secs(3600), watches[0].next()).await;
    assert!(silence.is_err(), "a silent watch must stay open");
    assert_eq!(metrics.requests_in_flight.get(), 0);
    let error = api.list(&ListParams::default()).await.unwrap_err();
    assert!(
        is_timeout(&error),
        "the only slot is free: the call began and ran out of time"
    );
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_than_slots() {
    let (client, metrics) = client(Server::Hangs, 2);
    let api = Api::<Pod>::all(client);
    let calls = (0..4).map(|_| {
        let api = api.clone();
        tokio::spawn(async move { api.list(&ListParams::default()).await.map(|_| ()) })
    });
    let calls: Vec<_> = calls.collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(metrics.requests_in_flight.get(), 2);
    let started = tokio::time::Instant::now();
    for call in calls {
        assert!(is_timeout(&call.await.unwrap().unwrap_err()));
    }
    assert_eq!(
        started.elapsed().as_secs(),
        19,
        "the second pair began when the first ended"
    );
}

#[tokio::test]
async fn calls_are_counted() {
    let (client, metrics) = client(Server::Answers, 4);
    Api::<Pod>::all(client.clone())
        .list(&ListParams::default())
        .await
        .unwrap();
    let patch = Patch::Apply(json!({"metadata": {"name": "a"}}));
    // The answer is no ConfigMap: the call counts all the same.
    let _ = Api::<ConfigMap>::namespaced(client, "ns")
        .patch("a", &PatchParams::apply("test"), &patch)
        .await;
    let text = metrics.text().unwrap();
    for line in [
        r#"rest_client_requests_total{code="200",method="GET",resource="pods",verb="list"} 1"#,
        r#"rest_client_requests_total{code="200",method="PATCH",resource="configmaps",verb="apply"} 1"#,
        r#"hera_api_writes_total{resource="configmaps",verb="apply"} 1"#,
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}

#[test]
fn paths_become_bounded_labels() {
    for (path, expected, named) in [
        ("/api/v1/pods", "pods", false),
        ("/api/v1/namespaces/a/pods", "pods", false),
        ("/api/v1/namespaces/a/pods/b", "pods", true),
        ("/api/v1/namespaces/a/pods/b/status", "pods/status", true),
        ("/api/v1/namespaces", "namespaces", false),
        ("/api/v1/namespaces/a", "namespaces", true),
        ("/api/v1/namespaces/a/status", "namespaces/status", true),
        (
            "/apis/apps/v1/namespaces/a/statefulsets/b",
            "statefulsets.apps",
            true,
        ),
        (
            "/apis/redis.hera.dev/v1alpha1/redises",
            "redises.redis.hera.dev",
            false,
        ),
        (
            "/apis/redis.hera.dev/v1alpha1/namespaces/a/redises/b/status",
            "redises.redis.hera.dev/status",
            true,
        ),
        ("/version", "none", false),
        ("/apis", "none", false),
    ] {
        assert_eq!(resource(path), (expected.to_owned(), named), "{path}");
    }
}

#[test]
fn the_lease_is_not_a_write() {
    let call = |method, path| {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(())
            .unwrap();
        Call::of(&request)
    };
    assert!(
        !call(
            Method::PUT,
            "/apis/coordination.k8s.io/v1/namespaces/a/leases/hera"
        )
        .writes()
    );
    assert!(!call(Method::GET, "/api/v1/pods").writes());
    assert!(call(Method::DELETE, "/api/v1/namespaces/a/pods/b").writes());
    assert_eq!(
        call(Method::DELETE, "/api/v1/namespaces/a/pods").verb,
        "deletecollection"
    );
}
