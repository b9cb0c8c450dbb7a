//! What policies can say beside hooks and filters: lists that the kernel fills, macros, messages of events, which
//! executions are told, and which request a call was for.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use trigon_tests::{
    agent::Ended,
    json::Line,
    policed::{Rig, matches, short},
    suite::{self, Need},
};

const KERNEL: &[Need] = &[Need::Kernel];

const ALL_CALLS: &str = r#"
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: all-calls}
spec:
  lists: [{name: all, type: generated_syscalls}]
  selectorsMacros:
    mine: {matchBinaries: [{operator: In, values: ["FOLDER/program"]}]}
  kprobes:
  - call: list:all
    selectors: [{macros: [mine]}]
"#;

const OPENED: &str = r#"
apiVersion: trigon.io/v1alpha1
kind: TracingPolicy
metadata: {name: opened}
spec:
  kprobes:
  - call: sys_openat
    severity: FATAL
    messageTemplate: "{process.pid} opened {args.path} in {pod.name} {{{policy}}}"
    tags: [files]
    args:
    - {index: 0, type: nop}
    - {index: 1, type: string, label: path}
    selectors:
    - matchArgs: [{index: 1, operator: Postfix, values: ["/wanted"]}]
"#;

/// Two policies that both have to let an execution pass.
const PROBES: &str = r#"
apiVersion: trigon.io/v1alpha1
kind: TracingPolicy
metadata: {name: no-probes}
spec:
  process:
    selectors:
    - matchBinaries: [{operator: Postfix, values: ["/probe"]}]
      matchActions: [{action: NoPost}]
---
apiVersion: trigon.io/v1alpha1
kind: TracingPolicy
metadata: {name: only-of-folder}
spec:
  process:
    selectors:
    - matchBinaries: [{operator: Prefix, values: ["FOLDER/"]}]
      matchArgs: [{index: 1, operator: NotEqual, values: ["hidden"]}]
"#;

fn main() -> ExitCode {
    suite::run(|suite| {
        suite.test("all_system_calls_of_a_program", KERNEL, all_system_calls_of_a_program);
        suite.test("a_message_tells_of_its_event", KERNEL, a_message_tells_of_its_event);
        suite.test("executions_are_told_or_not", KERNEL, executions_are_told_or_not);
        suite.test("calls_tell_which_request_they_are_for", KERNEL, calls_tell_which_request_they_are_for);
    })
}

/// A copy of a program that does nothing but what its arguments say, under another name.
fn program(rig: &Rig, name: &str) -> PathBuf {
    let path = rig.path(name);
    fs::copy(trigon_tests::place::workload(), &path).expect("copy a program");
    path
}

fn run(program: &Path, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().expect("run a program");
    assert!(status.success(), "{status}");
}

fn all_system_calls_of_a_program() {
    let rig = Rig::new(ALL_CALLS);
    let (mine, other) = (program(&rig, "program"), program(&rig, "other"));
    let agent = rig.agent().start();
    let memory = agent.metrics().sum("trigon_policy_kernel_memory_bytes", &[("policy", "all-calls")]);
    run(&mine, &["quiet", "0"]);
    run(&other, &["quiet", "0"]);
    let ended = agent.stop();
    let lines = matches(&ended);
    let functions: BTreeSet<_> = lines.iter().map(|line| short(line.text("/function_name"))).collect();
    for call in ["execve", "brk", "exit_group"] {
        // Its execve was another program's call.
        let own = call != "execve";
        assert_eq!(functions.contains(call), own, "{call}: {functions:?}");
    }
    assert!(functions.len() > 5, "{functions:?}");
    assert!(lines.iter().all(|line| line.text("/process/binary") == mine.to_str().expect("a plain path")));
    println!("{} system calls seen; the policy takes {memory} bytes of the kernel's memory", functions.len());
}

fn a_message_tells_of_its_event() {
    let rig = Rig::new(OPENED);
    let wanted = rig.path("wanted");
    let ended = rig.around(|| drop(fs::read(&wanted).expect("read")));
    let lines = matches(&ended);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let message = format!("{} opened {} in - {{opened}}", std::process::id(), wanted.display());
    assert_eq!(lines[0].text("/message"), message);
    assert_eq!(lines[0].text("/trigon/severity"), "FATAL");
    assert_eq!(lines[0].text("/tags/0"), "files");
}

/// Events of executions by their kind and the name of the program.
fn executions(ended: &Ended, folder: &Path) -> Vec<(String, String)> {
    let folder = folder.to_str().expect("a plain path");
    let kinds = ["process_exec", "process_exit"];
    let lines = ended.lines.iter().filter_map(|text| {
        let kind = kinds.iter().find(|kind| text.starts_with(&format!("{{\"{kind}\"")))?;
        let line = Line::parse(text);
        let name = line.text("/process/binary").strip_prefix(folder)?.trim_start_matches('/').to_owned();
        Some(((*kind).to_owned(), name))
    });
    lines.collect()
}

fn executions_are_told_or_not() {
    let rig = Rig::new(PROBES);
    let (probe, shown) = (program(&rig, "probe"), program(&rig, "shown"));
    let agent = rig.agent().start();
    run(&probe, &["quiet", "0"]);
    run(&shown, &["quiet", "0"]);
    // What the shell is nobody is told, and who it was the child still knows.
    let script = format!("{} quiet 0; true", shown.display());
    assert!(Command::new("sh").args(["-c", &script]).status().expect("run sh").success());
    let hidden = Command::new(&shown).arg("hidden").output().expect("run a program");
    assert!(!hidden.status.success(), "there is no such deed");
    let untold = agent.until_metrics("executions that are not told", |metrics| {
        let untold = metrics.sum("trigon_untold_executions_total", &[]);
        (untold >= 3.0).then_some(untold)
    });
    let ended = agent.stop();
    let seen = executions(&ended, rig.folder.path());
    let pairs = |name: &str| {
        let count = |kind: &str| seen.iter().filter(|(one, of)| one == kind && of == name).count();
        (count("process_exec"), count("process_exit"))
    };
    assert_eq!(pairs("probe"), (0, 0), "{seen:?}");
    assert_eq!(pairs("shown"), (2, 2), "{seen:?}");
    let others = ended.lines.iter().filter(|line| line.starts_with("{\"process_exec\""));
    let others: Vec<_> = others.map(|line| Line::parse(line)).collect();
    let folder = rig.folder.path().to_str().expect("a plain path");
    assert!(others.iter().all(|line| line.text("/process/binary").starts_with(folder)), "{others:?}");
    // A parent that is not told is known.
    let by_shell = others.iter().filter(|line| line.text("/parent/arguments").contains(&script)).count();
    assert_eq!(by_shell, 1, "{others:?}");
    println!("{untold} executions were not told");
}

/// A map as OpenTelemetry's eBPF instrumentation pins it.
struct Pinned(PathBuf);

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn bpftool(arguments: &[&str]) -> bool {
    match Command::new("bpftool").args(arguments).output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            true
        }
        Err(_) => false,
    }
}

fn calls_tell_which_request_they_are_for() {
    let rig = Rig::new(&OPENED.replace("{pod.name}", "{namespace}"));
    let pinned = Pinned(PathBuf::from(format!("/sys/fs/bpf/trigon-test-{}", std::process::id())));
    let path = pinned.0.to_str().expect("a plain path");
    let create =
        ["map", "create", path, "type", "lru_hash", "key", "8", "value", "24", "entries", "16", "name"];
    if !Path::new("/sys/fs/bpf").is_dir() || !bpftool(&[&create[..], &["traces_ctx_v1"]].concat()) {
        println!("SKIPPED: there is no bpftool to make the map with");
        return;
    }
    let thread = nix::unistd::gettid().as_raw() as u64;
    let key = u64::from(std::process::id()) << 32 | thread;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>();
    let (key, value) = (hex(&key.to_ne_bytes()), hex(&[[0x11; 12], [0x22; 12]].concat()));
    let mut update = vec!["map", "update", "pinned", path, "key", "hex"];
    update.extend(key.iter().map(String::as_str));
    update.extend(["value", "hex"]);
    update.extend(value.iter().map(String::as_str));
    bpftool(&update);
    let config = format!("policy.traces_ctx = {path:?}");
    let agent = rig.agent().config(&config).start();
    fs::read(rig.path("wanted")).expect("read");
    let wanted = rig.path("wanted");
    std::thread::spawn(move || fs::read(wanted).expect("read")).join().expect("another thread");
    let lines = matches(&agent.stop());
    assert_eq!(lines.len(), 2, "{lines:?}");
    let request = |line: &Line| {
        (line.text("/trigon/request/trace_id").to_owned(), line.text("/trigon/request/span_id").to_owned())
    };
    assert_eq!(request(&lines[0]), (format!("{}{}", "11".repeat(12), "22".repeat(4)), "22".repeat(8)));
    assert_eq!(lines[1].at("/trigon/request"), &serde_json::Value::Null, "of another thread: {lines:?}");
}
