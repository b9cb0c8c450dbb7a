//! An HTTP server whose clients can take only so much: connections, time, bytes of a head.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, middleware::map_response, response::Response, serve::Listener};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{sync::Semaphore, task::JoinSet, time::timeout};

/// Limits on what clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; more wait in the kernel.
    pub connections: usize,
    /// Time for the head of a request to arrive.
    pub head_time: Duration,
    /// Time for a request and its answer, from the first byte to the last, but for an [`Endless`] one.
    pub request_time: Duration,
}

/// Put among the extensions of an answer that has no end: it lasts until one side goes.
#[derive(Clone, Copy, Debug)]
pub struct Endless;

/// Time that answers under way have once the server is told to stop.
const SHUTDOWN_TIME: Duration = Duration::from_secs(1);

/// Bytes of a request's head; hyper takes no less.
pub(crate) const MAX_HEAD: usize = 8 * 1024;

/// Serves until `shutdown` completes; `router` says what a connection gets to see.
pub async fn serve<L: Listener>(
    limits: Limits,
    mut listener: L,
    router: impl Fn(&L::Io) -> Router,
    shutdown: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let next = async {
            // The semaphore is never closed.
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, (stream, _)) = tokio::select! {
            () = &mut shutdown => break,
            next = next => next,
        };
        let router = router(&stream);
        connections.spawn(async move {
            let _place = place;
            connection::<L>(limits, stream, router).await;
        });
        while connections.try_join_next().is_some() {}
    }
    // New connections are refused from here on; what is left after the time is cut off with the set.
    drop(listener);
    let rest = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(SHUTDOWN_TIME, rest).await;
}

async fn connection<L: Listener>(limits: Limits, stream: L::Io, router: Router) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.head_time);
    builder.keep_alive(false).max_buf_size(MAX_HEAD);
    let endless = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&endless);
    let router = router.layer(map_response(move |response: Response| {
        noted.fetch_or(response.extensions().get::<Endless>().is_some(), Ordering::Relaxed);
        std::future::ready(response)
    }));
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut served = pin!(served);
    let ended = match timeout(limits.request_time, &mut served).await {
        Err(_) if endless.load(Ordering::Relaxed) => Ok(served.await),
        ended => ended,
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("a request failed: {error}"),
        Err(_) => tracing::debug!("a request took too long"),
    }
}
