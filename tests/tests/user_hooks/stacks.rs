//! Stack traces of the kernel and of programs.

use serde_json::Value;
use trigon_tests::{json::Line, suite::Suite, wait};

use crate::{KERNEL, Rig, events};

pub(super) fn tests(suite: &mut Suite) {
    suite.test("stacks_of_a_system_call", KERNEL, system_call);
    suite.test("the_stack_of_a_function", KERNEL, function);
    suite.test("addresses_are_told_where_that_is_asked_for", KERNEL, addresses);
}

const OPENS: &str = r#"
  kprobes:
  - call: sys_openat
    args: [{index: 1, type: string}]
    selectors:
    - matchBinaries: [{operator: In, values: ["PROGRAM"]}]
      matchActions: [{action: Post, kernelStackTrace: true, userStackTrace: true}]
"#;

/// The names of a stack's functions, the innermost first.
fn names<'a>(line: &'a Line, stack: &str) -> Vec<&'a str> {
    let frames = line.at(&format!("/{stack}_stack_trace")).as_array().expect("a stack");
    frames.iter().map(|frame| frame["symbol"].as_str().unwrap_or_default()).collect()
}

/// What a policy tells of the program, which lives until it was told.
fn told(rig: &Rig, args: &[&str], config: &str) -> Vec<Line> {
    let agent = rig.agent().config(config).start();
    let mut child = rig.hooked.start(args);
    let is_told = || agent.lines_with("\"policy_name\":\"user\"").first().map(|_| ());
    wait::until("what the policy tells", is_told, || agent.log());
    drop(child.stdin.take());
    assert!(child.wait().expect("wait for the program").success());
    events(&agent.stop())
}

fn system_call() {
    let rig = Rig::new(OPENS);
    let lines = told(&rig, &["open", "/etc/passwd"], "");
    let line = &lines[0];
    assert_eq!(names(line, "user"), ["opened_inside", "opened_between", "opened", "run", "_start"]);
    let program = rig.program();
    let frames = line.at("/user_stack_trace").as_array().expect("a stack");
    assert!(frames.iter().all(|frame| frame["module"] == program.as_str()), "{frames:?}");
    assert!(frames.iter().all(|frame| frame.get("address").is_none()), "{frames:?}");
    let kernel = names(line, "kernel");
    assert!(kernel.iter().all(|name| !name.starts_with("bpf_")), "{kernel:?}");
    let entry = if cfg!(target_arch = "x86_64") { "entry_SYSCALL_64_after_hwframe" } else { "el0t_64_sync" };
    assert!(kernel.contains(&entry), "{kernel:?}");
}

fn function() {
    let rig = Rig::new(
        r#"
  uprobes:
  - path: "PROGRAM"
    symbols: ["opened_between"]
    selectors:
    - matchActions: [{action: Post, userStackTrace: true}]
"#,
    );
    let lines = told(&rig, &["open", "/etc/passwd"], "");
    // At the first instruction its caller has no frame of its own yet.
    let user = names(&lines[0], "user");
    assert_eq!((user.first(), user.last()), (Some(&"opened_between"), Some(&"_start")), "{user:?}");
    assert!(lines[0].at("/kernel_stack_trace").is_null());
}

fn addresses() {
    let rig = Rig::new(OPENS);
    let lines = told(&rig, &["open", "/etc/passwd"], "[policy]\nexpose_stack_addresses = true\n");
    for stack in ["kernel", "user"] {
        let frames = lines[0].at(&format!("/{stack}_stack_trace")).as_array().expect("a stack");
        let is_told = |frame: &Value| {
            frame["address"]
                .as_str()
                .is_some_and(|address| address.parse::<u64>().is_ok_and(|address| address > 0))
        };
        assert!(!frames.is_empty() && frames.iter().all(is_told), "{frames:?}");
    }
}
