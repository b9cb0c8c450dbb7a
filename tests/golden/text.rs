//! What a receiver got, as text that a person can read and compare.

use std::fmt::{Display, Write as _};

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    logs::v1::LogRecord,
    trace::v1::Span,
};
use trigon_tests::otlp::{Attributes as _, Received};

/// Resources first, then log records and spans by time, each with the number of its resource.
pub fn of(received: &Received) -> String {
    let mut logs: Vec<_> = received.logs.iter().collect();
    let mut spans: Vec<_> = received.spans.iter().collect();
    logs.sort_by_key(|log| log.record.time_unix_nano);
    spans.sort_by_key(|span| (span.record.start_time_unix_nano, span.record.end_time_unix_nano));

    let mut origins = Origins::default();
    let mut records = String::new();
    for log in logs {
        let origin =
            origins.number(&log.origin.schema_url, log.origin.scope.as_ref(), log.origin.attributes());
        write_log(&log.record, origin, &mut records);
    }
    for span in spans {
        let origin =
            origins.number(&span.origin.schema_url, span.origin.scope.as_ref(), span.origin.attributes());
        write_span(&span.record, origin, &mut records);
    }
    origins.0.concat() + &records
}

/// Texts of the resources that there were, each once.
#[derive(Default)]
struct Origins(Vec<String>);

// === impl Origins ===

impl Origins {
    /// The number of an origin, from 1.
    fn number(&mut self, schema: &str, scope: Option<&InstrumentationScope>, resource: &[KeyValue]) -> usize {
        let scope = scope.expect("every group has a scope");
        let version = if scope.version == env!("CARGO_PKG_VERSION") { "VERSION" } else { &scope.version };
        let mut text = String::new();
        line(&mut text, 2, "schema", schema);
        line(&mut text, 2, "scope", format_args!("{} {version}", scope.name));
        write_attributes(resource, &mut text);
        let known = self.0.iter().position(|other| other.ends_with(&text));
        known.map_or_else(
            || {
                self.0.push(format!("resource {}\n{text}", self.0.len() + 1));
                self.0.len()
            },
            |index| index + 1,
        )
    }
}

fn write_log(log: &LogRecord, origin: usize, out: &mut String) {
    line(out, 0, "log", &log.event_name);
    line(out, 2, "resource", origin);
    line(out, 2, "time", time(log.time_unix_nano));
    line(out, 2, "observed", time(log.observed_time_unix_nano));
    line(out, 2, "severity", format_args!("{} {}", log.severity_number, log.severity_text));
    line(
        out,
        2,
        "trace",
        format_args!("{} span {} flags {}", hex(&log.trace_id), hex(&log.span_id), log.flags),
    );
    line(out, 2, "body", log.body.as_ref().map_or_else(|| "none".to_owned(), value));
    write_attributes(&log.attributes, out);
}

fn write_span(span: &Span, origin: usize, out: &mut String) {
    line(out, 0, "span", format_args!("{:?}", span.name));
    line(out, 2, "resource", origin);
    line(out, 2, "start", time(span.start_time_unix_nano));
    line(out, 2, "end", time(span.end_time_unix_nano));
    line(out, 2, "kind", format_args!("{:?}", span.kind()));
    line(
        out,
        2,
        "trace",
        format_args!("{} span {} flags {}", hex(&span.trace_id), hex(&span.span_id), span.flags),
    );
    let parent = if span.parent_span_id.is_empty() { "none".to_owned() } else { hex(&span.parent_span_id) };
    line(out, 2, "parent", parent);
    for link in &span.links {
        let attributes: Vec<_> = link.attributes.iter().map(attribute).collect();
        line(
            out,
            2,
            "link",
            format_args!("{} span {} {attributes:?}", hex(&link.trace_id), hex(&link.span_id)),
        );
    }
    for event in &span.events {
        line(out, 2, "event", format_args!("{} {}", time(event.time_unix_nano), event.name));
    }
    if let Some(status) = &span.status {
        line(out, 2, "status", format_args!("{:?} {:?}", status.code(), status.message));
    }
    write_attributes(&span.attributes, out);
}

fn write_attributes(attributes: &[KeyValue], out: &mut String) {
    let mut rows: Vec<_> = attributes.iter().map(attribute).collect();
    rows.sort();
    rows.iter().for_each(|row| out.push_str(&format!("    {row}\n")));
}

fn attribute(pair: &KeyValue) -> String {
    let text = pair.value.as_ref().map_or_else(|| "none".to_owned(), value);
    let ours = pair.key.starts_with("telemetry.") && text == concat!("\"", env!("CARGO_PKG_VERSION"), "\"");
    format!("{} = {}", pair.key, if ours { "VERSION" } else { &text })
}

fn value(value: &AnyValue) -> String {
    match &value.value {
        // Quoted and escaped, so that what a terminal would act on can be read.
        Some(Value::StringValue(text)) => format!("{text:?}"),
        Some(Value::BoolValue(value)) => value.to_string(),
        Some(Value::IntValue(value)) => value.to_string(),
        Some(Value::DoubleValue(value)) => format!("{value:?}"),
        Some(Value::ArrayValue(list)) => {
            let texts: Vec<_> = list.values.iter().map(self::value).collect();
            format!("[{}]", texts.join(", "))
        }
        other => format!("{other:?}"),
    }
}

fn line(out: &mut String, indent: usize, name: &str, value: impl Display) {
    let _ = writeln!(out, "{:indent$}{name}: {value}", "");
}

fn time(nanoseconds: u64) -> impl Display {
    jiff::Timestamp::from_nanosecond(nanoseconds.into()).expect("a time of day")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
