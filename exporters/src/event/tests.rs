use super::*;
use crate::samples::hooks::{bytes, file, file_hook, hook, kprobe, path, read, text, tracepoint};

#[test]
fn events_are_cheap_to_move() {
    assert_eq!(size_of::<Option<Value>>(), 32);
    assert!(size_of::<Event>() <= 120, "{}", size_of::<Event>());
}

#[test]
fn types_are_at_their_places() {
    assert!(EventType::ALL.into_iter().enumerate().all(|(place, event)| event.index() == place));
}

fn paths(hook: &Hook) -> Vec<&str> {
    hook.paths().map(|path| path.path).collect()
}

fn directory(path: &str) -> Value {
    Value::File(File { path: path.into(), mode: 0o040_755, ..File::default() })
}

#[test]
fn paths_are_files_else_texts_of_what_acts_on_files() {
    let openat = |args| hook(kprobe("__x64_sys_openat"), args);
    assert_eq!(paths(&hook(kprobe("fd_install"), vec![Value::Int(3), file("/a")])), ["/a"]);
    assert_eq!(paths(&hook(kprobe("security_inode_rename"), vec![path("/a"), path("/b")])), ["/a", "/b"]);
    assert_eq!(paths(&openat(vec![Value::Int(-100), text("/a")])), ["/a"]);
    assert_eq!(paths(&openat(vec![directory("/etc"), text("passwd")])), ["passwd"]);
    assert_eq!(paths(&openat(vec![directory("/etc")])), ["/etc"]);
    assert_eq!(paths(&openat(vec![file("/a"), text("b")])), ["/a"]);
    assert_eq!(paths(&hook(kprobe("sys_sethostname"), vec![text("name")])), [""; 0]);
    assert_eq!(paths(&hook(tracepoint("syscalls", "sys_enter_openat"), vec![text("/a")])), ["/a"]);
    assert_eq!(paths(&hook(tracepoint("sched", "sched_process_exec"), vec![text("/a")])), [""; 0]);
}

#[test]
fn bytes_are_those_that_moved() {
    let call = |function: &str, args, returned| Hook { returned, ..hook(kprobe(function), args) }.bytes();
    assert_eq!(read().bytes(), Some(340));
    let args = || vec![file("/a"), bytes(b"ab", 340), Value::Size(4096)];
    assert_eq!(call("sys_read", args(), Some(Value::Int(12))), Some(12));
    assert_eq!(call("sys_read", args(), Some(Value::Long(-5))), None, "an error moves nothing");
    assert_eq!(call("sys_read", args(), None), Some(340));
    assert_eq!(call("sys_write", vec![file("/a"), Value::Size(0), Value::Size(7)], None), Some(7));
    assert_eq!(call("sys_write", vec![file("/a")], None), None);
    assert_eq!(call("vfs_write", args(), Some(Value::Size(u64::MAX))), Some(u64::MAX));
    assert_eq!(call("sys_close", args(), Some(Value::Int(0))), None);
    assert_eq!(call("security_file_permission", vec![file("/a"), Value::Int(4)], Some(Value::Int(0))), None);
}

#[test]
fn what_is_asked_for_says_the_operation() {
    let of = |mask| hook(kprobe("security_file_permission"), vec![file("/a"), mask]).operation();
    assert_eq!(of(Value::Int(4)), Some(Operation::Read));
    assert_eq!(of(Value::UInt(2)), Some(Operation::Write));
    assert_eq!(of(Value::Int(6)), None);
    assert_eq!(of(text("4")), None);
    assert_eq!(file_hook("security_file_permission", "/a").operation(), None);
}

#[test]
fn hooks_have_tetragons_names_in_metrics() {
    assert_eq!(kprobe("__x64_sys_read").name(), "kprobe:__x64_sys_read");
    assert_eq!(tracepoint("sched", "sched_process_exec").name(), "tracepoint:sched/sched_process_exec");
}
