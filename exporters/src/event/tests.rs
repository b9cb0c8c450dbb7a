use super::*;
use crate::samples::hooks::{bytes, file, file_hook, hook, kprobe, path, read, text, tracepoint};

#[test]
fn events_are_cheap_to_move() {
    assert_eq!(size_of::<Option<Value>>(), 32);
    assert!(size_of::<Event>() <= 152, "{}", size_of::<Event>());
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

fn may_be_probe(command: &[&str], image: &Image) -> bool {
    let command = command.iter().map(|part| (*part).to_owned()).collect();
    PodContainer { probes: vec![vec!["other".to_owned()], command], ..PodContainer::default() }
        .may_be_probe(image)
}

#[test]
fn a_probe_is_known_by_its_command() {
    let run = |binary: &str, script: &str, args: &str| Image::new(binary, script, "/", args, None);
    let cat = run("/bin/cat", "", "cat\0/tmp/a b\0");
    for (command, expected) in [
        (&["cat", "/tmp/a b"][..], true),
        (&["/bin/cat", "/tmp/a b"], true),
        (&["/usr/bin/cat", "/tmp/a b"], false),
        (&["sbin/cat", "/tmp/a b"], true),
        (&["cat"], false),
        (&["cat", "/tmp/a", "b"], false),
        (&["cat", "/tmp/a b", ""], false),
        (&["tac", "/tmp/a b"], false),
        (&[], false),
    ] {
        assert_eq!(may_be_probe(command, &cat), expected, "{command:?}");
    }
    // A link, of which the kernel tells where it leads.
    let busybox = run("/bin/busybox", "", "/bin/cat\0/x\0");
    assert!(may_be_probe(&["/bin/cat", "/x"], &busybox) && !may_be_probe(&["cat", "/x"], &busybox));
    let script = run("/bin/bash", "/health/ping.sh", "/bin/sh\0-e\0/health/ping.sh\0five\0");
    assert!(may_be_probe(&["/health/ping.sh", "five"], &script));
    assert!(may_be_probe(&["ping.sh", "five"], &script));
    assert!(!may_be_probe(&["/health/ping.sh"], &script) && !may_be_probe(&["/bin/sh", "-e"], &script));
    assert!(!may_be_probe(&["x"], &Image::default()));
}

#[test]
fn a_place_that_is_learnt_later_is_that_of_all_processes_of_the_cgroup() {
    let process = crate::samples::process(7, Image::default());
    let other = Process { exec_id: ExecId { ktime: 1, pid: 8 }, ..process.clone() };
    assert!(process.place().is_none());
    process.cgroup.place.set(Some(Arc::new(crate::samples::place())));
    assert_eq!(other.place().as_ref().map(|place| place.pod.name.clone()), Some("web-7d4b9c-x2x4z".into()));
    process.cgroup.place.set(None);
    assert!(other.place().is_none());
}
