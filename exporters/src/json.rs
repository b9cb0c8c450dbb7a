//! JSON lines in the shape that Tetragon's own tools read.
//!
//! That shape is protojson of `tetragon.GetEventsResponse` with the names of the `.proto`: zero and empty fields are
//! left out, 64-bit integers are strings, wrapped 32-bit ones are numbers and shown even when 0, enums are
//! names. What Trigon knows beyond that stands under the key `trigon` of the event's own object.

use serde::Serialize;

use crate::{
    event::{Event, Exit, Kind, Namespaces},
    identity::ExecId,
    names,
};

mod escape;
mod facts;
mod process;
mod scalar;
#[cfg(test)]
mod tests;

use facts::Facts;
use process::{BinaryProperties, Process};
use scalar::{Id, Time};

/// Writes events as JSON, one line each.
#[derive(Clone, Debug)]
pub struct JsonWriter {
    node: String,
    host: Namespaces,
}

/// What all objects of a line are written by.
#[derive(Clone, Copy)]
struct Context<'a> {
    node: &'a str,
    host: &'a Namespaces,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    process_exec: Option<ExecLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    process_exit: Option<ExitLine<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    node_name: &'a str,
    time: Time,
}

#[derive(Serialize)]
struct ExecLine<'a> {
    process: Process<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<Process<'a>>,
    trigon: Facts<'a>,
}

#[derive(Serialize)]
struct ExitLine<'a> {
    process: Process<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<Process<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    signal: &'a str,
    #[serde(skip_serializing_if = "is_default")]
    status: u8,
    time: Time,
    trigon: Facts<'a>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

// === impl JsonWriter ===

impl JsonWriter {
    /// A writer for the node of that name; `host` are the namespaces of its first process.
    pub fn new(node: impl Into<String>, host: Namespaces) -> Self {
        Self { node: node.into(), host }
    }

    /// Appends one event and a newline.
    pub fn write(&mut self, event: &Event, out: &mut Vec<u8>) {
        let context = Context { node: &self.node, host: &self.host };
        match &event.kind {
            Kind::Exec(_) => context.exec(event, out),
            Kind::Exit(exit) => context.exit(event, exit, out),
        }
        out.push(b'\n');
    }
}

// === impl Context ===

impl<'a> Context<'a> {
    fn exec(self, event: &'a Event, out: &mut Vec<u8>) {
        let mut process = Process::new(self, &event.process);
        process.binary_properties = BinaryProperties::of(&event.process);
        let parent = self.parent(event);
        let trigon = Facts::new(&event.process);
        self.line(event, Some(ExecLine { process, parent, trigon }), None, out);
    }

    fn exit(self, event: &'a Event, exit: &Exit, out: &mut Vec<u8>) {
        let line = ExitLine {
            process: Process::new(self, &event.process),
            parent: self.parent(event),
            signal: &names::signal(exit.signal),
            status: exit.code,
            time: Time(event.time),
            trigon: Facts::new(&event.process).with_exit(exit),
        };
        self.line(event, None, Some(line), out);
    }

    fn line(
        self,
        event: &Event,
        process_exec: Option<ExecLine<'_>>,
        process_exit: Option<ExitLine<'_>>,
        out: &mut Vec<u8>,
    ) {
        let line = Line { process_exec, process_exit, node_name: self.node, time: Time(event.time) };
        // Neither writing to a Vec nor these types can fail.
        let _ = line.serialize(&mut serde_json::Serializer::with_formatter(out, escape::Printable));
    }

    fn parent(self, event: &'a Event) -> Option<Process<'a>> {
        event.parent.as_deref().map(|parent| Process::new(self, parent))
    }

    fn id(self, id: ExecId) -> Id<'a> {
        Id { id, node: self.node }
    }
}
