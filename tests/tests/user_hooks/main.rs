//! Hooks on programs: uprobes and USDT probes.

mod changes;
mod loader;
mod refused;
mod stacks;
mod uprobes;
mod usdts;

use std::{fs, process::ExitCode};

use serde_json::Value;
use trigon_tests::{
    agent::{Agent, Ended, Running},
    hooked::Hooked,
    json::Line,
    suite::{self, Need},
};

const KERNEL: &[Need] = &[Need::Kernel];

/// A program to be hooked, and a policy on it.
struct Rig {
    hooked: Hooked,
}

fn main() -> ExitCode {
    suite::run(|suite| {
        uprobes::tests(suite);
        usdts::tests(suite);
        stacks::tests(suite);
        loader::tests(suite);
        refused::tests(suite);
        changes::tests(suite);
    })
}

// === impl Rig ===

impl Rig {
    /// A policy whose `spec` this is; PROGRAM in it becomes the path of the program.
    fn new(spec: &str) -> Self {
        let rig = Self { hooked: Hooked::new() };
        let head = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: user}\nspec:\n";
        let text = format!("{head}{}", spec.replace("PROGRAM", &rig.program()));
        fs::write(rig.hooked.folder().join("policy.yaml"), text).expect("write the policy");
        rig
    }

    /// The same policy in the language of `trigon.io`.
    fn of_trigon(self) -> Self {
        let path = self.hooked.folder().join("policy.yaml");
        let text = fs::read_to_string(&path).expect("read the policy");
        fs::write(&path, text.replacen("cilium.io", "trigon.io", 1)).expect("write the policy");
        self
    }

    fn program(&self) -> String {
        self.hooked.program().to_str().expect("a plain path").to_owned()
    }

    fn agent(&self) -> Agent {
        let policy = self.hooked.folder().join("policy.yaml");
        Agent::new().argument("--policy").argument(policy.to_str().expect("a plain path"))
    }

    /// What the policy tells while something is done with the program.
    fn around(&self, deed: impl FnOnce(&Hooked, &Running)) -> Vec<Line> {
        let agent = self.agent().start();
        deed(&self.hooked, &agent);
        events(&agent.stop())
    }
}

/// The events of the policy.
fn events(ended: &Ended) -> Vec<Line> {
    let kinds =
        ["{\"process_uprobe\"", "{\"process_usdt\"", "{\"process_kprobe\"", "{\"process_tracepoint\""];
    let lines = ended.lines.iter().filter(|line| kinds.iter().any(|kind| line.starts_with(kind)));
    lines.map(|line| Line::parse(line)).filter(|line| line.text("/policy_name") == "user").collect()
}

/// The arguments of each.
fn args(lines: &[Line]) -> Vec<Value> {
    lines.iter().map(|line| line.at("/args").clone()).collect()
}
