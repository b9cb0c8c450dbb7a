//! `make demo`: the whole story is there, it fails where a secret leaks, and nothing of it stays behind.

use std::{
    fs,
    process::{Command, ExitCode, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use trigon_tests::{
    command::{Said, said},
    place,
    suite::{self, Need},
    wait,
};

const NEEDS: &[Need] = &[Need::Kernel, Need::Prometheus];

fn main() -> ExitCode {
    suite::run(|suite| {
        suite.test("demo_tells_the_whole_story", NEEDS, whole_story);
        suite.test("demo_fails_where_the_password_leaks", NEEDS, leak);
        suite.test("demo_cleans_up_when_it_is_interrupted", NEEDS, interrupted);
    })
}

/// The demo, with a folder of its own for temporary files.
fn demo(folder: &TempDir) -> Command {
    let mut command = Command::new(place::demo());
    command.env("TMPDIR", folder.path());
    command
}

fn check_nothing_left(folder: &TempDir) {
    let left: Vec<_> = fs::read_dir(folder.path()).expect("list a folder").collect();
    assert!(left.is_empty(), "{left:?}");
    let mounts = fs::read_to_string("/proc/self/mounts").expect("read the mounts");
    let place = folder.path().to_str().expect("a plain path");
    assert!(!mounts.contains(place), "{mounts}");
    // Programs that the demo started had their files there.
    for process in fs::read_dir("/proc").expect("list processes").flatten() {
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let text = String::from_utf8_lossy(&[environment, command].concat()).into_owned();
        assert!(!text.contains(place), "{} is left: {text}", process.path().display());
    }
}

fn whole_story() {
    let folder = TempDir::with_prefix("trigon-demo-test-").expect("make a folder");
    let Said { code, out, err } = said(&mut demo(&folder));
    assert_eq!(code, Some(0), "{err}\n{out}");
    for part in [
        "== 1. The incident",
        "💥 exit    ",
        "└─ gzip -c /etc/passwd",
        "! sensitive-files: file.read /etc/shadow",
        r#""--host=db.internal", "--password=*****"]"#,
        "The password is nowhere in what left the agent",
        r#"{binary="/usr/bin/cat", policy="sensitive-files"} "#,
    ] {
        assert!(out.contains(part), "no `{part}` in:\n{out}");
    }
    let (before, _) = out.split_once("== 2.").expect("a second part");
    let typed = before.matches("--password=").count();
    assert_eq!(out.matches("--password=").count() - typed, out.matches("--password=*****").count(), "{out}");
    check_nothing_left(&folder);
}

fn leak() {
    let folder = TempDir::with_prefix("trigon-demo-test-").expect("make a folder");
    let Said { code, out, err } = said(demo(&folder).arg("--without-redaction"));
    assert_eq!(code, Some(1), "{err}\n{out}");
    let places = "the log records, the spans, the compact lines, the JSON lines";
    assert_eq!(err, format!("demo: the password is in {places}\n"), "{out}");
    check_nothing_left(&folder);
}

fn interrupted() {
    let folder = TempDir::with_prefix("trigon-demo-test-").expect("make a folder");
    let mut command = demo(&folder);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start the demo");
    let agent = || {
        let mut entries = fs::read_dir(folder.path()).ok()?.flatten();
        entries.find(|entry| entry.file_name().to_string_lossy().starts_with("trigon-agent-"))
    };
    wait::until("the demo's agent", agent, || format!("{:?}", child.id()));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).expect("interrupt the demo");
    assert_eq!(child.wait().expect("wait for the demo").code(), Some(1));
    check_nothing_left(&folder);
}
