//! Modes: what a policy would have done is told and not done, and turns into what is done without a gap.

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use trigon_tests::{json::Line, suite::Suite};

use crate::{
    KERNEL,
    prevented::OPEN,
    rig::{Rig, actions, is_denied, is_known},
};

pub fn tests(suite: &mut Suite) {
    suite.test("what_would_have_been_denied_is_told", KERNEL, what_would_have_been_denied_is_told);
    suite.test("what_would_have_been_killed_is_told", KERNEL, what_would_have_been_killed_is_told);
    suite.test("a_mode_turns_under_load", KERNEL, a_mode_turns_under_load);
    suite.test("a_mode_outlives_a_new_version", KERNEL, a_mode_outlives_a_new_version);
}

/// A policy that kills who opens one file.
const KILL: &str = "
  options: [{name: policy-mode, value: monitor}]
  kprobes:
  - call: sys_openat
    syscall: true
    args: [{index: 1, type: string}]
    selectors:
    - matchArgs: [{index: 1, operator: Equal, values: [FOLDER/forbidden]}]
      matchActions: [{action: Sigkill}]
";

fn is_monitored(line: &Line) -> bool {
    line.text("/trigon/policy_mode") == "monitor"
}

fn what_would_have_been_denied_is_told() {
    let rig = Rig::new();
    if !is_known() {
        return;
    }
    rig.load(OPEN, &["--mode", "monitor"]);
    assert_eq!(rig.listed()["mode"], "monitor");
    assert!(rig.done(&["list"]).contains(" monitor "), "the table has it");
    assert!(!is_denied(&rig.path("forbidden")));
    let told = rig.told("forbidden", std::process::id());
    assert_eq!(actions(&told), ["KPROBE_ACTION_OVERRIDE"], "{told:?}");
    assert!(is_monitored(&told[0]), "{told:?}");
    rig.done(&["set-mode", "p", "enforce"]);
    assert_eq!(rig.listed()["mode"], "enforce");
    assert!(is_denied(&rig.path("forbidden")));
    let told = rig.told("forbidden", std::process::id());
    assert_eq!(told.iter().map(is_monitored).collect::<Vec<_>>(), [true, false], "{told:?}");
    let metrics = rig.agent.metrics();
    for action in ["Override", "MonitorOverride"] {
        let labels = [("hook", "lsm:file_open"), ("action", action)];
        assert_eq!(metrics.sum("trigon_policy_events_total", &labels), 1.0, "{action}: {metrics}");
    }
}

fn what_would_have_been_killed_is_told() {
    let rig = Rig::new();
    rig.load(KILL, &[]);
    assert_eq!(rig.listed()["mode"], "monitor", "as it says itself");
    let read = || {
        let child = Command::new("cat").arg(rig.path("forbidden")).output().expect("run cat");
        child.status
    };
    assert!(read().success(), "nobody is killed");
    rig.done(&["set-mode", "p", "enforce"]);
    assert_eq!(read().signal(), Some(9));
    rig.done(&["set-mode", "p", "monitor"]);
    assert!(read().success(), "nobody is killed any more");
    rig.fence();
    let path = rig.path("forbidden");
    let lines = rig.agent.lines_with(path.to_str().expect("a plain path"));
    let told: Vec<_> = lines.iter().filter(|line| line.kind == "process_kprobe").collect();
    let said: Vec<_> = told.iter().map(|line| (line.text("/action"), is_monitored(line))).collect();
    let kills = |monitored| ("KPROBE_ACTION_SIGKILL", monitored);
    assert_eq!(said, [kills(true), kills(false), kills(true)]);
}

/// Every open is denied or not, and told as what it was.
fn a_mode_turns_under_load() {
    const TURNS: usize = 12;
    let rig = Rig::new();
    if !is_known() {
        return;
    }
    rig.load(OPEN, &[]);
    let path = rig.path("forbidden");
    let stop = Arc::new(AtomicBool::new(false));
    let opener = |stop: Arc<AtomicBool>| {
        let path = path.clone();
        thread::spawn(move || {
            let (mut denied, mut done) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                match is_denied(&path) {
                    true => denied += 1,
                    false => done += 1,
                }
                // Slower than the agent writes: nothing is to be lost.
                thread::yield_now();
                thread::sleep(std::time::Duration::from_millis(1));
            }
            (denied, done)
        })
    };
    let openers: Vec<_> = (0..2).map(|_| opener(Arc::clone(&stop))).collect();
    for turn in 0..TURNS {
        rig.done(&["set-mode", "p", if turn % 2 == 0 { "monitor" } else { "enforce" }]);
    }
    stop.store(true, Ordering::Relaxed);
    let counts: Vec<(usize, usize)> =
        openers.into_iter().map(|opener| opener.join().expect("an opener ends")).collect();
    let (denied, done): (usize, usize) =
        counts.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let told = rig.told("forbidden", std::process::id());
    let monitored = told.iter().filter(|line| is_monitored(line)).count();
    println!("{denied} denied, {done} done");
    assert_eq!((told.len() - monitored, monitored), (denied, done));
    assert!(denied > 0 && done > 0, "both modes were met");
    rig.check_no_loss();
}

/// A new version of a file is in the mode that was set for the one before.
fn a_mode_outlives_a_new_version() {
    let folder = tempfile::tempdir().expect("make a folder");
    let agent = trigon_tests::agent::Agent::new()
        .config(&format!("[policy]\ndir = \"{}\"\n", folder.path().display()));
    let agent = agent.start();
    let rig = Rig { agent, folder };
    let text = KILL.replace("  options: [{name: policy-mode, value: monitor}]\n", "");
    rig.write(&text);
    let until = |what: &str, reached: &dyn Fn() -> bool| {
        trigon_tests::wait::until(what, || reached().then_some(()), || rig.agent.log());
    };
    until("the policy", &|| rig.listed()["state"] == "enabled");
    assert_eq!(rig.listed()["mode"], "enforce");
    rig.done(&["set-mode", "p", "monitor"]);
    let since = rig.listed()["since"].clone();
    let file = rig.write(&text.replace("Sigkill", "Signal, argSig: 15"));
    assert!(fs::exists(file).expect("look for a file"));
    until("the new version", &|| rig.listed()["since"] != since);
    assert_eq!(rig.listed()["mode"], "monitor");
}
