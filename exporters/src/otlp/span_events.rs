//! What policies saw of a process, kept until its span is made: a bounded number of events of that span.
//!
//! What doesn't fit is counted in the span, and has its log record all the same.

use rustc_hash::FxHashMap;

use super::{
    attributes::{Attributes, Scratch},
    hook::Detail,
    spans::field,
    veil::Veil,
    wire::Wire,
};
use crate::{
    event::{Hook, Timestamp},
    identity::ExecId,
};

/// Events that wait for the spans of their processes.
#[derive(Debug, Default)]
pub(super) struct SpanEvents {
    /// By process id: a later process with the same id shows that the end of the one before was never told.
    processes: FxHashMap<u32, Waiting>,
    /// Processes that have events, and the bytes of these.
    holders: usize,
    bytes: usize,
    /// Working memory.
    wire: Wire,
}

/// Events of one execution.
#[derive(Debug)]
struct Waiting {
    ktime: u64,
    /// Encoded, as fields of the span.
    encoded: Vec<u8>,
    events: u32,
    dropped: u32,
}

/// Events of one span.
const MAX_EVENTS: u32 = 32;
/// Executions that have events at a time.
const MAX_HOLDERS: usize = 4096;
/// Executions that it is known of what they miss: as many as the agent's process table holds.
const MAX_PROCESSES: usize = 65_536;
/// Bytes of all events: of those of a thousand bytes, what 128 full spans have.
const MAX_BYTES: usize = 4 << 20;

/// Field numbers of `Span.Event` (opentelemetry/proto/trace/v1/trace.proto).
mod event_field {
    pub(super) const TIME: u32 = 1;
    pub(super) const NAME: u32 = 2;
    pub(super) const ATTRIBUTES: u32 = 3;
}

// === impl SpanEvents ===

impl SpanEvents {
    /// Keeps an event for the span of this execution, or counts it there where it doesn't fit.
    pub(super) fn add(
        &mut self,
        exec_id: ExecId,
        time: Timestamp,
        hook: &Hook,
        veil: Option<&mut Veil>,
        scratch: &mut Scratch,
    ) {
        if self.processes.get(&exec_id.pid).is_some_and(|waiting| waiting.ktime != exec_id.ktime) {
            self.forget(exec_id.pid);
        }
        if self.processes.len() >= MAX_PROCESSES && !self.processes.contains_key(&exec_id.pid) {
            return;
        }
        let waiting = self.processes.entry(exec_id.pid).or_insert_with(|| Waiting::new(exec_id.ktime));
        let has_place = waiting.events > 0 || self.holders < MAX_HOLDERS;
        if waiting.events >= MAX_EVENTS || !has_place {
            return waiting.drop_one();
        }
        self.wire.clear();
        self.wire.message(field::EVENTS, |message| {
            message.fixed64(event_field::TIME, time.0);
            message.string(event_field::NAME, hook.event_name());
            Attributes::new(message, event_field::ATTRIBUTES).hook(hook, Detail::Main, scratch);
        });
        if let Some(veil) = veil {
            veil.draw(hook.event_type(), event_field::ATTRIBUTES, 0, &mut self.wire);
        }
        if self.bytes + self.wire.len() > MAX_BYTES {
            return waiting.drop_one();
        }
        self.holders += usize::from(waiting.events == 0);
        self.bytes += self.wire.len();
        waiting.events += 1;
        // Exact, so that the bytes that are counted are those that are held.
        waiting.encoded.reserve_exact(self.wire.len());
        waiting.encoded.extend_from_slice(self.wire.as_slice());
    }

    /// Appends the events of this execution to its span, and forgets them.
    pub(super) fn take(&mut self, exec_id: ExecId, span: &mut Wire) {
        if self.processes.get(&exec_id.pid).is_none_or(|waiting| waiting.ktime != exec_id.ktime) {
            return;
        }
        if let Some(waiting) = self.forget(exec_id.pid) {
            span.append(&waiting.encoded);
            if waiting.dropped > 0 {
                span.integer(field::DROPPED_EVENTS, waiting.dropped.into());
            }
        }
    }

    fn forget(&mut self, pid: u32) -> Option<Waiting> {
        let waiting = self.processes.remove(&pid)?;
        self.holders -= usize::from(waiting.events > 0);
        self.bytes -= waiting.encoded.len();
        if self.processes.is_empty() {
            self.processes.shrink_to_fit();
        }
        Some(waiting)
    }
}

// === impl Waiting ===

impl Waiting {
    fn new(ktime: u64) -> Self {
        Self { ktime, encoded: Vec::new(), events: 0, dropped: 0 }
    }

    fn drop_one(&mut self) {
        self.dropped = self.dropped.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::hooks;

    fn id(pid: u32) -> ExecId {
        ExecId { ktime: 7, pid }
    }

    fn add(events: &mut SpanEvents, pid: u32) {
        add_hook(events, id(pid), &hooks::read());
    }

    fn add_hook(events: &mut SpanEvents, exec_id: ExecId, hook: &Hook) {
        events.add(exec_id, Timestamp(1), hook, None, &mut Scratch::default());
    }

    /// Number of events and of those that were dropped, by what the span would have.
    fn taken(events: &mut SpanEvents, exec_id: ExecId) -> (usize, u32) {
        use opentelemetry_proto::tonic::trace::v1::Span;
        let mut wire = Wire::default();
        events.take(exec_id, &mut wire);
        let span = <Span as prost::Message>::decode(wire.as_slice()).unwrap();
        (span.events.len(), span.dropped_events_count)
    }

    #[test]
    fn a_process_has_so_many_events_and_the_rest_is_counted() {
        let mut events = SpanEvents::default();
        (0..100).for_each(|_| add(&mut events, 1));
        add(&mut events, 2);
        assert_eq!(taken(&mut events, id(1)), (32, 68));
        assert_eq!(taken(&mut events, id(1)), (0, 0));
        assert_eq!(taken(&mut events, id(2)), (1, 0));
        assert_eq!((events.holders, events.bytes, events.processes.len()), (0, 0, 0));
    }

    #[test]
    fn so_many_processes_have_events_and_others_are_counted() {
        let mut events = SpanEvents::default();
        (0..MAX_HOLDERS as u32 + 5).for_each(|pid| add(&mut events, pid));
        assert_eq!(events.holders, MAX_HOLDERS);
        let late = id(MAX_HOLDERS as u32 + 2);
        add(&mut events, late.pid);
        assert_eq!(taken(&mut events, late), (0, 2));
        assert_eq!(taken(&mut events, id(0)), (1, 0));
        add(&mut events, late.pid);
        assert_eq!(taken(&mut events, late), (1, 0), "there is a place again");
        (0..2 * MAX_PROCESSES as u32).for_each(|pid| add(&mut events, pid));
        assert_eq!((events.processes.len(), events.holders), (MAX_PROCESSES, MAX_HOLDERS));
    }

    #[test]
    fn bytes_are_bounded() {
        let mut events = SpanEvents::default();
        let hook = hooks::file_hook("security_file_open", &"x".repeat(100_000));
        (0..MAX_HOLDERS as u32).for_each(|pid| {
            (0..8).for_each(|_| add_hook(&mut events, id(pid), &hook));
        });
        let held: usize = events.processes.values().map(|waiting| waiting.encoded.capacity()).sum();
        assert!(events.bytes <= MAX_BYTES && events.bytes > MAX_BYTES / 2, "{}", events.bytes);
        assert_eq!(held, events.bytes);
        assert_eq!(taken(&mut events, id(MAX_HOLDERS as u32 - 1)), (0, 8));
    }

    #[test]
    fn a_process_whose_end_was_never_told_makes_way() {
        let mut events = SpanEvents::default();
        add(&mut events, 1);
        let next = ExecId { ktime: 8, pid: 1 };
        add_hook(&mut events, next, &hooks::read());
        assert_eq!((events.processes.len(), events.holders), (1, 1));
        assert_eq!(taken(&mut events, id(1)), (0, 0));
        assert_eq!(taken(&mut events, next), (1, 0));
    }
}
