//! Log records: one for every event, but for descriptors, which are spans.

use std::fmt::Write as _;

use super::{
    attributes::{Attributes, Scratch, name},
    hook::Detail,
    wire::Wire,
};
use crate::{
    display,
    event::{Event, Hook, HookKind, Kind},
    filter::fields::View,
};

/// Where attributes are in a record.
pub(super) const ATTRIBUTES: u32 = field::ATTRIBUTES;

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

/// `SEVERITY_NUMBER_INFO`, `…_WARN`, `…_ERROR` and their texts.
const INFO: (i64, &str) = (9, "INFO");
const WARN: (i64, &str) = (13, "WARN");
const ERROR: (i64, &str) = (17, "ERROR");

/// The W3C trace flag `sampled`: the record's span is, or will be, exported.
const SAMPLED: u32 = 1;

/// Appends the log record for an event, as this field of the message that `wire` is in.
pub(super) fn record(
    field: u32,
    event: &Event,
    node: &str,
    view: Option<&View>,
    scratch: &mut Scratch,
    wire: &mut Wire,
) {
    let trace = &event.process.trace;
    let (severity, severity_text) = severity(event);
    wire.message(field, |record| {
        record.fixed64(field::TIME, event.time.0);
        record.integer(field::SEVERITY, severity);
        record.string(field::SEVERITY_TEXT, severity_text);
        body(event, view, &mut scratch.text);
        record.message(field::BODY, |any| any.string(field::STRING, &scratch.text));
        attributes(event, node, scratch, record);
        let span = match &event.kind {
            Kind::RateLimit(_) => None,
            // What was done for a request is found with it; where the process stands, attributes tell.
            Kind::Hook(Hook { request: Some(request), .. }) => Some((request.trace, request.span)),
            _ => Some((trace.id, trace.span)),
        };
        if let Some((trace, span)) = span {
            record.fixed32(field::FLAGS, SAMPLED);
            record.bytes(field::TRACE_ID, &trace.0);
            record.bytes(field::SPAN_ID, &span.0);
        }
        record.fixed64(field::OBSERVED_TIME, event.observed.0);
        record.string(field::EVENT_NAME, name(event));
    });
}

/// What the policy says. Where it says nothing, its match is worth a look, and more so where it stepped in.
fn severity(event: &Event) -> (i64, &'static str) {
    match &event.kind {
        Kind::Hook(hook) => match hook.source.severity {
            Some(severity) => (severity.number().into(), severity.as_str()),
            None if hook.enforced() => ERROR,
            None => WARN,
        },
        Kind::RateLimit(_) => WARN,
        Kind::Exec(_) | Kind::Exit(_) | Kind::Loader(_) | Kind::Replaced | Kind::Descriptor(_) => INFO,
    }
}

fn attributes(event: &Event, node: &str, scratch: &mut Scratch, record: &mut Wire) {
    let mut attributes = Attributes::new(record, field::ATTRIBUTES);
    attributes.string("log.record.uid", scratch.record_uid(event, node));
    if let Kind::RateLimit(dropped) = event.kind {
        return attributes.integer("trigon.dropped_events", i64::try_from(dropped).unwrap_or(i64::MAX));
    }
    attributes.process(&event.process, node, scratch);
    match &event.kind {
        Kind::Exit(exit) => attributes.exit(exit, event.time, scratch),
        Kind::Hook(hook) => {
            attributes.hook(hook, Detail::Full, scratch);
            if hook.request.is_some() {
                let trace = &event.process.trace;
                attributes.string("trigon.process.trace_id", &trace.id.to_string());
                attributes.string("trigon.process.span_id", &trace.span.to_string());
            }
        }
        Kind::Loader(loader) => attributes.loader(loader),
        Kind::Exec(exec) if exec.first_seen => attributes.boolean("trigon.binary.first_seen", true),
        Kind::Exec(_) | Kind::Replaced | Kind::Descriptor(_) | Kind::RateLimit(_) => {}
    }
}

/// What the description of a call tells.
fn described(hook: &Hook) -> &'static [&'static str] {
    match hook.source.kind() {
        HookKind::Kprobe { .. } | HookKind::Tracepoint { .. } | HookKind::Lsm { .. } => {
            &["args", "function_name", "subsys", "event", "action"]
        }
        HookKind::Uprobe { .. } => &["path", "symbol", "offset", "action"],
        HookKind::Usdt { .. } => &["path", "provider", "name", "action"],
    }
}

/// The line that a person reads, with what is shown of the event.
fn body(event: &Event, view: Option<&View>, text: &mut String) {
    text.clear();
    if let Kind::RateLimit(dropped) = event.kind {
        // Writing to a String can't fail.
        let _ = write!(text, "{dropped} events dropped: the rate limit of this export was reached");
        return;
    }
    if let Kind::Hook(hook) = &event.kind
        && hook.source.template.is_some()
        && let Some(message) = hook.message(event, view)
    {
        text.push_str(&message);
        return;
    }
    let shows = |path| view.is_none_or(|view| view.shows(path));
    match (shows("process.binary"), shows("process.arguments")) {
        (true, true) => display::command(&event.process.image, text),
        (true, false) => display::binary(&event.process.image, text),
        (false, _) => text.push_str(name(event)),
    }
    match &event.kind {
        Kind::Exit(exit) if shows("status") && shows("signal") => {
            text.push_str(": ");
            display::ending(exit, text);
        }
        Kind::Loader(loader) if shows("path") => {
            text.push_str(": ");
            display::harmless(text, |text| text.push_str(&loader.path));
        }
        Kind::Hook(hook) if described(hook).iter().all(|path| shows(path)) => {
            text.push_str(": ");
            display::harmless(text, |text| display::describe(hook, text));
        }
        _ => {}
    }
}
