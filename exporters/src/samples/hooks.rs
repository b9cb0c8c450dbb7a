//! What policies see, for tests.

use std::sync::Arc;

use super::{EPOCH, NODE, event, image, process};
use crate::event::{
    Action, ArgumentSpec, Descriptor, DescriptorEnd, Event, File, Hook, HookKind, HookSource, Kind, Policy,
    Timestamp, Value,
};

/// A policy of the cluster.
pub(crate) fn policy() -> Arc<Policy> {
    Arc::new(Policy { name: "sys-read-follow-prefix".into(), namespace: None })
}

pub(crate) fn kprobe(function: &str) -> HookSource {
    HookSource::new(policy(), HookKind::Kprobe { function: function.into() })
}

pub(crate) fn tracepoint(subsystem: &str, event: &str) -> HookSource {
    HookSource::new(policy(), HookKind::Tracepoint { subsystem: subsystem.into(), event: event.into() })
}

/// A hook's event with these arguments, which was only told.
pub(crate) fn hook(source: HookSource, args: Vec<Value>) -> Hook {
    Hook {
        source: Arc::new(source),
        args: args.into_iter().map(Some).collect(),
        data: Box::default(),
        returned: None,
        action: Action::Post,
        return_action: None,
        selector: 0,
        monitored: false,
        socket_owner: false,
        ima_hash: None,
        stacks: None,
        descriptor: None,
        request: None,
    }
}

/// The editor of the reference.
pub(crate) fn vi(hook: Hook) -> Event {
    let mut vi = process(400, image("/bin/vi", &["vi", "/etc/passwd"]));
    vi.credentials = super::user(0);
    event(vi, Kind::Hook(hook))
}

pub(crate) fn file(path: &str) -> Value {
    Value::File(File { path: path.into(), mode: 0o100_644, ..File::default() })
}

pub(crate) fn path(path: &str) -> Value {
    Value::Path { path: path.into(), truncated: false, deleted: false }
}

pub(crate) fn text(text: &str) -> Value {
    Value::Text { text: text.into(), truncated: false }
}

pub(crate) fn bytes(data: &[u8], size: u64) -> Value {
    Value::Bytes { data: data.into(), size }
}

/// A call of this function with a file.
pub(crate) fn file_hook(function: &str, path: &str) -> Hook {
    hook(kprobe(function), vec![file(path)])
}

/// `read` of a followed descriptor: 340 of 4 096 bytes.
pub(crate) fn read() -> Hook {
    let mut source = kprobe("__x64_sys_read");
    source.args = specs(&[("", "fd"), ("", "char_buf"), ("count", "size_t")]);
    source.returned = ArgumentSpec { label: None, kind: "int".into() };
    let args = vec![file("/etc/passwd"), bytes(b"root:x:0:0:root:/root:/bin/sh\n", 340), Value::Size(4096)];
    let descriptor = process(400, image("/bin/vi", &[])).exec_id.descriptor_span_id(NODE, 7, "/etc/passwd");
    Hook { descriptor: Some(descriptor), returned: Some(Value::Int(340)), ..hook(source, args) }
}

/// Labels, or none, and types.
pub(crate) fn specs(specs: &[(&str, &str)]) -> Box<[ArgumentSpec]> {
    let spec = |(label, kind): &(&str, &str)| ArgumentSpec {
        label: Some(*label).filter(|label| !label.is_empty()).map(Into::into),
        kind: (*kind).into(),
    };
    specs.iter().map(spec).collect()
}

/// A followed file that was closed.
pub(crate) fn descriptor() -> Event {
    let vi = process(400, image("/bin/vi", &["vi", "/etc/passwd"]));
    let span = vi.exec_id.descriptor_span_id(NODE, 7, "/etc/passwd");
    let descriptor = Descriptor {
        policy: policy(),
        file: File { path: "/etc/passwd".into(), flags: 0o2, mode: 0o100_644, ..File::default() },
        fd: Some(3),
        opened: Timestamp(EPOCH + 200_000_000),
        closed: Timestamp(EPOCH + 900_000_000),
        reads: 2,
        writes: 1,
        bytes_read: 340,
        bytes_written: 355,
        span,
        end: DescriptorEnd::Closed,
    };
    event(vi, Kind::Descriptor(Box::new(descriptor)))
}

/// The table of events, by the names of their snapshots.
pub(super) fn table() -> Vec<(&'static str, Event)> {
    vec![
        ("hook_open", vi(hook(kprobe("fd_install"), vec![Value::Int(3), file("/etc/passwd")]))),
        ("hook_read", vi(read())),
        ("hook_write", vi(write())),
        ("hook_close", vi(file_hook("__x64_sys_close", "/etc/passwd"))),
        ("hook_killed", vi(killed())),
        ("hook_rename", vi(rename())),
        ("hook_setuid", vi(setuid())),
        ("hook_unreadable", vi(unreadable())),
        ("hook_hostile", vi(hostile())),
        ("hook_long_path", vi(long_path())),
        ("hook_tracepoint", vi(tracepoint_event())),
        ("hook_raw_syscall", vi(raw_syscall())),
        ("hook_lsm", vi(lsm())),
    ]
}

fn write() -> Hook {
    let args = vec![file("/etc/passwd"), bytes(b"root:x:0", 355), Value::Size(355)];
    Hook { action: Action::FollowFd, ..hook(kprobe("__x64_sys_write"), args) }
}

/// A deed that a policy of a namespace forbids.
fn killed() -> Hook {
    let policy = Policy { name: "no-shadow".into(), namespace: Some("default".into()) };
    let kind = HookKind::Kprobe { function: "security_file_open".into() };
    let mut source = HookSource::new(Arc::new(policy), kind);
    source.message = Some("Shadow file opened".into());
    source.tags = ["observability.filesystem".into(), "os.linux".into()].into();
    source.args = specs(&[("file", "file")]);
    let opened = File {
        path: "/etc/.cache/shadow.bak.gz".into(),
        flags: 0o2_001_101,
        mode: 0o104_640,
        truncated: false,
        deleted: true,
    };
    Hook {
        action: Action::Sigkill,
        return_action: Some(Action::Post),
        selector: 2,
        ..hook(source, vec![Value::File(opened)])
    }
}

fn rename() -> Hook {
    let mut source = kprobe("__arm64_sys_renameat2");
    source.args = specs(&[("", "fd"), ("from", "string"), ("", "int"), ("to", "string")]);
    let directory = Value::File(File { path: "/etc".into(), mode: 0o040_755, ..File::default() });
    hook(source, vec![directory, text("passwd"), Value::Int(-100), text("/tmp/passwd.old")])
}

fn setuid() -> Hook {
    let args = vec![Value::Int(0), Value::UInt(u32::MAX), Value::Long(i64::MIN), Value::Size(u64::MAX)];
    Hook { returned: Some(Value::Long(-1)), ..hook(kprobe("__x64_sys_setuid"), args) }
}

fn unreadable() -> Hook {
    let mut source = kprobe("__x64_sys_write");
    source.args = specs(&[("file", "fd"), ("", "char_buf"), ("", "size_t")]);
    Hook {
        args: [None, None, Some(Value::Size(12))].into(),
        returned: Some(Value::Int(-14)),
        ..hook(source, Vec::new())
    }
}

fn hostile() -> Hook {
    let policy = Policy { name: "p\u{1b}[31m".into(), namespace: Some("n\ns".into()) };
    let kind = HookKind::Kprobe { function: "security_inode_unlink".into() };
    let mut source = HookSource::new(Arc::new(policy), kind);
    source.message = Some("\u{202e}egassem\r\n".into());
    source.tags = ["\u{9b}31m".into(), "".into()].into();
    source.args = specs(&[("\u{1b}]0;owned\u{7}", "path"), ("", ""), ("=", "string")]);
    let args = vec![
        Value::Path {
            path: "/tmp/\u{1b}[2J\u{202e}cod.exe \\xff\\xfe\n\u{2066}\"日本🚀".into(),
            truncated: false,
            deleted: true,
        },
        bytes(b"\x1b[31m\xff\xfe\0\r\n\xe2\x80\xae", 14),
        text("\u{feff}\u{7f}\u{e000}"),
    ];
    hook(source, args)
}

fn long_path() -> Hook {
    let path: String = (0..409).map(|n| format!("/{n:0>9}")).collect();
    let opened = File { path: path.into(), mode: 0o100_600, truncated: true, ..File::default() };
    hook(kprobe("security_file_permission"), vec![Value::File(opened), Value::Int(4)])
}

fn tracepoint_event() -> Hook {
    let mut source = tracepoint("sched", "sched_process_exec");
    source.args = specs(&[("filename", "string"), ("", "int")]);
    hook(source, vec![text("/bin/sh"), Value::Int(7)])
}

fn raw_syscall() -> Hook {
    let args = vec![Value::Long(READ), Value::Size(3), Value::Size(0xffff_8000), Value::Size(4096)];
    hook(tracepoint("raw_syscalls", "sys_enter"), args)
}

/// What a policy would have denied if it had not only watched.
fn lsm() -> Hook {
    let mut source = HookSource::new(policy(), HookKind::Lsm { hook: "file_open".into() });
    source.message = Some("Shadow file opened".into());
    source.tags = ["observability.filesystem".into()].into();
    source.args = specs(&[("", "file")]);
    Hook { action: Action::Override, monitored: true, ..hook(source, vec![file("/etc/shadow")]) }
}

/// The number of read(2).
const READ: i64 = syscalls::Sysno::read as i64;
