//! OTLP over HTTP with protobuf bodies.
//!
//! Source: <https://opentelemetry.io/docs/specs/otlp/#otlphttp>.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use prost::Message as _;
use reqwest::{
    Response, StatusCode, Url,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER},
    redirect,
};
use tonic_types::pb;

use super::{
    client::{MAX_REPLY, Reply, USER_AGENT, chain},
    files::Contents,
    settings::Settings,
};
use crate::compression::Compression;

/// A connection over HTTP.
#[derive(Debug)]
pub(super) struct HttpClient {
    client: reqwest::Client,
    endpoint: Url,
    headers: HeaderMap,
    timeout: Duration,
}

/// The fastest that isn't a special case.
const ZSTD_LEVEL: i32 = 1;

// === impl HttpClient ===

impl HttpClient {
    pub(super) fn new(settings: &Settings, contents: &Contents) -> Result<Self, String> {
        let mut headers = settings.headers.resolve(contents).map_err(|error| error.to_string())?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let encoding = match settings.compression {
            Compression::None => None,
            Compression::Gzip => Some("gzip"),
            Compression::Zstd => Some("zstd"),
        };
        headers.extend(encoding.map(|name| (CONTENT_ENCODING, HeaderValue::from_static(name))));
        Ok(Self {
            client: client(settings, contents)?,
            endpoint: Url::clone(&settings.endpoint),
            headers,
            timeout: settings.timeout,
        })
    }

    pub(super) async fn send(&self, prepared: &Bytes) -> Reply {
        let request =
            self.client.post(self.endpoint.clone()).headers(self.headers.clone()).body(prepared.clone());
        match tokio::time::timeout(self.timeout, exchange(request)).await {
            Ok(reply) => reply,
            Err(_) => Reply::retry("timeout", None, &format!("no reply within {:?}", self.timeout)),
        }
    }
}

/// A client that makes a connection when it has none.
pub(super) fn client(settings: &Settings, contents: &Contents) -> Result<reqwest::Client, String> {
    // Another part of the process may have chosen a provider before: then that one serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(settings.timeout);
    let builder = if settings.endpoint.scheme() == "https" {
        let credentials = settings.tls.credentials(contents).map_err(|error| error.to_string())?;
        credentials.reqwest(builder).map_err(|error| chain(&error))?
    } else {
        // Without encryption a machine without certificates will do.
        builder.tls_certs_only([])
    };
    builder.build().map_err(|error| chain(&error))
}

/// A body as it is sent.
pub(super) fn compress(compression: Compression, body: &Bytes) -> io::Result<Bytes> {
    match compression {
        Compression::None => Ok(body.clone()),
        Compression::Gzip => {
            let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 8), flate2::Compression::fast());
            encoder.write_all(body)?;
            encoder.finish().map(Bytes::from)
        }
        Compression::Zstd => zstd::bulk::compress(body, ZSTD_LEVEL).map(Bytes::from),
    }
}

async fn exchange(request: reqwest::RequestBuilder) -> Reply {
    let mut response = match request.send().await {
        Ok(response) => response,
        Err(error) if error.is_builder() => return Reply::permanent("request", &chain(&error.without_url())),
        Err(error) => return Reply::retry("connect", None, &chain(&error.without_url())),
    };
    let (status, headers) = (response.status(), response.headers().clone());
    let body = body(&mut response).await;
    if status.is_success() {
        let partial = rejected(&body);
        return Reply::accepted(code(&status), partial.rejected_log_records, &partial.error_message);
    }
    let said = pb::Status::decode(body.as_ref()).map(|status| status.message).unwrap_or_default();
    let why = format!("the endpoint answered {status}{}{said}", if said.is_empty() { "" } else { ": " });
    match status.as_u16() {
        429 | 502 | 503 | 504 => Reply::retry(code(&status), retry_after(&headers), &why),
        _ => Reply::permanent(code(&status), &why),
    }
}

/// The body, or as much of it as came before the limit or the connection's end. The status has decided already.
pub(super) async fn body(response: &mut Response) -> BytesMut {
    let mut body = BytesMut::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        if body.len() + chunk.len() > MAX_REPLY {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    body
}

/// What an accepted request's reply says of rejected records. The replies for logs and for spans are the same but for
/// their names. One that can't be read says nothing: the endpoint took the request.
fn rejected(body: &[u8]) -> ExportLogsPartialSuccess {
    ExportLogsServiceResponse::decode(body)
        .ok()
        .and_then(|response| response.partial_success)
        .unwrap_or_default()
}

/// The status, for a metric; one that HTTP doesn't know could be anything, and many.
fn code(status: &StatusCode) -> &str {
    if status.canonical_reason().is_some() { status.as_str() } else { "other" }
}

/// `Retry-After` in seconds or as a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(date.duration_since(jiff::Timestamp::now()).try_into().unwrap_or(Duration::ZERO))
}
