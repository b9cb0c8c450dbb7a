//! Records to events, by the same stages as in the agent: decode, then track.

use std::time::Duration;

use trigon::{
    redact::Redaction,
    tracker::{Settings, Tracker, clock::Clock, trace::Rules},
};
use trigon_exporters::event::{Event, Timestamp};
use trigon_probes::record::{DecodeError, Header, decode, decode_first};
use zerocopy::FromBytes as _;

/// The node that all recordings are replayed on.
pub const NODE: &str = "node-1";

/// What the boot clock's zero is taken as: 2026-11-24T00:00:00Z.
const EPOCH: Timestamp = Timestamp(1_795_478_400_000_000_000);

/// How long after it happened an event is observed, in nanoseconds.
const DELAY: u64 = 5_000;

/// What became of records.
#[derive(Debug)]
pub struct Replayed {
    /// Events, in the order of their records.
    pub events: Vec<Event>,
    /// Records that were skipped.
    pub undecoded: Undecoded,
    /// Executions whose start was missed.
    pub missed_starts: u64,
}

/// Records that could not be decoded, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undecoded {
    pub short: usize,
    pub length: usize,
    pub text: usize,
    pub unknown_type: usize,
}

/// The records of a recording.
pub fn split(mut recorded: &[u8]) -> Vec<&[u8]> {
    let mut records = Vec::new();
    while !recorded.is_empty() {
        let (_, rest) = decode_first(recorded).expect("a recording holds whole records");
        records.push(&recorded[..recorded.len() - rest.len()]);
        recorded = rest;
    }
    records
}

/// Takes records, each as the ring buffer would hand it over, through the stages.
pub fn replay<'a>(records: impl IntoIterator<Item = &'a [u8]>) -> Replayed {
    let clock = Clock::fixed(EPOCH);
    let mut tracker = Tracker::new(settings(), clock);
    let mut undecoded = Undecoded::default();
    let mut events = Vec::new();
    for bytes in records {
        match decode(bytes) {
            Ok(record) => {
                let header = Header::read_from_prefix(bytes).map(|(header, _)| header).unwrap_or_default();
                events.extend(tracker.take(record, clock.at(header.time + DELAY)));
            }
            Err(error) => undecoded.count(error),
        }
    }
    Replayed { events, undecoded, missed_starts: tracker.counts().missed_starts }
}

/// The defaults.
fn settings() -> Settings {
    let day = Duration::from_secs(24 * 3600);
    Settings {
        expose_stack_addresses: false,
        node: NODE.to_owned(),
        rules: Rules { join_env: true, max_age_ns: day.as_nanos() as u64 },
        max_args: 256,
        capacity: 65_536,
        linger: Duration::from_secs(10),
        variables: Vec::new(),
        redaction: Redaction::default(),
    }
}

// === impl Undecoded ===

impl Undecoded {
    /// Counts one, as the reader does.
    pub fn count(&mut self, error: DecodeError) {
        let counter = match error {
            DecodeError::Short { .. } => &mut self.short,
            DecodeError::Length { .. } => &mut self.length,
            DecodeError::Text { .. } => &mut self.text,
            DecodeError::UnknownType(_) => &mut self.unknown_type,
        };
        *counter += 1;
    }
}
