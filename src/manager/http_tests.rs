use axum::{body::Body, extract::connect_info::MockConnectInfo, http::Request};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use tower::ServiceExt as _;

use super::*;

fn exposed() -> Exposed {
    Exposed {
        metrics: Arc::new(Metrics::new().unwrap()),
        caches: Arc::default(),
        shutdown: CancellationToken::new(),
        log_filter: LogFilter::detached("info"),
    }
}

async fn call(
    exposed: &Exposed,
    peer: &str,
    method: &str,
    path: &str,
    body: &str,
) -> (u16, String) {
    let peer: SocketAddr = peer.parse().unwrap();
    let service = router(exposed.clone()).layer(MockConnectInfo(peer));
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Body::from(body.to_owned()))
        .unwrap();
    let response = service.oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

async fn get(exposed: &Exposed, path: &str) -> (u16, String) {
    call(exposed, "10.0.0.1:5000", "GET", path, "").await
}

#[tokio::test]
async fn health_version_and_metrics() {
    let exposed = exposed();
    assert_eq!(get(&exposed, "/healthz").await.0, 200);
    assert!(get(&exposed, "/version").await.1.contains(crate::VERSION));
    let (status, text) = get(&exposed, "/metrics").await;
    assert_eq!(status, 200);
    assert!(
        text.contains("hera_build_info{version=")
            && text.contains("process_resident_memory_bytes ")
    );
    assert_eq!(get(&exposed, "/").await.0, 404);
}

#[tokio::test]
async fn ready_when_the_caches_are_complete_and_until_shutdown() {
    let exposed = exposed();
    assert_eq!(
        get(&exposed, "/readyz").await,
        (503, "starting\n".to_owned())
    );
    let (service, _handle) =
        tower_test::mock::pair::<Request<kube::client::Body>, Response<kube::client::Body>>();
    let caches = Arc::new(Caches::new(
        Client::new(service, "default"),
        &[],
        Arc::clone(&exposed.metrics),
    ));
    exposed.caches.set(Arc::clone(&caches)).unwrap();
    assert_eq!(get(&exposed, "/readyz").await.0, 200, "nothing is watched");
    let _pods = caches.owned::<Pod>();
    assert_eq!(
        get(&exposed, "/readyz").await,
        (503, "caches not synced: pods\n".to_owned())
    );
    exposed.shutdown.cancel();
    assert_eq!(
        get(&exposed, "/readyz").await,
        (503, "shutting down\n".to_owned())
    );
}

#[tokio::test]
async fn the_log_filter_is_for_loopback_only() {
    let exposed = exposed();
    for peer in ["10.0.0.1:5000", "[2001:db8::1]:5000"] {
        assert_eq!(
            call(&exposed, peer, "PUT", "/log-filter", "debug").await.0,
            403
        );
        assert_eq!(call(&exposed, peer, "GET", "/log-filter", "").await.0, 403);
    }
    assert_eq!(exposed.log_filter.get(), "info");
    for (peer, filter) in [
        ("127.0.0.1:5000", "debug"),
        ("[::1]:5000", "warn"),
        ("[::ffff:127.0.0.1]:5000", "trace"),
    ] {
        assert_eq!(
            call(&exposed, peer, "PUT", "/log-filter", filter).await.0,
            200
        );
        assert_eq!(exposed.log_filter.get(), filter);
    }
    let (status, body) = call(&exposed, "127.0.0.1:5000", "PUT", "/log-filter", "a=b=c").await;
    assert_eq!(status, 400, "{body}");
    assert_eq!(exposed.log_filter.get(), "trace");
}
