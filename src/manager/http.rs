//! The HTTP server: health, readiness, metrics, version, and the filter of the log.
//!
//! It is up before anything else. Readiness does not depend on leadership: a standby with warm caches is ready.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, OnceLock},
};

use axum::{
    Router,
    extract::{ConnectInfo, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{caches::Caches, metrics::Metrics, telemetry::LogFilter};

/// What the server shows.
#[derive(Debug, Clone)]
pub struct Exposed {
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The caches, as soon as all watches are known.
    pub caches: Arc<OnceLock<Arc<Caches>>>,
    /// Cancelled when the process is about to end.
    pub shutdown: CancellationToken,
    /// The filter of the log.
    pub log_filter: LogFilter,
}

/// Opens the port. Where there is no IPv6, `[::]` becomes `0.0.0.0`.
///
/// # Errors
/// When the address cannot be used, for example because it is taken.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error)
            if address.ip() == Ipv6Addr::UNSPECIFIED
                && error.kind() != std::io::ErrorKind::AddrInUse =>
        {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        result => result,
    }
}

/// Serves until the process ends.
///
/// # Errors
/// When the port can no longer be listened on.
pub async fn serve(listener: TcpListener, exposed: Exposed) -> std::io::Result<()> {
    let service = router(exposed).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).await
}

fn router(exposed: Exposed) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/version", get(version))
        .route("/log-filter", get(log_filter).put(set_log_filter))
        .with_state(exposed)
}

async fn readyz(State(exposed): State<Exposed>) -> Response {
    let problem = if exposed.shutdown.is_cancelled() {
        Some("shutting down".to_owned())
    } else {
        match exposed.caches.get() {
            None => Some("starting".to_owned()),
            Some(caches) => {
                let unsynced = caches.unsynced();
                (!unsynced.is_empty())
                    .then(|| format!("caches not synced: {}", unsynced.join(", ")))
            }
        }
    };
    match problem {
        None => "ok\n".into_response(),
        Some(problem) => (StatusCode::SERVICE_UNAVAILABLE, problem + "\n").into_response(),
    }
}

async fn metrics(State(exposed): State<Exposed>) -> Response {
    match exposed.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn version() -> Response {
    let body = serde_json::json!({ "version": crate::VERSION, "commit": crate::COMMIT });
    (
        [(header::CONTENT_TYPE, "application/json")],
        format!("{body}\n"),
    )
        .into_response()
}

async fn log_filter(
    State(exposed): State<Exposed>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
) -> Response {
    if !is_local(peer.ip()) {
        return forbidden();
    }
    (exposed.log_filter.get() + "\n").into_response()
}

async fn set_log_filter(
    State(exposed): State<Exposed>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    directives: String,
) -> Response {
    if !is_local(peer.ip()) {
        return forbidden();
    }
    match exposed.log_filter.set(directives.trim()) {
        Ok(()) => {
            tracing::info!(filter = directives.trim(), "log filter changed");
            (exposed.log_filter.get() + "\n").into_response()
        }
        Err(error) => {
            let mut body = error.to_string();
            let _ = writeln!(body);
            (StatusCode::BAD_REQUEST, body).into_response()
        }
    }
}

/// Whether the caller is in the same pod or came through `kubectl port-forward`.
fn is_local(peer: IpAddr) -> bool {
    peer.to_canonical().is_loopback()
}

fn forbidden() -> Response {
    (
        StatusCode::FORBIDDEN,
        "only from loopback, for example through kubectl port-forward\n",
    )
        .into_response()
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
