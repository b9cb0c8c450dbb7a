//! OpenTelemetry: a log record for every event, and a span for every execution when it ends and for every file that a
//! policy followed when it is closed, sent by OTLP.
//!
//! ```text
//! events ─► batcher ─► sealed batches ─► delivery ─► endpoint
//!           (encode)   (bounded by bytes) (retry)
//! ```
//!
//! One exporter a signal and endpoint, each with its own queue, connection and counters. Encoding never waits for the endpoint.
//! Events that come in are acknowledged or lost, and every loss is counted by stage and reason:
//! `trigon_lost_events_total{stage="queue"|"export",reason="otlp_logs_…"}`. A batch whose reply never came may have
//! arrived, and is sent again: delivery is at least once, and `log.record.uid` and the span id tell copies apart.

use std::sync::Arc;

use bytes::Bytes;

pub(crate) use self::client::chain;
use self::{batch::Batcher, config::BatchConfig};
pub use self::{
    client::ClientError,
    config::OtlpConfig,
    destination::Destination,
    metrics::ExportMetrics,
    settings::{Settings, SettingsError},
    tables::OtlpTables,
};
use crate::{event::Event, node::Node};

mod attributes;
mod batch;
mod client;
pub mod config;
pub mod declared;
mod delivery;
mod destination;
mod encoding;
pub mod endpoint;
mod environment;
mod files;
mod grpc;
pub mod headers;
mod hook;
mod http;
mod image;
mod logs;
mod metrics;
mod origin;
mod pod;
mod proxy;
pub mod push;
mod queue;
mod resource;
mod retry;
pub mod settings;
mod span_events;
mod spans;
mod tables;
#[cfg(test)]
mod tests;
pub mod tls;
mod veil;
mod wire;

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// A log record for every event.
    Logs,
    /// A span for every execution that ended, and for every followed file that was closed.
    Spans,
}

/// The body of one request with what a signal makes of these events, whatever their number: an encoded
/// `ExportLogsServiceRequest` or `ExportTraceServiceRequest`. Empty where it makes nothing of them.
pub fn encode(signal: Signal, node: &Arc<Node>, events: &[Event]) -> Bytes {
    let limits = BatchConfig { max_records: usize::MAX, max_bytes: usize::MAX, ..BatchConfig::default() };
    let mut batcher = Batcher::new(signal, Arc::clone(node), limits);
    // Without limits none is sealed before its time.
    events.iter().for_each(|event| drop(batcher.push(event)));
    batcher.seal().map(|batch| batch.body).unwrap_or_default()
}

// === impl Signal ===

impl Signal {
    /// Each.
    pub const ALL: [Self; 2] = [Self::Logs, Self::Spans];

    /// Name of this signal's exporter in metrics, where it has no other.
    pub fn exporter(self) -> &'static str {
        match self {
            Self::Logs => "otlp_logs",
            Self::Spans => "otlp_spans",
        }
    }

    /// Which events make something of this signal.
    fn concerns(self) -> fn(&Event) -> bool {
        match self {
            Self::Logs => |event| Self::Logs.makes(event),
            Self::Spans => |event| Self::Spans.makes(event),
        }
    }

    /// The part of environment variables' names.
    fn environment(self) -> &'static str {
        match self {
            Self::Logs => "LOGS",
            Self::Spans => "TRACES",
        }
    }

    /// Appended to the URL of an OTLP/HTTP endpoint.
    fn http_path(self) -> &'static str {
        match self {
            Self::Logs => "v1/logs",
            Self::Spans => "v1/traces",
        }
    }

    /// The method that takes this signal's requests.
    fn grpc_method(self) -> &'static str {
        match self {
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            Self::Spans => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        }
    }
}
