use serde_json::{Value as Json, json};
use unicode_width::UnicodeWidthStr;

use super::{CompactWriter, TRAILER, TRAILER_END};
use crate::{
    event::{Event, Hook, Value},
    filter::{Filter, Source},
    json::JsonWriter,
    samples::{
        self, HOST, NODE,
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
fn where_a_pod_is_known_it_is_the_source() {
    let cat = samples::process(9, samples::image("/bin/cat", &["cat"]));
    let event = samples::exec(samples::placed(cat, samples::place()));
    let source = |line: &str| line.split(' ').nth(2).unwrap().to_owned();
    assert_eq!(source(&write(&event, false, false)), "shop/web-7d4b9c-x2x4z");
    for (fields, expected) in
        [("process.binary", NODE), ("process.pod,process.binary", "shop/web-7d4b9c-x2x4z")]
    {
        let config = toml::from_str(&format!("[[fields]]\nfields = '{fields}'")).unwrap();
        let fields = Filter::new("x", &config, Source::Agent).unwrap().fields();
        let mut line = Vec::new();
        CompactWriter::new(NODE, false, false).showing(fields).write(&event, &mut line);
        assert_eq!(source(&String::from_utf8(line).unwrap()), expected);
    }
}

#[test]
fn events_and_their_json_have_the_same_line() {
    for (name, event) in
        samples::table().iter().filter(|(name, _)| name.contains("pod") || *name == "sandbox")
    {
        let mut json = Vec::new();
        JsonWriter::new(NODE, HOST).write(event, &mut json);
        assert_eq!(write(event, false, true), write_json(&serde_json::from_slice(&json).unwrap()), "{name}");
    }
}

#[test]
fn the_time_comes_first() {
    let (_, event) = samples::table().into_iter().find(|(name, _)| *name == "script").unwrap();
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

fn write_json(line: &Json) -> String {
    let mut out = Vec::new();
    assert!(CompactWriter::new("", false, true).write_json(line, &mut out), "{line}");
    String::from_utf8(out).unwrap()
}

#[test]
fn json_tells_the_same_as_the_event() {
    let mut written = Vec::new();
    // An argument that is a quote, and one after it that is empty, look in JSON like one argument.
    for (name, event) in samples::table().into_iter().filter(|(name, _)| *name != "empty_argument") {
        written.clear();
        JsonWriter::new(NODE, HOST).write(&event, &mut written);
        let line = serde_json::from_slice(&written).unwrap();
        assert_eq!(write_json(&line), write(&event, false, true), "{name}");
    }
}

/// What a line of Tetragon's says of `curl cilium.io` in a pod.
fn told(kind: &str, event: Json) -> String {
    let mut event = event;
    event["process"] = json!({
        "binary": "/usr/bin/curl", "arguments": "cilium.io", "pod": {"namespace": "kube-system", "name": "tetragon"}
    });
    let line = write_json(&json!({kind: event, "node_name": "n", "time": "2026-11-24T12:00:00.5Z"}));
    line.trim_end().strip_prefix("2026-11-24T12:00:00.500000000Z ").unwrap().to_owned()
}

fn told_call(function: &str, args: &Json) -> String {
    told("process_kprobe", json!({"function_name": function, "args": args}))
}

#[test]
fn lines_of_tetragon_are_shown_as_its_own_tool_does() {
    let curl = "kube-system/tetragon /usr/bin/curl";
    let socket = json!({"sock_arg": {
        "family": "AF_INET", "protocol": "IPPROTO_TCP", "saddr": "10.0.0.1", "daddr": "10.0.0.2", "sport": 4711,
        "dport": 80
    }});
    let password = json!({"file_arg": {"path": "/etc/password"}});
    let program = json!({"bpf_attr_arg": {
        "ProgType": "BPF_PROG_TYPE_KPROBE", "InsnCnt": 2048, "ProgName": "amazing"
    }});
    let map = json!({"bpf_map_arg": {
        "MapType": "BPF_MAP_TYPE_HASH", "KeySize": 8, "ValueSize": 16, "MaxEntries": 1024, "MapName": "m"
    }});
    let perf = json!({"perf_event_arg": {"KprobeFunc": "commit_creds", "Type": "PERF_TYPE_TRACEPOINT"}});
    let written = json!([password, {"bytes_arg": ""}, {"size_arg": "1234"}]);
    for (line, expected) in [
        (told("process_exec", json!({})), format!("🚀 process {curl} cilium.io")),
        (told("process_exit", json!({"status": 1})), format!("💥 exit    {curl} cilium.io 1")),
        (told("process_exit", json!({"signal": "SIGKILL"})), format!("💥 exit    {curl} cilium.io SIGKILL")),
        (
            told_call("__x64_sys_write", &json!([password, {"size_arg": "0"}, {"size_arg": "1234"}])),
            format!("📝 write   {curl} /etc/password 1234 bytes"),
        ),
        (told_call("__x64_sys_write", &written), format!("📝 write   {curl} /etc/password 0 bytes")),
        (
            told_call("fd_install", &json!([{"int_arg": 3}, password])),
            format!("📬 open    {curl} /etc/password"),
        ),
        (
            told_call("tcp_connect", &json!([socket])),
            format!("🔌 connect {curl} tcp 10.0.0.1:4711 -> 10.0.0.2:80"),
        ),
        (
            told_call("tcp_close", &json!([socket])),
            format!("🧹 close   {curl} tcp 10.0.0.1:4711 -> 10.0.0.2:80"),
        ),
        (
            told_call("tcp_sendmsg", &json!([socket, {"int_arg": 7}])),
            format!("📤 sendmsg {curl} tcp 10.0.0.1:4711 -> 10.0.0.2:80 bytes 7"),
        ),
        (
            told_call("bpf_check", &json!([program])),
            format!("🐝 bpf_load {curl} BPF_PROG_TYPE_KPROBE amazing instruction count 2048"),
        ),
        (
            told_call("security_perf_event_alloc", &json!([perf])),
            format!("🐝 perf_event_alloc {curl} PERF_TYPE_TRACEPOINT commit_creds"),
        ),
        (
            told_call("security_bpf_map_create", &json!([map])),
            format!("🗺 bpf_map_create {curl} BPF_MAP_TYPE_HASH m key size 8 value size 16 max entries 1024"),
        ),
        (
            told_call("sys_mount", &json!([{"string_arg": "a"}, {"cred_arg": {"uid": 1}}])),
            format!("💾 mount   {curl} a {{\"uid\":1}}"),
        ),
        (told_call("unheard_of", &json!([{"new_arg": 7}])), format!("❓ syscall {curl} unheard_of")),
        (told_call("tcp_connect", &json!([])), format!("🔌 connect {curl}")),
        (
            told("process_lsm", json!({"function_name": "file_open", "args": [password]})),
            format!("🔒 LSM     {curl} file_open"),
        ),
        (
            told("process_uprobe", json!({"path": "/bin/bash", "symbol": "readline"})),
            format!("🕵️ uprobe  {curl} /bin/bash readline"),
        ),
        (
            told("process_usdt", json!({"path": "/bin/bash", "provider": "p", "name": "n"})),
            format!("🕵️ usdt    {curl} /bin/bash p n"),
        ),
        (
            told("process_loader", json!({"path": "/lib/libc.so", "buildid": "q80="})),
            format!("🧬 loader  {curl} abcd /lib/libc.so"),
        ),
        (
            told("process_tracepoint", json!({"subsys": "sched", "event": "sched_switch"})),
            format!("⁉️ tracepoint {curl} sched sched_switch"),
        ),
        (
            told(
                "process_tracepoint",
                json!({
                    "subsys": "raw_syscalls", "event": "sys_enter",
                    "args": [{"syscall_id": {"id": 59, "abi": "x64"}}, {"size_arg": "1", "label": "name"}, {}]
                }),
            ),
            format!("☎  syscall {curl} execve(name=1, ?)"),
        ),
        (told("process_future", json!({"new": [1, 2]})), format!("❓ process_future {curl}")),
    ] {
        assert_eq!(line, expected);
    }
}

#[test]
fn lines_without_a_process_are_shown_too() {
    let told = |line: Json| write_json(&line).trim_end().to_owned();
    for (line, expected) in [
        (
            json!({"process_throttle": {"type": "THROTTLE_START", "cgroup": "/kubepods"}, "node_name": "n",
                "time": "2026-11-24T12:00:00Z"}),
            "2026-11-24T12:00:00.000000000Z 🧬 throttle n START /kubepods",
        ),
        (
            json!({"rate_limit_info": {"number_of_dropped_process_events": "7"}, "node_name": "n", "time": "soon"}),
            "soon ⏱ rate_limit n 7 events dropped",
        ),
        (json!({"test": {}, "node_name": "n", "time": ""}), "\"\" ❓ test    n"),
    ] {
        assert_eq!(told(line), expected);
    }
    for line in [json!(7), json!([]), json!({}), json!({"node_name": "n", "node_labels": {}})] {
        assert!(!CompactWriter::new(NODE, false, true).write_json(&line, &mut Vec::new()), "{line}");
    }
}

/// Texts that a terminal would obey, or that are not of the type that is expected, in every place.
#[test]
fn hostile_json_has_one_printable_line() {
    let hostile = "\u{1b}[31m\n\u{9b}2J\u{202e}";
    let types = [json!(hostile), json!(null), json!(-7), json!([hostile]), json!({hostile: hostile})];
    let keys =
        ["sock_arg", "bpf_map_arg", "bpf_attr_arg", "perf_event_arg", "file_arg", "syscall_id", "x_arg"];
    let functions =
        ["tcp_connect", "tcp_sendmsg", "bpf_check", "sys_write", "sys_mount", "sys_setns", hostile];
    let mut lines = Vec::new();
    for value in &types {
        for key in
            ["process_exec", "process_exit", "process_lsm", "process_loader", "process_throttle", hostile]
        {
            let process = json!({"binary": value, "arguments": value, "cap": value,
                "pod": {"name": value, "namespace": value}});
            let event = json!({"process": process, "function_name": value, "path": value, "buildid": value,
                "type": value, "cgroup": value, "signal": value, "status": value});
            lines.push(json!({key: event, "node_name": value, "time": value}));
            lines.push(json!({key: {"process": value}, "node_name": value}));
        }
        lines.push(json!({"process_tracepoint": {"subsys": value, "event": value, "args": value}}));
        for (function, arg) in
            functions.iter().flat_map(|function| keys.iter().map(move |key| (function, key)))
        {
            let fields = json!({"saddr": value, "sport": value, "protocol": value, "ProgType": value, "id": value,
                "MapName": value, "KeySize": value, "path": value, "flags": value, "permission": value});
            for of in [value, &fields] {
                let args = json!([{*arg: of, "label": value}, {*arg: of}, value]);
                lines.push(json!({"process_kprobe": {"function_name": function, "args": args, "return": {*arg: of}}}));
                let event = json!({"subsys": "raw_syscalls", "event": "sys_enter", "args": args});
                lines.push(json!({"process_tracepoint": event}));
            }
        }
    }
    for line in lines {
        let shown = write_json(&line);
        assert!(shown.strip_suffix('\n').unwrap().chars().all(is_printable), "{line}: {shown:?}");
    }
}
