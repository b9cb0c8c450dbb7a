//! Knowing what a policy will do: `trigon policy explain` says what becomes of it here, `trigon policy try` counts what it
//! would do, exactly, and does nothing.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
};

use serde_json::Value;
use trigon_tests::{
    agent::{Agent, Running},
    command::{as_nobody, said},
    place,
    policed::{Rig, matches},
    suite::{self, Need},
    wait,
    workload::Workload,
};

const KERNEL: &[Need] = &[Need::Kernel];

/// Kills, posts within a rate, posts nothing, and marks, whereby it would be told from then on.
const GUARD: &str = r#"
apiVersion: trigon.io/v1alpha1
kind: TracingPolicy
metadata: {name: guard}
spec:
  kprobes:
  - call: sys_openat
    syscall: true
    args:
    - {index: 1, type: string}
    selectors:
    - label: killed
      matchArgs: [{index: 1, operator: Equal, values: [FOLDER/forbidden]}]
      matchActions: [{action: Sigkill}]
    - label: told
      matchArgs: [{index: 1, operator: Equal, values: [FOLDER/wanted]}]
    - label: limited
      matchArgs: [{index: 1, operator: Equal, values: [FOLDER/one]}]
      matchActions: [{action: Post, rateLimit: 1h}]
    - label: again
      matchMarks: [{operator: In, values: [silent]}]
    - label: silent
      matchArgs: [{index: 1, operator: Equal, values: [FOLDER/two]}]
      matchActions: [{action: NoPost}, {action: Mark, mark: silent}]
"#;

/// The same, and what a kernel without trampolines and kprobes has another way to, or none.
const EVERYWHERE: &str = r#"
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: everywhere}
spec:
  kprobes:
  - {call: security_bprm_check, syscall: false}
  - {call: no_such_function, syscall: false, ignore: {callNotFound: true}}
  tracepoints:
  - {subsystem: task, event: task_rename}
"#;

fn main() -> ExitCode {
    suite::run(|suite| {
        suite.test("a_trial_counts_and_does_nothing", KERNEL, a_trial_counts_and_does_nothing);
        suite.test("who_goes_ends_its_trial", KERNEL, who_goes_ends_its_trial);
        suite.test("a_trial_beside_the_policy_itself", KERNEL, a_trial_beside_the_policy_itself);
        suite.test("explained_is_what_is_loaded", KERNEL, explained_is_what_is_loaded);
        suite.test("explained_without_root", KERNEL, explained_without_root);
        suite.test("exit_codes", &[], exit_codes);
    })
}

/// A client that tries the rig's policy, once it is in the kernel.
fn begin(agent: &Running, policy: &Path, time: &str) -> Child {
    let policy = policy.to_str().expect("a plain path");
    let before = agent.log().matches("policy is tried: nothing").count();
    let mut command = agent.command(&["policy", "try", policy, "--for", time, "-o", "json"]);
    let child = command.stdout(Stdio::piped()).spawn().expect("run trigon");
    let begun = || (agent.log().matches("policy is tried: nothing").count() > before).then_some(());
    wait::until("the trial", begun, || agent.log());
    child
}

fn report(child: Child) -> Value {
    let output = child.wait_with_output().expect("wait for trigon");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Opens files a number of times, in one process that has to live.
fn opens(program: &Path, rig: &Rig, files: &[(&str, usize)]) {
    let open = |name: &str| format!("openat -100 @{} 0", rig.path(name).display());
    let calls =
        files.iter().flat_map(|(name, count)| vec![open(name); *count]).collect::<Vec<_>>().join(" ; ");
    let status = Command::new(program).arg("calls").args(calls.split_whitespace()).status();
    assert!(status.expect("run the workload").success(), "it lives");
}

fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("{pointer} of {value:#}"))
}

fn a_trial_counts_and_does_nothing() {
    let (rig, workload) = (Rig::new(GUARD), Workload::new());
    let other = workload.folder().join("other");
    fs::hard_link(workload.program(), &other).expect("another name");
    let agent = Agent::new().start();
    let lost = |agent: &Running| agent.metrics().sum("trigon_lost_events_total", &[("reason", "rate_limit")]);
    let before = lost(&agent);
    let trial = begin(&agent, &rig.policy, "5s");
    assert_eq!(said(&mut agent.command(&["policy", "list"])).out, "no policies\n");
    opens(workload.program(), &rig, &[("forbidden", 3), ("wanted", 5), ("one", 20), ("two", 4)]);
    opens(&other, &rig, &[("wanted", 2)]);
    let report = report(trial);
    let policy = &report["policies"][0];
    assert_eq!(policy["name"], "guard");
    // Of the limited ones each thread's first; of the silent ones none.
    assert_eq!(number(policy, "/posted"), 3 + 5 + 1 + 2, "{report:#}");
    assert_eq!(number(policy, "/killed"), 3);
    assert_eq!((number(policy, "/signalled"), number(policy, "/denied")), (0, 0));
    let hooks = policy["hooks"].as_array().expect("hooks");
    let hook =
        hooks.iter().find(|hook| hook["name"].as_str().is_some_and(|name| name.ends_with("64_sys_openat")));
    let hook = hook.expect("the system call of 64-bit programs");
    let selectors: Vec<_> = hook["selectors"]
        .as_array()
        .expect("selectors")
        .iter()
        .map(|one| {
            (one["label"].as_str().unwrap_or_default(), number(one, "/matched"), number(one, "/posted"))
        })
        .collect();
    assert_eq!(
        selectors,
        [("killed", 3, 3), ("told", 7, 7), ("limited", 20, 1), ("again", 0, 0), ("silent", 4, 0)]
    );
    assert_eq!(hook["selectors"][0]["actions"], serde_json::json!(["kill"]));
    assert!(number(hook, "/runs") >= 34 && number(hook, "/nanoseconds") > 0, "{hook:#}");
    let by: Vec<_> = policy["by"]
        .as_array()
        .expect("callers")
        .iter()
        .map(|one| {
            (one["binary"].as_str().unwrap_or_default(), number(one, "/matched"), number(one, "/posted"))
        })
        .collect();
    let path = |path: &Path| path.to_str().expect("a plain path").to_owned();
    assert_eq!(by, [(&*path(workload.program()), 32, 9), (&*path(&other), 2, 2)]);
    // Nothing of it is left: what it would have killed lives, and a second trial begins at nothing.
    opens(workload.program(), &rig, &[("forbidden", 1)]);
    let again = report_of(&agent, &rig);
    assert_eq!(number(&again, "/policies/0/posted"), 0, "{again:#}");
    assert_eq!(lost(&agent), before, "what it would have held back is no loss");
    let ended = agent.stop();
    assert_eq!(matches(&ended).len(), 0, "nothing was told");
}

fn report_of(agent: &Running, rig: &Rig) -> Value {
    report(begin(agent, &rig.policy, "100ms"))
}

fn who_goes_ends_its_trial() {
    let rig = Rig::new(GUARD);
    let agent = Agent::new().start();
    let mut trial = begin(&agent, &rig.policy, "4m");
    let policy = rig.policy.to_str().expect("a plain path");
    let twice = said(&mut agent.command(&["policy", "try", policy, "--for", "1s"]));
    assert_eq!(twice.code, Some(7), "{twice:?}");
    trial.kill().and_then(|()| trial.wait()).expect("kill the client");
    let ended = || agent.log().contains("policy is tried no longer").then_some(());
    wait::until("the trial's end", ended, || agent.log());
    report_of(&agent, &rig);
    agent.stop();
}

/// Neither disturbs the other.
fn a_trial_beside_the_policy_itself() {
    let (rig, workload) = (Rig::new(&GUARD.replace("Sigkill", "Post")), Workload::new());
    let agent = rig.agent().start();
    let trial = begin(&agent, &rig.policy, "3s");
    opens(workload.program(), &rig, &[("wanted", 3)]);
    let report = report(trial);
    assert_eq!(number(&report, "/policies/0/posted"), 3, "{report:#}");
    opens(workload.program(), &rig, &[("wanted", 2)]);
    let lines = matches(&agent.stop());
    let program = workload.program().to_str().expect("a plain path");
    let told = lines.iter().filter(|line| line.text("/process/binary") == program).count();
    assert_eq!(told, 5, "{lines:?}");
    assert!(lines.iter().all(|line| line.text("/policy_name") == "guard"));
}

fn explained_is_what_is_loaded() {
    let rig = Rig::new(&format!("{GUARD}---{EVERYWHERE}"));
    let policy = rig.policy.to_str().expect("a plain path");
    let mut command = Command::new(place::agent());
    let explained = said(command.args(["policy", "explain", "-o", "json", policy]));
    assert_eq!(explained.code, Some(0), "{explained:?}");
    let explained: Value = serde_json::from_str(&explained.out).expect("JSON");
    let agent = rig.agent().start();
    let listed = said(&mut agent.command(&["policy", "list", "-o", "json"])).out;
    agent.stop();
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    for of_agent in listed["policies"].as_array().expect("policies") {
        let policies = explained["files"][0]["policies"].as_array().expect("policies");
        let policy =
            policies.iter().find(|policy| policy["name"] == of_agent["name"]).expect("it is explained");
        let hooks = policy["hooks"].as_array().expect("hooks");
        let places: Vec<_> = hooks
            .iter()
            .flat_map(|hook| hook["places"].as_array().expect("places"))
            .map(|place| (place["name"].clone(), place["mechanism"].clone()))
            .collect();
        let loaded: Vec<_> = of_agent["hooks"]
            .as_array()
            .expect("hooks")
            .iter()
            .map(|hook| (hook["name"].clone(), hook["mechanism"].clone()))
            .collect();
        assert_eq!(places, loaded, "{policy:#}");
    }
    // What was refused says why.
    let missing = &explained["files"][0]["policies"][1]["hooks"][1]["places"][0];
    assert_eq!(missing["mechanism"], Value::Null);
    let tried = missing["tried"].as_array().expect("what was tried");
    assert!(tried.iter().all(|one| one["state"] != "ok" && one["reason"] != ""), "{missing:#}");
}

fn explained_without_root() {
    let rig = Rig::new(GUARD);
    let program = rig.path("trigon");
    fs::copy(place::agent(), &program).expect("copy the program");
    for path in [&program, &rig.policy, &rig.folder.path().to_owned()] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).expect("chmod");
    }
    let mut command = Command::new(&program);
    command.args(["policy", "explain"]).arg(&rig.policy);
    let said = said(as_nobody(&mut command));
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("mechanisms  not tried: "), "{}", said.out);
    assert!(said.out.contains("kill the process (SIGKILL)"), "{}", said.out);
}

fn exit_codes() {
    let (sound, broken) = (Rig::new(GUARD), Rig::new(&GUARD.replace("operator: Equal", "operator: Equals")));
    let run = |arguments: &[&str], rig: &Rig| {
        let mut command = Command::new(place::agent());
        command.args(["policy"]).args(arguments).arg(&rig.policy).env_remove("TRIGON_SOCKET");
        said(&mut command)
    };
    let faults = run(&["explain"], &broken);
    assert_eq!(faults.code, Some(1), "{faults:?}");
    assert!(faults.out.contains("policy.yaml:13:"), "{faults:?}");
    let missing = said(Command::new(place::agent()).args(["policy", "explain", "/nowhere.yaml"]));
    assert_eq!(missing.code, Some(1), "{missing:?}");
    let nobody = run(&["try", "--socket", "/nowhere.sock"], &sound);
    assert_eq!(nobody.code, Some(8), "{nobody:?}");
    for wrong in ["0s", "5m", "soon"] {
        assert_eq!(run(&["try", "--for", wrong], &sound).code, Some(2), "{wrong}");
    }
}
