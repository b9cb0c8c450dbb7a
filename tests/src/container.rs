//! Namespaces as a container's: PIDs and mounts of its own, and what enters them from outside.

use std::{
    ffi::OsStr,
    fs,
    path::Path,
    process::{Child, Command},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::wait;

/// A process with namespaces of its own, which is their first; all in them ends with the value.
#[derive(Debug)]
pub struct Container {
    unshare: Child,
    init: i32,
}

// === impl Container ===

impl Container {
    /// Starts one whose first process is a shell; waits until it has done `prepare`. Then it does `loops` over and over.
    /// What is mounted within is nowhere else.
    pub fn start(prepare: &str, loops: &str) -> Self {
        let folder = TempDir::with_prefix("trigon-container-").expect("make a folder");
        let ready = folder.path().join("ready");
        let script = format!(
            "set -e; {prepare}\n: > {}\nset +e; while :; do {loops}\nsleep 0.1; done",
            ready.display()
        );
        let mut unshare = Command::new("unshare");
        unshare.args(["-p", "-f", "-m", "--mount-proc", "sh", "-c", &script]);
        let mut unshare = unshare.spawn().expect("run unshare");
        let children = format!("/proc/{0}/task/{0}/children", unshare.id());
        let init = wait::until(
            "the container",
            || {
                if let Some(status) = unshare.try_wait().expect("ask for its status") {
                    panic!("the container ended with {status}: {script}");
                }
                let children = fs::read_to_string(&children).ok()?;
                ready.exists().then(|| children.split_whitespace().next()?.parse().ok()).flatten()
            },
            || script.clone(),
        );
        Self { unshare, init }
    }

    /// Its first process, as the host counts.
    pub fn init(&self) -> u32 {
        self.init.unsigned_abs()
    }

    /// The command that runs a program within, coming from outside, as `kubectl exec` does.
    pub fn enter<S: AsRef<OsStr>>(&self, program: &Path, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.init.to_string(), "-p", "-m"]).arg(program).args(args);
        command
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // The namespace's first process takes all others along.
        let _ = kill(Pid::from_raw(self.init), Signal::SIGKILL);
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}
