//! Enforcers: a thread that did one thing is stopped at another.

use std::{fs, os::unix::process::ExitStatusExt as _, process::Command};

use trigon_tests::suite::Suite;

use crate::{KERNEL, rig::Rig};

pub fn tests(suite: &mut Suite) {
    suite.test("whom_a_hook_notifies_of_is_killed_at_the_next_call", KERNEL, notified);
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

fn refused() {
    let rig = Rig::new();
    let said = rig.refused(&NOTIFY.replace("ARGUMENT", "argError: -1"));
    assert!(said.contains("cannot prevent") && said.contains("sys_read"), "{said}");
    assert!(fs::read(rig.path("forbidden")).is_ok());
}
