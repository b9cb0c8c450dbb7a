//! Log records: one for every event.

use super::{
    attributes::{Attributes, Scratch, name},
    display,
    wire::Wire,
};
use crate::event::{Event, Kind};

/// Field numbers of `LogRecord` (opentelemetry/proto/logs/v1/logs.proto).
mod field {
    pub(super) const TIME: u32 = 1;
    pub(super) const SEVERITY: u32 = 2;
    pub(super) const SEVERITY_TEXT: u32 = 3;
    pub(super) const BODY: u32 = 5;
    pub(super) const ATTRIBUTES: u32 = 6;
    pub(super) const FLAGS: u32 = 8;
    pub(super) const TRACE_ID: u32 = 9;
    pub(super) const SPAN_ID: u32 = 10;
    pub(super) const OBSERVED_TIME: u32 = 11;
    pub(super) const EVENT_NAME: u32 = 12;
    /// Of `AnyValue`.
    pub(super) const STRING: u32 = 1;
}

/// `SEVERITY_NUMBER_INFO`.
const INFO: i64 = 9;

/// The W3C trace flag `sampled`: the record's span is, or will be, exported.
const SAMPLED: u32 = 1;

/// Appends the log record for an event, as this field of the message that `wire` is in.
pub(super) fn record(field: u32, event: &Event, node: &str, scratch: &mut Scratch, wire: &mut Wire) {
    let trace = &event.process.trace;
    wire.message(field, |record| {
        record.fixed64(field::TIME, event.time.0);
        record.integer(field::SEVERITY, INFO);
        record.string(field::SEVERITY_TEXT, "INFO");
        body(event, &mut scratch.text);
        record.message(field::BODY, |any| any.string(field::STRING, &scratch.text));
        attributes(event, node, scratch, record);
        record.fixed32(field::FLAGS, SAMPLED);
        record.bytes(field::TRACE_ID, &trace.id.0);
        record.bytes(field::SPAN_ID, &trace.span.0);
        record.fixed64(field::OBSERVED_TIME, event.observed.0);
        record.string(field::EVENT_NAME, name(event));
    });
}

fn attributes(event: &Event, node: &str, scratch: &mut Scratch, record: &mut Wire) {
    let mut attributes = Attributes::new(record, field::ATTRIBUTES);
    attributes.string("log.record.uid", scratch.record_uid(event, node));
    attributes.process(&event.process, node, scratch);
    if let Kind::Exit(exit) = &event.kind {
        attributes.exit(exit, event.time, scratch);
    }
}

/// The line that a person reads.
fn body(event: &Event, text: &mut String) {
    text.clear();
    display::command(&event.process.image, text);
    if let Kind::Exit(exit) = &event.kind {
        text.push_str(": ");
        display::ending(exit, text);
    }
}
