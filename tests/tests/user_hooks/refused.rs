//! What can't be hooked is said, with its place in the policy.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use trigon_tests::suite::Suite;

use crate::{KERNEL, Rig};

pub(super) fn tests(suite: &mut Suite) {
    suite.test("what_can't_be_hooked_is_refused", KERNEL, refused);
    suite.test("digests_of_the_file", KERNEL, digests);
}

/// What the agent says of a policy that it can't load.
pub(super) fn refusal(rig: &Rig) -> String {
    let ended = rig.agent().spawn().wait();
    assert!(!ended.status.success(), "{}", ended.log);
    ended.log
}

fn refused() {
    let uprobe = |path: &str, rest: &str| format!("\n  uprobes:\n  - path: \"{path}\"\n    {rest}\n");
    let usdt = |name: &str, args: &str| {
        format!(
            "\n  usdts:\n  - path: \"PROGRAM\"\n    provider: trigon\n    name: {name}\n    args: {args}\n"
        )
    };
    let pipe = tempfile::tempdir().expect("make a folder");
    let path = pipe.path().join("pipe");
    let made = Command::new("mkfifo").arg(&path).status().expect("run mkfifo");
    assert!(made.success());
    let script = pipe.path().join("script");
    fs::write(&script, "#!/bin/sh\nexit 0\nnothing else at all, but long enough for a header of an ELF file")
        .expect("write");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("let it be executed");
    let plain = |path: &std::path::Path| path.to_str().expect("a plain path").to_owned();
    let symbols = "symbols: [\"added\"]";
    for (spec, said) in [
        (uprobe("/nowhere/at/all", symbols), "cannot read /nowhere/at/all: No such file"),
        (uprobe(&plain(&path), symbols), "is no regular file"),
        (uprobe("/dev/null", symbols), "/dev/null is no regular file"),
        (uprobe("/dev", symbols), "/dev is no regular file"),
        (uprobe(&plain(&script), symbols), "is no ELF file"),
        (
            uprobe("PROGRAM", "symbols: [\"added\", \"subtracted\"]"),
            "has no function subtracted in its tables of symbols",
        ),
        (uprobe("PROGRAM", "symbols: [\"counted_semaphore\"]"), "symbols[0]"),
        (uprobe("PROGRAM", "offsets: [0x1]"), "has no code at offset 0x1"),
        (uprobe("PROGRAM", "addrs: [16]"), "has no code at address 0x10"),
        (usdt("plane", "[]"), "has no probe trigon:plane: did you mean trigon:plain?"),
        (
            uprobe("PROGRAM", "symbols: [\"added\"]\n    data: [{source: current_task, resolve: pidd}]"),
            "spec.uprobes[0].data[0].resolve: struct task_struct has no member pidd",
        ),
        (
            usdt(
                "plain",
                "[{source: current_task, resolve: tgid}]\n    selectors:\n    - matchActions: [{action: Set, argIndex: 0, argValue: 1}]",
            ),
            "Set: this argument has a source, and is none of the probe's",
        ),
        (usdt("plain", "[{index: 5}]"), "the probe has 5 arguments, and none with index 5"),
    ] {
        let log = refusal(&Rig::new(&spec));
        assert!(log.contains(said), "{spec}\n{said:?} is not in:\n{log}");
    }
    if cfg!(target_arch = "x86_64") {
        let log = refusal(&Rig::new(&usdt("scaled", "[{index: 1}]")));
        assert!(log.contains("argument 1 of the probe is \"8@outside(%rip)\""), "{log}");
    }
}

fn digests() {
    let spec = |digest: &str, more: &str| {
        format!(
            "\n  uprobes:\n  - path: \"PROGRAM\"\n    symbols: [\"added\"]\n    binaryDigests: [\"{digest}\"]\n{more}"
        )
    };
    let wrong = format!("sha256:{}", "00".repeat(32));
    let log = refusal(&Rig::new(&spec(&wrong, "")));
    assert!(log.contains("has none of these digests"), "{log}");
    let ignored = Rig::new(&spec(&wrong, "    ignore: {digestVerificationFailure: true}\n"));
    let build_id = {
        let elf = trigon_probes::elf::Elf::open(&ignored.hooked.program()).expect("read the program");
        let id = elf.build_id().expect("read its notes").expect("it has a build-id");
        id.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let right = Rig::new(&spec(&format!("build-id:{build_id}"), ""));
    for rig in [ignored, right] {
        let lines = rig.around(|hooked, _| {
            hooked.run(&["add", "1", "2"]);
        });
        assert_eq!(lines.len(), 1);
    }
}
