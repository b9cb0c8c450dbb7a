//! The server: what it takes, and from whom.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::DefaultBodyLimit,
    http::{HeaderValue, StatusCode, header::SERVER},
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::UnixListener;
use trigon_exporters::serve::{self, Limits};

use super::{Problem, VERSION, Version, policies, socket};
use crate::policy::{limits, manager::Handle};

const LIMITS: Limits = Limits {
    connections: 32,
    head_time: Duration::from_secs(10),
    // A policy of many hooks is loaded in it, on a slow machine too.
    request_time: Duration::from_secs(300),
};

/// Serves until `shutdown` completes.
pub async fn serve(listener: UnixListener, manager: Handle, shutdown: impl Future<Output = ()>) {
    let router = router(manager);
    let refused = Router::new().fallback(not_permitted);
    let of = move |stream: &_| if socket::may_connect(stream) { router.clone() } else { refused.clone() };
    serve::serve(LIMITS, listener, of, shutdown).await;
}

fn router(manager: Handle) -> Router {
    Router::new()
        .route("/v1/version", get(async || Json(Version { version: VERSION.to_owned() })))
        .merge(policies::router(manager))
        .fallback(async || problem(StatusCode::NOT_FOUND, "there is no such resource"))
        .method_not_allowed_fallback(async || {
            problem(StatusCode::METHOD_NOT_ALLOWED, "this can't be done with the resource")
        })
        .layer(DefaultBodyLimit::max(limits::FILE_BYTES))
        .layer(map_response(async |mut response: Response| {
            response
                .headers_mut()
                .insert(SERVER, HeaderValue::from_static(concat!("trigon/", env!("CARGO_PKG_VERSION"))));
            response
        }))
}

async fn not_permitted() -> Response {
    problem(StatusCode::FORBIDDEN, "only root and the agent's own user may use its socket")
}

/// An answer that says why there is no other.
pub(super) fn problem(status: StatusCode, error: impl std::fmt::Display) -> Response {
    (status, Json(Problem::new(error))).into_response()
}
