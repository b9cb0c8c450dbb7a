use unicode_width::UnicodeWidthStr;

use super::{CompactWriter, TRAILER, TRAILER_END};
use crate::{
    event::{Event, Hook, Value},
    samples::{
        self, NODE,
        hooks::{self, bytes, file, hook, kprobe, path, text, tracepoint, vi},
    },
    text::is_printable,
};

fn write(event: &Event, color: bool, timestamps: bool) -> String {
    let mut out = Vec::new();
    CompactWriter::new(NODE, color, timestamps).write(event, &mut out);
    String::from_utf8(out).unwrap()
}

fn uncolored(line: &str) -> String {
    let sequences = ["\x1b[31m", "\x1b[32m", "\x1b[35m", "\x1b[36m", "\x1b[0m"];
    sequences.iter().fold(line.to_owned(), |text, sequence| text.replace(sequence, ""))
}

#[test]
fn every_event_is_one_line_for_people() {
    for (name, event) in samples::table() {
        insta::assert_snapshot!(name, write(&event, false, false));
    }
}

#[test]
fn the_time_comes_first() {
    let (_, event) = samples::table().swap_remove(2);
    insta::assert_snapshot!("timestamps", write(&event, false, true));
}

#[test]
fn colors_are_for_what_they_mean() {
    let lines: String = samples::table().iter().map(|(_, event)| write(event, true, false)).collect();
    // As text, so that whoever looks at the snapshot sees the sequences and not their effect.
    insta::assert_snapshot!("colors", lines.replace('\x1b', "␛"));
}

#[test]
fn nothing_reaches_the_terminal_that_it_obeys() {
    for (name, event) in samples::table() {
        let line = write(&event, false, true);
        assert!(line.strip_suffix('\n').unwrap().chars().all(is_printable), "{name}: {line:?}");
        // The sequences of the colours are the only ones.
        let colored = write(&event, true, true);
        assert_eq!(uncolored(&colored), line, "{name}");
    }
}

#[test]
fn the_trailer_ends_at_its_column_whatever_the_width_of_the_text() {
    for argument in ["short", "日本語日本語", "e\u{301}e\u{301}", "🚀🚀"] {
        let process = samples::process(9, samples::image("/bin/echo", &["echo", argument]));
        for color in [false, true] {
            let line = write(&samples::exec(process.clone()), color, false);
            let plain = if color { uncolored(&line) } else { line };
            assert_eq!(plain.trim_end().width(), TRAILER_END, "{plain}");
        }
    }
}

#[test]
fn a_line_that_leaves_no_room_has_the_trailer_after_it() {
    let long = "x".repeat(200);
    let process = samples::process(9, samples::image("/bin/echo", &["echo", &long]));
    let line = write(&samples::exec(process), false, false);
    assert!(line.ends_with(&format!("{long} {TRAILER}\n")), "{line}");
}

/// What a line says after the node.
fn said(hook: Hook) -> String {
    let line = write(&vi(hook), false, false);
    line.trim_end().replacen(&format!(" {NODE} "), " ", 1)
}

#[test]
fn the_case_of_the_reference_is_told_as_tetragon_does() {
    let etc = || file("/etc/passwd");
    let write = hook(kprobe("__x64_sys_write"), vec![etc(), bytes(b"root", 355), Value::Size(355)]);
    for (hook, line) in [
        (hook(kprobe("fd_install"), vec![Value::Int(3), etc()]), "📬 open    /bin/vi /etc/passwd"),
        (hooks::read(), "📚 read    /bin/vi /etc/passwd 340 bytes"),
        (write, "📝 write   /bin/vi /etc/passwd 355 bytes"),
        (hook(kprobe("__x64_sys_close"), vec![etc()]), "📪 close   /bin/vi /etc/passwd"),
    ] {
        assert_eq!(said(hook), line);
    }
}

#[test]
fn functions_have_their_words() {
    let call = |function: &str, args| said(hook(kprobe(function), args));
    let a = || file("/a");
    for (line, expected) in [
        (call("sys_write", vec![a(), bytes(b"", 0), Value::Size(1234)]), "📝 write   /bin/vi /a 0 bytes"),
        (call("sys_write", vec![a(), Value::Size(0), Value::Size(1234)]), "📝 write   /bin/vi /a 1234 bytes"),
        (call("__arm64_sys_openat", vec![Value::Int(-100), text("b c")]), "📬️ openat  /bin/vi \"b c\""),
        (call("__x64_sys_open", vec![text("/a"), Value::Int(0)]), "📬️ open    /bin/vi /a"),
        (call("sys_close", vec![Value::Int(3)]), "📪 close   /bin/vi 3"),
        (call("sys_mount", vec![text("tmpfs"), text("/mnt")]), "💾 mount   /bin/vi tmpfs /mnt"),
        (call("sys_mount", vec![]), "💾 mount   /bin/vi"),
        (call("sys_pivot_root", vec![text("/new"), text("/old")]), "💾 pivot_root /bin/vi /new /old"),
        (call("sys_setuid", vec![Value::Int(0)]), "🔑 setuid  /bin/vi 0"),
        (call("sys_clock_settime", vec![Value::Int(0)]), "⏰ clock_settime /bin/vi"),
        (call("proc_exec_connector", vec![]), "🔧 proc_exec_connector /bin/vi"),
        (call("sys_setns", vec![Value::Int(3), Value::Int(0x4000_0000)]), "🔧 setns   /bin/vi net"),
        (call("sys_setns", vec![Value::Int(3), Value::Int(0)]), "🔧 setns   /bin/vi any"),
        (call("sys_setns", vec![Value::Int(3), Value::Int(5)]), "🔧 setns   /bin/vi 5"),
        (call("security_file_permission", vec![a(), Value::Int(2)]), "📝 write   /bin/vi /a"),
        (call("security_file_permission", vec![a(), Value::Int(4)]), "📚 read    /bin/vi /a"),
        (
            call("security_file_permission", vec![a(), Value::Int(1)]),
            "❓ security_file_permission /bin/vi /a",
        ),
        (call("security_mmap_file", vec![a(), Value::UInt(5)]), "📝 mmap-rx /bin/vi /a"),
        (call("security_mmap_file", vec![a(), Value::UInt(7)]), "📝 mmap-rwx /bin/vi /a"),
        (call("security_mmap_file", vec![a(), Value::UInt(0)]), "📝 mmap-   /bin/vi /a"),
        (call("security_mmap_file", vec![a()]), "❓ security_mmap_file /bin/vi /a"),
        (call("security_path_truncate", vec![path("/a")]), "📝 truncate /bin/vi /a"),
        (call("security_file_truncate", vec![a()]), "📝 truncate /bin/vi /a"),
        (call("__x64_sys_getpid", vec![]), "❓ syscall /bin/vi __x64_sys_getpid"),
        (call("security_inode_unlink", vec![path("/a")]), "❓ syscall /bin/vi security_inode_unlink"),
        (said(hook(tracepoint("sched", "sched_switch"), vec![])), "⁉️ tracepoint /bin/vi sched sched_switch"),
        (
            said(hook(tracepoint("raw_syscalls", "sys_enter"), vec![Value::Long(-1)])),
            "☎  syscall /bin/vi unknown",
        ),
    ] {
        assert_eq!(line, expected);
    }
}

#[test]
fn a_descriptor_has_no_line() {
    assert_eq!(write(&hooks::descriptor(), true, true), "");
}
