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
    file::{self, FileConfig},
    filter::{self, Filter, FilterConfig, FilterError},
    metrics::MetricsConfig,
    nearest::nearest,
    otlp::{
        Destination, OtlpTables,
        declared::Declared,
        push::{Push, SelfMetricsConfig},
    },
};

use trigon_probes::lifecycle::{MAX_NAME_BYTES, MAX_VARIABLES};

use crate::{
    api,
    kubernetes::{KubernetesConfig, config::Enabled},
    redact::{Redaction, RedactionConfig},
    tracker::{self, trace::Rules},
};

mod error;
pub mod layers;

pub use error::ConfigError;

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
    /// `[recent]`
    pub recent: RecentConfig,
    /// `[filter]`
    pub filter: FilterConfig,
    /// `[env]`
    pub env: EnvConfig,
    /// `[redaction]`
    pub redaction: RedactionConfig,
    /// `[otlp]`, or `[[otlp]]` as often as there are endpoints
    pub otlp: OtlpTables,
    /// `[stdout]`
    pub stdout: StdoutConfig,
    /// `[[file]]`
    #[serde(deserialize_with = "file::one_or_more")]
    pub file: Vec<FileConfig>,
    /// `[metrics]`
    pub metrics: MetricsConfig,
    /// `[self_metrics]`
    pub self_metrics: SelfMetricsConfig,
    /// `[kubernetes]`
    pub kubernetes: KubernetesConfig,
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

/// `[recent]`: the recent past, for `trigon trace` and `trigon events --since-start`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecentConfig {
    /// Bytes of events that are kept. 0: none.
    pub max_bytes: usize,
}

/// `[stdout]`: lines to standard output.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StdoutConfig {
    /// What is written; where it is left out, what the general filter lets through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<FilterConfig>,
}

/// `[env]`: variables of processes' environments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EnvConfig {
    /// Names of those that are collected.
    pub collect: Vec<String>,
}

/// `[policy]`: tracing policies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyConfig {
    /// A directory that is watched: its files are what is loaded. Empty: none.
    pub dir: PathBuf,
    /// Where OpenTelemetry's eBPF instrumentation pins its map of requests. Empty: it is not looked for.
    pub traces_ctx: PathBuf,
    /// Stack traces tell addresses, too.
    pub expose_stack_addresses: bool,
    /// Policies may have the agent call out: `GetUrl`, `DnsLookup`.
    pub allow_outbound_actions: bool,
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

/// What the command line gives of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The file; none for defaults.
    pub file: Option<PathBuf>,
    /// What the command line says.
    pub overrides: Overrides,
}

/// The configuration after all overrides, in the form that the stages take.
#[derive(Clone, Debug)]
pub struct Effective {
    /// Name of the node.
    pub node: String,
    /// The name is that of a Kubernetes node.
    pub kubernetes: bool,
    /// What is masked in events.
    pub redaction: Redaction,
    /// Where log records and spans are sent.
    pub otlp: Vec<Destination>,
    /// What OpenTelemetry's variables say about what they are from.
    pub resource: Declared,
    /// Where the agent's own metrics are pushed, if they are.
    pub self_metrics: Option<Push>,
    /// What is written to standard output.
    pub stdout_filter: Filter,
    /// Files that events are written to, and what of them.
    pub files: Vec<(FileConfig, Filter)>,
    /// The rest.
    pub config: Config,
}

/// Looks an environment variable up.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

// === impl Given ===

impl Given {
    /// Reads it, now.
    ///
    /// # Errors
    /// Names what can't be used and what is allowed.
    pub fn load(&self) -> Result<Effective, ConfigError> {
        let config = self.file.as_deref().map(Config::read).transpose()?.unwrap_or_default();
        config.apply(&|name| std::env::var(name).ok(), &self.overrides)
    }
}

// === impl Config ===

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// Names the file, the line, the key and what is allowed.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    /// Understands the text of a file.
    ///
    /// # Errors
    /// Names the file, the line, the key and what is allowed.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|source| ConfigError::Parse {
            path: path.to_owned(),
            meant: meant(source.message()),
            source: Box::new(source),
        })
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
        let kubernetes = match self.kubernetes.enabled {
            Enabled::Auto => named.is_some() && set("KUBERNETES_SERVICE_HOST").is_some(),
            Enabled::Always => true,
            Enabled::Never => false,
        };
        let configured = Some(self.node.name.clone()).filter(|name| !name.is_empty());
        let node = named.or(configured).unwrap_or_else(host_name);
        let flag = overrides.otlp_endpoint.as_deref();
        let general = Filter::new("filter", &self.filter, filter::Source::Agent)?;
        let filter = |name: &str, own: &Option<FilterConfig>| match own {
            Some(own) => Filter::new(name, own, filter::Source::Agent),
            None => Ok(general.clone()),
        };
        let mut otlp = Destination::all(&self.otlp.0, environment, flag)?;
        // One that can't be used is told of, whether anything is sent there or not.
        for (index, table) in self.otlp.0.iter().enumerate() {
            let name = match self.otlp.0.len() {
                1 => "otlp.filter".to_owned(),
                _ => format!("otlp[{index}].filter"),
            };
            let own = filter(&name, &table.filter)?;
            for destination in otlp.iter_mut().filter(|destination| destination.table == index) {
                destination.settings.filter = own.clone();
            }
        }
        let files = self.file.iter().enumerate().filter(|(_, file)| !file.path.as_os_str().is_empty());
        let files = files
            .map(|(index, file)| Ok((file.clone(), filter(&format!("file[{index}].filter"), &file.filter)?)))
            .collect::<Result<_, FilterError>>();
        Ok(Effective {
            node,
            kubernetes,
            redaction: Redaction::new(&self.redaction)?,
            otlp,
            resource: Declared::read(environment)?,
            self_metrics: Push::new(&self.self_metrics, &self.otlp.0, environment, flag)?,
            stdout_filter: filter("stdout.filter", &self.stdout.filter)?,
            files: files?,
            config: self,
        })
    }

    fn check(&self) -> Result<(), ConfigError> {
        let Self { process_table, limits, env, metrics, .. } = self;
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
        if env.collect.len() > MAX_VARIABLES {
            return fail("env.collect", env.collect.len(), "32 names at most are allowed");
        }
        let usable = |name: &&String| {
            !name.is_empty() && name.len() + 2 <= MAX_NAME_BYTES && !name.contains(['=', '\0', '*'])
        };
        if let Some(name) = env.collect.iter().find(|name| !usable(name)) {
            let allowed = "whole names of 1 to 62 bytes without `=` are allowed";
            return Err(ConfigError::Value { key: "env.collect", value: format!("{name:?}"), allowed });
        }
        let stale_after = metrics.stale_after;
        if !stale_after.is_zero() && stale_after < Duration::from_secs(1) {
            let allowed = "0s (never), or 1s and more, is allowed";
            return Err(ConfigError::Value {
                key: "metrics.stale_after",
                value: format!("{stale_after:?}"),
                allowed,
            });
        }
        if limits.stdout_queue_events == 0 {
            return fail("limits.stdout_queue_events", 0, "a number above 0 is allowed");
        }
        file::check(&self.file)?;
        Ok(())
    }
}

/// What was meant by an unknown key or word: serde's messages name it first, and then those that it expected.
fn meant(message: &str) -> Option<String> {
    let message =
        message.strip_prefix("unknown field ").or_else(|| message.strip_prefix("unknown variant "))?;
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    nearest(unknown, quoted).map(str::to_owned)
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

// === impl Effective ===

impl Effective {
    /// What the tracker is told to do.
    pub fn tracker(&self) -> tracker::Settings {
        let nanoseconds = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let Config { process_table, trace, limits, env, policy, .. } = &self.config;
        tracker::Settings {
            node: self.node.clone(),
            rules: Rules { join_env: trace.join_env, max_age_ns: nanoseconds(trace.max_age) },
            max_args: limits.args,
            variables: env.collect.clone(),
            capacity: process_table.capacity,
            linger: process_table.linger,
            redaction: self.redaction.clone(),
            expose_stack_addresses: policy.expose_stack_addresses,
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

impl Default for RecentConfig {
    fn default() -> Self {
        Self { max_bytes: 4 << 20 }
    }
}

impl Default for TraceConfig {
    fn default() -> Self {
        Self { join_env: true, max_age: Duration::from_secs(24 * 3600) }
    }
}

impl Default for PolicyConfig {
    fn default() -> Self {
        Self {
            allow_outbound_actions: false,
            dir: PathBuf::new(),
            expose_stack_addresses: false,
            traces_ctx: "/sys/fs/bpf/otel/traces_ctx_v1".into(),
        }
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
