//! Measures the agent against the budgets of its design: `trigon-bench [--markdown FILE] [SUBJECT…]`.
//!
//! All figures are ratios or costs per event, taken within one run; what is compared takes turns. It needs root, two
//! cores, and a machine that does nothing else.

mod agent;
mod cpu;
mod execs;
mod hooks;
mod latency;
mod memory;
mod pipeline;
mod receiver;
mod table;
mod tiny;

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use agent::{Agent, Losses};
use cpu::Core;
use receiver::Receiver;
use table::{Row, Table};
use tempfile::TempDir;

/// Measures something and adds it to the table.
type Measure = fn(&mut Bench);

const SUBJECTS: [(&str, Measure); 7] = [
    ("slowdown", execs::slowdown),
    ("cpu", execs::cpu),
    ("hooks", hooks::run),
    ("pipeline", pipeline::run),
    ("idle", memory::idle),
    ("latency", latency::run),
    ("memory", memory::tables),
];

/// Only against hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What all measurements share.
struct Bench {
    table: Table,
    losses: Losses,
    /// On the agent's core: that of the loop is the loop's.
    receiver: Receiver,
    folder: TempDir,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (mut markdown, mut subjects) = (None, Vec::new());
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            receiver::WORD => return receiver::run(),
            "--markdown" => markdown = Some(PathBuf::from(arguments.next().expect("--markdown FILE"))),
            _ => subjects.push(argument),
        }
    }
    let known = |name: &String| SUBJECTS.iter().any(|(subject, _)| subject == name);
    assert!(subjects.iter().all(known), "the subjects are {:?}", SUBJECTS.map(|(name, _)| name));

    let load = load();
    println!(
        "load before: {load:.2}{}",
        if load > 0.5 { " (something else runs: the figures are worse than they should be)" } else { "" }
    );
    let mut bench = Bench::new();
    for (name, measure) in SUBJECTS {
        if subjects.is_empty() || subjects.iter().any(|subject| subject == name) {
            measure(&mut bench);
        }
    }
    bench.add_losses();
    if let Some(path) = markdown {
        std::fs::write(&path, bench.table.markdown()).expect("write the Markdown file");
    }
}

fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(f64::NAN)
}

/// Waits for what must come; `seen` is what there was instead.
fn wait_for(what: &str, mut there: impl FnMut() -> bool, seen: impl FnOnce() -> String) {
    let begun = Instant::now();
    while !there() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}; there was: {}", seen());
        thread::sleep(Duration::from_millis(100));
    }
}

// === impl Bench ===

impl Bench {
    fn new() -> Self {
        Core::Loop.pin();
        Self {
            table: Table::default(),
            losses: Losses::default(),
            receiver: Core::Agent.start(Receiver::start),
            folder: tempfile::Builder::new().prefix("trigon-bench-").tempdir().expect("make a folder"),
        }
    }

    /// An agent that exports to the receiver.
    fn agent(&self, table: &str) -> Agent {
        Agent::start(&self.receiver.endpoint(), table)
    }

    /// The smallest program, by a path that no other has.
    fn tiny(&self) -> PathBuf {
        let path = self.folder.path().join("tiny");
        if !path.exists() {
            tiny::write(&path);
        }
        path
    }

    fn add_losses(&mut self) {
        let Losses { seen, lost, places } = &self.losses;
        let places = if places.is_empty() { "nowhere".to_owned() } else { places.join("; ") };
        self.table.add(Row {
            what: "lost".into(),
            budget: "0",
            measured: format!("{lost} of {seen} events"),
            met: Some(*lost == 0.0),
            how: format!(
                "trigon_lost_events_total of all agents that were started for the above; lost: {places}."
            ),
        });
    }
}
