//! What a receiver holds: typed records, each with its resource and scope.

use std::sync::Arc;

use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    logs::v1::LogRecord,
    metrics::v1::Metric,
    resource::v1::Resource,
    trace::v1::{Span as SpanRecord, span::Event},
};

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC.
    Grpc,
    /// HTTP with protobuf bodies.
    Http,
}

/// What a request carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Log records.
    Logs,
    /// Spans.
    Traces,
    /// Metrics; over HTTP alone.
    Metrics,
}

/// A request, whatever became of it.
#[derive(Clone, Debug)]
pub struct Request {
    /// How it came.
    pub protocol: Protocol,
    /// What it carried.
    pub signal: Signal,
    /// Headers, or metadata.
    pub headers: axum::http::HeaderMap,
    /// How many records it carried.
    pub records: usize,
    /// The receiver took it.
    pub taken: bool,
    /// How many of its records the receiver said that it rejected, although it took the request.
    pub rejected: i64,
}

/// Where a record came from.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The resource.
    pub resource: Option<Resource>,
    /// Schema of the resource's attributes.
    pub schema_url: String,
    /// The instrumentation scope.
    pub scope: Option<InstrumentationScope>,
}

/// A log record.
#[derive(Clone, Debug)]
pub struct Log {
    /// Where it came from.
    pub origin: Arc<Origin>,
    /// The record.
    pub record: LogRecord,
}

/// A span.
#[derive(Clone, Debug)]
pub struct Span {
    /// Where it came from.
    pub origin: Arc<Origin>,
    /// The span.
    pub record: SpanRecord,
}

/// Everything that a receiver took, in order, and every request that it saw.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Log records.
    pub logs: Vec<Log>,
    /// Spans.
    pub spans: Vec<Span>,
    /// Metrics, whatever they are of.
    pub metrics: Vec<Metric>,
    /// Requests.
    pub requests: Vec<Request>,
}

/// Attributes that can be asked by name.
pub trait Attributes {
    /// The attributes.
    fn attributes(&self) -> &[KeyValue];

    /// The value of an attribute; none where it is absent.
    ///
    /// # Panics
    /// Where there are two of that name: OTLP forbids it.
    fn attribute(&self, key: &str) -> Option<&Value> {
        let mut found = self.attributes().iter().filter(|attribute| attribute.key == key);
        let first = found.next()?;
        assert!(found.next().is_none(), "two attributes {key} in {:?}", self.attributes());
        first.value.as_ref()?.value.as_ref()
    }

    /// The value of a text attribute; none where it is absent or no text.
    fn text(&self, key: &str) -> Option<&str> {
        match self.attribute(key)? {
            Value::StringValue(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a whole-number attribute; none where it is absent or no number.
    fn int(&self, key: &str) -> Option<i64> {
        match self.attribute(key)? {
            Value::IntValue(number) => Some(*number),
            _ => None,
        }
    }

    /// The value of an attribute that is a list of texts; none where it is absent or no such list.
    fn texts(&self, key: &str) -> Option<Vec<String>> {
        let text = |value: &AnyValue| match &value.value {
            Some(Value::StringValue(text)) => Some(text.clone()),
            _ => None,
        };
        match self.attribute(key)? {
            Value::ArrayValue(list) => list.values.iter().map(text).collect(),
            _ => None,
        }
    }
}

// === impl Attributes ===

impl Attributes for Log {
    fn attributes(&self) -> &[KeyValue] {
        &self.record.attributes
    }
}

impl Attributes for Span {
    fn attributes(&self) -> &[KeyValue] {
        &self.record.attributes
    }
}

impl Attributes for Event {
    fn attributes(&self) -> &[KeyValue] {
        &self.attributes
    }
}

impl Attributes for Origin {
    fn attributes(&self) -> &[KeyValue] {
        self.resource.as_ref().map_or(&[], |resource| &resource.attributes)
    }
}

// === impl Received ===

impl Received {
    /// The log records whose attribute `process.executable.path` contains `tag`.
    pub fn logs_of(&self, tag: &str) -> Vec<&Log> {
        self.logs.iter().filter(|log| of(*log, tag)).collect()
    }

    /// The spans whose attribute `process.executable.path` contains `tag`.
    pub fn spans_of(&self, tag: &str) -> Vec<&Span> {
        self.spans.iter().filter(|span| of(*span, tag)).collect()
    }

    pub(super) fn add_logs(&mut self, request: ExportLogsServiceRequest) {
        for of_resource in request.resource_logs {
            for of_scope in of_resource.scope_logs {
                let origin = Arc::new(Origin {
                    resource: of_resource.resource.clone(),
                    schema_url: of_resource.schema_url.clone(),
                    scope: of_scope.scope,
                });
                let log = |record| Log { origin: Arc::clone(&origin), record };
                self.logs.extend(of_scope.log_records.into_iter().map(log));
            }
        }
    }

    pub(super) fn add_spans(&mut self, request: ExportTraceServiceRequest) {
        for of_resource in request.resource_spans {
            for of_scope in of_resource.scope_spans {
                let origin = Arc::new(Origin {
                    resource: of_resource.resource.clone(),
                    schema_url: of_resource.schema_url.clone(),
                    scope: of_scope.scope,
                });
                let span = |record| Span { origin: Arc::clone(&origin), record };
                self.spans.extend(of_scope.spans.into_iter().map(span));
            }
        }
    }

    /// How much there is.
    pub fn summary(&self) -> String {
        let taken = self.requests.iter().filter(|request| request.taken).count();
        format!(
            "{} log records and {} spans in {taken} of {} requests",
            self.logs.len(),
            self.spans.len(),
            self.requests.len()
        )
    }
}

fn of(record: &impl Attributes, tag: &str) -> bool {
    record.text("process.executable.path").is_some_and(|path| path.contains(tag))
}

/// An id as people read it.
pub fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
