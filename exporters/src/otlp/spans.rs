//! Spans: one for every execution, when it has ended, and one for every descriptor that a policy followed.

use super::{
    attributes::{Attributes, Scratch},
    span_events::SpanEvents,
    wire::Wire,
};
use crate::{
    event::{Descriptor, Event, Exit, Kind, Process},
    filter::fields::View,
    identity::SpanId,
};

/// What a span is of.
#[derive(Clone, Copy)]
pub(super) enum Spanned<'a> {
    /// An execution that ended, and how where its process ended with it.
    Execution(&'a Process, Option<&'a Exit>),
    /// A file that a process held.
    Access(&'a Process, &'a Descriptor),
}

/// What a span is made with.
pub(super) struct Context<'a> {
    /// The field that it is, of the message that it is in.
    pub(super) field: u32,
    /// Name of the node.
    pub(super) node: &'a str,
    /// What is shown; none for all.
    pub(super) view: Option<&'a View>,
    pub(super) scratch: &'a mut Scratch,
    pub(super) events: &'a mut SpanEvents,
}

/// Field numbers of `Span`, `Span.Link` and `Status` (opentelemetry/proto/trace/v1/trace.proto).
pub(super) mod field {
    pub(super) const TRACE_ID: u32 = 1;
    pub(super) const SPAN_ID: u32 = 2;
    pub(super) const PARENT_SPAN_ID: u32 = 4;
    pub(super) const NAME: u32 = 5;
    pub(super) const KIND: u32 = 6;
    pub(super) const START: u32 = 7;
    pub(super) const END: u32 = 8;
    pub(in crate::otlp) const ATTRIBUTES: u32 = 9;
    pub(in crate::otlp) const EVENTS: u32 = 11;
    pub(in crate::otlp) const DROPPED_EVENTS: u32 = 12;
    pub(super) const LINKS: u32 = 13;
    pub(super) const STATUS: u32 = 15;
    pub(super) const FLAGS: u32 = 16;
    /// Of a link.
    pub(super) const LINK_FLAGS: u32 = 6;
    /// Of a status.
    pub(super) const CODE: u32 = 3;
}

/// `SPAN_KIND_INTERNAL`.
const INTERNAL: i64 = 1;

/// `STATUS_CODE_ERROR`.
const ERROR: i64 = 2;

/// `SpanFlags`: the W3C trace flag `sampled`, and what is known about where the parent is.
const SAMPLED: u32 = 1;
const HAS_IS_REMOTE: u32 = 1 << 8;
const IS_REMOTE: u32 = 1 << 9;

/// What an event makes a span of; none where it ended nothing.
pub(super) fn spanned(event: &Event) -> Option<Spanned<'_>> {
    match &event.kind {
        Kind::Exec(exec) => Some(Spanned::Execution(&exec.replaced.as_ref()?.process, None)),
        Kind::Replaced => Some(Spanned::Execution(&event.process, None)),
        Kind::Exit(exit) => Some(Spanned::Execution(&event.process, Some(exit))),
        Kind::Hook(_) | Kind::Loader(_) | Kind::RateLimit(_) => None,
        Kind::Descriptor(descriptor) => Some(Spanned::Access(&event.process, descriptor)),
    }
}

/// Appends the span that an event makes, with the events that waited for it. Appends nothing for an event that makes
/// none.
pub(super) fn span(event: &Event, context: Context<'_>, wire: &mut Wire) {
    match spanned(event) {
        Some(Spanned::Execution(process, exit)) => execution(event, process, exit, context, wire),
        Some(Spanned::Access(process, descriptor)) => access(process, descriptor, context, wire),
        None => {}
    }
}

fn execution(event: &Event, process: &Process, exit: Option<&Exit>, context: Context<'_>, wire: &mut Wire) {
    let Context { field, node, view, scratch, events } = context;
    let trace = &process.trace;
    // Clocks of a start and an end can disagree by a rounding, and a start that was missed is 0.
    let start = if process.start.0 == 0 { event.time } else { process.start.min(event.time) };
    wire.message(field, |span| {
        span.bytes(field::TRACE_ID, &trace.id.0);
        span.bytes(field::SPAN_ID, &trace.span.0);
        if let Some(parent) = trace.parent {
            span.bytes(field::PARENT_SPAN_ID, &parent.0);
        }
        span.string(field::NAME, name(process, view));
        span.integer(field::KIND, INTERNAL);
        span.fixed64(field::START, start.0);
        span.fixed64(field::END, event.time.0);
        let mut attributes = Attributes::new(span, field::ATTRIBUTES);
        attributes.process(process, node, scratch);
        if let Some(exit) = exit {
            attributes.exit(exit, event.time, scratch);
        }
        events.take(process.exec_id, span);
        if let Some(link) = trace.link {
            span.message(field::LINKS, |message| {
                message.bytes(field::TRACE_ID, &link.trace.0);
                message.bytes(field::SPAN_ID, &link.span.0);
                message.fixed32(field::LINK_FLAGS, SAMPLED);
            });
        }
        if exit.is_some_and(|exit| exit.code != 0 || exit.signal != 0) {
            span.message(field::STATUS, |status| status.integer(field::CODE, ERROR));
        }
        span.fixed32(field::FLAGS, SAMPLED | remote(process, event));
    });
}

/// A file that was held, below the execution that opened it.
fn access(process: &Process, descriptor: &Descriptor, context: Context<'_>, wire: &mut Wire) {
    let Context { field, node, scratch, .. } = context;
    wire.message(field, |span| {
        span.bytes(field::TRACE_ID, &process.trace.id.0);
        span.bytes(field::SPAN_ID, &descriptor.span.0);
        span.bytes(field::PARENT_SPAN_ID, &process.trace.span.0);
        span.string(field::NAME, "file.access");
        span.integer(field::KIND, INTERNAL);
        span.fixed64(field::START, descriptor.opened.min(descriptor.closed).0);
        span.fixed64(field::END, descriptor.closed.0);
        let mut attributes = Attributes::new(span, field::ATTRIBUTES);
        attributes.integer("process.pid", process.pid());
        attributes.optional("process.executable.path", Some(process.image.binary()));
        attributes.optional("process.executable.name", Some(process.image.name()));
        attributes.exec_id("trigon.exec_id", process.exec_id, node, scratch);
        attributes.descriptor(descriptor, scratch);
        span.fixed32(field::FLAGS, SAMPLED | HAS_IS_REMOTE);
    });
}

/// A span must have a name; a process whose image is not known still has its number, and one whose image is not shown
/// too.
fn name<'a>(process: &'a Process, view: Option<&View>) -> &'a str {
    if view.is_some_and(|view| !view.shows("process.binary")) {
        return "process";
    }
    Some(process.image.name()).filter(|name| !name.is_empty()).unwrap_or("unknown")
}

/// Whether the span above came with a context from elsewhere, an application's trace that the process continues, or
/// is that of the execution that started it. Not known where that execution isn't.
fn remote(process: &Process, event: &Event) -> u32 {
    let started_by: Option<SpanId> = event
        .parent
        .as_ref()
        .filter(|parent| Some(parent.exec_id) == process.parent_exec_id)
        .map(|p| p.trace.span);
    match (process.trace.parent, started_by) {
        (None, _) => HAS_IS_REMOTE,
        (Some(above), Some(starter)) if above == starter => HAS_IS_REMOTE,
        (Some(_), Some(_)) => HAS_IS_REMOTE | IS_REMOTE,
        (Some(_), None) => 0,
    }
}

// === impl Spanned ===

impl<'a> Spanned<'a> {
    /// Whose span it is.
    pub(super) fn process(self) -> &'a Process {
        match self {
            Self::Execution(process, _) | Self::Access(process, _) => process,
        }
    }
}
