//! `tetragon.ProcessKprobe`, `tetragon.ProcessTracepoint`, `tetragon.ProcessLsm` and `tetragon.KprobeArgument`, and what
//! Trigon adds.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use super::{
    Body, Context,
    facts::{Facts, Link},
    is_default,
    object::ObjectArgument,
    permission::Permission,
    process::Process,
    scalar::{Bytes, Int64, SInt64},
    stack::Frames,
};
use crate::{
    event::{self, Action, ArgumentSpec, Event, Hook, HookKind, Namespaces, Object, Severity, Value},
    filter::fields::View,
    identity::SpanId,
    names,
};

#[derive(Serialize)]
pub(super) struct KprobeLine<'a> {
    process: Process<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<Process<'a>>,
    function_name: &'a str,
    #[serde(skip_serializing_if = "Arguments::is_empty")]
    args: Arguments<'a>,
    #[serde(rename = "return", skip_serializing_if = "Option::is_none")]
    returned: Option<Argument<'a>>,
    #[serde(skip_serializing_if = "ActionName::is_unknown")]
    action: ActionName,
    #[serde(skip_serializing_if = "Frames::is_none")]
    kernel_stack_trace: Frames<'a>,
    policy_name: &'a str,
    #[serde(skip_serializing_if = "ActionName::is_unknown")]
    return_action: ActionName,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tags: &'a [Box<str>],
    #[serde(skip_serializing_if = "Frames::is_none")]
    user_stack_trace: Frames<'a>,
    #[serde(skip_serializing_if = "Arguments::is_empty")]
    data: Arguments<'a>,
    trigon: Facts<'a>,
}

#[derive(Serialize)]
pub(super) struct TracepointLine<'a> {
    process: Process<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<Process<'a>>,
    subsys: &'a str,
    event: &'a str,
    #[serde(skip_serializing_if = "Arguments::is_empty")]
    args: Arguments<'a>,
    policy_name: &'a str,
    #[serde(skip_serializing_if = "ActionName::is_unknown")]
    action: ActionName,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tags: &'a [Box<str>],
    #[serde(skip_serializing_if = "Frames::is_none")]
    kernel_stack_trace: Frames<'a>,
    #[serde(skip_serializing_if = "Frames::is_none")]
    user_stack_trace: Frames<'a>,
    trigon: Facts<'a>,
}

#[derive(Serialize)]
pub(super) struct LsmLine<'a> {
    process: Process<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<Process<'a>>,
    function_name: &'a str,
    policy_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Arguments::is_empty")]
    args: Arguments<'a>,
    #[serde(skip_serializing_if = "ActionName::is_unknown")]
    action: ActionName,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tags: &'a [Box<str>],
    #[serde(skip_serializing_if = "str::is_empty")]
    ima_hash: &'a str,
    trigon: Facts<'a>,
}

pub(super) struct ActionName(pub(super) Action);

pub(super) struct Arguments<'a> {
    values: &'a [Option<Value>],
    specs: &'a [ArgumentSpec],
    host: &'a Namespaces,
}

/// One that could not be read has no value, and keeps its place.
#[derive(Serialize)]
pub(super) struct Argument<'a> {
    #[serde(flatten)]
    value: Option<Variant<'a>>,
    #[serde(flatten)]
    object: Option<ObjectArgument<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
}

#[derive(Serialize)]
enum Variant<'a> {
    #[serde(rename = "string_arg")]
    String(&'a str),
    #[serde(rename = "int_arg")]
    Int(i32),
    #[serde(rename = "size_arg")]
    Size(Int64),
    #[serde(rename = "bytes_arg")]
    Bytes(Bytes<'a>),
    #[serde(rename = "path_arg")]
    Path(File<'a>),
    #[serde(rename = "file_arg")]
    File(File<'a>),
    #[serde(rename = "truncated_bytes_arg")]
    TruncatedBytes(TruncatedBytes<'a>),
    #[serde(rename = "uint_arg")]
    Uint(u32),
    #[serde(rename = "long_arg")]
    Long(SInt64),
}

/// `KprobeFile`, `KprobePath` and `KprobeLinuxBinprm`, which have the same fields.
#[derive(Serialize)]
pub(super) struct File<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    path: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    flags: &'static str,
    #[serde(skip_serializing_if = "is_default")]
    permission: Permission,
}

#[derive(Serialize)]
struct TruncatedBytes<'a> {
    bytes_arg: Bytes<'a>,
    orig_size: Int64,
}

/// What Tetragon has no field for.
#[derive(Serialize)]
pub(super) struct HookFacts<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_namespace: Option<&'a str>,
    /// Whether the action was done; left out where it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_mode: Option<&'static str>,
    /// The process is who has the tracked socket, and not the one that ran.
    #[serde(skip_serializing_if = "is_default")]
    socket_owner: bool,
    /// The policy asks for the file's hash, and the kernel made none.
    #[serde(skip_serializing_if = "is_default")]
    ima_hash_missing: bool,
    selector: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<&'static str>,
    /// The message tells of this event, and not only of the hook.
    #[serde(skip_serializing_if = "is_default")]
    message_of_event: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    descriptor_span_id: Option<SpanId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<Link>,
    #[serde(skip_serializing_if = "ArgumentsFacts::is_empty")]
    args: ArgumentsFacts<'a>,
}

struct ArgumentsFacts<'a>(&'a Hook);

#[derive(Serialize)]
struct ArgumentFacts {
    index: usize,
    #[serde(skip_serializing_if = "is_default")]
    unreadable: bool,
    #[serde(skip_serializing_if = "is_default")]
    truncated: bool,
    #[serde(skip_serializing_if = "is_default")]
    deleted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_flags: Option<OpenFlags>,
}

#[derive(PartialEq)]
struct OpenFlags(u32);

/// Tetragon's word for a path whose beginning is missing.
pub(crate) const UNRESOLVED: &str = "unresolvedPathComponents";

// === impl Context ===

impl<'a> Context<'a> {
    pub(super) fn hook(self, event: &'a Event, hook: &'a Hook, view: Option<&View>) -> Body<'a> {
        let process = Process::new(self, &event.process);
        let parent = self.parent(event);
        let source = &*hook.source;
        let message = hook.message(event, view);
        let (args, data) = (Arguments::new(hook, self.host), Arguments::data(hook, self.host));
        let trigon = Facts::new(&event.process).with_hook(hook);
        match source.kind() {
            HookKind::Kprobe { function } => Body::Kprobe(KprobeLine {
                process,
                parent,
                function_name: function,
                args,
                returned: hook
                    .returned
                    .as_ref()
                    .map(|value| Argument::new(Some(value), Some(&source.returned), self.host)),
                action: ActionName(hook.action),
                kernel_stack_trace: Frames::kernel(hook),
                policy_name: &source.policy.name,
                return_action: ActionName(hook.return_action.unwrap_or_default()),
                message,
                tags: &source.tags,
                user_stack_trace: Frames::user(hook),
                data,
                trigon,
            }),
            HookKind::Tracepoint { subsystem, event } => Body::Tracepoint(TracepointLine {
                process,
                parent,
                subsys: subsystem,
                event,
                args,
                policy_name: &source.policy.name,
                action: ActionName(hook.action),
                message,
                tags: &source.tags,
                kernel_stack_trace: Frames::kernel(hook),
                user_stack_trace: Frames::user(hook),
                trigon,
            }),
            HookKind::Lsm { hook: function } => Body::Lsm(LsmLine {
                process,
                parent,
                function_name: function,
                policy_name: &source.policy.name,
                message,
                args,
                action: ActionName(hook.action),
                tags: &source.tags,
                ima_hash: hook.ima_hash.as_deref().unwrap_or_default(),
                trigon,
            }),
            HookKind::Uprobe { .. } | HookKind::Usdt { .. } => self.program(event, hook, message),
        }
    }
}

// === impl ActionName ===

impl ActionName {
    pub(super) fn is_unknown(&self) -> bool {
        self.0 == Action::Unknown
    }
}

impl Serialize for ActionName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.name())
    }
}

// === impl Arguments ===

impl<'a> Arguments<'a> {
    pub(super) fn new(hook: &'a Hook, host: &'a Namespaces) -> Self {
        Self { values: &hook.args, specs: &hook.source.args, host }
    }

    pub(super) fn data(hook: &'a Hook, host: &'a Namespaces) -> Self {
        Self { values: &hook.data, specs: &hook.source.data, host }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

impl Serialize for Arguments<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(
            self.values
                .iter()
                .enumerate()
                .map(|(index, value)| Argument::new(value.as_ref(), self.specs.get(index), self.host)),
        )
    }
}

impl<'a> Argument<'a> {
    pub(super) fn new(value: Option<&'a Value>, spec: Option<&'a ArgumentSpec>, host: &Namespaces) -> Self {
        let object = match value {
            Some(Value::Object(object)) => Some(ObjectArgument::new(object, host)),
            _ => None,
        };
        Self {
            value: value.and_then(Variant::new),
            object,
            label: spec.and_then(|spec| spec.label.as_deref()),
        }
    }
}

impl<'a> Variant<'a> {
    /// None for an object, which has its own.
    fn new(value: &'a Value) -> Option<Self> {
        Some(match value {
            Value::Object(_) => return None,
            Value::Int(number) => Self::Int(*number),
            Value::UInt(number) => Self::Uint(*number),
            Value::Long(number) => Self::Long(SInt64(*number)),
            Value::Size(number) => Self::Size(Int64(*number)),
            Value::Text { text, .. } => Self::String(text),
            Value::Bytes { data, size } if *size > data.len() as u64 => {
                Self::TruncatedBytes(TruncatedBytes { bytes_arg: Bytes(data), orig_size: Int64(*size) })
            }
            Value::Bytes { data, .. } => Self::Bytes(Bytes(data)),
            Value::File(event::File { path, mode, truncated, .. }) => {
                Self::File(File::new(path, *truncated, *mode))
            }
            Value::Path { path, truncated, .. } => Self::Path(File::new(path, *truncated, 0)),
        })
    }
}

impl<'a> File<'a> {
    pub(super) fn new(path: &'a str, truncated: bool, mode: u32) -> Self {
        Self { path, flags: if truncated { UNRESOLVED } else { "" }, permission: Permission(mode) }
    }
}

impl Serialize for Permission {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

// === impl HookFacts ===

impl<'a> HookFacts<'a> {
    pub(super) fn new(hook: &'a Hook) -> Self {
        Self {
            policy_namespace: hook.source.policy.namespace.as_deref(),
            policy_mode: hook.monitored.then_some("monitor"),
            socket_owner: hook.socket_owner,
            ima_hash_missing: hook.ima_hash.as_ref().is_some_and(|hash| hash.is_empty()),
            selector: hook.selector,
            severity: hook.source.severity.map(Severity::as_str),
            message_of_event: hook.source.template.is_some(),
            descriptor_span_id: hook.descriptor,
            request: hook.request.as_deref().copied().map(Link::from),
            args: ArgumentsFacts(hook),
        }
    }
}

impl ArgumentsFacts<'_> {
    /// Of those arguments that there is something to tell of.
    fn all(&self) -> impl Iterator<Item = ArgumentFacts> {
        self.0.args.iter().enumerate().map(|(index, value)| ArgumentFacts::new(index, value.as_ref())).filter(
            |facts| facts.unreadable || facts.truncated || facts.deleted || facts.open_flags.is_some(),
        )
    }

    fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }
}

impl Serialize for ArgumentsFacts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.all())
    }
}

impl ArgumentFacts {
    fn new(index: usize, value: Option<&Value>) -> Self {
        let (truncated, deleted, flags) = match value {
            Some(Value::Object(object)) => match &**object {
                Object::Executable(file) => (file.truncated, file.deleted, Some(file.flags)),
                _ => (false, false, None),
            },
            Some(Value::File(file)) => (file.truncated, file.deleted, Some(file.flags)),
            Some(Value::Path { truncated, deleted, .. }) => (*truncated, *deleted, None),
            Some(Value::Text { truncated, .. }) => (*truncated, false, None),
            _ => (false, false, None),
        };
        Self { index, unreadable: value.is_none(), truncated, deleted, open_flags: flags.map(OpenFlags) }
    }
}

impl Serialize for OpenFlags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(names::open_flags(self.0))
    }
}
