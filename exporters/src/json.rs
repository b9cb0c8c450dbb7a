//! JSON lines in the shape that Tetragon's own tools read.
//!
//! That shape is protojson of `tetragon.GetEventsResponse` with the names of the `.proto`: zero and empty fields are
//! left out, 64-bit integers are strings, wrapped 32-bit ones are numbers and shown even when 0, enums are
//! names. What Trigon knows beyond that stands under the key `trigon` of the event's own object.

use std::{borrow::Cow, sync::Arc};

use serde::Serialize;

use crate::{
    event::{Event, Exec, Exit, Kind, Namespaces, Object},
    filter::Fields,
    identity::ExecId,
    names,
};

mod escape;
mod facts;
mod hook;
mod object;
mod permission;
mod pod;
mod process;
mod program;
mod prune;
mod scalar;
mod stack;
#[cfg(test)]
mod tests;

pub use escape::push_printable;
use facts::Facts;
pub(crate) use hook::UNRESOLVED;
use hook::{KprobeLine, LsmLine, TracepointLine};
use process::{BinaryProperties, Process};
use program::{LoaderLine, UprobeLine, UsdtLine};
use scalar::{Id, Int64, Time};

/// Writes events as JSON, one line each.
#[derive(Clone, Debug)]
pub struct JsonWriter {
    node: String,
    host: Namespaces,
    fields: Option<Arc<Fields>>,
    /// Working memory for lines of which not all is shown.
    whole: Vec<u8>,
}

/// What all objects of a line are written by.
#[derive(Clone, Copy)]
struct Context<'a> {
    node: &'a str,
    host: &'a Namespaces,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    event: Body<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    node_name: &'a str,
    time: Time,
}

/// The event's own object, under the name of its kind.
#[derive(Serialize)]
enum Body<'a> {
    #[serde(rename = "process_exec")]
    Exec(ExecLine<'a>),
    #[serde(rename = "process_exit")]
    Exit(ExitLine<'a>),
    #[serde(rename = "process_kprobe")]
    Kprobe(KprobeLine<'a>),
    #[serde(rename = "process_tracepoint")]
    Tracepoint(TracepointLine<'a>),
    #[serde(rename = "process_lsm")]
    Lsm(LsmLine<'a>),
    #[serde(rename = "process_uprobe")]
    Uprobe(UprobeLine<'a>),
    #[serde(rename = "process_usdt")]
    Usdt(UsdtLine<'a>),
    #[serde(rename = "process_loader")]
    Loader(LoaderLine<'a>),
    #[serde(rename = "rate_limit_info")]
    RateLimit(RateLimitLine),
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

#[derive(Serialize)]
struct RateLimitLine {
    number_of_dropped_process_events: Int64,
}

/// An object as an argument has it: the name of its kind, and its fields.
pub(crate) fn object(object: &Object) -> Option<(String, serde_json::Value)> {
    let argument = object::ObjectArgument::new(object, &Namespaces::default());
    match serde_json::to_value(argument).ok()? {
        serde_json::Value::Object(fields) => fields.into_iter().next(),
        _ => None,
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn write(line: &Line<'_>, out: &mut Vec<u8>) {
    // Neither writing to a Vec nor these types can fail.
    let _ = line.serialize(&mut serde_json::Serializer::with_formatter(out, escape::Printable));
}

// === impl JsonWriter ===

impl JsonWriter {
    /// A writer for the node of that name; `host` are the namespaces of its first process.
    pub fn new(node: impl Into<String>, host: Namespaces) -> Self {
        Self { node: node.into(), host, fields: None, whole: Vec::new() }
    }

    /// Writes of each event only what is to be shown.
    pub fn showing(self, fields: Option<Arc<Fields>>) -> Self {
        Self { fields, ..self }
    }

    /// Appends one event and a newline; nothing for a descriptor, which is a span and no event of Tetragon's.
    pub fn write(&mut self, event: &Event, out: &mut Vec<u8>) {
        let context = Context { node: &self.node, host: &self.host };
        let view = self.fields.as_ref().and_then(|fields| fields.of(event.event_type()));
        let signal = match &event.kind {
            Kind::Exit(exit) => names::signal(exit.signal),
            _ => Cow::default(),
        };
        let body = match &event.kind {
            Kind::Exec(exec) => Body::Exec(context.exec(event, exec)),
            Kind::Exit(exit) => Body::Exit(context.exit(event, exit, &signal)),
            Kind::Hook(hook) => context.hook(event, hook, view),
            Kind::Loader(loader) => context.loader(event, loader),
            Kind::RateLimit(dropped) => {
                Body::RateLimit(RateLimitLine { number_of_dropped_process_events: Int64(*dropped) })
            }
            Kind::Descriptor(_) | Kind::Replaced => return,
        };
        let line = Line { event: body, node_name: &self.node, time: Time(event.time) };
        match view {
            None => write(&line, out),
            Some(view) => {
                self.whole.clear();
                write(&line, &mut self.whole);
                prune::line(&self.whole, view, out);
            }
        }
        out.push(b'\n');
    }
}

// === impl Context ===

impl<'a> Context<'a> {
    fn exec(self, event: &'a Event, exec: &Exec) -> ExecLine<'a> {
        let mut process = Process::new(self, &event.process);
        process.binary_properties = BinaryProperties::of(&event.process);
        ExecLine { process, parent: self.parent(event), trigon: Facts::new(&event.process).with_exec(exec) }
    }

    fn exit(self, event: &'a Event, exit: &Exit, signal: &'a str) -> ExitLine<'a> {
        ExitLine {
            process: Process::new(self, &event.process),
            parent: self.parent(event),
            signal,
            status: exit.code,
            time: Time(event.time),
            trigon: Facts::new(&event.process).with_exit(exit),
        }
    }

    fn parent(self, event: &'a Event) -> Option<Process<'a>> {
        event.parent.as_deref().map(|parent| Process::new(self, parent))
    }

    fn id(self, id: ExecId) -> Id<'a> {
        Id { id, node: self.node }
    }
}
