//! The way out to standard output: a thread of its own that writes lines.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    compact::CompactWriter,
    event::{Event, EventType, Kind, Namespaces},
    filter::Fields,
    json::JsonWriter,
    metrics::{Loss, LossCounter},
    sink::{Chunk, QueueReceiver},
};

#[cfg(test)]
mod tests;

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

/// What this way out loses, stage `export`.
#[derive(Clone, Debug)]
pub struct Lost {
    /// Nobody reads any more.
    closed: LossCounter,
    /// The write failed, on a full disk for one.
    write: LossCounter,
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

/// The stream, and what is known of its state.
#[derive(Debug)]
struct Output<W> {
    out: W,
    lost: Lost,
    /// Nobody reads any more: all that comes is lost.
    closed: bool,
    /// The last write stopped inside a line.
    torn: bool,
    warned: Option<Instant>,
}

/// Bytes that are written at once although more events wait.
const ENOUGH: usize = 64 * 1024;
/// How long a stream that was made non-blocking and takes nothing is left alone.
const RETRY: Duration = Duration::from_millis(5);
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// Writes what comes through the queue, until the router has gone and everything is written.
///
/// Errors of the stream don't end it. Once nobody reads any more, the rest is taken from the queue and counted as
/// lost for the reason `closed`; what any other failed write does not bring out is lost for the reason `write`.
pub fn run(mut receiver: QueueReceiver, format: Format, context: Context, out: impl Write, lost: Lost) {
    let mut encoder = Encoder::new(format, context, receiver.fields());
    let mut output = Output { out, lost, closed: false, torn: false, warned: None };
    let mut pending = Pending::default();
    while let Some(chunk) = receiver.blocking_recv() {
        output.take(&chunk, &mut encoder, &mut pending);
        while let Some(chunk) = receiver.try_recv() {
            output.take(&chunk, &mut encoder, &mut pending);
        }
        output.write(&mut pending);
        output.flush();
    }
}

/// Whether there is a line for this event.
pub fn has_line(event: &Event) -> bool {
    !matches!(event.kind, Kind::Descriptor(_))
}

/// Standard output without the line buffer of [`std::io::Stdout`], which hides how much of a failed write came out.
///
/// # Errors
/// Fails where standard output is closed or no descriptor is left.
pub fn stdout() -> io::Result<File> {
    io::stdout().as_fd().try_clone_to_owned().map(File::from)
}

// === impl Lost ===

impl Lost {
    /// The counters of this way out.
    pub fn new(loss: &Loss) -> Self {
        Self { closed: loss.counter("export", "closed"), write: loss.counter("export", "write") }
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

// === impl Output ===

impl<W: Write> Output<W> {
    fn take(&mut self, chunk: &Chunk, encoder: &mut Encoder, pending: &mut Pending) {
        for event in chunk.iter().filter(|event| has_line(event)) {
            if self.closed {
                self.lost.closed.lose(event.event_type());
                continue;
            }
            pending.push(event, encoder);
            if pending.bytes.len() >= ENOUGH {
                self.write(pending);
            }
        }
    }

    /// Writes the lines; those that don't come out whole are lost and counted.
    fn write(&mut self, pending: &mut Pending) {
        let (written, result) = self.write_bytes(&pending.bytes);
        if let Err(error) = result {
            self.closed = error.kind() == io::ErrorKind::BrokenPipe;
            let lost = if self.closed { &self.lost.closed } else { &self.lost.write };
            let whole = pending.ends.partition_point(|(end, _)| *end <= written);
            pending.ends[whole..].iter().for_each(|(_, event)| lost.lose(*event));
            let line_start = whole.checked_sub(1).map_or(0, |last| pending.ends[last].0);
            if written > 0 {
                self.torn = written > line_start;
            }
            self.warn(&error, pending.ends.len() - whole);
        }
        pending.clear();
    }

    /// Writes as much as goes, and tells how much that was.
    fn write_bytes(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        let mut written = 0;
        while written < bytes.len() {
            // A line that was cut short must not swallow the one after it.
            let rest = if self.torn { b"\n" } else { &bytes[written..] };
            match self.out.write(rest) {
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
        if let Err(error) = self.out.flush() {
            self.warn(&error, 0);
        }
    }

    /// Logs a failure: at once if it is the first or the last one that can happen, else once in a while.
    fn warn(&mut self, error: &io::Error, lost: usize) {
        if self.closed {
            tracing::error!(
                "nobody reads standard output any more ({error}): events are no longer written there"
            );
        } else if self.warned.is_none_or(|at| at.elapsed() >= WARN_INTERVAL) {
            self.warned = Some(Instant::now());
            tracing::warn!(
                "cannot write to standard output: {error}; {lost} events were lost this time, trigon_lost_events_total counts all"
            );
        }
    }
}
