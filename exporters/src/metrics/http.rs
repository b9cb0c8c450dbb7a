//! The web server: `/metrics` for Prometheus, `/healthz` and `/readyz` for Kubernetes, `/` for whoever looks.
//!
//! Each connection carries one request and lives for a limited time, and only so many live at once: a client that is
//! slow, or means harm, holds a place for [`REQUEST_TIME`] and no more.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use prometheus::TextEncoder;
use tokio::net::TcpListener;

use super::{Readiness, Registry};
use crate::serve::{self, Limits};

#[cfg(test)]
mod tests;

/// The address for metrics can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve metrics on {addr}: {source}; set another address with metrics.addr or --metrics-addr")]
pub struct BindError {
    addr: SocketAddr,
    source: io::Error,
}

/// What the pages are made of.
#[derive(Clone, Debug)]
struct Pages {
    registry: Registry,
    readiness: Arc<Readiness>,
}

/// Prometheus's text format, as `prometheus::TEXT_FORMAT` with the character set.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Time for a request and its answer.
pub const REQUEST_TIME: Duration = Duration::from_secs(30);

const LIMITS: Limits =
    Limits { connections: 64, head_time: Duration::from_secs(10), request_time: REQUEST_TIME };

const INDEX: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Trigon</title>
<h1>Trigon</h1>
<ul>
<li><a href="metrics">metrics</a>: what the agent counts, for Prometheus
<li><a href="healthz">healthz</a>: whether the agent lives
<li><a href="readyz">readyz</a>: whether the agent sees every process
</ul>
</html>
"#;

/// Listens on `addr`.
///
/// # Errors
/// Fails where the port is taken or the address isn't this machine's.
pub async fn bind(addr: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(addr).await.map_err(|source| BindError { addr, source })
}

/// Serves the pages until `shutdown` completes.
pub async fn serve(
    listener: TcpListener,
    registry: Registry,
    readiness: Arc<Readiness>,
    shutdown: impl Future<Output = ()>,
) {
    serve_within(LIMITS, listener, Pages { registry, readiness }, shutdown).await;
}

async fn serve_within(
    limits: Limits,
    listener: TcpListener,
    pages: Pages,
    shutdown: impl Future<Output = ()>,
) {
    let router = router(pages);
    serve::serve(limits, listener, |_| router.clone(), shutdown).await;
}

fn router(pages: Pages) -> Router {
    Router::new()
        .route("/", get(Html(INDEX)))
        .route("/metrics", get(metrics))
        .route("/healthz", get("ok\n"))
        .route("/readyz", get(readyz))
        .with_state(pages)
}

async fn metrics(State(pages): State<Pages>) -> Response {
    // Collectors read /proc and the kernel's maps.
    let gathered =
        tokio::task::spawn_blocking(move || TextEncoder::new().encode_to_string(&pages.registry.gather()));
    match gathered.await {
        Ok(Ok(text)) => ([(CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn std::error::Error) -> Response {
    tracing::error!("cannot gather metrics: {error}");
    (StatusCode::INTERNAL_SERVER_ERROR, format!("cannot gather metrics: {error}\n")).into_response()
}

async fn readyz(State(pages): State<Pages>) -> Response {
    match pages.readiness.reason() {
        None => "ready\n".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}
