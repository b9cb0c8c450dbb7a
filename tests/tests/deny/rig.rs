//! An agent, a folder of files, and what this kernel can do.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

use serde_json::Value;
use tempfile::TempDir;
use trigon_tests::{
    agent::{Agent, Running},
    command::{Said, said},
    json::Line,
    wait,
};

/// An agent and a folder with the files `forbidden` and `allowed`.
pub struct Rig {
    pub agent: Running,
    pub folder: TempDir,
}

/// Kernels that the tests know: there every mechanism has to be as it is expected.
pub fn is_known() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("read the release");
    ["6.1.", "6.12."].iter().any(|known| release.starts_with(known))
}

// === impl Rig ===

impl Rig {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("trigon-deny-").tempdir().expect("make a folder");
        for name in ["forbidden", "allowed"] {
            fs::write(folder.path().join(name), "0123456789").expect("write a file");
        }
        Self { agent: Agent::new().start(), folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `trigon policy` with these arguments.
    pub fn policy(&self, arguments: &[&str]) -> Said {
        said(&mut self.agent.command(&[&["policy"], arguments].concat()))
    }

    /// As [`Self::policy`], which has to succeed.
    pub fn done(&self, arguments: &[&str]) -> String {
        let said = self.policy(arguments);
        assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}; the agent's log:\n{}", self.agent.log());
        said.out
    }

    /// Writes a policy named `p` with this under `spec`, in which FOLDER is the folder; its file.
    pub fn write(&self, spec: &str) -> String {
        let folder = self.folder.path().to_str().expect("a plain path");
        let head = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: p}\nspec:\n";
        let path = self.path("policy.yaml");
        fs::write(&path, format!("{head}{}", spec.replace("FOLDER", folder))).expect("write a policy");
        path.to_str().expect("a plain path").to_owned()
    }

    /// Loads a policy with this under `spec`; the mechanism of its first hook.
    pub fn load(&self, spec: &str, arguments: &[&str]) -> String {
        let file = self.write(spec);
        self.done(&[&["add", &file], arguments].concat());
        self.listed()["hooks"][0]["mechanism"].as_str().unwrap_or_default().to_owned()
    }

    /// Loads a policy that this kernel has to refuse; what was said.
    pub fn refused(&self, spec: &str) -> String {
        let file = self.write(spec);
        let said = self.policy(&["add", &file]);
        assert_ne!(said.code, Some(0), "{said:?}");
        self.done(&["delete", "p"]);
        format!("{}{}", said.out, said.err)
    }

    /// The policy as the agent lists it.
    pub fn listed(&self) -> Value {
        let list: Value = serde_json::from_str(&self.done(&["list", "-o", "json"])).expect("JSON");
        list["policies"][0].clone()
    }

    /// What was told so far of calls that a policy hooks, by this process, or by `pid`, about a file of the folder.
    pub fn told(&self, name: &str, pid: u32) -> Vec<Line> {
        self.fence();
        let path = self.path(name);
        let lines = self.agent.lines_with(path.to_str().expect("a plain path"));
        let hooked =
            |line: &Line| matches!(&*line.kind, "process_lsm" | "process_kprobe") && line.pid() == pid;
        lines.into_iter().filter(hooked).collect()
    }

    /// Waits until the agent has told of all that happened before.
    pub fn fence(&self) {
        static FENCES: AtomicUsize = AtomicUsize::new(0);
        let mark = format!("fence-{}-{}", std::process::id(), FENCES.fetch_add(1, Ordering::Relaxed));
        let status = Command::new("true").arg(&mark).status().expect("run true");
        assert!(status.success());
        let told = || (!self.agent.lines_with(&mark).is_empty()).then_some(());
        wait::until("the fence", told, || self.agent.log());
    }

    /// Whether an event was lost, or a call passed unseen.
    pub fn check_no_loss(&self) {
        let metrics = self.agent.metrics();
        let lost = metrics.labels("trigon_lost_events_total", &[]);
        assert!(lost.is_empty(), "lost: {lost:?}; the agent's log:\n{}", self.agent.log());
    }
}

/// Whether an open is denied; any other failure is none of the tests'.
pub fn is_denied(path: &Path) -> bool {
    denied(&fs::File::open(path).map(drop))
}

/// Whether something was refused with EPERM.
pub fn denied(result: &io::Result<()>) -> bool {
    match result {
        Ok(()) => false,
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => true,
        Err(error) => panic!("neither done nor denied: {error}"),
    }
}

/// What events say was done.
pub fn actions(lines: &[Line]) -> Vec<&str> {
    lines.iter().map(|line| line.text("/action")).collect()
}
