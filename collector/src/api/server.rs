//! The server: what it takes, and from whom.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::DefaultBodyLimit,
    http::{HeaderValue, StatusCode, header::SERVER},
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use jiff::Timestamp;
use tokio::{net::UnixListener, sync::Semaphore};
use trigon_exporters::{
    event::Namespaces,
    metrics::Loss,
    node::Node,
    serve::{self, Limits},
};

use super::{
    HookStatus, Problem, VERSION, Version, events, policies, processes, socket, status, traces, tries,
};
use crate::{
    agent::{ConfigState, Open},
    pipeline,
    policy::{limits, manager},
};

/// What answers are made from.
#[derive(Clone)]
pub struct Agent {
    /// The policies.
    pub policies: manager::Handle,
    /// The process table, the recent past, and what follows the events.
    pub pipeline: pipeline::Handle,
    /// The ways out.
    pub ways_out: Open,
    /// The configuration in force.
    pub config: ConfigState,
    /// How starts and ends of processes are seen.
    pub lifecycle: Arc<[HookStatus]>,
    /// Whose events these are.
    pub node: Arc<Node>,
    /// Namespaces of the node's first process.
    pub host_namespaces: Namespaces,
    /// Where it is counted what a client loses.
    pub loss: Loss,
    /// What was lost of late.
    pub losses: status::LossWatch,
    /// When the agent began.
    pub start: Timestamp,
    /// Places for clients that follow events: [`FOLLOWERS`] at the beginning.
    pub followers: Arc<Semaphore>,
}

/// Clients that follow events at a time. They hold their connections, and others need some too.
pub const FOLLOWERS: usize = 16;

const LIMITS: Limits = Limits {
    connections: 32,
    head_time: Duration::from_secs(10),
    // A policy of many hooks is loaded in it, on a slow machine too.
    request_time: Duration::from_secs(300),
};

/// Serves until `shutdown` completes.
pub async fn serve(listener: UnixListener, agent: Agent, shutdown: impl Future<Output = ()>) {
    let router = router(agent);
    let refused = Router::new().fallback(not_permitted);
    let of = move |stream: &_| if socket::may_connect(stream) { router.clone() } else { refused.clone() };
    serve::serve(LIMITS, listener, of, shutdown).await;
}

fn router(agent: Agent) -> Router {
    Router::new()
        .route("/v1/version", get(async || Json(Version { version: VERSION.to_owned() })))
        .route("/v1/status", get(status::get))
        .route("/v1/events", get(events::follow))
        .route("/v1/processes", get(processes::list))
        .route("/v1/traces/{id}", get(traces::get))
        .route("/v1/tries", post(tries::run))
        .with_state(agent.clone())
        .merge(policies::router(agent.policies))
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
