//! Tests that need environment variables which must not change under others: each runs itself again, in a process of
//! its own.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Says to the second process that it is one, and where its files are.
const DIRECTORY: &str = "TRIGON_TEST_CHILD";

/// The directory, in the second process.
pub(super) fn directory() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).map(PathBuf::from)
}

/// Runs a test of a module again.
pub(super) fn run(module: &str, test: &str, directory: &Path, environment: impl FnOnce(&mut Command)) {
    let (_, module) = module.split_once("::").expect("a crate's name");
    let mut process = Command::new(std::env::current_exe().expect("this test's binary"));
    process.args(["--exact", &format!("{module}::{test}")]).env(DIRECTORY, directory);
    environment(&mut process);
    let again = process.output().expect("a process");
    let said = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success() && said.contains("1 passed"), "{said}");
}

pub(super) fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future);
}
