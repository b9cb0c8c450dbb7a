//! The compact line, for people: one event, one line, and nothing on it that a terminal would obey.
//!
//! `[timestamp ]🚀 process SOURCE BINARY ARGUMENTS`, `[timestamp ]💥 exit    SOURCE BINARY ARGUMENTS STATUS|SIGNAL`, for
//! what policies ask for a sign and a word of its own as `[timestamp ]📚 read    SOURCE BINARY PATH BYTES`, and at the
//! right edge `🛑 CAP_SYS_ADMIN` where the process holds that capability; as `tetra getevents -o compact`. The source is
//! `NAMESPACE/POD`, or the node.

use std::{
    fmt::{Display, Write as _},
    sync::Arc,
};

use unicode_width::UnicodeWidthStr;

use crate::{
    event::{Event, Frame},
    filter::Fields,
};

mod hook;
mod json;
mod object;
mod quote;
#[cfg(test)]
mod tests;
mod told;

use quote::Quoted;
use told::{Rest, Source, Status, Time, Told};

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

    /// Writes of each event only what is to be shown. The line has its pod, its binary, its arguments (those of a call
    /// too) and how it ended.
    pub fn showing(self, fields: Option<Arc<Fields>>) -> Self {
        Self { fields, ..self }
    }

    /// Appends one event and a newline; nothing for a descriptor, whose opening and closing are events of their own.
    pub fn write(&mut self, event: &Event, out: &mut Vec<u8>) {
        let place = event.process.place();
        if let Some(mut told) = Told::of(event, place.as_deref(), &self.node) {
            let view = self.fields.as_ref().and_then(|fields| fields.of(event.event_type()));
            told.say(event, view);
            if let Some(view) = view {
                told.keep(view, &self.node);
            }
            write(&told, self.timestamps, &mut self.line, out);
        }
    }

    /// Appends what a line of JSON in Tetragon's shape tells, and a newline; of a kind of event that is not known its
    /// name. Returns whether the line holds an event.
    pub fn write_json(&mut self, line: &serde_json::Value, out: &mut Vec<u8>) -> bool {
        let Some(read) = json::Read::new(line) else { return false };
        write(&read.told(), self.timestamps, &mut self.line, out);
        true
    }
}

fn write(told: &Told<'_>, timestamps: bool, line: &mut Line, out: &mut Vec<u8>) {
    line.clear();
    match told.time {
        _ if !timestamps => {}
        Time::Known(time) => line.word(None, format_args!("{time:.9}")),
        Time::Text(text) => line.word(None, Quoted(text)),
    }
    line.word(None, &told.head);
    match told.source {
        Source::Node(node) => line.word(GREEN, Quoted(node)),
        Source::Pod { namespace, name } => {
            line.word(GREEN, format_args!("{}/{}", Quoted(namespace), Quoted(name)));
        }
    }
    if let Some(binary) = told.binary {
        line.word(MAGENTA, Quoted(binary));
    }
    match &told.rest {
        Rest::Call(call) => hook::tail(*call, line),
        Rest::Words(words) => words.iter().flatten().for_each(|word| line.word(CYAN, Quoted(word))),
        arguments => arguments.arguments(|argument| line.word(CYAN, Quoted(argument))),
    }
    match &told.status {
        Some(Status::Code(code)) => line.word(RED, code),
        Some(Status::Signal(signal)) => line.word(RED, Quoted(signal)),
        None => {}
    }
    if let Some(message) = &told.message {
        line.word(None, Quoted(message));
    }
    if told.is_admin {
        let room = TRAILER_END.saturating_sub(line.width + TRAILER.width() + 1);
        line.push(format_args!("{:room$}", ""));
        line.word(None, TRAILER);
    }
    for (head, frames) in [
        ("Kernel:", told.stacks.as_ref().and_then(|stacks| stacks.kernel.as_deref())),
        ("User space:", told.stacks.as_ref().and_then(|stacks| stacks.user.as_deref())),
    ] {
        if let Some(frames) = frames {
            stack(head, frames, line);
        }
    }
    out.extend_from_slice(line.text.as_bytes());
    out.push(b'\n');
}

/// A stack trace, a line for each frame: the only thing that takes more than the event's own line.
fn stack(head: &str, frames: &[Frame], line: &mut Line) {
    line.push(format_args!("\n{head}"));
    for Frame { address, offset, symbol, module } in frames {
        line.push(format_args!("\n  "));
        line.word(GREEN, format_args!("{address:#x}:"));
        match &**symbol {
            "" => line.word(CYAN, format_args!("+{offset:#x}")),
            symbol => line.word(CYAN, format_args!("{}+{offset:#x}", Quoted(symbol))),
        }
        if !module.is_empty() {
            line.word(None, format_args!("({})", Quoted(module)));
        }
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
