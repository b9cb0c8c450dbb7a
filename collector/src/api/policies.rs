//! Policies over the API.

use axum::{
    Json, Router,
    body::Bytes,
    extract::{
        Path, Query, State,
        rejection::{BytesRejection, QueryRejection},
    },
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};

use serde::Deserialize;

use super::{PolicyList, Problem, server::problem};
use crate::policy::{
    limits,
    manager::{Handle, Refusal},
    model::Mode,
};

/// How a policy is added.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AddQuery {
    /// Its mode, whatever it says itself.
    mode: Option<Mode>,
}

pub(super) fn router(manager: Handle) -> Router {
    Router::new()
        .route("/v1/policies", get(list).post(add))
        .route("/v1/policies/{name}", delete(remove))
        .route("/v1/policies/{name}/enable", post(enable))
        .route("/v1/policies/{name}/disable", post(disable))
        .route("/v1/policies/{name}/monitor", post(monitor))
        .route("/v1/policies/{name}/enforce", post(enforce))
        .with_state(manager)
}

async fn list(State(manager): State<Handle>) -> Response {
    match manager.call(|manager| manager.list()).await {
        Ok(policies) => Json(PolicyList { policies }).into_response(),
        Err(stopping) => problem(StatusCode::SERVICE_UNAVAILABLE, stopping),
    }
}

async fn add(
    State(manager): State<Handle>,
    query: Result<Query<AddQuery>, QueryRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let mode = match query {
        Ok(Query(AddQuery { mode })) => mode,
        Err(error) => return problem(error.status(), error.body_text()),
    };
    let text = match body {
        Ok(text) => text,
        Err(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            let most =
                format_args!("this is too long for a policy file: at most {} bytes", limits::FILE_BYTES);
            return problem(error.status(), most);
        }
        Err(error) => return problem(error.status(), error),
    };
    match manager.call(move |manager| manager.add(&text, mode)).await {
        Ok(Ok(added)) => (StatusCode::CREATED, Json(added)).into_response(),
        Ok(Err(refusal)) => refused(&refusal),
        Err(stopping) => problem(StatusCode::SERVICE_UNAVAILABLE, stopping),
    }
}

async fn remove(State(manager): State<Handle>, Path(name): Path<String>) -> Response {
    match manager.call(move |manager| manager.delete(&name)).await {
        Ok(Ok(())) => StatusCode::NO_CONTENT.into_response(),
        Ok(Err(refusal)) => refused(&refusal),
        Err(stopping) => problem(StatusCode::SERVICE_UNAVAILABLE, stopping),
    }
}

async fn enable(manager: State<Handle>, name: Path<String>) -> Response {
    set(manager, name, true).await
}

async fn disable(manager: State<Handle>, name: Path<String>) -> Response {
    set(manager, name, false).await
}

async fn set(State(manager): State<Handle>, Path(name): Path<String>, enabled: bool) -> Response {
    match manager.call(move |manager| manager.set_enabled(&name, enabled)).await {
        Ok(Ok(status)) => Json(status).into_response(),
        Ok(Err(refusal)) => refused(&refusal),
        Err(stopping) => problem(StatusCode::SERVICE_UNAVAILABLE, stopping),
    }
}

async fn monitor(manager: State<Handle>, name: Path<String>) -> Response {
    set_mode(manager, name, Mode::Monitor).await
}

async fn enforce(manager: State<Handle>, name: Path<String>) -> Response {
    set_mode(manager, name, Mode::Enforce).await
}

async fn set_mode(State(manager): State<Handle>, Path(name): Path<String>, mode: Mode) -> Response {
    match manager.call(move |manager| manager.set_mode(&name, mode)).await {
        Ok(Ok(status)) => Json(status).into_response(),
        Ok(Err(refusal)) => refused(&refusal),
        Err(stopping) => problem(StatusCode::SERVICE_UNAVAILABLE, stopping),
    }
}

pub(super) fn refused(refusal: &Refusal) -> Response {
    let mut problem = Problem::new(refusal);
    let status = match refusal {
        Refusal::Faults { faults, hidden } => {
            problem.faults = faults.iter().map(Into::into).collect();
            problem.hidden = *hidden;
            StatusCode::UNPROCESSABLE_ENTITY
        }
        Refusal::Exists { .. } | Refusal::OfCluster { .. } | Refusal::OnlyTells(_) => StatusCode::CONFLICT,
        Refusal::Unknown(_) => StatusCode::NOT_FOUND,
        Refusal::Failed { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, Json(problem)).into_response()
}
