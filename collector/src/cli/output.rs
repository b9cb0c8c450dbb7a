//! How a command writes its result to standard output.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::ValueEnum;
use serde::Serialize;
use tracing::error;

/// How a result is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// Lines for people.
    Text,
    /// One JSON object.
    Json,
}

/// Writes to standard output: `text`, or `report` as JSON. `code` if that could be done.
pub(super) fn write(
    output: Output,
    report: &impl Serialize,
    text: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
    code: ExitCode,
) -> ExitCode {
    print(
        |out| match output {
            Output::Text => text(out),
            Output::Json => {
                serde_json::to_writer(&mut *out, report).map_err(io::Error::from).and_then(|()| writeln!(out))
            }
        },
        code,
    )
}

/// Writes to standard output. `code` if that could be done.
pub(super) fn print(text: impl FnOnce(&mut dyn io::Write) -> io::Result<()>, code: ExitCode) -> ExitCode {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match text(&mut out).and_then(|()| out.flush()) {
        // Whoever reads no further has what it wanted.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            error!("cannot write to standard output: {error}");
            ExitCode::FAILURE
        }
        _ => code,
    }
}

/// Whether standard output takes colours: it is a terminal, and <https://no-color.org> isn't asked for.
pub(super) fn takes_color() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
