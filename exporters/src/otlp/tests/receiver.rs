//! A receiver of OTLP over both protocols, which answers as it is told.

use std::{
    collections::VecDeque,
    io::Read as _,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::{
            ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
            logs_service_server::{LogsService, LogsServiceServer},
        },
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    logs::v1::LogRecord,
    metrics::v1::ResourceMetrics,
    trace::v1::Span,
};
use prost::Message;
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::Semaphore,
};
use tonic::{Code, Request, Status, codec::CompressionEncoding, transport::server::TcpIncoming};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::otlp::config::Protocol;

/// How a request is answered.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Accept,
    /// The request is accepted, and this many of its records are not.
    Reject(i64),
    /// As [`Self::Accept`], after [`Receiver::release`].
    Hold,
    /// HTTP 503, gRPC UNAVAILABLE.
    Unavailable,
    /// As [`Self::Unavailable`], with a `Retry-After` of this text; over gRPC RESOURCE_EXHAUSTED with a `RetryInfo` of
    /// no delay.
    Later(&'static str),
    /// HTTP 413, gRPC RESOURCE_EXHAUSTED without `RetryInfo`.
    TooLarge,
    /// HTTP 400, gRPC INVALID_ARGUMENT.
    Invalid,
    /// HTTP 307 to itself; over gRPC as [`Self::Invalid`].
    Elsewhere,
    /// HTTP 200 with a body that never ends; over gRPC as [`Self::Accept`].
    Endless,
}

#[derive(Clone, Default)]
pub(super) struct Receiver(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<Received>,
    held: Held,
}

struct Held(Semaphore);

/// What came.
#[derive(Default)]
pub(super) struct Received {
    /// Answers to the next requests; after them every request is accepted.
    pub(super) answers: VecDeque<Answer>,
    pub(super) requests: usize,
    pub(super) headers: Vec<HeaderMap>,
    /// Records and spans of the requests that were accepted.
    pub(super) logs: Vec<LogRecord>,
    pub(super) spans: Vec<Span>,
    pub(super) metrics: Vec<ResourceMetrics>,
}

/// A socket that has an address and refuses connections until it listens.
pub(super) struct Closed {
    socket: TcpSocket,
    pub(super) address: SocketAddr,
}

impl Default for Held {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

impl Closed {
    pub(super) fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("an address");
        let address = socket.local_addr().expect("an address");
        Self { socket, address }
    }

    pub(super) fn listen(self) -> TcpListener {
        self.socket.listen(64).expect("a listener")
    }
}

impl Receiver {
    pub(super) fn answering(answers: impl IntoIterator<Item = Answer>) -> Self {
        let receiver = Self::default();
        receiver.see(|received| received.answers.extend(answers));
        receiver
    }

    /// Serves until the runtime ends.
    pub(super) fn serve(&self, protocol: Protocol, closed: Closed) {
        let listener = closed.listen();
        match protocol {
            Protocol::HttpProtobuf => {
                let router = Router::new()
                    .route("/v1/logs", post(http_logs))
                    .route("/v1/traces", post(http_traces))
                    .route("/v1/metrics", post(http_metrics))
                    .layer(DefaultBodyLimit::disable())
                    .with_state(self.clone());
                tokio::spawn(async move { axum::serve(listener, router).await.expect("a server") });
            }
            Protocol::Grpc => {
                let logs = LogsServiceServer::new(self.clone())
                    .accept_compressed(CompressionEncoding::Gzip)
                    .accept_compressed(CompressionEncoding::Zstd);
                let traces = TraceServiceServer::new(self.clone())
                    .accept_compressed(CompressionEncoding::Gzip)
                    .accept_compressed(CompressionEncoding::Zstd);
                let metrics = MetricsServiceServer::new(self.clone());
                let server = tonic::transport::Server::builder()
                    .add_service(logs)
                    .add_service(traces)
                    .add_service(metrics);
                let incoming = TcpIncoming::from(listener);
                tokio::spawn(async move { server.serve_with_incoming(incoming).await.expect("a server") });
            }
        }
    }

    pub(super) fn see<T>(&self, look: impl FnOnce(&mut Received) -> T) -> T {
        look(&mut self.0.state.lock().expect("no test thread panicked"))
    }

    /// Answers the requests that are held, and those that will be.
    pub(super) fn release(&self) {
        self.0.held.0.add_permits(1_000);
    }

    async fn next(&self, headers: HeaderMap) -> Answer {
        let answer = self.see(|received| {
            received.requests += 1;
            received.headers.push(headers);
            received.answers.pop_front().unwrap_or(Answer::Accept)
        });
        if matches!(answer, Answer::Hold) {
            self.0.held.0.acquire().await.expect("never closed").forget();
        }
        answer
    }

    fn take_logs(&self, request: ExportLogsServiceRequest) {
        let records =
            request.resource_logs.into_iter().flat_map(|r| r.scope_logs).flat_map(|s| s.log_records);
        self.see(|received| received.logs.extend(records));
    }

    fn take_spans(&self, request: ExportTraceServiceRequest) {
        let spans = request.resource_spans.into_iter().flat_map(|r| r.scope_spans).flat_map(|s| s.spans);
        self.see(|received| received.spans.extend(spans));
    }
}

// === HTTP ===

fn body<M: Message + Default>(headers: &HeaderMap, body: &Bytes) -> M {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let mut plain = Vec::new();
    match headers.get("content-encoding") {
        Some(encoding) if encoding == "gzip" => {
            flate2::read::GzDecoder::new(body.as_ref()).read_to_end(&mut plain).expect("gzip");
        }
        Some(encoding) => {
            assert_eq!(encoding, "zstd");
            plain = zstd::stream::decode_all(body.as_ref()).expect("zstd");
        }
        None => plain.extend_from_slice(body),
    }
    M::decode(plain.as_slice()).expect("a request")
}

async fn http_logs(State(receiver): State<Receiver>, headers: HeaderMap, bytes: Bytes) -> Response {
    let request = body(&headers, &bytes);
    let answer = receiver.next(headers).await;
    http(&answer).unwrap_or_else(|| {
        receiver.take_logs(request);
        ExportLogsServiceResponse { partial_success: partial_logs(&answer) }.encode_to_vec().into_response()
    })
}

async fn http_traces(State(receiver): State<Receiver>, headers: HeaderMap, bytes: Bytes) -> Response {
    let request = body(&headers, &bytes);
    let answer = receiver.next(headers).await;
    http(&answer).unwrap_or_else(|| {
        receiver.take_spans(request);
        ExportTraceServiceResponse { partial_success: partial_spans(&answer) }.encode_to_vec().into_response()
    })
}

async fn http_metrics(State(receiver): State<Receiver>, headers: HeaderMap, bytes: Bytes) -> Response {
    let request: ExportMetricsServiceRequest = body(&headers, &bytes);
    let answer = receiver.next(headers).await;
    http(&answer).unwrap_or_else(|| {
        receiver.see(|received| received.metrics.extend(request.resource_metrics));
        ExportMetricsServiceResponse::default().encode_to_vec().into_response()
    })
}

/// The answer to a request that is not accepted.
fn http(answer: &Answer) -> Option<Response> {
    Some(match answer {
        Answer::Accept | Answer::Hold | Answer::Reject(_) => return None,
        Answer::Unavailable => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Answer::Later(after) => (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", *after)]).into_response(),
        Answer::TooLarge => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        Answer::Invalid => (StatusCode::BAD_REQUEST, "not \u{1b} protobuf").into_response(),
        Answer::Elsewhere => (StatusCode::TEMPORARY_REDIRECT, [("location", "/v1/logs")]).into_response(),
        Answer::Endless => axum::body::Body::new(Endless).into_response(),
    })
}

/// A body of zeros without an end.
struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_static(&[0; 16_384])))))
    }
}

// === gRPC ===

#[tonic::async_trait]
impl LogsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<tonic::Response<ExportLogsServiceResponse>, Status> {
        let answer = self.next(request.metadata().clone().into_headers()).await;
        grpc(&answer)?;
        self.take_logs(request.into_inner());
        Ok(tonic::Response::new(ExportLogsServiceResponse { partial_success: partial_logs(&answer) }))
    }
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
        let answer = self.next(request.metadata().clone().into_headers()).await;
        grpc(&answer)?;
        self.take_spans(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse { partial_success: partial_spans(&answer) }))
    }
}

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, Status> {
        grpc(&self.next(request.metadata().clone().into_headers()).await)?;
        self.see(|received| received.metrics.extend(request.into_inner().resource_metrics));
        Ok(tonic::Response::new(ExportMetricsServiceResponse::default()))
    }
}

fn grpc(answer: &Answer) -> Result<(), Status> {
    match answer {
        Answer::Accept | Answer::Hold | Answer::Reject(_) | Answer::Endless => Ok(()),
        Answer::Unavailable => Err(Status::unavailable("soon")),
        Answer::Later(_) => {
            let details = ErrorDetails::with_retry_info(Some(Duration::ZERO));
            Err(Status::with_error_details(Code::ResourceExhausted, "later", details))
        }
        Answer::TooLarge => Err(Status::resource_exhausted("too large")),
        Answer::Invalid | Answer::Elsewhere => Err(Status::invalid_argument("not mine")),
    }
}

fn partial_logs(answer: &Answer) -> Option<ExportLogsPartialSuccess> {
    let Answer::Reject(rejected_log_records) = *answer else { return None };
    Some(ExportLogsPartialSuccess { rejected_log_records, error_message: "some were too old".to_owned() })
}

fn partial_spans(answer: &Answer) -> Option<ExportTracePartialSuccess> {
    let Answer::Reject(rejected_spans) = *answer else { return None };
    Some(ExportTracePartialSuccess { rejected_spans, error_message: "some were too old".to_owned() })
}
