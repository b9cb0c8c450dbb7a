//! What policies change in a process: arguments of probes, and whether a function is run at all.

use std::{fs, process::Command};

use serde_json::{Value, json};
use trigon_tests::{hooked::Hooked, json::Line, suite::Suite};

use crate::{KERNEL, Rig, args, refused::refusal};

pub(super) fn tests(suite: &mut Suite) {
    suite.test("an_argument_in_memory_is_set", KERNEL, memory);
    suite.test("an_argument_in_a_register_is_set", KERNEL, register);
    suite.test("both_at_once_where_a_filter_matches", KERNEL, both);
    suite.test("what_can't_be_set_is_refused", KERNEL, refused);
    suite.test("a_function_of_a_program_is_overridden", KERNEL, overridden);
    suite.test("an_overridden_function_is_seen_to_return", KERNEL, returned);
    suite.test("who_only_watches_changes_nothing", KERNEL, monitored);
    suite.test("what_would_be_changed_is_explained", KERNEL, explained);
}

/// What of a process this kernel lets programs change.
struct Changeable {
    memory: bool,
    registers: bool,
}

/// By its release: registers since 6.18; the kernel of Firecracker's own build allows neither.
fn changeable() -> Changeable {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("read the release");
    let numbers: Vec<u32> =
        release.split(['.', '-', '+']).take(2).filter_map(|number| number.parse().ok()).collect();
    let hardened = release.contains("-fc-");
    let registers = numbers >= vec![6, 18] && !hardened && cfg!(target_arch = "x86_64");
    println!("a kernel {}: registers {registers}, memory {}", release.trim(), !hardened);
    Changeable { memory: !hardened, registers }
}

/// A policy that sets arguments of the probe `settled`: a register, memory of 4 bytes, memory of 2, a constant.
fn settles(selector: &str) -> Rig {
    Rig::new(&format!(
        r#"
  usdts:
  - path: "PROGRAM"
    provider: trigon
    name: settled
    args: [{{index: 0}}, {{index: 1}}, {{index: 2}}, {{index: 3}}]
    selectors:
    - {selector}
"#
    ))
}

/// A policy that has `doubled` return 7 in place of the double.
fn overrides(rest: &str) -> Rig {
    Rig::new(&format!(
        r#"
  uprobes:
  - path: "PROGRAM"
    symbols: ["doubled"]
    args: [{{index: 0, type: int}}]
    selectors:
    - matchActions: [{{action: Override, argError: 7}}]
{rest}"#
    ))
}

/// How the program ends.
fn ends(hooked: &Hooked, args: &[&str]) -> i32 {
    hooked.run(args).1.code().expect("it ends by itself")
}

/// The events of a policy, and how the program ended while it was in force; none where it is refused as it has to be.
fn changed(rig: &Rig, possible: bool, what: &str, args: &[&str]) -> Option<(Vec<Line>, i32)> {
    if !possible {
        let log = refusal(rig);
        assert!(log.contains(&format!("cannot change the {what} of processes at")), "{log}");
        assert!(log.contains("`trigon doctor` tells"), "{log}");
        return None;
    }
    let mut code = 0;
    let lines = rig.around(|hooked, _| code = ends(hooked, args));
    Some((lines, code))
}

fn memory() {
    let can = changeable().memory;
    let rig = settles(
        "matchActions: [{action: Set, argIndex: 1, argValue: 2}, {action: Set, argIndex: 2, argValue: -1}]",
    );
    assert_eq!(ends(&rig.hooked, &["end", "1"]), 111);
    let Some((lines, code)) = changed(&rig, can, "memory", &["end", "1"]) else { return };
    // What stood beside the two bytes is what it was: 1 + 10 * 2 - 100, as a process ends with it.
    assert_eq!(code, (1 + 20 - 100) & 0xff);
    // It tells what was there before.
    assert_eq!(args(&lines), [json!([{"int_arg": 1}, {"int_arg": 1}, {"int_arg": 1}, {"uint_arg": 5}])]);
    assert_eq!(lines[0].text("/action"), "KPROBE_ACTION_SET");
    // It is what it was when nobody looks any more.
    assert_eq!(ends(&rig.hooked, &["end", "1"]), 111);
}

fn register() {
    let can = changeable().registers;
    let rig = settles("matchActions: [{action: Set, argIndex: 0, argValue: 4}]");
    let Some((lines, code)) = changed(&rig, can, "registers", &["end", "1"]) else { return };
    assert_eq!(code, 114);
    assert_eq!(lines[0].text("/action"), "KPROBE_ACTION_SET");
}

fn both() {
    let can = changeable();
    let rig = settles(
        "matchArgs: [{index: 0, operator: Equal, values: [\"1\"]}]\n      matchActions: [{action: Set, argIndex: 0, argValue: 3}, {action: Set, argIndex: 1, argValue: 9}]",
    );
    let possible = can.memory && can.registers;
    let Some((lines, code)) = changed(&rig, possible, "memory and registers", &["end", "1"]) else { return };
    assert_eq!((lines.len(), code), (1, 3 + 90 + 100));
    let (lines, code) = changed(&rig, possible, "", &["end", "2"]).expect("it is possible");
    assert_eq!((lines.len(), code), (0, 222));
}

fn refused() {
    let set = |index: u32, value: &str| {
        settles(&format!("matchActions: [{{action: Set, argIndex: {index}, argValue: {value}}}]"))
    };
    let log = refusal(&set(3, "1"));
    assert!(log.contains("\"4@$5\" at a place of the probe: a constant of the program"), "{log}");
    let log = refusal(&set(2, "65536"));
    assert!(log.contains("the argument has 16 bits, and 65536 more"), "{log}");
    assert!(log.contains("-32768 to 65535"), "{log}");
    let log = refusal(&Rig::new(
        "  uprobes:\n  - path: \"PROGRAM\"\n    offsets: [4096]\n    selectors:\n    - matchActions: [{action: Override, argError: 7}]\n",
    ));
    assert!(log.contains("only what is named by symbols is sure to be the start of a function"), "{log}");
}

fn overridden() {
    let can = changeable().registers;
    let rig = overrides("");
    assert_eq!(ends(&rig.hooked, &["twice", "4"]), 108);
    let Some((lines, code)) = changed(&rig, can, "registers", &["twice", "4"]) else { return };
    assert_eq!(code, 7);
    assert_eq!(args(&lines), [json!([{"int_arg": 4}])]);
    assert_eq!(lines[0].text("/action"), "KPROBE_ACTION_OVERRIDE");
    assert_eq!(ends(&rig.hooked, &["twice", "4"]), 108);
}

/// The return that another policy, or another program, waits for.
fn returned() {
    let can = changeable().registers;
    let rig = overrides(
        "  - path: \"PROGRAM\"\n    symbols: [\"doubled\"]\n    return: true\n    returnArg: {index: 0, type: int}\n",
    );
    let Some((lines, code)) = changed(&rig, can, "registers", &["twice", "4"]) else { return };
    assert_eq!(code, 7);
    let mut told: Vec<_> =
        lines.iter().map(|line| (line.text("/action"), line.at("/return").clone())).collect();
    told.sort_by_key(|(action, _)| (*action).to_owned());
    assert_eq!(
        told,
        [("KPROBE_ACTION_OVERRIDE", Value::Null), ("KPROBE_ACTION_POST", json!({"int_arg": 7}))],
        "{lines:?}"
    );
}

fn monitored() {
    let can = changeable();
    let mode = "  options: [{name: policy-mode, value: monitor}]\n";
    let rig = overrides(mode);
    if let Some((lines, code)) = changed(&rig, can.registers, "registers", &["twice", "4"]) {
        assert_eq!(code, 108);
        assert_eq!(lines[0].text("/action"), "KPROBE_ACTION_OVERRIDE");
        assert_eq!(lines[0].text("/trigon/policy_mode"), "monitor");
    }
    let rig = settles(&format!("matchActions: [{{action: Set, argIndex: 1, argValue: 2}}]\n{mode}"));
    if let Some((lines, code)) = changed(&rig, can.memory, "memory", &["end", "1"]) {
        assert_eq!(code, 111);
        assert_eq!(lines[0].text("/action"), "KPROBE_ACTION_SET");
        assert_eq!(lines[0].text("/trigon/policy_mode"), "monitor");
    }
}

fn explained() {
    let can = changeable();
    for (rig, possible, says) in [
        (overrides(""), can.registers, "have the function return 7 at once, and do nothing"),
        (
            settles("matchActions: [{action: Set, argIndex: 1, argValue: 2}]"),
            can.memory,
            "set argument 1 of the probe to 2",
        ),
    ] {
        let policy = rig.hooked.folder().join("policy.yaml");
        let output = Command::new(trigon_tests::place::agent())
            .args(["policy", "explain"])
            .arg(&policy)
            .output()
            .expect("run the command");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(says), "{text}");
        // Where the first mechanism can't, the next one may: 6.1 has no uprobe.multi.
        assert_eq!(!text.contains("so the policy can't be loaded"), possible, "{text}");
        assert!(possible || text.contains("cannot change"), "{text}");
    }
}
