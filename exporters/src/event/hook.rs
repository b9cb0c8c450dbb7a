//! A call that a policy asks for.

use std::sync::Arc;

use super::{Action, EventType, File, Object, Operation, Severity, Stacks, Template, Value, operation};
use crate::identity::{SpanId, SpanRef};

/// A call, or the passing of a tracepoint, that a policy's hook matched.
#[derive(Clone, Debug)]
pub struct Hook {
    /// The hook.
    pub source: Arc<HookSource>,
    /// The arguments, in the policy's order; none for one that could not be read.
    pub args: Box<[Option<Value>]>,
    /// What was read beside them, likewise.
    pub data: Box<[Option<Value>]>,
    /// What the function returned, where the policy asks for it.
    pub returned: Option<Value>,
    /// What was done about the call.
    pub action: Action,
    /// What was done when it returned.
    pub return_action: Option<Action>,
    /// Number of the selector that matched, from 0.
    pub selector: u16,
    /// The policy only watches: the action was not done.
    pub monitored: bool,
    /// It is told of who has the socket that a policy tracks, and not of the process that ran.
    pub socket_owner: bool,
    /// The hash of the file, where the policy asks for it: `sha256:…`; empty where the kernel made none.
    pub ima_hash: Option<Box<str>>,
    /// What led to the call, where the policy asks for it.
    pub stacks: Option<Box<Stacks>>,
    /// The span of the followed descriptor that the call was about.
    pub descriptor: Option<SpanId>,
    /// The span of the request that the thread was serving, where OpenTelemetry's eBPF instrumentation tells it.
    pub request: Option<Box<SpanRef>>,
}

/// A hook of a policy, shared by all its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookSource {
    /// The policy.
    pub policy: Arc<Policy>,
    kind: HookKind,
    /// `message`: what the author has to say.
    pub message: Option<Box<str>>,
    /// `messageTemplate`: the same, with what is known of each event.
    pub template: Option<Template>,
    /// `severity`: how grave the author finds it.
    pub severity: Option<Severity>,
    /// `tags`
    pub tags: Box<[Box<str>]>,
    /// The arguments that the policy names, in its order.
    pub args: Box<[ArgumentSpec]>,
    /// The further data that the policy names, in its order.
    pub data: Box<[ArgumentSpec]>,
    /// `returnArg`
    pub returned: ArgumentSpec,
    operation: Option<Operation>,
    name: Box<str>,
}

/// A policy, by its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Its name.
    pub name: Box<str>,
    /// The namespace that it is of; none for one of the whole cluster, or of a host.
    pub namespace: Option<Box<str>>,
}

/// What is hooked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HookKind {
    /// A function of the kernel, by whatever mechanism.
    Kprobe {
        /// Its symbol, with the prefix of the architecture where the kernel has one: `__x64_sys_read`.
        function: Box<str>,
    },
    /// A tracepoint.
    Tracepoint {
        /// `sched`
        subsystem: Box<str>,
        /// `sched_process_exec`
        event: Box<str>,
    },
    /// A hook of the security modules, by whatever mechanism.
    Lsm {
        /// `file_open`
        hook: Box<str>,
    },
    /// A place in a program or a library.
    Uprobe {
        /// The file, by the path that the policy gives.
        path: Box<str>,
        /// The function; empty where the policy gives an offset or an address.
        symbol: Box<str>,
        /// Where in the file, if it is no function.
        offset: u64,
        /// Where in the file the counter is of those who look; 0 for none.
        ref_ctr_offset: u64,
    },
    /// A USDT probe.
    Usdt {
        /// The file, by the path that the policy gives.
        path: Box<str>,
        /// Whose probe it is.
        provider: Box<str>,
        /// Its name.
        name: Box<str>,
    },
}

/// What a policy says of an argument.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArgumentSpec {
    /// `label`
    pub label: Option<Box<str>>,
    /// `type`, as the author wrote it; empty where it was left out.
    pub kind: Box<str>,
}

/// A path among arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathRef<'a> {
    /// The path, as the argument has it: text may be relative.
    pub path: &'a str,
    /// The file, where the argument is one.
    pub file: Option<&'a File>,
    /// A part of the path is missing.
    pub truncated: bool,
    /// It has no name in its directory any more.
    pub deleted: bool,
}

/// The argument of `security_file_permission` that says what is asked for, and two of its bits (`MAY_WRITE`,
/// `MAY_READ`).
const MASK: usize = 1;
const MAY_WRITE: i64 = 2;
const MAY_READ: i64 = 4;

// === impl HookKind ===

impl HookKind {
    /// Its name in metrics, as Tetragon's: `kprobe:__x64_sys_read`, `tracepoint:sched/sched_process_exec`; and
    /// `uprobe:/bin/bash:readline`, `usdt:/lib/libc.so.6:libc:setjmp`, `lsm:file_open`.
    pub fn name(&self) -> String {
        match self {
            Self::Kprobe { function } => format!("kprobe:{function}"),
            Self::Tracepoint { subsystem, event } => format!("tracepoint:{subsystem}/{event}"),
            Self::Lsm { hook } => format!("lsm:{hook}"),
            Self::Uprobe { path, symbol, offset, .. } if symbol.is_empty() => {
                format!("uprobe:{path}:{offset:#x}")
            }
            Self::Uprobe { path, symbol, .. } => format!("uprobe:{path}:{symbol}"),
            Self::Usdt { path, provider, name } => format!("usdt:{path}:{provider}:{name}"),
        }
    }

    /// The function, the tracepoint or the probe; empty for code without a name.
    pub fn function(&self) -> &str {
        match self {
            Self::Kprobe { function } => function,
            Self::Tracepoint { event, .. } => event,
            Self::Lsm { hook } => hook,
            Self::Uprobe { symbol, .. } => symbol,
            Self::Usdt { name, .. } => name,
        }
    }
}

// === impl HookSource ===

impl HookSource {
    /// A hook without message, tags and arguments.
    pub fn new(policy: Arc<Policy>, kind: HookKind) -> Self {
        let name = kind.name();
        Self {
            policy,
            message: None,
            template: None,
            severity: None,
            tags: Box::default(),
            args: Box::default(),
            data: Box::default(),
            returned: ArgumentSpec::default(),
            operation: Operation::of(&kind),
            name: name.into(),
            kind,
        }
    }

    /// What is hooked.
    pub fn kind(&self) -> &HookKind {
        &self.kind
    }

    /// Its name in metrics: [`HookKind::name`].
    pub fn name(&self) -> &str {
        &self.name
    }
}

// === impl ArgumentSpec ===

impl ArgumentSpec {
    /// What to call the argument: its label, else its type; empty where it has neither.
    pub fn name(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.kind)
    }
}

// === impl Hook ===

impl Hook {
    /// The name that metrics and filters use for the call.
    pub fn event_type(&self) -> EventType {
        match self.source.kind() {
            HookKind::Kprobe { .. } => EventType::ProcessKprobe,
            HookKind::Tracepoint { .. } => EventType::ProcessTracepoint,
            HookKind::Lsm { .. } => EventType::ProcessLsm,
            HookKind::Uprobe { .. } => EventType::ProcessUprobe,
            HookKind::Usdt { .. } => EventType::ProcessUsdt,
        }
    }

    /// An argument that was read.
    pub fn arg(&self, index: usize) -> Option<&Value> {
        self.args.get(index)?.as_ref()
    }

    /// What the call does to a file; none where it is about something else.
    pub fn operation(&self) -> Option<Operation> {
        let asks_for_access = match &self.source.kind {
            HookKind::Kprobe { function } => &**function == "security_file_permission",
            HookKind::Lsm { hook } => &**hook == "file_permission",
            _ => false,
        };
        match asks_for_access {
            true => match self.arg(MASK)?.number()? {
                MAY_WRITE => Some(Operation::Write),
                MAY_READ => Some(Operation::Read),
                _ => None,
            },
            false => self.source.operation,
        }
    }

    /// OTLP's name for the call.
    pub fn event_name(&self) -> &'static str {
        self.operation().map_or("policy.match", Operation::event_name)
    }

    /// Whether something was done to the process and not only told.
    pub fn enforced(&self) -> bool {
        !self.monitored && (self.action.enforces() || self.return_action.is_some_and(Action::enforces))
    }

    /// The paths that the call is about, the one that it acts on first.
    ///
    /// Text is a path where the call acts on files and no argument names one, other than the directory that a
    /// relative path starts from.
    pub fn paths(&self) -> impl Iterator<Item = PathRef<'_>> {
        let text = self.operation().is_some()
            && !self.args.iter().flatten().any(|value| match value {
                Value::File(file) => !file.is_directory(),
                Value::Path { .. } => true,
                Value::Object(object) => matches!(**object, Object::Executable(_)),
                _ => false,
            })
            && self.args.iter().flatten().any(|value| matches!(value, Value::Text { .. }));
        self.args.iter().flatten().filter_map(move |value| match value {
            Value::File(file) if !text => Some(PathRef {
                path: &file.path,
                file: Some(file),
                truncated: file.truncated,
                deleted: file.deleted,
            }),
            Value::Object(object) => match &**object {
                Object::Executable(file) => Some(PathRef {
                    path: &file.path,
                    file: Some(file),
                    truncated: file.truncated,
                    deleted: file.deleted,
                }),
                _ => None,
            },
            Value::Path { path, truncated, deleted } => {
                Some(PathRef { path, file: None, truncated: *truncated, deleted: *deleted })
            }
            Value::Text { text: path, truncated } if text => {
                Some(PathRef { path, file: None, truncated: *truncated, deleted: false })
            }
            _ => None,
        })
    }

    /// Bytes that a call read or wrote: what it returned where that is known and no error, else the size of its
    /// buffer, else its third argument.
    pub fn bytes(&self) -> Option<u64> {
        let moves = matches!(self.operation(), Some(Operation::Read | Operation::Write));
        // A security module is asked before anything moves.
        let asked = matches!(self.source.kind, HookKind::Lsm { .. });
        if !moves || asked || self.function().starts_with("security_") {
            return None;
        }
        let number = |value: &Value| match value {
            Value::Size(number) => Some(*number),
            value => u64::try_from(value.number()?).ok(),
        };
        if let Some(returned) = &self.returned {
            return number(returned);
        }
        match self.arg(1) {
            Some(Value::Bytes { size, .. }) => Some(*size),
            _ => self.arg(2).and_then(number),
        }
    }

    /// The first argument that is an object of the kernel.
    pub fn object(&self) -> Option<&Object> {
        self.args.iter().flatten().find_map(|value| match value {
            Value::Object(object) => Some(&**object),
            _ => None,
        })
    }

    /// What the policy says of an argument.
    pub fn spec(&self, index: usize) -> Option<&ArgumentSpec> {
        self.source.args.get(index)
    }

    /// The action's word; where it was not done, `Monitor` and the word: `MonitorOverride`.
    pub fn done(&self) -> &'static str {
        match (self.monitored, self.action) {
            (true, Action::Sigkill) => "MonitorSigkill",
            (true, Action::Signal) => "MonitorSignal",
            (true, Action::Override) => "MonitorOverride",
            (true, Action::Set) => "MonitorSet",
            (true, Action::NotifyEnforcer) => "MonitorNotifyEnforcer",
            (_, action) => action.word(),
        }
    }

    /// Name of the hooked function without the prefix of the architecture: `sys_read`. Empty for what is no function of the kernel.
    pub(crate) fn function(&self) -> &str {
        match &self.source.kind {
            HookKind::Kprobe { function } => operation::without_architecture(function),
            HookKind::Lsm { hook } => hook,
            HookKind::Tracepoint { .. } | HookKind::Uprobe { .. } | HookKind::Usdt { .. } => "",
        }
    }
}
