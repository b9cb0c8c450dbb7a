//! OTLP over gRPC.
//!
//! Source: <https://opentelemetry.io/docs/specs/otlp/#otlpgrpc>.

use std::{error::Error as _, time::Duration};

use bytes::{Buf as _, BufMut as _, Bytes};
use http::uri::PathAndQuery;
use hyper_util::client::proxy::matcher::Matcher;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message as _;
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{BufferSettings, Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataMap,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

use super::{
    client::{MAX_REPLY, Reply, USER_AGENT, chain},
    files::Contents,
    proxy::Proxy,
    settings::Settings,
};
use crate::compression::Compression;

/// How often a connection that waits for a reply is asked whether it still lives, and how long it has to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// A connection over gRPC.
#[derive(Debug)]
pub(super) struct GrpcClient {
    service: Grpc<Channel>,
    method: PathAndQuery,
    headers: MetadataMap,
    timeout: Duration,
}

/// Messages that are encoded already, and replies that are decoded later.
struct Encoded {
    /// Bytes of the request.
    size: usize,
}

// === impl GrpcClient ===

impl GrpcClient {
    pub(super) fn new(
        method: &'static str,
        settings: &Settings,
        contents: &Contents,
    ) -> Result<Self, String> {
        let headers = settings.headers.resolve(contents).map_err(|error| error.to_string())?;
        let mut service = Grpc::new(channel(settings, contents)?).max_decoding_message_size(MAX_REPLY);
        service = match settings.compression {
            Compression::None => service,
            Compression::Gzip => service.send_compressed(CompressionEncoding::Gzip),
            Compression::Zstd => service.send_compressed(CompressionEncoding::Zstd),
        };
        Ok(Self {
            service,
            method: PathAndQuery::from_static(method),
            headers: MetadataMap::from_headers(headers),
            timeout: settings.timeout,
        })
    }

    pub(super) async fn send(&self, body: &Bytes) -> Reply {
        match tokio::time::timeout(self.timeout, self.exchange(body)).await {
            Ok(Ok(reply)) => {
                let partial =
                    ExportLogsServiceResponse::decode(reply).ok().and_then(|reply| reply.partial_success);
                let partial = partial.unwrap_or_default();
                Reply::accepted(code(Code::Ok), partial.rejected_log_records, &partial.error_message)
            }
            Ok(Err(status)) => failed(&status),
            Err(_) => Reply::retry("timeout", None, &format!("no reply within {:?}", self.timeout)),
        }
    }

    async fn exchange(&self, body: &Bytes) -> Result<Bytes, Status> {
        let mut service = self.service.clone();
        service.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
        let request = Request::from_parts(self.headers.clone(), tonic::Extensions::default(), body.clone());
        let codec = Encoded { size: body.len() };
        service.unary(request, self.method.clone(), codec).await.map(tonic::Response::into_inner)
    }
}

/// A connection that is made at the first request.
pub(super) fn channel(settings: &Settings, contents: &Contents) -> Result<Channel, String> {
    let mut endpoint = endpoint(settings).map_err(|error| chain(&error))?;
    if settings.endpoint.scheme() == "https" {
        let credentials = settings.tls.credentials(contents).map_err(|error| error.to_string())?;
        endpoint = endpoint.tls_config(credentials.tonic()).map_err(|error| chain(&error))?;
    }
    let proxy = Proxy::find(&Matcher::from_env(), endpoint.uri())?;
    Ok(match proxy {
        Some(proxy) => endpoint.connect_with_connector_lazy(proxy.connector()),
        None => endpoint.connect_lazy(),
    })
}

fn endpoint(settings: &Settings) -> Result<Endpoint, tonic::transport::Error> {
    let url = &*settings.endpoint;
    // A tunnel takes an endpoint without a port for an encrypted one.
    let address = match (url.scheme(), url.port(), url.host_str()) {
        ("http", None, Some(host)) => format!("http://{host}:80"),
        _ => url.as_str().to_owned(),
    };
    Ok(Endpoint::from_shared(address)?
        .user_agent(USER_AGENT)?
        .connect_timeout(settings.timeout)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE))
}

/// What a status means, by the table in OTLP's specification.
fn failed(status: &Status) -> Reply {
    let (name, why) = (code(status.code()), format!("{}: {}", status.code(), status.message()));
    // Made on this side: there is no connection, or it broke.
    if let Some(cause) = status.source() {
        return Reply::retry("connect", None, &format!("{why}: {}", chain(cause)));
    }
    let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => Reply::retry(name, delay, &why),
        // An endpoint that will recover says when; else the request itself asks too much.
        Code::ResourceExhausted if delay.is_some() => Reply::retry(name, delay, &why),
        _ => Reply::permanent(name, &why),
    }
}

/// The code's name in gRPC's specification.
fn code(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

// === impl Encoded ===

impl Encoded {
    /// One buffer of the request's size, in place of one that grows.
    fn buffers(&self) -> BufferSettings {
        BufferSettings::new(self.size + 64, self.size + 64)
    }
}

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self { size: self.size }
    }

    fn decoder(&mut self) -> Self {
        Self { size: 0 }
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, body: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(body);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.buffers()
    }
}

impl Decoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, reply: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(reply.copy_to_bytes(reply.remaining())))
    }
}
