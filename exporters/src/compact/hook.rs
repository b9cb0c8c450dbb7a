//! What the line of a policy's event says: a word for the call, and the arguments that matter.

use std::fmt::{self, Display};

use syscalls::Sysno;

use super::{CYAN, Line, RED, quote::Quoted};
use crate::{
    event::{Hook, HookKind, Operation, PathRef, Value},
    text::Shown,
};

/// What a line begins with: a sign and a word of at least seven columns.
pub(super) struct Head {
    sign: &'static str,
    word: &'static str,
    /// Access that a mapping asks for, as `rwx`.
    access: Option<i64>,
}

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
    /// The name of the function.
    Function,
}

const PROT_READ: i64 = 1;
const PROT_WRITE: i64 = 2;
const PROT_EXEC: i64 = 4;

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
fn shown(hook: &Hook) -> (Head, Tail) {
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
            Some(access) => return (Head { sign: "📝", word: "mmap-", access: Some(access) }, Tail::Path),
            None => ("❓", "security_mmap_file", Tail::Path),
        },
        "security_path_truncate" | "security_file_truncate" => ("📝", "truncate", Tail::Path),
        _ => ("❓", "syscall", Tail::Function),
    };
    (Head { sign, word, access: None }, tail)
}

/// The sign and the word of a policy's event.
pub(super) fn head(hook: &Hook) -> Head {
    let plain = |sign, word| Head { sign, word, access: None };
    match hook.source.kind() {
        HookKind::Kprobe { .. } => shown(hook).0,
        HookKind::Tracepoint { .. } if is_raw_syscall(hook.source.kind()) => plain("☎ ", "syscall"),
        HookKind::Tracepoint { .. } => plain("⁉️", "tracepoint"),
    }
}

/// Appends what the event is about.
pub(super) fn tail(hook: &Hook, line: &mut Line) {
    match hook.source.kind() {
        HookKind::Kprobe { function } => match shown(hook).1 {
            Tail::Nothing => {}
            Tail::Path => path(hook, 0, line),
            Tail::Transfer => transfer(hook, line),
            Tail::Text => match hook.args.iter().flatten().find(|arg| matches!(arg, Value::Text { .. })) {
                Some(text) => value(text, line),
                None => path(hook, 1, line),
            },
            Tail::Arguments(count) => {
                hook.args.iter().take(count).for_each(|arg| argument(arg.as_ref(), line))
            }
            Tail::Namespace => {
                let bit = hook.arg(1).and_then(Value::number);
                match NAMESPACES.iter().find(|(known, _)| Some(*known) == bit) {
                    Some((_, name)) => line.word(CYAN, name),
                    None => argument(hook.arg(1), line),
                }
            }
            Tail::Function => line.word(None, Quoted(function)),
        },
        kind if is_raw_syscall(kind) => line.word(CYAN, RawSyscall(hook)),
        HookKind::Tracepoint { subsystem, event } => {
            line.word(CYAN, Quoted(subsystem));
            line.word(CYAN, Quoted(event));
        }
    }
}

fn is_raw_syscall(kind: &HookKind) -> bool {
    matches!(kind, HookKind::Tracepoint { subsystem, event }
        if &**subsystem == "raw_syscalls" && &**event == "sys_enter")
}

/// The path that the call is about; where there is none, the argument that should have had it.
fn path(hook: &Hook, index: usize, line: &mut Line) {
    match hook.paths().next() {
        Some(PathRef { path, truncated, .. }) => line.word(CYAN, Cut(path, truncated)),
        None if hook.args.len() > index => argument(hook.arg(index), line),
        None => {}
    }
}

fn transfer(hook: &Hook, line: &mut Line) {
    path(hook, 0, line);
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

fn argument(argument: Option<&Value>, line: &mut Line) {
    match argument {
        Some(argument) => value(argument, line),
        // It could not be read.
        None => line.word(CYAN, '?'),
    }
}

fn value(value: &Value, line: &mut Line) {
    match value {
        Value::Text { text, .. } => line.word(CYAN, Quoted(text)),
        Value::File(file) => line.word(CYAN, Cut(&file.path, file.truncated)),
        Value::Path { path, truncated, .. } => line.word(CYAN, Cut(path, *truncated)),
        other => line.word(CYAN, Quoted(&Shown(other).to_string())),
    }
}

/// A path, and `…` in place of its beginning where that is missing.
struct Cut<'a>(&'a str, bool);

/// `openat(18446744073709551516, 94143184, 0)`: what `raw_syscalls/sys_enter` tells, the number of the call first.
struct RawSyscall<'a>(&'a Hook);

// === impl Cut ===

impl Display for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.1 { "…" } else { "" })?;
        Quoted(self.0).fmt(f)
    }
}

// === impl Head ===

impl Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sign, word, access } = self;
        let Some(access) = access else { return write!(f, "{sign} {word:7}") };
        write!(f, "{sign} {word}")?;
        let letters = [(PROT_READ, "r"), (PROT_WRITE, "w"), (PROT_EXEC, "x")];
        let mut width = word.len();
        for (_, letter) in letters.iter().filter(|(bit, _)| access & bit != 0) {
            f.write_str(letter)?;
            width += 1;
        }
        let pad = 7_usize.saturating_sub(width);
        write!(f, "{:pad$}", "")
    }
}

// === impl RawSyscall ===

impl Display for RawSyscall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0.arg(0).and_then(Value::number).and_then(|number| usize::try_from(number).ok());
        match number.and_then(Sysno::new) {
            Some(call) => f.write_str(call.name())?,
            None => f.write_str("unknown")?,
        }
        let rest = self.0.args.get(1..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(());
        }
        f.write_str("(")?;
        for (index, argument) in rest.iter().enumerate() {
            f.write_str(if index > 0 { ", " } else { "" })?;
            let name = self.0.spec(index + 1).map_or("", |spec| spec.name());
            if !name.is_empty() {
                write!(f, "{}=", Quoted(name))?;
            }
            match argument {
                Some(value) => {
                    // Quoted, since an argument may be text of any kind.
                    write!(f, "{}", Quoted(&Shown(value).to_string()))?;
                }
                None => f.write_str("?")?,
            }
        }
        f.write_str(")")
    }
}
