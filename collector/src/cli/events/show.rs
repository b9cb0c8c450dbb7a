//! Lines of JSON in, what is to be seen of them out. Lenient: what is not known passes through, what can't be read is
//! reported and skipped.

use std::io::{self, BufRead, Write};

use serde_json::Value;
use trigon_exporters::{
    compact::CompactWriter,
    filter::{Filter, json::Line},
    json::push_printable,
};

use super::{
    Output,
    lines::{Lines, MAX_LINE, Read},
};

/// How events are shown, and which.
#[derive(Debug)]
pub struct Options {
    /// How.
    pub output: Output,
    /// Compact lines with ANSI colours.
    pub color: bool,
    /// Compact lines with the time before them.
    pub timestamps: bool,
    /// Which.
    pub filter: Filter,
}

/// What became of the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Lines that hold an event.
    pub events: u64,
    /// Those of them that were shown.
    pub shown: u64,
    /// Lines that were skipped.
    pub damaged: u64,
}

/// Why a line is skipped.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// It is too long.
    #[error("it is longer than {} MiB", MAX_LINE >> 20)]
    TooLong,
    /// It is no JSON.
    #[error("no JSON: {0}")]
    NoJson(serde_json::Error),
    /// It is JSON, and holds nothing that could be an event.
    #[error("it holds no event")]
    NoEvent,
}

/// Nothing more can be shown.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// The lines can't be read.
    #[error("cannot read the events: {0}")]
    Read(io::Error),
    /// They can't be written.
    #[error("cannot write the events: {0}")]
    Write(io::Error),
}

/// Shows the events of a reader until its end. What was written is flushed whenever there is nothing more to be read
/// for now, so that whoever follows sees every event at once. `report` is told of each line that is skipped, by its
/// number, from 1.
///
/// # Errors
/// The reader fails, or the writer.
pub fn show(
    reader: impl BufRead,
    options: &Options,
    out: &mut impl Write,
    mut report: impl FnMut(u64, &Damage),
) -> Result<Outcome, ShowError> {
    let mut lines = Lines::new(reader);
    let mut writer = CompactWriter::new("", options.color, options.timestamps);
    let mut outcome = Outcome::default();
    let mut shown = Vec::new();
    loop {
        let next = lines.next(|| out.flush().map_err(ShowError::Write))?;
        let Some((number, read)) = next else { return Ok(outcome) };
        let text = match read {
            Read::Line(line) => String::from_utf8_lossy(line),
            Read::TooLong => {
                outcome.damaged += 1;
                report(number, &Damage::TooLong);
                continue;
            }
        };
        let text = json_of(&text);
        if text.is_empty() {
            continue;
        }
        let whole: Result<Value, _> = serde_json::from_str(text);
        let event = whole.as_ref().map(Line::new);
        match (event, &whole) {
            (Ok(Some(event)), Ok(whole)) => {
                outcome.events += 1;
                if !options.filter.passes(&event) {
                    continue;
                }
                outcome.shown += 1;
                shown.clear();
                match options.output {
                    Output::Compact => {
                        writer.write_json(whole, &mut shown);
                    }
                    Output::Json => {
                        push_printable(text, &mut shown);
                        shown.push(b'\n');
                    }
                }
                out.write_all(&shown).map_err(ShowError::Write)?;
            }
            _ => {
                outcome.damaged += 1;
                report(number, &whole.map_or_else(Damage::NoJson, |_| Damage::NoEvent));
            }
        }
    }
}

/// The JSON in a line: without what `kubectl logs --prefix` and the like put before it, without the NULs that a file
/// has where its machine lost power, without the ends of lines of other systems. Empty where there is nothing.
fn json_of(line: &str) -> &str {
    let line = line.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    line.find('{').map_or(line, |start| &line[start..])
}
