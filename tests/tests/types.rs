//! What the kernel says of its types: `auto`, the fields of tracepoints, and raw tracepoints.

use std::{
    fs,
    process::{Command, ExitCode, Stdio},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;
use trigon_tests::{
    agent::{Agent, Ended},
    json::Line,
    suite::{self, Need},
};

const KERNEL: &[Need] = &[Need::Kernel];

/// The number of umask(2).
const UMASK: u64 = if cfg!(target_arch = "x86_64") { 95 } else { 166 };

/// A folder with a file, and a policy on it.
struct Rig {
    folder: TempDir,
}

fn main() -> ExitCode {
    suite::run(|suite| {
        suite.test("auto_of_a_system_call", KERNEL, auto_of_a_system_call);
        suite.test("auto_of_a_function", KERNEL, auto_of_a_function);
        suite.test("auto_of_what_is_returned", KERNEL, auto_of_what_is_returned);
        suite.test("text_in_a_tracepoint's_record", KERNEL, text_in_a_tracepoints_record);
        suite.test("text_elsewhere_in_a_tracepoint's_record", KERNEL, text_elsewhere_in_the_record);
        suite.test("many_fields_of_a_tracepoint", KERNEL, many_fields_of_a_tracepoint);
        suite.test("numbers_and_arrays_of_a_tracepoint", KERNEL, numbers_and_arrays_of_a_tracepoint);
        suite.test("pointers_of_a_tracepoint", KERNEL, pointers_of_a_tracepoint);
        suite.test("raw_tracepoints", KERNEL, raw_tracepoints);
        suite.test("what_has_no_type_is_refused", KERNEL, what_has_no_type_is_refused);
    })
}

// === impl Rig ===

impl Rig {
    /// A policy whose `spec` this is; FOLDER in it becomes the folder.
    fn new(spec: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("trigon-types-").tempdir().expect("make a folder");
        let path = folder.path().to_str().expect("a plain path");
        let head = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: types}\nspec:\n";
        let text = format!("{head}{}", spec.replace("FOLDER", path));
        fs::write(folder.path().join("policy.yaml"), text).expect("write the policy");
        fs::write(folder.path().join("file"), "0123456789").expect("write a file");
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("a plain path").to_owned()
    }

    /// The arguments of each event that the policy gives while something is done.
    fn around(&self, deed: impl FnOnce()) -> Vec<Value> {
        let agent = Agent::new().argument("--policy").argument(self.path("policy.yaml")).start();
        deed();
        let ended: Ended = agent.stop();
        let lines = ended.lines.iter().filter(|line| {
            ["{\"process_kprobe\"", "{\"process_tracepoint\""].iter().any(|kind| line.starts_with(kind))
        });
        let lines: Vec<_> = lines.map(|line| Line::parse(line)).collect();
        assert!(lines.iter().all(|line| line.text("/policy_name") == "types"));
        lines.iter().map(|line| line.at("/args").clone()).collect()
    }
}

/// Runs a program under another name; the kernel is told of both.
fn run_as(path: &str) {
    fs::copy(fs::canonicalize("/proc/self/exe").expect("this program"), path).expect("copy this program");
    let status = Command::new(path).arg("--list").stdout(Stdio::null()).status();
    assert!(status.expect("run it").success());
}

/// Lets a shell give itself a name of at most 15 bytes.
fn rename(name: &str) {
    let script = format!("printf {name} > /proc/self/comm; true");
    // Its redirections are the shell's own.
    assert!(Command::new("sh").args(["-c", &script]).status().expect("run sh").success());
}

fn auto_of_a_system_call() {
    let rig = Rig::new(
        r#"
  kprobes:
  - call: sys_openat
    args: [{index: 0}, {index: 1, type: auto}, {index: 2}, {index: 3}]
    selectors:
    - matchArgs: [{index: 1, operator: Prefix, values: ["FOLDER/"]}]
"#,
    );
    let file = rig.path("file");
    let events = rig.around(|| {
        fs::read("/etc/hostname").ok();
        fs::read(&file).expect("read");
    });
    assert_eq!(events.len(), 1, "{events:?}");
    let flags = events[0][2]["int_arg"].as_i64().expect("flags");
    assert_eq!(
        events[0],
        json!([{"int_arg": -100}, {"string_arg": file}, {"int_arg": flags}, {"uint_arg": 0}])
    );
}

fn auto_of_a_function() {
    let rig = Rig::new(
        r#"
  kprobes:
  - call: fd_install
    syscall: false
    args: [{index: 0}, {index: 1}]
    selectors:
    - matchArgs:
      - {index: 1, operator: Equal, values: ["FOLDER/file"]}
      - {index: 0, operator: GreaterThan, values: ["2"]}
"#,
    );
    let file = rig.path("file");
    let events = rig.around(|| {
        fs::read(&file).expect("read");
        fs::read(rig.path("policy.yaml")).expect("read");
    });
    assert_eq!(events.len(), 1, "{events:?}");
    assert!(events[0][0]["uint_arg"].as_u64().is_some_and(|fd| fd > 2), "{events:?}");
    assert_eq!(events[0][1]["file_arg"]["path"], json!(file));
}

fn auto_of_what_is_returned() {
    let rig = Rig::new(
        r#"
  kprobes:
  - call: sys_openat
    args: [{index: 1}]
    return: true
    returnArg: {index: 0}
    selectors:
    - matchArgs: [{index: 1, operator: Prefix, values: ["FOLDER/"]}]
      matchReturnArgs: [{index: 0, operator: LessThan, values: ["0"]}]
"#,
    );
    let events = rig.around(|| {
        fs::read(rig.path("file")).expect("read");
        fs::read(rig.path("missing")).expect_err("there is no such file");
    });
    assert_eq!(events, [json!([{"string_arg": rig.path("missing")}])]);
}

fn text_in_a_tracepoints_record() {
    let rig = Rig::new(
        r#"
  tracepoints:
  - subsystem: task
    event: task_rename
    args: [{index: 6}, {index: 4}]
    selectors:
    - matchArgs: [{index: 6, operator: Equal, values: ["types-renamed"]}]
"#,
    );
    let events =
        rig.around(|| ["types-renamed", "types-rename", "types-renamedX"].into_iter().for_each(rename));
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0][0], json!({"string_arg": "types-renamed"}));
    assert!(events[0][1]["int_arg"].as_i64().is_some_and(|pid| pid > 1), "{events:?}");
}

fn text_elsewhere_in_the_record() {
    let rig = Rig::new(
        r#"
  tracepoints:
  - subsystem: sched
    event: sched_process_exec
    args: [{index: 4, type: string}, {index: 6}]
    selectors:
    - matchArgs: [{index: 4, operator: Prefix, values: ["FOLDER/a"]}]
    - matchArgs: [{index: 4, operator: Postfix, values: ["/of-types"]}]
"#,
    );
    let events =
        rig.around(|| ["a-program", "b-program", "of-types"].iter().for_each(|name| run_as(&rig.path(name))));
    let texts: Vec<_> = events.iter().map(|args| args[0]["string_arg"].clone()).collect();
    assert_eq!(texts, [json!(rig.path("a-program")), json!(rig.path("of-types"))]);
    assert!(events.iter().all(|args| args[1]["int_arg"].as_i64() > Some(1)), "{events:?}");
}

/// Fields beyond the sixth, and two policies' hooks on one tracepoint that look at different ones.
fn many_fields_of_a_tracepoint() {
    let rig = Rig::new(
        r#"
  tracepoints:
  - subsystem: sched
    event: sched_switch
    args: [{index: 4}, {index: 5}, {index: 8}, {index: 9}, {index: 10}]
    selectors:
    - matchArgs: [{index: 4, operator: Equal, values: ["types-switched"]}]
      matchActions: [{action: Post, rateLimit: 1h, rateLimitScope: global}]
  - subsystem: sched
    event: sched_switch
    args: [{index: 8}]
    selectors:
    - matchArgs: [{index: 8, operator: Equal, values: ["types-switched"]}]
      matchActions: [{action: Post, rateLimit: 1h, rateLimitScope: global}]
"#,
    );
    let events = rig.around(|| {
        let script = "printf types-switched > /proc/self/comm; /bin/sleep 0.1; true";
        assert!(Command::new("sh").args(["-c", script]).status().expect("run sh").success());
    });
    let (from, to): (Vec<_>, Vec<_>) = events.iter().partition(|args| args.get(1).is_some());
    assert!(!from.is_empty() && !to.is_empty(), "{events:?}");
    assert_eq!(from[0][0], json!({"string_arg": "types-switched"}));
    assert!(from[0][1]["int_arg"].as_i64() > Some(1), "{events:?}");
    assert!(from[0][2]["string_arg"].as_str().is_some_and(|name| !name.is_empty()), "{events:?}");
    assert!(from[0][3]["int_arg"].is_i64() && from[0][4]["int_arg"].is_i64(), "{events:?}");
    assert_eq!(to[0], &json!([{"string_arg": "types-switched"}]));
}

fn numbers_and_arrays_of_a_tracepoint() {
    let rig = Rig::new(&format!(
        r#"
  tracepoints:
  - subsystem: raw_syscalls
    event: sys_enter
    args: [{{index: 4}}, {{index: 5}}]
    selectors:
    - matchArgs: [{{index: 4, operator: Equal, values: ["{UMASK}"]}}]
      matchBinaries: [{{operator: In, values: ["{}"]}}]
"#,
        fs::canonicalize("/proc/self/exe").expect("this program").display()
    ));
    let events = rig.around(|| {
        let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o27));
        rustix::process::umask(mask);
    });
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!(events[0][0], json!({"long_arg": UMASK.to_string()}));
    let bytes = events[0][1]["bytes_arg"].as_str().expect("bytes");
    let bytes = BASE64_STANDARD.decode(bytes).expect("base64");
    assert_eq!((bytes.len(), &bytes[..8]), (48, &0o27_u64.to_le_bytes()[..]));
}

fn pointers_of_a_tracepoint() {
    let rig = Rig::new(
        r#"
  tracepoints:
  - subsystem: syscalls
    event: sys_enter_openat
    args: [{index: 6}, {index: 5}, {index: 4, type: int}]
    selectors:
    - matchArgs: [{index: 6, operator: Postfix, values: ["/file"]}, {index: 6, operator: Prefix, values: ["FOLDER"]}]
"#,
    );
    let file = rig.path("file");
    let events = rig.around(|| drop(fs::read(&file).expect("read")));
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!((&events[0][0], &events[0][1]), (&json!({"string_arg": file}), &json!({"int_arg": -100})));
}

fn raw_tracepoints() {
    let rig = Rig::new(&format!(
        r#"
  tracepoints:
  - subsystem: task
    event: task_rename
    raw: true
    args: [{{index: 1}}, {{index: 0, type: uint64}}]
    selectors:
    - matchArgs: [{{index: 1, operator: Prefix, values: ["types-r"]}}]
  - subsystem: raw_syscalls
    event: sys_enter
    raw: true
    message: raw
    args: [{{index: 1, type: auto}}]
    selectors:
    - matchArgs: [{{index: 1, operator: Equal, values: ["{UMASK}"]}}]
      matchBinaries: [{{operator: In, values: ["{}"]}}]
"#,
        fs::canonicalize("/proc/self/exe").expect("this program").display()
    ));
    let events = rig.around(|| {
        ["types-raw", "types-other"].into_iter().for_each(rename);
        rustix::process::umask(rustix::process::umask(rustix::fs::Mode::empty()));
    });
    assert_eq!(events.len(), 3, "{events:?}");
    assert_eq!(events[0][0], json!({"string_arg": "types-raw"}));
    // The address of a task of the kernel's.
    let task = events[0][1]["size_arg"].as_str().and_then(|address| address.parse::<u64>().ok());
    assert!(task.is_some_and(|address| address > 1 << 63), "{events:?}");
    assert_eq!(
        events[1..],
        [json!([{"long_arg": UMASK.to_string()}]), json!([{"long_arg": UMASK.to_string()}])]
    );
}

fn what_has_no_type_is_refused() {
    let refused = |spec: &str, reasons: &[&str]| {
        let rig = Rig::new(spec);
        let ended = Agent::new().argument("--policy").argument(rig.path("policy.yaml")).spawn().wait();
        assert!(!ended.status.success(), "{}", ended.log);
        for reason in reasons {
            assert!(ended.log.contains(reason), "{reason}: {}", ended.log);
        }
    };
    refused(
        "  kprobes:\n  - {call: sys_rseq, args: [{index: 1}, {index: 0}]}\n",
        &["6:41", "spec.kprobes[0].args[1]", "struct rseq *"],
    );
    refused(
        "  tracepoints:\n  - {subsystem: signal, event: signal_deliver, raw: true, args: [{index: 1}]}\n",
        &["6:66", "spec.tracepoints[0].args[0]", "struct kernel_siginfo *", "uint64"],
    );
    refused(
        "  tracepoints:\n  - {subsystem: task, event: task_rename, args: [{index: 3}, {index: 60}, {index: 5, type: int}]}\n",
        &["6:50", "6:62", "6:75", "newcomm", "array of `char`"],
    );
    refused(
        "  tracepoints:\n  - {subsystem: task, event: task_nap, args: [{index: 4}]}\n",
        &["no tracepoint task/task_nap"],
    );
    refused(
        "  kprobes:\n  - call: fd_install\n    syscall: false\n    args: [{index: 1}]\n    selectors:\n    - matchArgs: [{index: 1, operator: Mask, values: [1]}]\n",
        &["10:19", "Mask is no operator", "file"],
    );
}
