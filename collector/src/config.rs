//! The configuration: `config.toml`, what overrides it, and what is wrong with it.
//!
//! A setting is taken from the first that has it: the command line, the environment, the file, the default.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as duration;
use serde::{Deserialize, Serialize};
use trigon_exporters::{
    metrics::MetricsConfig,
    otlp::{
        Destination, OtlpTables, SettingsError,
        declared::Declared,
        push::{Push, SelfMetricsConfig},
    },
};

use crate::{
    api,
    tracker::{self, trace::Rules},
};

#[cfg(test)]
mod tests;

/// Everything that can be set. The file `config.toml` at the root of the project explains each key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `[node]`
    pub node: NodeConfig,
    /// `[process_table]`
    pub process_table: ProcessTableConfig,
    /// `[trace]`
    pub trace: TraceConfig,
    /// `[otlp]`, or `[[otlp]]` as often as there are endpoints
    pub otlp: OtlpTables,
    /// `[metrics]`
    pub metrics: MetricsConfig,
    /// `[self_metrics]`
    pub self_metrics: SelfMetricsConfig,
    /// `[policy]`
    pub policy: PolicyConfig,
    /// `[api]`
    pub api: ApiConfig,
    /// `[limits]`
    pub limits: LimitsConfig,
}

/// `[node]`: what this machine is called.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeConfig {
    /// Part of every exec_id, and `host.name`. Empty: the variable NODE_NAME, else the host name.
    pub name: String,
}

/// `[process_table]`: what is remembered of processes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProcessTableConfig {
    /// Executions at a time.
    pub capacity: usize,
    /// How long one that ended stays.
    #[serde(with = "duration")]
    pub linger: Duration,
    /// Where an agent that stops leaves what its successor can't learn from the kernel. Empty: nowhere.
    pub state_file: PathBuf,
}

/// `[trace]`: how executions are put together to traces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TraceConfig {
    /// Continue the trace that TRACEPARENT in a process's environment names.
    pub join_env: bool,
    /// A process that is started from an older trace begins its own.
    #[serde(with = "duration")]
    pub max_age: Duration,
}

/// `[policy]`: tracing policies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyConfig {
    /// A directory that is watched: its files are what is loaded. Empty: none.
    pub dir: PathBuf,
}

/// `[api]`: the local API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiConfig {
    /// Where it listens. Empty: nowhere.
    pub socket: PathBuf,
}

/// `[limits]`: how much of everything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Size of the ring buffer between kernel and agent; 0 for what suits the machine.
    pub ring_buffer_bytes: u32,
    /// Arguments of a process that are kept.
    pub args: usize,
    /// Bytes of arguments that are kept.
    pub args_bytes: u32,
    /// Events that wait to be written to standard output.
    pub stdout_queue_events: usize,
    /// How long a stopping agent goes on sending.
    #[serde(with = "duration")]
    pub shutdown_timeout: Duration,
}

/// What the command line sets; each beats everything else.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--otlp-endpoint`
    pub otlp_endpoint: Option<String>,
    /// `--metrics-addr`
    pub metrics_addr: Option<SocketAddr>,
    /// `--socket`
    pub socket: Option<PathBuf>,
}

/// The configuration after all overrides, in the form that the stages take.
#[derive(Clone, Debug)]
pub struct Effective {
    /// Name of the node.
    pub node: String,
    /// The name is that of a Kubernetes node.
    pub kubernetes: bool,
    /// Where log records and spans are sent.
    pub otlp: Vec<Destination>,
    /// What OpenTelemetry's variables say about what they are from.
    pub resource: Declared,
    /// Where the agent's own metrics are pushed, if they are.
    pub self_metrics: Option<Push>,
    /// The rest.
    pub config: Config,
}

/// A configuration that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file isn't what is expected: the message names line, column, key and what is allowed.
    #[error("the configuration {} can't be used: {source}", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// What and where.
        source: Box<toml::de::Error>,
    },
    /// A value is of the right type and yet of no use.
    #[error("{key} = {value} can't be used: {allowed}")]
    Value {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// An OTLP setting can't be used.
    #[error(transparent)]
    Otlp(#[from] SettingsError),
}

/// Looks an environment variable up.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

// === impl Config ===

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// Names the file, the line, the key and what is allowed.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        toml::from_str(&text)
            .map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })
    }

    /// Applies the environment and the command line, and checks every value.
    ///
    /// # Errors
    /// Names the first setting that can't be used and what is allowed.
    pub fn apply(
        mut self,
        environment: Environment<'_>,
        overrides: &Overrides,
    ) -> Result<Effective, ConfigError> {
        self.check()?;
        if let Some(addr) = overrides.metrics_addr {
            self.metrics.addr = addr;
        }
        if let Some(socket) = &overrides.socket {
            self.api.socket.clone_from(socket);
        }
        let set = |name| environment(name).filter(|value| !value.is_empty());
        let named = set("NODE_NAME");
        // The name comes by the downward API, and the other variable is in every pod.
        let kubernetes = named.is_some() && set("KUBERNETES_SERVICE_HOST").is_some();
        let configured = Some(self.node.name.clone()).filter(|name| !name.is_empty());
        let node = named.or(configured).unwrap_or_else(host_name);
        let flag = overrides.otlp_endpoint.as_deref();
        Ok(Effective {
            node,
            kubernetes,
            otlp: Destination::all(&self.otlp.0, environment, flag)?,
            resource: Declared::read(environment)?,
            self_metrics: Push::new(&self.self_metrics, &self.otlp.0, environment, flag)?,
            config: self,
        })
    }

    fn check(&self) -> Result<(), ConfigError> {
        let Self { process_table, limits, .. } = self;
        let fail =
            |key, value: usize, allowed| Err(ConfigError::Value { key, value: value.to_string(), allowed });
        let ring = limits.ring_buffer_bytes;
        if ring != 0 && !(ring.is_power_of_two() && (1 << 16..=1 << 30).contains(&ring)) {
            let allowed = "0, or a power of two from 65536 (64 KiB) to 1073741824 (1 GiB), is allowed";
            return fail("limits.ring_buffer_bytes", ring as usize, allowed);
        }
        if !(1..=1 << 24).contains(&process_table.capacity) {
            let allowed = "a number from 1 to 16777216 is allowed";
            return fail("process_table.capacity", process_table.capacity, allowed);
        }
        if limits.args_bytes > 16_384 {
            return fail("limits.args_bytes", limits.args_bytes as usize, "a number up to 16384 is allowed");
        }
        if limits.args > 16_384 {
            return fail("limits.args", limits.args, "a number up to 16384 is allowed");
        }
        if limits.stdout_queue_events == 0 {
            return fail("limits.stdout_queue_events", 0, "a number above 0 is allowed");
        }
        Ok(())
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

// === impl Effective ===

impl Effective {
    /// What the tracker is told to do.
    pub fn tracker(&self) -> tracker::Settings {
        let nanoseconds = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let Config { process_table, trace, limits, .. } = &self.config;
        tracker::Settings {
            node: self.node.clone(),
            rules: Rules { join_env: trace.join_env, max_age_ns: nanoseconds(trace.max_age) },
            max_args: limits.args,
            capacity: process_table.capacity,
            linger: process_table.linger,
        }
    }
}

// === impl LimitsConfig ===

impl LimitsConfig {
    /// The ring buffer's size: as many processes start at a time as there are CPUs.
    pub fn ring_buffer(&self) -> u32 {
        const PER_CPU: usize = 2 << 20;
        match self.ring_buffer_bytes {
            0 => {
                let cpus = std::thread::available_parallelism().map_or(1, usize::from);
                (cpus * PER_CPU).next_power_of_two().clamp(4 << 20, 64 << 20) as u32
            }
            bytes => bytes,
        }
    }
}

// === defaults ===

impl Default for ProcessTableConfig {
    fn default() -> Self {
        Self { capacity: 65_536, linger: Duration::from_secs(10), state_file: "/run/trigon/processes".into() }
    }
}

impl Default for TraceConfig {
    fn default() -> Self {
        Self { join_env: true, max_age: Duration::from_secs(24 * 3600) }
    }
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self { socket: api::SOCKET.into() }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            ring_buffer_bytes: 0,
            args: 256,
            args_bytes: 16_384,
            stdout_queue_events: 16_384,
            shutdown_timeout: Duration::from_secs(10),
        }
    }
}
