//! Each fuzz target takes what its runs begin with: the corpus, and the policies that ship.

use std::{fs, path::Path, process::Command};

/// Runs a target once for each file of the folders, as libFuzzer does with names of files.
fn runs(target: &str, folders: &[&str]) {
    let mut files = Vec::new();
    for folder in folders {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        files.extend(entries.map(|entry| entry.expect("list a folder").path()).filter(|path| path.is_file()));
    }
    assert!(!files.is_empty(), "nothing is in {folders:?}");
    let output = Command::new(target).args(&files).output().expect("run the target");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{target}: {}: {said}", output.status);
    let executed = said.lines().filter(|line| line.starts_with("Executed ")).count();
    assert_eq!(executed, files.len(), "{said}");
}

#[test]
fn policy() {
    runs(env!("CARGO_BIN_EXE_policy"), &["corpus/policy", "../deploy/policies"]);
}

#[test]
fn compile() {
    runs(env!("CARGO_BIN_EXE_compile"), &["corpus/compile", "../deploy/policies"]);
}

#[test]
fn events() {
    runs(env!("CARGO_BIN_EXE_events"), &["corpus/events"]);
}

#[test]
fn config() {
    runs(env!("CARGO_BIN_EXE_config"), &["corpus/config"]);
}

#[test]
fn records() {
    runs(env!("CARGO_BIN_EXE_records"), &["corpus/records"]);
}
