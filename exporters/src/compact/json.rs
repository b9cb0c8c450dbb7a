//! What a line of JSON in Tetragon's shape tells, be it Trigon's or Tetragon's own.

use std::{borrow::Cow, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value as Json;

use super::{
    hook,
    quote::Quoted,
    told::{self, Call, Head, Object, Rest, Source, Status, Time, Told, hook_rest},
};
use crate::{
    event::{Action, ArgumentSpec, File, Frame, Hook, HookKind, HookSource, Policy, Stacks, Value},
    filter::{CapabilitySet, Subject as _, json::Line},
    json::UNRESOLVED,
    names::CAP_SYS_ADMIN,
};

/// A line that was read.
pub(super) struct Read<'a> {
    line: Line<'a>,
    whole: &'a Json,
    /// The call, where the line tells of one.
    call: Option<(Hook, Vec<Option<Object<'a>>>)>,
}

/// The stack traces of an event.
fn stacks(event: &Json) -> Option<Stacks> {
    let number = |entry: &Json, key| text(entry, key).parse().unwrap_or_default();
    let frame = |entry: &Json| Frame {
        address: number(entry, "address"),
        offset: number(entry, "offset"),
        symbol: text(entry, "symbol").into(),
        module: text(entry, "module").into(),
    };
    let frames = |key| Some(event.get(key)?.as_array()?.iter().map(frame).collect());
    let stacks = Stacks { kernel: frames("kernel_stack_trace"), user: frames("user_stack_trace") };
    (stacks != Stacks::default()).then_some(stacks)
}

/// An argument of a call.
enum Argument<'a> {
    Value(Value),
    Object(Object<'a>),
}

/// Bit of `i_mode` that tells a directory.
const DIRECTORY: u32 = 0o040_000;

// === impl Read ===

impl<'a> Read<'a> {
    /// Reads a line; none where it holds no event.
    pub(super) fn new(whole: &'a Json) -> Option<Self> {
        let line = Line::new(whole)?;
        let event = line.event();
        let kind = match line.kind() {
            "process_kprobe" => Some(HookKind::Kprobe { function: text(event, "function_name").into() }),
            "process_lsm" => Some(HookKind::Lsm { hook: text(event, "function_name").into() }),
            "process_tracepoint" => Some(HookKind::Tracepoint {
                subsystem: text(event, "subsys").into(),
                event: text(event, "event").into(),
            }),
            _ => None,
        };
        Some(Self { line, whole, call: kind.map(|kind| call(kind, event)) })
    }

    pub(super) fn told(&self) -> Told<'_> {
        let event = self.line.event();
        let (head, rest) = self.head_and_rest();
        let process = event.get("process");
        Told {
            time: time(text(self.whole, "time")),
            head,
            source: self.source(),
            binary: process.map(|process| text(process, "binary")),
            rest,
            status: (self.line.kind() == "process_exit").then(|| match text(event, "signal") {
                "" => Status::Code(event.get("status").and_then(Json::as_u64).unwrap_or_default()),
                signal => Status::Signal(Cow::Borrowed(signal)),
            }),
            message: (event.pointer("/trigon/message_of_event") == Some(&Json::Bool(true)))
                .then(|| text(event, "message").into())
                .filter(|message: &Cow<'_, str>| !message.is_empty()),
            stacks: stacks(event).map(Cow::Owned),
            is_admin: self
                .line
                .capabilities(CapabilitySet::Effective)
                .is_some_and(|set| set & CAP_SYS_ADMIN != 0),
        }
    }

    fn source(&self) -> Source<'_> {
        match self.line.pod() {
            Some(name) if !name.is_empty() => {
                Source::Pod { namespace: self.line.namespace().unwrap_or_default(), name }
            }
            _ => Source::Node(text(self.whole, "node_name")),
        }
    }

    fn head_and_rest(&self) -> (Head<'_>, Rest<'_>) {
        let event = self.line.event();
        if let Some((hook, objects)) = &self.call {
            let call = Call { hook, objects };
            return (hook::head(call), hook_rest(call));
        }
        let words = |keys: [&str; 3]| {
            Rest::words(keys.map(|key| text(event, key)).into_iter().filter(|text| !text.is_empty()))
        };
        let arguments =
            || Rest::ArgumentsText(event.get("process").map_or("", |process| text(process, "arguments")));
        match self.line.kind() {
            "process_exec" => (Head::EXEC, arguments()),
            "process_exit" => (Head::EXIT, arguments()),
            "process_uprobe" => (Head::UPROBE, words(["path", "symbol", ""])),
            "process_usdt" => (Head::USDT, words(["path", "provider", "name"])),
            "process_loader" => (Head::LOADER, Rest::loader(build_id(event), text(event, "path"))),
            "process_throttle" => {
                let kind = text(event, "type");
                let kind = kind.strip_prefix("THROTTLE_").unwrap_or(kind);
                (Head::THROTTLE, Rest::words([kind, text(event, "cgroup")]))
            }
            "rate_limit_info" => {
                let dropped =
                    event.get("number_of_dropped_process_events").map_or(Cow::Borrowed("0"), scalar);
                (Head::RATE_LIMIT, Rest::dropped(dropped))
            }
            // An agent tells a client so that was too slow.
            "trigon_lost" => {
                let lost = event.get("events").map_or(Cow::Borrowed("0"), scalar);
                (Head::LOST, Rest::Words([Some(lost), Some("events".into()), None]))
            }
            other => {
                let head = Head { word: Quoted(other).to_string().into(), ..Head::new("❓", "") };
                (head, Rest::words([]))
            }
        }
    }
}

/// A text; empty where it is missing, or is none.
pub(super) fn text<'a>(object: &'a Json, key: &str) -> &'a str {
    object.get(key).and_then(Json::as_str).unwrap_or_default()
}

/// A text or a number as text.
pub(super) fn scalar(value: &Json) -> Cow<'_, str> {
    match value {
        Json::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

fn time(text: &str) -> Time<'_> {
    text.parse().map_or(Time::Text(text), Time::Known)
}

/// An id in base64, as hexadecimal digits.
fn build_id(event: &Json) -> Option<String> {
    told::build_id(&STANDARD.decode(text(event, "buildid")).ok()?)
}

// === calls ===

fn call(kind: HookKind, event: &Json) -> (Hook, Vec<Option<Object<'_>>>) {
    let given = event.get("args").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
    let (mut args, mut objects, mut specs) = (Vec::new(), Vec::new(), Vec::new());
    for (index, given) in given.iter().enumerate() {
        let (value, object) = match argument(given, is_truncated(event, index)) {
            Some(Argument::Value(value)) => (Some(value), None),
            Some(Argument::Object(object)) => (None, Some(object)),
            None => (None, None),
        };
        args.push(value);
        objects.push(object);
        let label = Some(text(given, "label")).filter(|label| !label.is_empty());
        specs.push(ArgumentSpec { label: label.map(Into::into), kind: Box::default() });
    }
    let returned = event.get("return").and_then(|returned| match argument(returned, false)? {
        Argument::Value(value) => Some(value),
        Argument::Object(_) => None,
    });
    let policy = Policy { name: text(event, "policy_name").into(), namespace: None };
    let mut source = HookSource::new(Arc::new(policy), kind);
    source.args = specs.into();
    let hook = Hook {
        source: Arc::new(source),
        args: args.into(),
        data: Box::default(),
        returned,
        action: Action::Unknown,
        return_action: None,
        selector: 0,
        monitored: false,
        socket_owner: false,
        ima_hash: None,
        stacks: None,
        descriptor: None,
        request: None,
    };
    (hook, objects)
}

/// What Trigon tells beyond Tetragon: that an argument is not whole.
fn is_truncated(event: &Json, index: usize) -> bool {
    let facts = event.pointer("/trigon/args").and_then(Json::as_array);
    let of_this = |fact: &&Json| fact.get("index").and_then(Json::as_u64) == Some(index as u64);
    let fact = facts.and_then(|facts| facts.iter().find(of_this));
    fact.and_then(|fact| fact.get("truncated")?.as_bool()).unwrap_or_default()
}

/// Reads an argument; none where it has no value.
fn argument(given: &Json, truncated: bool) -> Option<Argument<'_>> {
    let (kind, value) =
        given.as_object()?.iter().find(|(key, _)| key.ends_with("_arg") || *key == "syscall_id")?;
    Some(match plain(kind, value, truncated) {
        Some(value) => Argument::Value(value),
        None => Argument::Object(Object { kind, value }),
    })
}

/// The value of an argument that the agent has a type for, too.
fn plain(kind: &str, value: &Json, truncated: bool) -> Option<Value> {
    let is_cut = || truncated || text(value, "flags").contains(UNRESOLVED);
    Some(match kind {
        "int_arg" => {
            let number = signed(value)?;
            i32::try_from(number).map_or(Value::Long(number), Value::Int)
        }
        "long_arg" => Value::Long(signed(value)?),
        "uint_arg" => {
            let number = unsigned(value)?;
            u32::try_from(number).map_or(Value::Size(number), Value::UInt)
        }
        "size_arg" => Value::Size(unsigned(value)?),
        "syscall_id" => Value::Long(signed(value.get("id")?)?),
        "string_arg" => Value::Text { text: value.as_str()?.into(), truncated },
        "bytes_arg" => bytes(value.as_str()?, None)?,
        "truncated_bytes_arg" => bytes(text(value, "bytes_arg"), value.get("orig_size").and_then(unsigned))?,
        "file_arg" => Value::File(File {
            path: text(value, "path").into(),
            flags: 0,
            mode: if text(value, "permission").starts_with('d') { DIRECTORY } else { 0 },
            truncated: is_cut(),
            deleted: false,
        }),
        "path_arg" | "linux_binprm_arg" => {
            Value::Path { path: text(value, "path").into(), truncated: is_cut(), deleted: false }
        }
        _ => return None,
    })
}

fn bytes(base64: &str, size: Option<u64>) -> Option<Value> {
    let data = STANDARD.decode(base64).ok()?;
    let size = size.unwrap_or(data.len() as u64);
    Some(Value::Bytes { data: data.into(), size })
}

/// A number, or a text that is one, as protojson writes those of 64 bits.
fn signed(value: &Json) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

fn unsigned(value: &Json) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}
