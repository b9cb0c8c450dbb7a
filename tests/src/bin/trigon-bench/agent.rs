//! The agent that is measured: the real program, every way out on.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use trigon_tests::{exposition::Exposition, http, place, wait};

use crate::cpu::{self, Core, Memory};

/// Log records over gRPC and spans over HTTP to one receiver, JSON lines to nowhere, metrics.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    folder: TempDir,
    metrics: SocketAddr,
    /// From its start to the first 200 of /readyz.
    pub started: Duration,
}

/// What agents lost, all of them together.
#[derive(Debug, Default)]
pub struct Losses {
    /// Events that the agents saw.
    pub seen: f64,
    /// Events and records that they lost.
    pub lost: f64,
    /// Where, in the words of the metric's labels.
    pub places: Vec<String>,
}

// === impl Agent ===

impl Agent {
    /// Starts one on its core and waits until it is ready. `table` is added to `[process_table]`.
    pub fn start(endpoint: &str, table: &str) -> Self {
        Self::start_with(endpoint, table, "grpc")
    }

    /// As [`Self::start`], with log records by HTTP too.
    pub fn start_over_http(endpoint: &str) -> Self {
        Self::start_with(endpoint, "", "http/protobuf")
    }

    fn start_with(endpoint: &str, table: &str, logs: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("trigon-bench-").tempdir().expect("make a folder");
        let metrics = place::free_address();
        let file = folder.path().join("config.toml");
        // Without a file that another agent of this machine may have left, or may want.
        let config = format!("[process_table]\nstate_file = \"\"\n{table}\n");
        fs::write(&file, config).expect("write the configuration");
        let log = File::create(folder.path().join("log")).expect("make the agent's log");
        let begun = Instant::now();
        let child = Core::Agent.start(|| {
            let mut command = Command::new(place::agent());
            command.args(["run", "-o", "json", "--metrics-addr", &metrics.to_string()]);
            command.args(["--otlp-endpoint", endpoint, "--config"]).arg(file);
            command.arg("--socket").arg(folder.path().join("trigon.sock"));
            command.env_clear().env("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", logs);
            command.env("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf");
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("start the agent")
        });
        let mut agent = Self { child, folder, metrics, started: Duration::ZERO };
        while http::get(&format!("http://{metrics}/readyz"), &[]).is_err() {
            if let Some(status) = agent.child.try_wait().expect("ask for the agent's status") {
                panic!("the agent ended: {status}; its log:\n{}", agent.log());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        agent.started = begun.elapsed();
        agent
    }

    /// What `/metrics` says.
    pub fn metrics(&self) -> Exposition {
        Exposition::parse(
            &http::get(&format!("http://{}/metrics", self.metrics), &[]).expect("read /metrics"),
        )
    }

    /// Events that it has seen.
    pub fn events(&self, kind: &str) -> f64 {
        self.metrics().sum("trigon_events_total", &[("type", kind)])
    }

    /// Executions that it remembers.
    pub fn table(&self) -> f64 {
        self.metrics().sum("trigon_process_table_size", &[])
    }

    /// Events and records that it has lost.
    pub fn lost(&self) -> f64 {
        self.metrics().sum("trigon_lost_events_total", &[])
    }

    /// Its CPU time so far.
    pub fn cpu(&self) -> Duration {
        cpu::time_of(self.child.id())
    }

    /// Its CPU time so far, by the threads' names.
    pub fn cpu_by_thread(&self) -> BTreeMap<String, Duration> {
        cpu::by_thread(self.child.id())
    }

    /// Its memory now.
    pub fn memory(&self) -> Memory {
        Memory::of(self.child.id())
    }

    /// What the kernel says that its maps and programs take, in bytes.
    pub fn kernel_memory(&self) -> u64 {
        let folder = format!("/proc/{}/fdinfo", self.child.id());
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(folder).expect("list the agent's descriptors") {
            let text = entry.and_then(|entry| fs::read_to_string(entry.path())).unwrap_or_default();
            let field = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
                line.and_then(|value| value.trim().parse::<u64>().ok())
            };
            // Several descriptors may be of one.
            if let Some(memory) = field("memlock") {
                all.insert((field("map_id"), field("prog_id")), memory);
            }
        }
        all.values().sum()
    }

    /// Ends it, and adds what it lost to `losses`.
    pub fn stop(mut self, losses: &mut Losses) {
        // Long enough for its numbers to be brought up to date: it does that each second.
        let metrics = self.metrics();
        losses.add(&metrics);
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).expect("send SIGTERM to the agent");
        let ended = || self.child.try_wait().expect("ask for the agent's status");
        let status = wait::until("the end of the agent", ended, || "it goes on".to_owned());
        assert!(status.success(), "the agent ended with {status}; its log:\n{}", self.log());
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// === impl Losses ===

impl Losses {
    fn add(&mut self, metrics: &Exposition) {
        self.seen += metrics.sum("trigon_events_total", &[]);
        self.lost += metrics.sum("trigon_lost_events_total", &[]);
        for labels in metrics.labels("trigon_lost_events_total", &[]) {
            self.places.push(format!("{labels:?}"));
        }
    }
}
