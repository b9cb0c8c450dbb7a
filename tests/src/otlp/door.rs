//! The receiver's services: both protocols lead to one decision and one store.

use std::{io::Read as _, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, State as Shared},
    http::{HeaderMap, StatusCode, header},
    response::Response as HttpResponse,
    routing::post,
};
use flate2::read::MultiGzDecoder;
use opentelemetry_proto::tonic::collector::{
    logs::v1::{
        ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
        logs_service_server::{LogsService, LogsServiceServer},
    },
    metrics::v1::{ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse},
    trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
};
use prost::Message;
use tonic::{Code, Request, Response, Status, codec::CompressionEncoding, service::Routes};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{Behaviour, Protocol, Received, Signal, State, lock, received};

/// The largest request, in bytes once unpacked.
const MAX_REQUEST: usize = 64 << 20;

/// A request that was taken although some of its records were rejected.
struct Rejected {
    count: i64,
    message: String,
}

/// What differs between the signals.
trait Export: Message + Default + 'static {
    const SIGNAL: Signal;
    type Answer: Message + Default;

    fn records(&self) -> usize;
    fn store(self, received: &mut Received);
    fn answer(rejected: Option<Rejected>) -> Self::Answer;
}

/// Both protocols, on one port.
pub(super) fn router(state: Arc<State>) -> Router {
    let logs = LogsServiceServer::from_arc(Arc::clone(&state))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(MAX_REQUEST);
    let traces = TraceServiceServer::from_arc(Arc::clone(&state))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(MAX_REQUEST);
    let http = Router::new()
        .route("/v1/logs", post(http::<ExportLogsServiceRequest>))
        .route("/v1/traces", post(http::<ExportTraceServiceRequest>))
        .route("/v1/metrics", post(http::<ExportMetricsServiceRequest>))
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        .with_state(state);
    Routes::new(logs).add_service(traces).into_axum_router().merge(http)
}

/// Answers a request as the receiver is told to behave, and stores what it takes.
async fn receive<E: Export>(
    state: &State,
    protocol: Protocol,
    headers: HeaderMap,
    request: E,
) -> Result<E::Answer, Behaviour> {
    let behaviour = lock(&state.behaviour).clone();
    if let Behaviour::Slow(delay) = behaviour {
        tokio::time::sleep(delay).await;
    }
    let taken = !matches!(behaviour, Behaviour::Unavailable(_) | Behaviour::Refuse);
    let partial = match &behaviour {
        Behaviour::Partial { rejected, message } => {
            Some(Rejected { count: *rejected, message: message.clone() })
        }
        _ => None,
    };
    let rejected = partial.as_ref().map_or(0, |partial| partial.count);
    let mut received = lock(&state.received);
    let records = request.records();
    received.requests.push(received::Request {
        protocol,
        signal: E::SIGNAL,
        headers,
        records,
        taken,
        rejected,
    });
    if !taken {
        return Err(behaviour);
    }
    request.store(&mut received);
    Ok(E::answer(partial))
}

// === gRPC ===

async fn grpc<E: Export>(state: &State, request: Request<E>) -> Result<Response<E::Answer>, Status> {
    let (metadata, _, message) = request.into_parts();
    match receive(state, Protocol::Grpc, metadata.into_headers(), message).await {
        Ok(answer) => Ok(Response::new(answer)),
        Err(Behaviour::Unavailable(Some(delay))) => {
            let details = ErrorDetails::with_retry_info(Some(delay));
            Err(Status::with_error_details(Code::Unavailable, "told to be unavailable", details))
        }
        Err(Behaviour::Unavailable(None)) => Err(Status::unavailable("told to be unavailable")),
        Err(_) => Err(Status::invalid_argument("told to refuse")),
    }
}

#[tonic::async_trait]
impl LogsService for State {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        grpc(self, request).await
    }
}

#[tonic::async_trait]
impl TraceService for State {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        grpc(self, request).await
    }
}

// === HTTP ===

async fn http<E: Export>(Shared(state): Shared<Arc<State>>, headers: HeaderMap, body: Bytes) -> HttpResponse {
    let request = match decode::<E>(&headers, &body) {
        Ok(request) => request,
        Err(reason) => return answer(StatusCode::BAD_REQUEST, reason.into_bytes()),
    };
    match receive(&state, Protocol::Http, headers, request).await {
        Ok(message) => answer(StatusCode::OK, message.encode_to_vec()),
        Err(Behaviour::Unavailable(delay)) => {
            let mut response = answer(StatusCode::SERVICE_UNAVAILABLE, Vec::new());
            if let Some(delay) = delay {
                response.headers_mut().insert(header::RETRY_AFTER, delay.as_secs().into());
            }
            response
        }
        Err(_) => answer(StatusCode::BAD_REQUEST, Vec::new()),
    }
}

fn decode<E: Export>(headers: &HeaderMap, body: &[u8]) -> Result<E, String> {
    let is = |name, value: &str| headers.get(name).is_some_and(|found| found.as_bytes() == value.as_bytes());
    if !is(header::CONTENT_TYPE, "application/x-protobuf") {
        return Err(format!("not protobuf: {headers:?}"));
    }
    let mut unpacked = Vec::new();
    let body = if is(header::CONTENT_ENCODING, "gzip") {
        let mut reader = MultiGzDecoder::new(body).take(MAX_REQUEST as u64);
        reader.read_to_end(&mut unpacked).map_err(|error| format!("not gzip: {error}"))?;
        &unpacked
    } else {
        body
    };
    E::decode(body).map_err(|error| error.to_string())
}

fn answer(status: StatusCode, body: Vec<u8>) -> HttpResponse {
    let mut response = HttpResponse::new(Body::from(body));
    *response.status_mut() = status;
    let protobuf = header::HeaderValue::from_static("application/x-protobuf");
    response.headers_mut().insert(header::CONTENT_TYPE, protobuf);
    response
}

// === impl Export ===

impl Export for ExportLogsServiceRequest {
    const SIGNAL: Signal = Signal::Logs;
    type Answer = ExportLogsServiceResponse;

    fn records(&self) -> usize {
        let scopes = self.resource_logs.iter().flat_map(|of_resource| &of_resource.scope_logs);
        scopes.map(|of_scope| of_scope.log_records.len()).sum()
    }

    fn store(self, received: &mut Received) {
        received.add_logs(self);
    }

    fn answer(rejected: Option<Rejected>) -> Self::Answer {
        let partial = |rejected: Rejected| ExportLogsPartialSuccess {
            rejected_log_records: rejected.count,
            error_message: rejected.message,
        };
        ExportLogsServiceResponse { partial_success: rejected.map(partial) }
    }
}

impl Export for ExportTraceServiceRequest {
    const SIGNAL: Signal = Signal::Traces;
    type Answer = ExportTraceServiceResponse;

    fn records(&self) -> usize {
        let scopes = self.resource_spans.iter().flat_map(|of_resource| &of_resource.scope_spans);
        scopes.map(|of_scope| of_scope.spans.len()).sum()
    }

    fn store(self, received: &mut Received) {
        received.add_spans(self);
    }

    fn answer(rejected: Option<Rejected>) -> Self::Answer {
        let partial = |rejected: Rejected| ExportTracePartialSuccess {
            rejected_spans: rejected.count,
            error_message: rejected.message,
        };
        ExportTraceServiceResponse { partial_success: rejected.map(partial) }
    }
}

impl Export for ExportMetricsServiceRequest {
    const SIGNAL: Signal = Signal::Metrics;
    type Answer = ExportMetricsServiceResponse;

    fn records(&self) -> usize {
        let scopes = self.resource_metrics.iter().flat_map(|of_resource| &of_resource.scope_metrics);
        scopes.map(|of_scope| of_scope.metrics.len()).sum()
    }

    fn store(self, received: &mut Received) {
        let scopes = self.resource_metrics.into_iter().flat_map(|of_resource| of_resource.scope_metrics);
        received.metrics.extend(scopes.flat_map(|of_scope| of_scope.metrics));
    }

    fn answer(rejected: Option<Rejected>) -> Self::Answer {
        let partial = |rejected: Rejected| ExportMetricsPartialSuccess {
            rejected_data_points: rejected.count,
            error_message: rejected.message,
        };
        ExportMetricsServiceResponse { partial_success: rejected.map(partial) }
    }
}
