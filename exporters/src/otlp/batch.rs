//! Batches: records are encoded as they come, and sealed into the body of one request.

use std::sync::Arc;

use bytes::Bytes;
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::{
    Signal,
    attributes::Scratch,
    config::BatchConfig,
    logs,
    origin::{Origin, OriginNow},
    resource::{self, Envelope},
    span_events::SpanEvents,
    spans,
    veil::Veil,
    wire::Wire,
};
use crate::{
    event::{Event, EventType, Kind, Timestamp},
    filter::{About, Fields},
    metrics::LossCounter,
    node::Node,
};

/// The body of a request, ready to be sent, and what is in it.
#[derive(Debug)]
pub(super) struct Batch {
    /// An encoded `ExportLogsServiceRequest` or `ExportTraceServiceRequest`.
    pub(super) body: Bytes,
    /// The events that its records are of.
    pub(super) counts: Counts,
    /// When the first of them happened.
    pub(super) oldest: Timestamp,
}

/// Number of events by type, in the order of [`EventType::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts([u64; EventType::ALL.len()]);

/// Encodes events into the batch that is open, and seals it.
#[derive(Debug)]
pub(super) struct Batcher {
    signal: Signal,
    node: Arc<Node>,
    limits: BatchConfig,
    envelope: Envelope,
    scratch: Scratch,
    span_events: SpanEvents,
    veil: Option<Veil>,
    groups: Vec<Group>,
    /// Where the group of a container, or of the host, is.
    index: FxHashMap<Origin, usize>,
    /// Buffers of groups that were sealed.
    spare: Vec<Wire>,
    bytes: usize,
    counts: Counts,
    oldest: Timestamp,
    opened: Option<Instant>,
}

/// Encoded records of one resource.
#[derive(Debug)]
struct Group {
    origin: Origin,
    records: Wire,
}

// === impl Signal ===

impl Signal {
    /// Whether this signal has a record for this event: of descriptors there is only a span, and only what ended has
    /// one.
    pub(super) fn has_record(self, event: &Event) -> bool {
        match self {
            Self::Logs => event.has_record(),
            Self::Spans => spans::spanned(event).is_some(),
        }
    }

    /// Whether this signal makes something of this event: a record, or a part of one.
    pub(super) fn makes(self, event: &Event) -> bool {
        self.has_record(event) || matches!(event.kind, Kind::Hook(_))
    }
}

// === impl Batcher ===

impl Batcher {
    /// A batcher with nothing in it.
    pub(super) fn new(signal: Signal, node: Arc<Node>, limits: BatchConfig) -> Self {
        Self {
            signal,
            envelope: Envelope::new(&node),
            node,
            limits,
            scratch: Scratch::default(),
            span_events: SpanEvents::default(),
            veil: None,
            groups: Vec::new(),
            index: FxHashMap::default(),
            spare: Vec::new(),
            bytes: 0,
            counts: Counts::default(),
            oldest: Timestamp(u64::MAX),
            opened: None,
        }
    }

    /// Shows of each event only this.
    pub(super) fn showing(self, fields: Option<Arc<Fields>>) -> Self {
        Self { veil: fields.map(Veil::new), ..self }
    }

    /// Adds the event's record, where the signal has one, and seals the batch where that filled it. What policies saw
    /// waits for the span of its process.
    pub(super) fn push(&mut self, event: &Event) -> Option<Batch> {
        if let (Signal::Spans, Kind::Hook(hook)) = (self.signal, &event.kind) {
            let (id, veil) = (event.process.exec_id, self.veil.as_mut());
            self.span_events.add(id, event.time, hook, veil, &mut self.scratch);
        }
        if !self.signal.has_record(event) {
            return None;
        }
        let process = match self.signal {
            Signal::Logs => &*event.process,
            Signal::Spans => spans::spanned(event)?.process(),
        };
        let group = self.group(&OriginNow::of(process));
        let records = &mut self.groups[group].records;
        let before = records.len();
        let (field, node, scratch) = (resource::RECORDS, &self.node.name, &mut self.scratch);
        let kind = match self.signal {
            Signal::Logs => event.event_type(),
            Signal::Spans => About::span(event).kind(),
        };
        let view = self.veil.as_ref().and_then(|veil| veil.of(kind));
        match self.signal {
            Signal::Logs => logs::record(field, event, node, view, scratch, records),
            Signal::Spans => {
                let context = spans::Context { field, node, view, scratch, events: &mut self.span_events };
                spans::span(event, context, records);
            }
        }
        if let Some(veil) = &mut self.veil {
            let attributes = match self.signal {
                Signal::Logs => logs::ATTRIBUTES,
                Signal::Spans => spans::field::ATTRIBUTES,
            };
            veil.draw(kind, attributes, before, records);
        }
        self.bytes += records.len() - before;
        self.counts.add(event.event_type());
        self.oldest = self.oldest.min(event.time);
        self.opened.get_or_insert_with(Instant::now);
        let full =
            self.counts.total() >= self.limits.max_records as u64 || self.bytes >= self.limits.max_bytes;
        if full { self.seal() } else { None }
    }

    /// When the open batch is to be sealed at the latest; none while it is empty.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.opened.map(|opened| opened + self.limits.max_age)
    }

    /// Seals the open batch; none where it is empty.
    pub(super) fn seal(&mut self) -> Option<Batch> {
        self.opened.take()?;
        let mut request = Wire::default();
        request.reserve(self.bytes + self.groups.len() * 16);
        for Group { origin, mut records } in self.groups.drain(..) {
            self.envelope.group(&origin, records.as_slice(), &mut request);
            records.clear();
            self.spare.push(records);
        }
        self.index.clear();
        // Buffers grow as their groups do, and change groups: together they must not hold more than a batch or so.
        let (mut kept, most) = (0_usize, self.limits.max_bytes.saturating_mul(SPARE_BATCHES));
        self.spare.retain(|buffer| {
            kept = kept.saturating_add(buffer.capacity());
            kept <= most
        });
        self.bytes = 0;
        Some(Batch {
            body: Bytes::from(request.into_bytes()),
            counts: std::mem::take(&mut self.counts),
            oldest: std::mem::replace(&mut self.oldest, Timestamp(u64::MAX)),
        })
    }

    /// The group of the records from there, which is made where there is none. What comes to be known of a pod between
    /// two events makes a group of its own.
    fn group(&mut self, now: &OriginNow<'_>) -> usize {
        // Events come in runs.
        if let Some(last) = self.groups.last()
            && now.is(&last.origin)
        {
            return self.groups.len() - 1;
        }
        *self.index.entry(now.to_owned()).or_insert_with_key(|origin| {
            self.bytes += self.envelope.size(origin);
            let records = self.spare.pop().unwrap_or_default();
            self.groups.push(Group { origin: origin.clone(), records });
            self.groups.len() - 1
        })
    }
}

/// Memory that is kept between batches, in batches: a buffer that grew to hold one may have room for two.
const SPARE_BATCHES: usize = 3;

// === impl Counts ===

impl Counts {
    /// Counts one event.
    pub(super) fn add(&mut self, event: EventType) {
        self.0[event.index()] += 1;
    }

    /// Those of one type.
    pub(super) fn of(&self, event: EventType) -> u64 {
        self.0[event.index()]
    }

    /// All types together.
    pub(super) fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Splits off `part` of the events, at most all, each type in proportion: an endpoint says how many records it
    /// rejected, not which. Returns the part and the rest.
    pub(super) fn split(self, part: u64) -> (Self, Self) {
        let total = self.total();
        let part = u128::from(part.min(total));
        let (mut taken, mut rest) = (self, self);
        let mut seen = 0;
        for (taken, rest) in taken.0.iter_mut().zip(&mut rest.0) {
            // Shares of running sums, so that the roundings add up.
            let share = |of: u64| (part * u128::from(of) / u128::from(total.max(1))) as u64;
            let before = share(seen);
            seen += *taken;
            *taken = share(seen) - before;
            *rest -= *taken;
        }
        (taken, rest)
    }

    /// Counts all of them as lost.
    pub(super) fn lose(&self, lost: &LossCounter) {
        for (event, count) in EventType::ALL.into_iter().zip(self.0) {
            if count > 0 {
                lost.lose_many(event, count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_adds_up() {
        for (exec, exit) in [(0, 0), (1, 0), (0, 1), (3, 4), (1, 1_000), (u64::MAX / 4, 7)] {
            let counts = Counts([exec, exit, 0, 3, 0, 0, 0, 0, 0, 2]);
            for part in [0, 1, 2, 3, 7, 500, exec + exit, u64::MAX] {
                let (taken, rest) = counts.split(part);
                assert_eq!(taken.total(), part.min(counts.total()));
                assert_eq!(std::array::from_fn(|n| taken.0[n] + rest.0[n]), counts.0);
            }
        }
    }
}
