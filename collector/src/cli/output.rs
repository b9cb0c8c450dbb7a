//! How a command writes what it found.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
    time::Duration,
};

use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;
use tracing::error;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

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

/// Columns of the terminal that is written to; none where it isn't one.
pub(super) fn columns() -> Option<usize> {
    let out = io::stdout();
    let size = out.is_terminal().then(|| rustix::termios::tcgetwinsize(&out).ok()).flatten()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// The beginning of a line, as far as it fits.
pub(super) fn cut(line: &str, columns: Option<usize>) -> String {
    let Some(columns) = columns.filter(|columns| line.width() > *columns) else { return line.to_owned() };
    let mut width = 1;
    let fits = line.chars().take_while(|character| {
        width += character.width().unwrap_or(0);
        width <= columns
    });
    fits.chain(['…']).collect()
}

/// How long something took or lasts, in its two largest units: `3h 4m`, `2.5s`, `340ms`.
pub(super) fn length(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let pair = |large: u64, small: u64, units: [&str; 2]| match (seconds % large) / small {
        0 => format!("{}{}", seconds / large, units[0]),
        rest => format!("{}{} {rest}{}", seconds / large, units[0], units[1]),
    };
    match seconds {
        0 if duration.as_millis() == 0 => format!("{}us", duration.as_micros()),
        0 => format!("{}ms", duration.as_millis()),
        1..10 => format!("{:.1}s", duration.as_secs_f64()),
        10..60 => format!("{seconds}s"),
        60..3_600 => pair(60, 1, ["m", "s"]),
        3_600..86_400 => pair(3_600, 60, ["h", "m"]),
        _ => pair(86_400, 3_600, ["d", "h"]),
    }
}

/// How long ago something was; 0 for what is to come.
pub(super) fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    later.duration_since(earlier).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_two_units() {
        let shown = |milliseconds| length(Duration::from_millis(milliseconds));
        let all = [0, 340, 2_540, 59_000, 61_000, 7_260_000, 90_000_000, 172_800_000].map(shown);
        assert_eq!(all, ["0us", "340ms", "2.5s", "59s", "1m 1s", "2h 1m", "1d 1h", "2d"]);
    }

    #[test]
    fn a_line_is_cut_by_its_width() {
        assert_eq!(cut("three", Some(5)), "three");
        assert_eq!(cut("four and five", Some(5)), "four…");
        assert_eq!(cut("日本語", Some(5)), "日本…");
        assert_eq!(cut("long", None), "long");
    }
}
