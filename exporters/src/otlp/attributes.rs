//! Attributes: OTLP's `KeyValue`, and what log records and spans both say about an execution.
//!
//! Keys of the `process` namespace are OpenTelemetry's semantic conventions; those they have no key for are ours,
//! under `trigon`. What is not known is left out.

use std::time::Duration;

use jiff::fmt::temporal::DateTimePrinter;

use super::wire::{Wire, delimited_size};
use crate::{
    event::{Event, Exit, Kind, Process, ProcessFlags, Timestamp},
    identity::ExecId,
    names,
};

/// Field numbers of `KeyValue`, `AnyValue` and `ArrayValue` (opentelemetry/proto/common/v1/common.proto).
mod field {
    pub(super) const KEY: u32 = 1;
    pub(super) const VALUE: u32 = 2;
    pub(super) const STRING: u32 = 1;
    pub(super) const BOOL: u32 = 2;
    pub(super) const INT: u32 = 3;
    pub(super) const DOUBLE: u32 = 4;
    pub(super) const ARRAY: u32 = 5;
    pub(super) const VALUES: u32 = 1;
}

/// ISO 8601 with nanoseconds, always of one length.
static ISO_8601: DateTimePrinter = DateTimePrinter::new().precision(Some(9));

/// The attributes of a message, written one after another.
pub(super) struct Attributes<'a> {
    wire: &'a mut Wire,
    field: u32,
}

/// Working memory for texts, kept from record to record.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) text: String,
    plain: String,
    /// Texts end to end, and where each ends.
    parts: String,
    ends: Vec<usize>,
}

// === impl Attributes ===

impl<'a> Attributes<'a> {
    /// Attributes in this field of the message that `wire` is in.
    pub(super) fn new(wire: &'a mut Wire, field: u32) -> Self {
        Self { wire, field }
    }

    /// A text.
    pub(super) fn string(&mut self, key: &str, value: &str) {
        let any = delimited_size(value.len());
        self.wire.length(self.field, delimited_size(key.len()) + delimited_size(any));
        self.wire.string(field::KEY, key);
        self.wire.length(field::VALUE, any);
        self.wire.string(field::STRING, value);
    }

    /// A text, where there is one.
    pub(super) fn optional(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.string(key, value);
        }
    }

    /// A number.
    pub(super) fn integer(&mut self, key: &str, value: impl Into<i64>) {
        let value = value.into();
        self.any(key, |any| any.integer(field::INT, value));
    }

    /// A number that is 0 where it is not known.
    fn known(&mut self, key: &str, value: u32) {
        if value != 0 {
            self.integer(key, value);
        }
    }

    /// Yes or no.
    pub(super) fn boolean(&mut self, key: &str, value: bool) {
        self.any(key, |any| any.integer(field::BOOL, value.into()));
    }

    /// A number with a fraction.
    pub(super) fn double(&mut self, key: &str, value: f64) {
        self.any(key, |any| any.fixed64(field::DOUBLE, value.to_bits()));
    }

    /// A list of texts.
    pub(super) fn strings<'v>(&mut self, key: &str, values: impl Iterator<Item = &'v str>) {
        self.any(key, |any| {
            any.message(field::ARRAY, |array| {
                for value in values {
                    array.length(field::VALUES, delimited_size(value.len()));
                    array.string(field::STRING, value);
                }
            });
        });
    }

    fn any(&mut self, key: &str, value: impl FnOnce(&mut Wire)) {
        self.wire.message(self.field, |attribute| {
            attribute.string(field::KEY, key);
            attribute.message(field::VALUE, value);
        });
    }

    pub(super) fn exec_id(&mut self, key: &str, exec_id: ExecId, node: &str, scratch: &mut Scratch) {
        self.string(key, scratch.exec_id(exec_id, node));
    }

    /// ISO 8601 in UTC; left out for a moment that is not known.
    pub(super) fn time(&mut self, key: &str, time: Timestamp, scratch: &mut Scratch) {
        let Ok(time) = jiff::Timestamp::from_nanosecond(time.0.into()) else { return };
        if time != jiff::Timestamp::UNIX_EPOCH {
            scratch.text.clear();
            // Writing to a String can't fail.
            let _ = ISO_8601.print_timestamp(&time, &mut scratch.text);
            self.string(key, &scratch.text);
        }
    }

    /// The names of flags, in lower case.
    fn flags<F: bitflags::Flags>(&mut self, key: &str, flags: &F, scratch: &mut Scratch) {
        scratch.text.clear();
        for (name, _) in flags.iter_names() {
            scratch.text.push_str(name);
            scratch.text.push('\n');
        }
        scratch.text.make_ascii_lowercase();
        self.strings(key, scratch.text.lines());
    }

    /// All that is known of an execution.
    pub(super) fn process(&mut self, process: &Process, node: &str, scratch: &mut Scratch) {
        let image = &*process.image;
        self.integer("process.pid", process.pid());
        self.known("process.parent_pid", process.parent_pid);
        self.known("process.vpid", process.vpid);
        self.known("process.group_leader.pid", process.group);
        self.known("process.session_leader.pid", process.session);
        self.optional("process.executable.path", Some(image.binary()));
        self.optional("process.executable.name", Some(image.name()));
        self.arguments(process);
        self.optional("process.working_directory", Some(image.cwd()));
        for (name, value) in image.environment() {
            scratch.text.clear();
            scratch.text.push_str("process.environment_variable.");
            scratch.text.push_str(name);
            self.string(&scratch.text, value);
        }
        self.time("process.creation.time", process.start, scratch);
        // An execution whose start was missed has credentials of zeros, which would read as root's.
        if !process.flags.contains(ProcessFlags::MISS) {
            self.integer("process.user.id", process.credentials.euid);
            self.integer("process.real_user.id", process.credentials.uid);
            self.integer("process.saved_user.id", process.credentials.suid);
            self.boolean("process.interactive", process.flags.contains(ProcessFlags::TTY));
        }
        if process.cgroup.id != 0 {
            scratch.text.clear();
            scratch.text.push('/');
            scratch.text.push_str(&process.cgroup.path);
            self.string("process.linux.cgroup", &scratch.text);
        }
        self.exec_id("trigon.exec_id", process.exec_id, node, scratch);
        if let Some(parent) = process.parent_exec_id {
            self.exec_id("trigon.parent_exec_id", parent, node, scratch);
        }
        self.flags("trigon.flags", &process.flags, scratch);
        self.optional("trigon.script.path", image.script());
        if process.auid != u32::MAX {
            self.integer("trigon.auid", process.auid);
        }
        if let Some(file) = image.file {
            if !file.gained.is_empty() {
                self.flags("trigon.privileges_gained", &file.gained, scratch);
            }
            if file.links == 0 {
                self.boolean("trigon.binary.deleted", true);
            }
        }
    }

    fn arguments(&mut self, process: &Process) {
        // No arguments because they could not be read is not the same as none.
        let unread = ProcessFlags::ERROR_ARGS | ProcessFlags::MISS;
        let count = process.image.args().count();
        if count == 0 && process.flags.intersects(unread) {
            return;
        }
        self.optional("process.command", process.image.args().next());
        if count > 0 {
            self.strings("process.command_args", process.image.args());
        }
        self.integer("process.args_count", count as i64);
    }

    /// How an execution ended.
    pub(super) fn exit(&mut self, exit: &Exit, time: Timestamp, scratch: &mut Scratch) {
        self.time("process.exit.time", time, scratch);
        if exit.signal == 0 {
            self.integer("process.exit.code", exit.code);
        } else {
            // The kernel knows no code for these, and a 0 would read as success.
            self.string("trigon.exit.signal", &names::signal(exit.signal));
        }
        self.boolean("trigon.exit.core_dumped", exit.core_dumped);
        self.double("trigon.cpu.user_seconds", seconds(exit.user_time));
        self.double("trigon.cpu.system_seconds", seconds(exit.system_time));
        if exit.signal != 0 {
            self.string("error.type", &names::signal(exit.signal));
        } else if exit.code != 0 {
            scratch.text.clear();
            // Writing to a String can't fail.
            let _ = std::fmt::Write::write_fmt(&mut scratch.text, format_args!("{}", exit.code));
            self.string("error.type", &scratch.text);
        }
    }
}

// === impl Scratch ===

impl Scratch {
    /// The exported form of an exec id.
    fn exec_id(&mut self, exec_id: ExecId, node: &str) -> &str {
        self.text.clear();
        exec_id.encode_with(node, &mut self.plain, &mut self.text);
        &self.text
    }

    /// Forgets the parts.
    pub(super) fn clear_parts(&mut self) {
        self.parts.clear();
        self.ends.clear();
    }

    /// Adds a part, which `write` appends.
    pub(super) fn part(&mut self, write: impl FnOnce(&mut String)) {
        write(&mut self.parts);
        self.ends.push(self.parts.len());
    }

    /// The parts.
    pub(super) fn parts(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.parts[start..*end])
    }

    /// An id that a backend can recognise a record by when it was delivered twice: a hash of what happened to whom
    /// and when, as 32 hexadecimal digits. Leaves the arguments of a policy's event in the parts.
    pub(super) fn record_uid(&mut self, event: &Event, node: &str) -> &str {
        use std::fmt::Write as _;
        self.exec_id(event.process.exec_id, node);
        // Writing to a String can't fail.
        let _ = write!(self.text, " {} {}", name(event), event.time.0);
        if let Kind::Hook(hook) = &event.kind {
            // Threads of one process, or two policies, can see the same moment.
            let policy = &hook.source.policy;
            let namespace = policy.namespace.as_deref().unwrap_or_default();
            let _ =
                write!(self.text, " {namespace}/{} {} {}", policy.name, hook.source.name(), hook.selector);
            self.args(hook);
            self.text.push_str(&self.parts);
        }
        if let Kind::Loader(loader) = &event.kind {
            let _ = write!(self.text, " {}", loader.path);
        }
        let hash = xxhash_rust::xxh3::xxh3_128(self.text.as_bytes());
        self.text.clear();
        let _ = write!(self.text, "{hash:032x}");
        &self.text
    }
}

/// Seconds, rounded once: `Duration::as_secs_f64` rounds twice, and shows 1.50025 as 1.5002499999999999.
fn seconds(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e9
}

/// OTLP's name for what happened.
pub(super) fn name(event: &Event) -> &'static str {
    match &event.kind {
        Kind::Exec(_) => "process.exec",
        Kind::Exit(_) => "process.exit",
        Kind::Hook(hook) => hook.event_name(),
        Kind::Replaced => "process.replaced",
        Kind::Loader(_) => "process.load",
        Kind::Descriptor(_) => "file.access",
        Kind::RateLimit(_) => "trigon.rate_limit",
    }
}
