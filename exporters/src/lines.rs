//! Events as lines, and how these are written so that a stream that fails costs the lines it doesn't take and no other.

use std::{
    io::{self, Write},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use prometheus::IntCounter;

use crate::{
    compact::CompactWriter,
    event::{Event, EventType, Namespaces},
    filter::Fields,
    health::Health,
    json::JsonWriter,
    metrics::{Loss, LossCounter},
    otlp::ExportMetrics,
    sink::{Chunk, QueueReceiver},
};

#[cfg(test)]
pub(crate) mod tests;

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON lines in Tetragon's shape.
    Json,
    /// Lines for people.
    Compact {
        /// With ANSI colours.
        color: bool,
        /// With the time before each line.
        timestamps: bool,
    },
}

/// What the lines say of where they come from.
#[derive(Clone, Debug)]
pub struct Context {
    /// Name of the node.
    pub node: String,
    /// Namespaces of the node's first process.
    pub host_namespaces: Namespaces,
}

/// What becomes of the events that come to a way out: their lines are written, or lost at the stage `export`.
#[derive(Clone, Debug)]
pub struct Balance {
    /// The line stands there, whole.
    written: IntCounter,
    /// Nobody reads any more.
    closed: LossCounter,
    /// The write failed, on a full disk for one.
    write: LossCounter,
}

/// What lines are written to.
pub(crate) trait Target: Write {
    /// What the log calls it.
    fn name(&self) -> &str;

    /// Gets ready for whole lines of so many bytes; called between lines.
    fn prepare(&mut self, _bytes: usize) -> io::Result<Place> {
        Ok(Place::Same)
    }

    /// Whether nothing can be written after this error.
    fn is_end(&self, _error: &io::Error) -> bool {
        false
    }
}

/// Where the next line comes to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// After the last one.
    Same,
    /// At the beginning of a line, whatever was written before.
    LineStart,
    /// After a line that was cut short.
    Torn,
}

/// Encodes events and writes them.
#[derive(Debug)]
pub(crate) struct LineWriter<T> {
    target: T,
    encoder: Encoder,
    pending: Pending,
    balance: Balance,
    health: Health,
    /// Nobody reads any more: all that comes is lost.
    closed: bool,
    /// The last write stopped inside a line.
    torn: bool,
    warned: Option<Instant>,
}

#[derive(Debug)]
enum Encoder {
    Json(JsonWriter),
    Compact(CompactWriter),
}

/// Lines that were encoded and not yet written.
#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    /// Where each line ends, and the type of its event.
    ends: Vec<(usize, EventType)>,
}

/// Bytes that are written at once although more events wait.
const ENOUGH: usize = 64 * 1024;
/// How long a stream that was made non-blocking and takes nothing is left alone.
const RETRY: Duration = Duration::from_millis(5);
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// Whether there is a line for this event.
pub fn has_line(event: &Event) -> bool {
    event.has_record()
}

// === impl Balance ===

impl Balance {
    /// The counters of standard output.
    pub fn stdout(loss: &Loss, metrics: &ExportMetrics) -> Self {
        Self {
            written: metrics.records("stdout"),
            closed: loss.counter("export", "closed", "stdout"),
            write: loss.counter("export", "write", "stdout"),
        }
    }

    /// The counters of a file by the name of its way out: nobody has to read it, so that it is never closed.
    pub fn file(loss: &Loss, metrics: &ExportMetrics, name: &str) -> Self {
        let write = loss.counter("export", "write", name);
        Self { written: metrics.records(name), closed: write.clone(), write }
    }
}

// === impl LineWriter ===

impl<T: Target> LineWriter<T> {
    pub(crate) fn new(
        target: T,
        format: Format,
        context: Context,
        fields: Option<Arc<Fields>>,
        balance: Balance,
        health: Health,
    ) -> Self {
        Self {
            target,
            encoder: Encoder::new(format, context, fields),
            pending: Pending::default(),
            balance,
            health,
            closed: false,
            torn: false,
            warned: None,
        }
    }

    /// Writes a chunk, and whatever else waits in the queue.
    pub(crate) fn write_all(&mut self, chunk: &Chunk, receiver: &mut QueueReceiver) {
        self.take(chunk);
        while let Some(chunk) = receiver.try_recv() {
            self.take(&chunk);
        }
        self.write();
        self.flush();
    }

    /// Lets the target do what is due, without anything to write.
    pub(crate) fn tend(&mut self) {
        if let Err(error) = self.prepare(0) {
            self.failed(&error, 0);
        }
    }

    pub(crate) fn target(&self) -> &T {
        &self.target
    }

    fn take(&mut self, chunk: &Chunk) {
        for event in chunk.iter().filter(|event| has_line(event)) {
            if self.closed {
                self.balance.closed.lose(event.event_type());
                continue;
            }
            self.pending.push(event, &mut self.encoder);
            if self.pending.bytes.len() >= ENOUGH {
                self.write();
            }
        }
    }

    /// Writes the lines; those that don't come out whole are lost and counted.
    fn write(&mut self) {
        if self.pending.ends.is_empty() {
            return;
        }
        let (written, result) = match self.prepare(self.pending.bytes.len()) {
            Ok(()) => self.write_bytes(),
            Err(error) => (0, Err(error)),
        };
        let ends = &self.pending.ends;
        let whole = ends.partition_point(|(end, _)| *end <= written);
        // A note of what the rate limit dropped is no event that was seen.
        let events = ends[..whole].iter().filter(|(_, event)| *event != EventType::RateLimitInfo);
        self.balance.written.inc_by(events.count() as u64);
        match result {
            Ok(()) => {
                self.health.succeeded();
            }
            Err(error) => {
                self.closed = self.target.is_end(&error);
                let lost = if self.closed { &self.balance.closed } else { &self.balance.write };
                ends[whole..].iter().for_each(|(_, event)| lost.lose(*event));
                let line_start = whole.checked_sub(1).map_or(0, |last| ends[last].0);
                if written > 0 {
                    self.torn = written > line_start;
                }
                self.failed(&error, ends.len() - whole);
            }
        }
        self.pending.clear();
    }

    fn prepare(&mut self, bytes: usize) -> io::Result<()> {
        match self.target.prepare(bytes)? {
            Place::Same => {}
            Place::LineStart => self.torn = false,
            Place::Torn => self.torn = true,
        }
        Ok(())
    }

    /// Writes as much as goes, and tells how much that was.
    fn write_bytes(&mut self) -> (usize, io::Result<()>) {
        let bytes = &self.pending.bytes;
        let mut written = 0;
        while written < bytes.len() {
            // A line that was cut short must not swallow the one after it.
            let rest = if self.torn { b"\n" } else { &bytes[written..] };
            match self.target.write(rest) {
                Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
                Ok(_) if self.torn => self.torn = false,
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(RETRY),
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(()))
    }

    fn flush(&mut self) {
        if self.closed {
            return;
        }
        if let Err(error) = self.target.flush() {
            self.failed(&error, 0);
        }
    }

    /// Tells of a failure; the log, at once if it is the first or the last one that can happen, else once in a while.
    fn failed(&mut self, error: &io::Error, lost: usize) {
        self.health.failed(&error.to_string());
        let name = self.target.name();
        if self.closed {
            tracing::error!("nobody reads {name} any more ({error}): events are no longer written there");
        } else if self.warned.is_none_or(|at| at.elapsed() >= WARN_INTERVAL) {
            self.warned = Some(Instant::now());
            tracing::warn!(
                "cannot write to {name}: {error}; {lost} events were lost this time, trigon_lost_events_total counts all"
            );
        }
    }
}

// === impl Encoder ===

impl Encoder {
    fn new(format: Format, context: Context, fields: Option<Arc<Fields>>) -> Self {
        let Context { node, host_namespaces } = context;
        match format {
            Format::Json => Self::Json(JsonWriter::new(node, host_namespaces).showing(fields)),
            Format::Compact { color, timestamps } => {
                Self::Compact(CompactWriter::new(node, color, timestamps).showing(fields))
            }
        }
    }

    fn write(&mut self, event: &Event, out: &mut Vec<u8>) {
        match self {
            Self::Json(writer) => writer.write(event, out),
            Self::Compact(writer) => writer.write(event, out),
        }
    }
}

// === impl Pending ===

impl Pending {
    fn push(&mut self, event: &Event, encoder: &mut Encoder) {
        encoder.write(event, &mut self.bytes);
        self.ends.push((self.bytes.len(), event.event_type()));
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}
