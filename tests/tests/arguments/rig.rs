//! An agent with a policy, and a program that makes calls.

use std::fs;

use serde_json::Value;
use trigon_tests::{
    agent::{Agent, Ended},
    json::Line,
    workload::Workload,
};

/// A policy, and the program that it is about.
pub(crate) struct Rig {
    workload: Workload,
    policy: String,
}

// === impl Rig ===

impl Rig {
    /// A policy whose `spec` this is. `OURS` in it becomes a filter on the program of [`Self::calls`].
    pub(crate) fn new(spec: &str) -> Self {
        let workload = Workload::new();
        let ours =
            format!("matchBinaries: [{{operator: In, values: [\"{}\"]}}]", workload.program().display());
        let head =
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: arguments}\nspec:\n";
        let policy = workload.folder().join("policy.yaml");
        fs::write(&policy, format!("{head}{}", spec.replace("OURS", &ours))).expect("write the policy");
        Self { workload, policy: policy.to_str().expect("a plain path").to_owned() }
    }

    /// The events of the policy while the program makes these calls, in the words of `trigon-workload calls`.
    pub(crate) fn calls(&self, calls: &str) -> Vec<Value> {
        let agent = Agent::new().argument("--policy").argument(&self.policy).start();
        let words = ["calls"].into_iter().chain(calls.split_whitespace());
        let status = self.workload.command(words).status().expect("run the program");
        let ended = agent.stop();
        assert!(status.success(), "{status:?}: {calls}");
        self.events(&ended)
    }

    /// What an agent says that can't load the policy.
    pub(crate) fn refusal(&self) -> String {
        let ended = Agent::new().argument("--policy").argument(&self.policy).spawn().wait();
        assert!(!ended.status.success(), "{}", ended.log);
        ended.log
    }

    /// Where the program lies.
    pub(crate) fn program(&self) -> String {
        self.workload.program().display().to_string()
    }

    fn events(&self, ended: &Ended) -> Vec<Value> {
        let of_policy = |line: &&String| {
            ["{\"process_kprobe\"", "{\"process_tracepoint\""].iter().any(|kind| line.starts_with(kind))
        };
        let lines = ended.lines.iter().filter(of_policy).map(|line| Line::parse(line));
        let ours = lines.filter(|line| line.text("/process/binary").contains(self.workload.tag()));
        ours.map(|line| line.at("").clone()).collect()
    }
}

/// An address of `127.0.0.1` as two words of 64 bits, as programs lay it out.
pub(crate) fn ipv4(port: u16) -> String {
    let [high, low] = port.to_be_bytes();
    let first = u64::from_le_bytes([2, 0, high, low, 127, 0, 0, 1]);
    format!("[{first},0]")
}

/// An address of `::1`.
pub(crate) fn ipv6(port: u16) -> String {
    let [high, low] = port.to_be_bytes();
    let first = u64::from_le_bytes([10, 0, high, low, 0, 0, 0, 0]);
    format!("[{first},0,{},0]", 1_i64 << 56)
}

/// A text as words of 64 bits, filled up with NUL.
pub(crate) fn words(text: &[u8]) -> Vec<String> {
    let word = |bytes: &[u8]| {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        i64::from_le_bytes(word).to_string()
    };
    text.chunks(8).map(word).collect()
}
