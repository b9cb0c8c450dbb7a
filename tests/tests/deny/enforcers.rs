//! Enforcers: a thread that did one thing is stopped at another.

use std::{fs, os::unix::process::ExitStatusExt as _, process::Command};

use trigon_tests::{place, suite::Suite};

use crate::{KERNEL, rig::Rig};

pub fn tests(suite: &mut Suite) {
    suite.test("whom_a_hook_notifies_of_is_killed_at_the_next_call", KERNEL, notified);
    suite.test("system_calls_of_a_list_are_told_by_their_numbers", KERNEL, listed);
    suite.test("an_enforcer_that_can_not_deny_is_refused_by_name", KERNEL, refused);
}

/// Who opens the one file is to be stopped at its next read; who opens the other is let off.
const NOTIFY: &str = "
  enforcers:
  - calls: [sys_read]
  kprobes:
  - call: sys_openat
    syscall: true
    args: [{index: 1, type: string}]
    selectors:
    - matchArgs: [{index: 1, operator: Equal, values: [FOLDER/forbidden]}]
      matchActions: [{action: NotifyEnforcer, ARGUMENT}]
    - matchArgs: [{index: 1, operator: Equal, values: [FOLDER/allowed]}]
      matchActions: [{action: CleanupEnforcerNotification}]
";

fn notified() {
    let rig = Rig::new();
    rig.load(&NOTIFY.replace("ARGUMENT", "argSig: 9"), &[]);
    let script = |names: &[&str]| {
        let opens: Vec<_> = names.iter().map(|name| format!("exec 9<{}", rig.path(name).display())).collect();
        let script = format!("{}; read line <&9; echo done", opens.join("; "));
        Command::new("sh").args(["-c", &script]).output().expect("run a shell")
    };
    assert!(script(&["allowed"]).status.success());
    let killed = script(&["forbidden"]);
    assert_eq!((killed.status.signal(), killed.stdout.is_empty()), (Some(9), true), "{killed:?}");
    let let_off = script(&["forbidden", "allowed"]);
    assert!(let_off.status.success(), "the notification was taken back: {let_off:?}");
    rig.done(&["set-mode", "p", "monitor"]);
    assert!(script(&["forbidden"]).status.success(), "nobody is killed by a policy that watches");
    rig.fence();
    let path = rig.path("forbidden");
    let lines = rig.agent.lines_with(path.to_str().expect("a plain path"));
    let told = lines.iter().filter(|line| line.text("/action") == "KPROBE_ACTION_NOTIFYENFORCER");
    let monitored: Vec<_> = told.map(|line| line.text("/trigon/policy_mode") == "monitor").collect();
    assert_eq!(monitored, [false, false, true], "the enforcer's own calls are not told of");
}

/// As Tetragon's own example has it: a filter's `index` is a place here, and its value a list.
const LISTED: &str = "
  lists:
  - {name: dups, type: syscalls, values: [sys_dup, sys_dup3, __ia32_sys_dup]}
  enforcers:
  - calls: ['list:dups']
  tracepoints:
  - subsystem: raw_syscalls
    event: sys_enter
    args: [{index: 4, type: syscall64}]
    selectors:
    - matchArgs: [{index: 0, operator: InMap, values: ['list:dups']}]
      matchBinaries: [{operator: In, values: [PROGRAM]}]
      matchActions: [{action: NotifyEnforcer, argSig: 9}]
";

fn listed() {
    let rig = Rig::new();
    let program = place::workload();
    rig.load(&LISTED.replace("PROGRAM", program.to_str().expect("a plain path")), &[]);
    let calls = |calls: &str| {
        let status = Command::new(&program).arg("calls").args(calls.split(' ')).status();
        status.expect("run the workload").signal()
    };
    assert_eq!(calls("umask 18 ; umask 18 ; umask 18"), None);
    // Where both look at one place in the kernel, the enforcer may have come before the word of it.
    assert_eq!(calls("dup 0 ; dup 0 ; dup 0"), Some(9));
    rig.fence();
    let lines = rig.agent.lines_with("syscall_id");
    let told: Vec<_> =
        lines.iter().filter(|line| line.text("/action") == "KPROBE_ACTION_NOTIFYENFORCER").collect();
    assert!(!told.is_empty() && told.len() == lines.len(), "{lines:?}");
    assert!(told.iter().all(|line| *line.at("/args/0/syscall_id/id") == syscall_of_dup()), "{lines:?}");
}

fn syscall_of_dup() -> u64 {
    if cfg!(target_arch = "x86_64") { 32 } else { 23 }
}

fn refused() {
    let rig = Rig::new();
    let said = rig.refused(&NOTIFY.replace("ARGUMENT", "argError: -1"));
    assert!(said.contains("cannot prevent") && said.contains("sys_read"), "{said}");
    assert!(fs::read(rig.path("forbidden")).is_ok());
}
