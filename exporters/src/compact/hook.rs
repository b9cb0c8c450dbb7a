//! What the line of a policy's event says: a word for the call, and the arguments that matter.

use std::fmt::{self, Display};

use syscalls::Sysno;

use super::{
    CYAN, Line, RED,
    quote::Quoted,
    told::{Call, Head, Object},
};
use crate::{
    event::{Hook, HookKind, Operation, PathRef, Value},
    json,
    text::Shown,
};

/// What a line ends with.
enum Tail {
    Nothing,
    /// The path that the call is about.
    Path,
    /// The path, and how many bytes were read or written.
    Transfer,
    /// The path of a call that was given it as text.
    Text,
    /// The first arguments, as many.
    Arguments(usize),
    /// The kind of namespace that a bit of clone(2) stands for.
    Namespace,
    /// Both ends of a socket.
    Socket,
    /// The same, and how many bytes are sent.
    Send,
    /// What is told of an argument that only JSON has.
    Object(fn(Object<'_>, &mut Line)),
    /// The name of the function.
    Function,
}

/// Kinds of namespaces by their bits (`CLONE_NEW*` of clone(2)); 0 leaves it to the descriptor.
const NAMESPACES: [(i64, &str); 9] = [
    (0, "any"),
    (0x80, "time"),
    (0x2_0000, "mnt"),
    (0x200_0000, "cgroup"),
    (0x400_0000, "uts"),
    (0x800_0000, "ipc"),
    (0x1000_0000, "user"),
    (0x2000_0000, "pid"),
    (0x4000_0000, "net"),
];

/// How a call is shown. The words are those of `tetra getevents -o compact`.
fn shown(hook: &Hook) -> (Head<'static>, Tail) {
    let (sign, word, tail) = match hook.function() {
        "sys_write" => ("📝", "write", Tail::Transfer),
        "sys_read" => ("📚", "read", Tail::Transfer),
        "fd_install" => ("📬", "open", Tail::Path),
        "sys_openat" => ("📬️", "openat", Tail::Text),
        "sys_open" => ("📬️", "open", Tail::Text),
        "sys_close" => ("📪", "close", Tail::Path),
        "sys_mount" => ("💾", "mount", Tail::Arguments(2)),
        "sys_pivot_root" => ("💾", "pivot_root", Tail::Arguments(2)),
        "sys_setuid" => ("🔑", "setuid", Tail::Arguments(1)),
        "sys_clock_settime" => ("⏰", "clock_settime", Tail::Nothing),
        "proc_exec_connector" => ("🔧", "proc_exec_connector", Tail::Nothing),
        "sys_setns" => ("🔧", "setns", Tail::Namespace),
        "security_file_permission" => match hook.operation() {
            Some(Operation::Write) => ("📝", "write", Tail::Path),
            Some(Operation::Read) => ("📚", "read", Tail::Path),
            _ => ("❓", "security_file_permission", Tail::Path),
        },
        "security_mmap_file" => match hook.arg(1).and_then(Value::number) {
            Some(access) => {
                return (Head { access: Some(access), ..Head::new("📝", "mmap-") }, Tail::Path);
            }
            None => ("❓", "security_mmap_file", Tail::Path),
        },
        "security_path_truncate" | "security_file_truncate" => ("📝", "truncate", Tail::Path),
        "tcp_connect" => ("🔌", "connect", Tail::Socket),
        "tcp_close" => ("🧹", "close", Tail::Socket),
        "tcp_sendmsg" => ("📤", "sendmsg", Tail::Send),
        "bpf_check" => ("🐝", "bpf_load", Tail::Object(|object, line| object.program(line))),
        "security_perf_event_alloc" => {
            ("🐝", "perf_event_alloc", Tail::Object(|object, line| object.perf_event(line)))
        }
        "security_bpf_map_alloc" | "security_bpf_map_create" => {
            ("🗺", "bpf_map_create", Tail::Object(|object, line| object.map(line)))
        }
        _ => ("❓", "syscall", Tail::Function),
    };
    (Head::new(sign, word), tail)
}

/// The sign and the word of a policy's event.
pub(super) fn head(call: Call<'_>) -> Head<'static> {
    match call.hook.source.kind() {
        HookKind::Kprobe { .. } => shown(call.hook).0,
        kind if is_raw_syscall(kind) => Head::RAW_SYSCALL,
        HookKind::Tracepoint { .. } => Head::TRACEPOINT,
        HookKind::Lsm { .. } => Head::LSM,
        HookKind::Uprobe { .. } => Head::UPROBE,
        HookKind::Usdt { .. } => Head::USDT,
    }
}

/// Appends what the call is about.
pub(super) fn tail(call: Call<'_>, line: &mut Line) {
    let hook = call.hook;
    let HookKind::Kprobe { function } = hook.source.kind() else {
        return line.word(CYAN, RawSyscall(call));
    };
    match shown(hook).1 {
        Tail::Nothing => {}
        Tail::Path => path(call, 0, line),
        Tail::Transfer => transfer(call, line),
        Tail::Text => match hook.args.iter().flatten().find(|arg| matches!(arg, Value::Text { .. })) {
            Some(text) => value(text, line),
            None => path(call, 1, line),
        },
        Tail::Arguments(count) => (0..count).for_each(|index| argument(call, index, line)),
        Tail::Namespace => {
            let bit = hook.arg(1).and_then(Value::number);
            match NAMESPACES.iter().find(|(known, _)| Some(*known) == bit) {
                Some((_, name)) => line.word(CYAN, name),
                None => argument(call, 1, line),
            }
        }
        Tail::Socket => object(call, |object, line| object.socket(line), line),
        Tail::Send => {
            object(call, |object, line| object.socket(line), line);
            if let Some(bytes) = hook.arg(1).and_then(Value::number) {
                line.word(CYAN, format_args!("bytes {bytes}"));
            }
        }
        Tail::Object(show) => object(call, show, line),
        Tail::Function => line.word(None, Quoted(function)),
    }
}

pub(super) fn is_raw_syscall(kind: &HookKind) -> bool {
    matches!(kind, HookKind::Tracepoint { subsystem, event }
        if &**subsystem == "raw_syscalls" && &**event == "sys_enter")
}

/// The path that the call is about; where there is none, the argument that should have had it.
fn path(call: Call<'_>, index: usize, line: &mut Line) {
    match call.hook.paths().next() {
        Some(PathRef { path, truncated, .. }) => line.word(CYAN, Cut(path, truncated)),
        None => argument(call, index, line),
    }
}

fn transfer(call: Call<'_>, line: &mut Line) {
    let hook = call.hook;
    path(call, 0, line);
    // An error of the call, as a negative number of errno(3).
    match hook.returned.as_ref().and_then(Value::number).filter(|returned| *returned < 0) {
        Some(error) => line.word(RED, error),
        None => {
            if let Some(bytes) = hook.bytes() {
                line.word(CYAN, format_args!("{bytes} bytes"));
            }
        }
    }
}

/// An argument, where there is one with that number.
fn argument(call: Call<'_>, index: usize, line: &mut Line) {
    match (call.hook.args.get(index), call.object(index)) {
        (Some(Some(argument)), _) => value(argument, line),
        (Some(None), Some(object)) => line.word(CYAN, Quoted(&object.shown())),
        // It could not be read.
        (Some(None), None) => line.word(CYAN, '?'),
        (None, _) => {}
    }
}

/// The first argument that is an object; where there is none, the argument that should have been one.
fn object(call: Call<'_>, show: fn(Object<'_>, &mut Line), line: &mut Line) {
    match (call.objects.iter().flatten().next(), call.hook.object().and_then(json::object)) {
        (Some(object), _) => show(*object, line),
        (None, Some((kind, value))) => show(Object { kind: &kind, value: &value }, line),
        (None, None) => argument(call, 0, line),
    }
}

fn value(value: &Value, line: &mut Line) {
    match value {
        Value::Text { text, .. } => line.word(CYAN, Quoted(text)),
        Value::File(file) => line.word(CYAN, Cut(&file.path, file.truncated)),
        Value::Path { path, truncated, .. } => line.word(CYAN, Cut(path, *truncated)),
        other => line.word(CYAN, Quoted(&in_a_word(other))),
    }
}

/// A value in one word; an object as it is shown where only JSON has it.
fn in_a_word(value: &Value) -> String {
    let object = match value {
        Value::Object(object) => json::object(object),
        _ => None,
    };
    match object {
        Some((kind, value)) => Object { kind: &kind, value: &value }.shown(),
        None => Shown(value).to_string(),
    }
}

/// A path, and `…` in place of its beginning where that is missing.
struct Cut<'a>(&'a str, bool);

/// `openat(18446744073709551516, 94143184, 0)`: what `raw_syscalls/sys_enter` tells, the number of the call first.
struct RawSyscall<'a>(Call<'a>);

// === impl Cut ===

impl Display for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.1 { "…" } else { "" })?;
        Quoted(self.0).fmt(f)
    }
}

// === impl RawSyscall ===

impl Display for RawSyscall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hook = self.0.hook;
        let number = hook.arg(0).and_then(Value::number).and_then(|number| usize::try_from(number).ok());
        match number.and_then(Sysno::new) {
            Some(call) => f.write_str(call.name())?,
            None => f.write_str("unknown")?,
        }
        let rest = hook.args.get(1..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(());
        }
        f.write_str("(")?;
        for (index, argument) in rest.iter().enumerate() {
            f.write_str(if index > 0 { ", " } else { "" })?;
            if let Some(label) = hook.spec(index + 1).and_then(|spec| spec.label.as_deref()) {
                write!(f, "{}=", Quoted(label))?;
            }
            // Quoted, since an argument may be text of any kind.
            match (argument, self.0.object(index + 1)) {
                (Some(value), _) => Quoted(&in_a_word(value)).fmt(f)?,
                (None, Some(object)) => Quoted(&object.shown()).fmt(f)?,
                (None, None) => f.write_str("?")?,
            }
        }
        f.write_str(")")
    }
}
