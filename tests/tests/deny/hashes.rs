//! Hashes of files, which the kernel's integrity measurement makes: CONFIG_IMA, and security modules that are programs.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use trigon_tests::{command::said, json::Line, suite::Suite, workload::Workload};

use crate::{
    KERNEL,
    rig::{Rig, is_known},
};

/// A program that is executed, a file that is mapped, and one that is opened: that one can't be read yet.
const HASHES: &str = "
  lsmhooks:
  - hook: bprm_check_security
    args: [{index: 0, type: linux_binprm}]
    selectors:
    - matchArgs: [{index: 0, operator: Equal, values: [FOLDER/allowed]}]
      matchActions: [{action: Post, imaHash: true}]
  - hook: mmap_file
    args: [{index: 0, type: file}]
    selectors:
    - matchArgs: [{index: 0, operator: Equal, values: [FOLDER/forbidden]}]
      matchActions: [{action: Post, imaHash: true}]
  - hook: file_open
    args: [{index: 0, type: file}]
    selectors:
    - matchArgs: [{index: 0, operator: Equal, values: [FOLDER/forbidden]}]
      matchActions: [{action: Post, imaHash: true}]
    - matchArgs: [{index: 0, operator: Equal, values: [FOLDER/allowed]}]
";

pub fn tests(suite: &mut Suite) {
    suite.test("hashes_of_files", KERNEL, hashes_of_files);
}

fn hashes_of_files() {
    let rig = Rig::new();
    let workload = Workload::new();
    let [program, file] = ["allowed", "forbidden"].map(|name| rig.path(name));
    fs::copy(workload.program(), &program).expect("copy a program");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("make it a program");
    if !is_known() {
        let said = rig.refused(HASHES);
        assert!(said.contains("bprm_check_security on this kernel: lsm: "), "{said}");
        println!("not on this kernel: {}", said.chars().take(300).collect::<String>());
        return;
    }
    // Before the policy, which would tell of their opening, too.
    let [of_program, of_file] = [&program, &file].map(|path| sha256(path));
    assert_eq!(rig.load(HASHES, &[]), "lsm");
    let map = format!("openat -100 @{} 0 0 ; mmap 0 4096 1 2 $0 0", file.display());
    let status = Command::new(&program).arg("calls").args(map.split(' ')).env_clear().status();
    assert!(status.expect("run the program").success());
    rig.fence();
    assert_eq!(hashes(&rig, "bprm_check_security"), [(of_program, false)]);
    assert_eq!(hashes(&rig, "mmap_file"), [(of_file, false)]);
    // Of the program, none was asked for.
    assert_eq!(hashes(&rig, "file_open"), [(String::new(), false), (String::new(), true)]);

    let of_hook = |hook: &str| {
        let spec = format!(
            "  lsmhooks:\n  - hook: {hook}\n    selectors:\n    - matchActions: [{{action: Post, imaHash: true}}]\n"
        );
        rig.done(&["delete", "p"]);
        let said = rig.policy(&["add", &rig.write(&spec)]);
        assert_eq!(said.code, Some(7), "{said:?}");
        said.out
    };
    let said = of_hook("inode_unlink");
    assert!(said.contains("imaHash: the first argument of inode_unlink is no file"), "{said}");
    let said = of_hook("file_permission");
    assert!(said.contains("bpf_lsm_file_permission is not sleepable"), "{said}");
    rig.check_no_loss();
}

/// Of each event of a hook, its hash and whether it says that there is none.
fn hashes(rig: &Rig, hook: &str) -> Vec<(String, bool)> {
    let lines = rig.agent.lines_with(&format!("\"function_name\":\"{hook}\""));
    let hash = |line: &Line| {
        let missing = line.at("/trigon/ima_hash_missing").as_bool().unwrap_or(false);
        (line.at("/ima_hash").as_str().unwrap_or_default().to_owned(), missing)
    };
    lines.iter().map(hash).collect()
}

/// As the command of that name says it.
fn sha256(path: &Path) -> String {
    let said = said(Command::new("sha256sum").arg(path));
    let digest = said.out.split(' ').next().unwrap_or_default();
    assert_eq!(digest.len(), 64, "{said:?}");
    format!("sha256:{digest}")
}
