//! The way out to standard output: a thread of its own that writes lines.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
};

use crate::{
    health::Health,
    lines::{Balance, Context, Format, LineWriter, Target},
    sink::QueueReceiver,
};

/// A stream that somebody reads.
#[derive(Debug)]
struct Stream<W>(W);

/// Writes what comes through the queue, until the router has gone and everything is written.
///
/// Errors of the stream don't end it. Once nobody reads any more, the rest is taken from the queue and counted as
/// lost for the reason `closed`; what any other failed write does not bring out is lost for the reason `write`.
pub fn run(
    mut receiver: QueueReceiver,
    format: Format,
    context: Context,
    out: impl Write,
    balance: Balance,
    health: Health,
) {
    let mut writer = LineWriter::new(Stream(out), format, context, receiver.fields(), balance, health);
    while let Some(chunk) = receiver.blocking_recv() {
        writer.write_all(&chunk, &mut receiver);
    }
}

/// Standard output without the line buffer of [`std::io::Stdout`], which hides how much of a failed write came out.
///
/// # Errors
/// Fails where standard output is closed or no descriptor is left.
pub fn stdout() -> io::Result<File> {
    io::stdout().as_fd().try_clone_to_owned().map(File::from)
}

// === impl Stream ===

impl<W: Write> Write for Stream<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W: Write> Target for Stream<W> {
    fn name(&self) -> &str {
        "standard output"
    }

    fn is_end(&self, error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::BrokenPipe
    }
}
