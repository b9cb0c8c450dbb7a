//! The web server: `/metrics` for Prometheus, `/healthz` and `/readyz` for Kubernetes, `/` for whoever looks.
//!
//! Each connection carries one request and lives for a limited time, and only so many live at once: a client that is
//! slow, or means harm, holds a place for [`REQUEST_TIME`] and no more.

use std::{future::Future, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use prometheus::{Registry, TextEncoder};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::Readiness;

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

/// Limits on what clients may take.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Connections at once; more wait in the kernel.
    connections: usize,
    /// Time for the head of a request to arrive.
    head_time: Duration,
    /// Time for a request and its answer, from the first byte to the last.
    request_time: Duration,
}

/// Prometheus's text format, as `prometheus::TEXT_FORMAT` with the character set.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Time for a request and its answer.
pub const REQUEST_TIME: Duration = Duration::from_secs(30);

const LIMITS: Limits =
    Limits { connections: 64, head_time: Duration::from_secs(10), request_time: REQUEST_TIME };

/// Time that answers under way have once the server is told to stop.
const SHUTDOWN_TIME: Duration = Duration::from_secs(1);

/// Bytes of a request's head; hyper takes no less.
const MAX_HEAD: usize = 8 * 1024;

/// Pause after the system refused a connection for want of descriptors or memory.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

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
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let next = async {
            // The semaphore is never closed.
            let place = Arc::clone(&places).acquire_owned().await;
            (place, accept(&listener).await)
        };
        let (place, stream) = tokio::select! {
            () = &mut shutdown => break,
            next = next => next,
        };
        let router = router.clone();
        connections.spawn(async move {
            let _place = place;
            connection(limits, stream, router).await;
        });
        while connections.try_join_next().is_some() {}
    }
    // New connections are refused from here on; what is left after the time is cut off with the set.
    drop(listener);
    let rest = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(SHUTDOWN_TIME, rest).await;
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::debug!("cannot accept a connection for metrics: {error}");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn connection(limits: Limits, stream: TcpStream, router: Router) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.head_time);
    builder.keep_alive(false).max_buf_size(MAX_HEAD);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match timeout(limits.request_time, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("a request for metrics failed: {error}"),
        Err(_) => tracing::debug!("a request for metrics took too long"),
    }
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
