//! An agent, files that policies name, and commands to it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

use serde_json::Value;
use tempfile::TempDir;
use trigon_tests::{
    agent::{Agent, Running},
    command::{Said, said},
    wait,
};

/// An agent and a folder.
pub struct Rig {
    pub agent: Running,
    pub folder: TempDir,
}

/// A policy that tells of each open of a file.
pub fn opens_of(name: &str, file: &Path) -> String {
    policy(
        name,
        &format!(
            "  - call: sys_openat\n    syscall: true\n    args: [{{index: 1, type: string}}]\n    selectors:\n    - matchArgs: [{{index: 1, operator: Equal, values: [\"{}\"]}}]\n",
            file.display()
        ),
    )
}

/// A policy with these items under `kprobes`.
pub fn policy(name: &str, kprobes: &str) -> String {
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: {name}}}\nspec:\n  kprobes:\n{kprobes}"
    )
}

// === impl Rig ===

impl Rig {
    pub fn new() -> Self {
        Self::with(|_| Agent::new())
    }

    /// An agent with a configuration that can name the folder.
    pub fn with(agent: impl FnOnce(&Path) -> Agent) -> Self {
        let folder = tempfile::Builder::new().prefix("trigon-control-").tempdir().expect("make a folder");
        for name in ["one", "two"] {
            fs::write(folder.path().join(name), "0123456789").expect("write a file");
        }
        Self { agent: agent(folder.path()).start(), folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the folder; its path as an argument.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).expect("write a policy");
        path.to_str().expect("a plain path").to_owned()
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

    /// The policies as the agent lists them.
    pub fn list(&self) -> Vec<Value> {
        let text = self.done(&["list", "-o", "json"]);
        let list: Value = serde_json::from_str(&text).expect("JSON");
        list["policies"].as_array().expect("a list").clone()
    }

    /// One of the policies; null where it isn't listed.
    pub fn listed(&self, name: &str) -> Value {
        self.list().into_iter().find(|policy| policy["name"] == name).unwrap_or_default()
    }

    /// The state of a policy; empty where it isn't listed.
    pub fn state(&self, name: &str) -> String {
        self.listed(name)["state"].as_str().unwrap_or_default().to_owned()
    }

    pub fn until_state(&self, name: &str, state: &str) {
        let reached = || (self.state(name) == state).then_some(());
        let seen = || format!("{:?}; the agent's log:\n{}", self.list(), self.agent.log());
        wait::until(&format!("{name} to be {state:?}"), reached, seen);
    }

    /// Opens a file, and returns how often policies told of that.
    pub fn opened(&self, name: &str) -> usize {
        let path = self.path(name);
        let before = self.told(&path);
        fs::read(&path).expect("read a file");
        self.fence();
        self.told(&path) - before
    }

    /// How often policies told of a file so far.
    pub fn told(&self, path: &Path) -> usize {
        let path = path.to_str().expect("a plain path");
        let own = u64::from(std::process::id());
        let lines = self.agent.lines_with(path);
        let of_hooks = lines.iter().filter(|line| line.kind == "process_kprobe");
        of_hooks.filter(|line| line.at("/process/pid").as_u64() == Some(own)).count()
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
}
