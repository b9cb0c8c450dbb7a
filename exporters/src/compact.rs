//! The compact line, for people: one event, one line, and nothing on it that a terminal would obey.
//!
//! `[timestamp ]🚀 process NODE BINARY ARGUMENTS`, `[timestamp ]💥 exit    NODE BINARY ARGUMENTS STATUS|SIGNAL`, for what
//! policies ask for a sign and a word of its own as `[timestamp ]📚 read    NODE BINARY PATH BYTES`, and at the right edge `🛑 CAP_SYS_ADMIN` where the process holds that capability; as `tetra getevents -o compact`.

use std::{
    fmt::{Display, Write as _},
    sync::Arc,
};

use unicode_width::UnicodeWidthStr;

use crate::{
    event::{Event, Kind},
    filter::Fields,
    names,
    text::moment,
};

mod hook;
mod quote;
#[cfg(test)]
mod tests;

use quote::Quoted;

const TRAILER: &str = "🛑 CAP_SYS_ADMIN";
/// Column where the trailer ends, if the line leaves room.
const TRAILER_END: usize = 120;

/// Writes events as compact lines.
#[derive(Clone, Debug)]
pub struct CompactWriter {
    node: String,
    timestamps: bool,
    line: Line,
    fields: Option<Arc<Fields>>,
}

/// A line in the making, and how wide a terminal shows it.
#[derive(Clone, Debug, Default)]
struct Line {
    text: String,
    width: usize,
    /// With colours.
    color: bool,
}

/// SGR parameters of ANSI terminals; none for the terminal's own colour.
type Color = Option<u8>;

const RED: Color = Some(31);
const GREEN: Color = Some(32);
const MAGENTA: Color = Some(35);
const CYAN: Color = Some(36);

// === impl CompactWriter ===

impl CompactWriter {
    /// A writer for the node of that name. `color` asks for ANSI colours, `timestamps` for the time before each line.
    pub fn new(node: impl Into<String>, color: bool, timestamps: bool) -> Self {
        Self { node: node.into(), timestamps, line: Line { color, ..Line::default() }, fields: None }
    }

    /// Writes of each event only what is to be shown. The line has its binary, its arguments (those of a call too) and
    /// how it ended.
    pub fn showing(self, fields: Option<Arc<Fields>>) -> Self {
        Self { fields, ..self }
    }

    /// Appends one event and a newline; nothing for a descriptor, whose opening and closing are events of their own.
    pub fn write(&mut self, event: &Event, out: &mut Vec<u8>) {
        if matches!(event.kind, Kind::Descriptor(_)) {
            return;
        }
        let view = self.fields.as_ref().and_then(|fields| fields.of(event.event_type()));
        let shows = |path| view.is_none_or(|view| view.shows(path));
        let line = &mut self.line;
        line.clear();
        if self.timestamps {
            line.word(None, format_args!("{:.9}", moment(event.time)));
        }
        let process = &event.process;
        match &event.kind {
            Kind::Exec(_) => line.word(None, "🚀 process"),
            Kind::Exit(_) => line.word(None, "💥 exit   "),
            Kind::Hook(hook) => line.word(None, hook::head(hook)),
            Kind::RateLimit(_) => line.word(None, "⏱ rate_limit"),
            Kind::Descriptor(_) => {}
        }
        line.word(GREEN, Quoted(&self.node));
        match &event.kind {
            Kind::RateLimit(dropped) => line.word(RED, format_args!("{dropped} events dropped")),
            _ if shows("process.binary") => line.word(MAGENTA, Quoted(process.image.binary())),
            _ => {}
        }
        match &event.kind {
            Kind::Hook(hook) if shows("args") => hook::tail(hook, line),
            Kind::Exec(_) | Kind::Exit(_) if shows("process.arguments") => {
                process.image.args().skip(1).for_each(|arg| line.word(CYAN, Quoted(arg)));
            }
            _ => {}
        }
        if let Kind::Exit(exit) = &event.kind {
            match exit.signal {
                0 if shows("status") => line.word(RED, exit.code),
                signal @ 1.. if shows("signal") => line.word(RED, names::signal(signal)),
                _ => {}
            }
        }
        if process.credentials.effective & names::CAP_SYS_ADMIN != 0 && shows("process.cap.effective") {
            let room = TRAILER_END.saturating_sub(line.width + TRAILER.width() + 1);
            line.push(format_args!("{:room$}", ""));
            line.word(None, TRAILER);
        }
        out.extend_from_slice(line.text.as_bytes());
        out.push(b'\n');
    }
}

// === impl Line ===

impl Line {
    fn clear(&mut self) {
        self.text.clear();
        self.width = 0;
    }

    /// Appends a word, and a space before it where it isn't the first.
    fn word(&mut self, color: Color, text: impl Display) {
        if !self.text.is_empty() {
            self.push(' ');
        }
        let color = color.filter(|_| self.color);
        // Writing to a String can't fail.
        let _ = color.map(|color| write!(self.text, "\x1b[{color}m"));
        self.push(text);
        let _ = color.map(|_| write!(self.text, "\x1b[0m"));
    }

    fn push(&mut self, text: impl Display) {
        let start = self.text.len();
        let _ = write!(self.text, "{text}");
        self.width += self.text[start..].width();
    }
}
