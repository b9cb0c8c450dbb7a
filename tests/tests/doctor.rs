//! `trigon doctor`: what it says of this kernel is what the agent then does.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::{Command, ExitCode, Output},
};

use serde_json::Value;
use trigon_tests::{
    place,
    policed::Rig,
    suite::{self, Need},
};

const KERNEL: &[Need] = &[Need::Kernel];

/// One policy for each kind of hook that doctor tries; its file asks for the same targets.
const POLICIES: [(&str, &str); 9] = [
    ("kernel function", "kprobes: [{call: vfs_rename, syscall: false}]"),
    ("kernel function with an equivalent", "kprobes: [{call: security_bprm_check, syscall: false}]"),
    ("system call", "kprobes: [{call: sys_chdir, syscall: true}]"),
    ("tracepoint", "tracepoints: [{subsystem: task, event: task_rename}]"),
    ("raw tracepoint", "tracepoints: [{subsystem: task, event: task_rename, raw: true}]"),
    ("hook of the security modules", "lsmhooks: [{hook: sb_umount}]"),
    (
        "denial by lsmhooks",
        "options: [{name: policy-mode, value: monitor}], lsmhooks: [{hook: sb_umount, selectors: [{matchActions: [{action: Override, argError: -1}]}]}]",
    ),
    (
        "denial of a function security_*",
        "options: [{name: policy-mode, value: monitor}], kprobes: [{call: security_sb_umount, syscall: false, selectors: [{matchActions: [{action: Override, argError: -1}]}]}]",
    ),
    (
        "denial of a system call",
        "options: [{name: policy-mode, value: monitor}], kprobes: [{call: sys_chdir, selectors: [{matchActions: [{action: Override, argError: -1}]}]}]",
    ),
];

fn main() -> ExitCode {
    suite::run(|suite| {
        suite.test("what_it_says_is_what_the_agent_does", KERNEL, what_it_says_is_what_the_agent_does);
        suite.test("another_user_hears_what_could_not_be_tried", KERNEL, another_user);
        suite.test("the_text_reads_well", KERNEL, the_text_reads_well);
    })
}

fn doctor(arguments: &[&str]) -> Output {
    Command::new(place::agent()).arg("doctor").args(arguments).output().expect("start trigon doctor")
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A check by its section and name.
fn check<'a>(report: &'a Value, section: &str, name: &str) -> &'a Value {
    let sections = report["sections"].as_array().expect("sections");
    let checks = sections.iter().find(|one| one["name"] == section).expect("the section");
    let mut checks = checks["checks"].as_array().expect("checks").iter();
    checks.find(|one| one["name"] == name).unwrap_or_else(|| panic!("no {name}: {report}"))
}

fn what_it_says_is_what_the_agent_does() {
    let output = doctor(&["-o", "json"]);
    let report = json(&output);
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert_eq!(report["verdict"], "ok");
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    assert_eq!(report["kernel"]["release"], release.as_str());

    let hooks = report["uses"]["hooks"].as_array().expect("hooks");
    let chosen = |kind: &str| {
        let hook = hooks.iter().find(|hook| hook["kind"] == kind).expect("the kind of hook");
        hook["mechanism"].as_str()
    };
    let document = |index: usize, spec: &str| {
        format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: p{index}}}\nspec: {{{spec}}}\n"
        )
    };
    let (mut served, mut unserved) = (Vec::new(), Vec::new());
    for (index, (kind, spec)) in POLICIES.into_iter().enumerate() {
        match chosen(kind) {
            Some(mechanism) => served.push((document(index, spec), format!("p{index}"), mechanism)),
            None => unserved.push(document(index, spec)),
        }
    }
    // Whatever the kernel, those of tracepoints and system calls are served.
    assert!(served.len() >= 4, "{hooks:?}");

    let policies: Vec<_> = served.iter().map(|(document, ..)| document.as_str()).collect();
    let agent = Rig::new(&policies.join("---\n")).agent().start();
    let log = agent.log();
    let lifecycle = report["uses"]["lifecycle"].as_array().expect("lifecycle");
    // Those of cgroups are for Kubernetes, which this agent has none of.
    let (of_cgroups, of_processes): (Vec<_>, Vec<_>) = lifecycle
        .iter()
        .partition(|one| one["hook"].as_str().is_some_and(|hook| hook.starts_with("cgroup_")));
    assert_eq!((of_cgroups.len(), of_processes.len()), (2, 3), "{lifecycle:?}");
    assert!(of_cgroups.iter().all(|one| one["mechanism"].is_string()), "{lifecycle:?}");
    for one in of_processes {
        let said = format!("hook={} mechanism={}", one["hook"], one["mechanism"]);
        assert!(log.contains(&said), "{said} is not in:\n{log}");
    }
    let listed = json(&agent.command(&["policy", "list", "-o", "json"]).output().expect("list policies"));
    for (_, name, mechanism) in &served {
        let policies = listed["policies"].as_array().expect("policies");
        let policy = policies.iter().find(|policy| policy["name"] == name.as_str()).expect("the policy");
        assert_eq!(policy["hooks"][0]["mechanism"], *mechanism, "{policy}");
    }
    agent.stop();

    for policy in unserved {
        let ended = Rig::new(&policy).agent().spawn().wait();
        assert_eq!(ended.status.code(), Some(7), "doctor found no mechanism for {policy}; {}", ended.log);
    }
    // The types of programs agree with the mechanisms.
    for (program, mechanism) in [("fentry", "fentry"), ("kprobe.multi", "kprobe.multi"), ("kprobe", "kprobe")]
    {
        let works = check(&report, "program types", program)["state"] == "ok";
        let function = hooks.iter().find(|hook| hook["kind"] == "kernel function").expect("functions");
        let mut tried = function["tried"].as_array().expect("a ladder").iter();
        let step = tried.find(|step| step["mechanism"] == mechanism).expect("a step");
        assert_eq!(works, step["state"] == "ok", "{program}: {step}");
    }
}

/// `trigon doctor` as nobody, from a folder that nobody can read.
fn as_nobody(arguments: &[&str]) -> Output {
    const NOBODY: u32 = 65_534;
    let folder = tempfile::Builder::new().prefix("trigon-doctor-").tempdir().expect("make a folder");
    let readable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.path(), readable.clone()).expect("let all read the folder");
    let program = folder.path().join("trigon");
    fs::copy(place::agent(), &program).expect("copy the program");
    fs::set_permissions(&program, readable).expect("let all run the program");
    let mut command = Command::new(program);
    command.arg("doctor").args(arguments).uid(NOBODY).gid(NOBODY).output().expect("start trigon doctor")
}

fn another_user() {
    let output = as_nobody(&["-o", "json"]);
    let report = json(&output);
    assert_eq!(output.status.code(), Some(4), "{report}");
    assert_eq!(report["verdict"], "not_permitted");
    assert_eq!(check(&report, "kernel", "BTF")["state"], "ok");
    for (section, name) in [("kernel", "bpf(2)"), ("program types", "tp_btf"), ("rights", "CAP_BPF")] {
        let check = check(&report, section, name);
        assert_eq!(check["state"], "not_permitted", "{check}");
        assert!(check["mend"].as_str().is_some_and(|mend| mend.contains("root")), "{check}");
    }
    assert_eq!(report["uses"]["hooks"], serde_json::json!([]));
    // Everything that would be missing for good is what root hears of, too.
    let missing = |report: &Value| {
        let sections = report["sections"].as_array().expect("sections").clone();
        let checks = sections.into_iter().flat_map(|one| one["checks"].as_array().expect("checks").clone());
        checks
            .filter(|check| check["state"] == "missing")
            .map(|check| check["name"].to_string())
            .collect::<Vec<_>>()
    };
    let known = missing(&json(&doctor(&["-o", "json"])));
    assert!(missing(&report).iter().all(|name| known.contains(name)), "{report}");

    let text = String::from_utf8(as_nobody(&[]).stdout).expect("text");
    for part in ["run it as root", "not permitted", "CAP_BPF and CAP_PERFMON"] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    assert!(text.lines().count() < 100, "what is alike is said once:\n{text}");
}

fn the_text_reads_well() {
    let output = doctor(&[]);
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.contains("All that Trigon needs is here."), "{text}");
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "{line}");
        assert!(!line.contains('\x1b') && line.trim_end() == line, "{line:?}");
    }
}
