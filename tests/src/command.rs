//! A command that is run to its end.

use std::{
    os::unix::process::CommandExt as _,
    process::{Command, Output},
};

/// What a command said.
#[derive(Debug)]
pub struct Said {
    /// Its exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

/// The user `nobody`, and its group.
const NOBODY: u32 = 65534;

/// Runs a command.
///
/// # Panics
/// It can't be run, or says what isn't UTF-8.
pub fn said(command: &mut Command) -> Said {
    let Output { status, stdout, stderr } = command.output().expect("run a command");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Said { code: status.code(), out: text(stdout), err: text(stderr) }
}

/// Has the user `nobody` run it.
pub fn as_nobody(command: &mut Command) -> &mut Command {
    command.uid(NOBODY).gid(NOBODY).current_dir("/")
}
