//! What of an event is not shown, taken out of the record that was made of it.
//!
//! Filters name fields by their paths in JSON. Here is which attribute comes from which of them. What the protocol
//! itself needs always stays: times, names, ids of traces and spans, `log.record.uid`; and so does the resource.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::wire::{Field, Wire, fields};
use crate::{
    event::EventType,
    filter::fields::{Fields, View},
};

/// Takes out of records what is not shown.
#[derive(Debug)]
pub(super) struct Veil {
    fields: Arc<Fields>,
    /// Whether an attribute is shown, by type of event.
    shown: [FxHashMap<&'static str, bool>; EventType::ALL.len()],
    /// Working memory.
    rest: Wire,
}

/// Attributes and the paths that they come from, all of which must be shown.
const SOURCES: [(&str, &[&str]); 88] = [
    ("process.pid", &["process.pid"]),
    ("process.parent_pid", &["parent.pid"]),
    ("process.vpid", &["trigon.vpid"]),
    ("process.group_leader.pid", &["trigon.group"]),
    ("process.session_leader.pid", &["trigon.session"]),
    ("process.executable.path", &["process.binary"]),
    ("process.executable.name", &["process.binary"]),
    ("process.command", &["process.arguments"]),
    ("process.command_args", &["process.arguments"]),
    ("process.args_count", &["process.arguments"]),
    ("process.working_directory", &["process.cwd"]),
    ("process.creation.time", &["process.start_time"]),
    ("process.user.id", &["process.uid"]),
    ("process.real_user.id", &["process.process_credentials.uid"]),
    ("process.saved_user.id", &["process.process_credentials.suid"]),
    ("process.interactive", &["trigon.tty"]),
    ("process.linux.cgroup", &["trigon.cgroup"]),
    ("process.exit.time", &["time"]),
    ("process.exit.code", &["status"]),
    ("error.type", &["status", "signal"]),
    ("trigon.exec_id", &["process.exec_id"]),
    ("trigon.parent_exec_id", &["process.parent_exec_id"]),
    ("trigon.flags", &["process.flags"]),
    ("trigon.script.path", &["trigon.script"]),
    ("trigon.auid", &["process.auid"]),
    ("trigon.privileges_gained", &["process.binary_properties.privileges_changed"]),
    ("trigon.binary.deleted", &["process.binary_properties.file"]),
    ("trigon.binary.first_seen", &["trigon.first_seen"]),
    ("trigon.exit.signal", &["signal"]),
    ("trigon.exit.core_dumped", &["trigon.core_dumped"]),
    ("trigon.cpu.user_seconds", &["trigon.user_time"]),
    ("trigon.cpu.system_seconds", &["trigon.system_time"]),
    ("trigon.policy.name", &["policy_name"]),
    ("security_rule.name", &["policy_name"]),
    ("trigon.policy.namespace", &["trigon.policy_namespace"]),
    ("trigon.policy.mode", &["trigon.policy_mode"]),
    ("trigon.socket.owner", &["trigon.socket_owner"]),
    ("trigon.policy.tags", &["tags"]),
    ("security_rule.category", &["tags"]),
    ("security_rule.description", &["message"]),
    ("trigon.hook.function", &["function_name"]),
    ("trigon.hook.subsystem", &["subsys"]),
    ("trigon.hook.event", &["event"]),
    ("trigon.hook.path", &["path"]),
    ("trigon.hook.symbol", &["symbol"]),
    ("trigon.hook.offset", &["offset"]),
    ("trigon.hook.provider", &["provider"]),
    ("trigon.hook.probe", &["name"]),
    ("trigon.action", &["action"]),
    ("trigon.return_action", &["return_action"]),
    ("trigon.return", &["return"]),
    ("trigon.selector", &["trigon.selector"]),
    ("trigon.descriptor.span_id", &["trigon.descriptor_span_id"]),
    ("trigon.request.trace_id", &["trigon.request"]),
    ("trigon.request.span_id", &["trigon.request"]),
    ("trigon.process.trace_id", &["trigon.trace_id"]),
    ("trigon.process.span_id", &["trigon.span_id"]),
    ("trigon.descriptor.end", &["args"]),
    ("trigon.args", &["args"]),
    ("trigon.data", &["data"]),
    ("network.transport", &["args"]),
    ("network.type", &["args"]),
    ("network.local.address", &["args"]),
    ("network.local.port", &["args"]),
    ("network.peer.address", &["args"]),
    ("network.peer.port", &["args"]),
    ("trigon.file.new_path", &["args"]),
    ("trigon.file.bytes", &["args"]),
    ("trigon.file.truncated", &["args"]),
    ("trigon.file.deleted", &["args"]),
    ("trigon.file.flags", &["args"]),
    ("trigon.file.descriptor", &["args"]),
    ("trigon.file.reads", &["args"]),
    ("trigon.file.writes", &["args"]),
    ("trigon.file.bytes_read", &["args"]),
    ("trigon.file.bytes_written", &["args"]),
    ("file.path", &["args"]),
    ("file.mode", &["args"]),
    ("file.name", &["args"]),
    ("file.directory", &["args"]),
    ("file.extension", &["args"]),
    ("trigon.dropped_events", &["number_of_dropped_process_events"]),
    ("process.environment_variable", &["process.environment_variables"]),
    ("log.record.uid", &[]),
    ("trigon.loader.path", &["path"]),
    ("trigon.loader.build_id", &["buildid"]),
    ("code.stacktrace", &["user_stack_trace"]),
    ("trigon.kernel.stacktrace", &["kernel_stack_trace"]),
];

/// Field number of `KeyValue.key`.
const KEY: u32 = 1;

// === impl Veil ===

impl Veil {
    pub(super) fn new(fields: Arc<Fields>) -> Self {
        let shown = EventType::ALL.map(|event| {
            let shown = |paths: &[&str]| {
                fields.of(event).is_none_or(|view| paths.iter().all(|path| view.shows(path)))
            };
            SOURCES.iter().map(|(key, paths)| (*key, shown(paths))).collect()
        });
        Self { fields, shown, rest: Wire::default() }
    }

    /// What is shown of this type; none where that is all.
    pub(super) fn of(&self, event: EventType) -> Option<&View> {
        self.fields.of(event)
    }

    /// Takes the attributes that are not shown out of the message that is the only field of `wire` from `start` on.
    /// Its attributes are in its field `attributes`.
    pub(super) fn draw(&mut self, event: EventType, attributes: u32, start: usize, wire: &mut Wire) {
        let Some(view) = self.fields.of(event) else { return };
        let shown = &self.shown[event.index()];
        let is_hidden = |field: &Field<'_>| {
            let key = fields(field.content).find(|field| field.number == KEY);
            let key = key.and_then(|key| str::from_utf8(key.content).ok()).unwrap_or_default();
            field.number == attributes && !is_shown(key, shown, view)
        };
        self.rest.clear();
        let Some(message) = fields(&wire.as_slice()[start..]).next() else { return };
        let number = message.number;
        self.rest.message(number, |rest| {
            fields(message.content)
                .filter(|field| !is_hidden(field))
                .for_each(|field| rest.append(field.whole));
        });
        wire.truncate(start);
        wire.append(self.rest.as_slice());
    }
}

/// An attribute that is not in the table is one of many of a kind; or nobody thought of it, and it is not shown where
/// only named fields are.
fn is_shown(key: &str, shown: &FxHashMap<&'static str, bool>, view: &View) -> bool {
    let kind = || Some(&key[..key.rfind('.')?]);
    let known = shown.get(key).or_else(|| shown.get(kind()?));
    known.copied().unwrap_or(!view.is_closed())
}

/// Whether it is known where the attribute comes from.
#[cfg(test)]
pub(super) fn is_known(key: &str) -> bool {
    SOURCES.iter().any(|(known, _)| *known == key)
}
