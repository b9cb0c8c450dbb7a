//! The local API: what a client and the agent say to each other over a Unix socket.
//!
//! HTTP/1.1 with JSON; the header `server` of each answer names the agent's version.
//!
//! | | |
//! |---|---|
//! | `GET /v1/version` | [`Version`] |
//! | `GET /v1/status` | [`Status`](status::Status) |
//! | `GET /v1/events` ([`EventsQuery`](events::EventsQuery)) | events, one JSON line each, without end |
//! | `GET /v1/processes` | [`ProcessList`](processes::ProcessList) |
//! | `GET /v1/traces/ID`, of a trace, an execution or a process | [`TraceStatus`](traces::TraceStatus) |
//! | `GET /v1/policies` | [`PolicyList`] |
//! | `POST /v1/policies`, the body a policy file, with `?mode=monitor` or `enforce` in that mode | [`Added`] |
//! | `DELETE /v1/policies/NAME` | nothing |
//! | `POST /v1/policies/NAME/enable`, `…/disable`, `…/monitor`, `…/enforce` | [`PolicyStatus`] |
//! | `POST /v1/tries?milliseconds=N`, the body a policy file; answered after that time | [`TryReport`](tries::TryReport) |
//!
//! NAME of a policy of a namespace is `NAMESPACE%2FNAME`.
//!
//! A status of 400 or more comes with a [`Problem`].

use std::{fmt, path::PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    kubernetes::config::PolicyGroup,
    policy::model::{Mode, key_of},
};

pub mod client;
pub mod events;
mod policies;
pub mod processes;
pub mod server;
pub mod socket;
pub mod status;
pub mod traces;
pub mod tries;

/// Where the agent listens, unless it is told otherwise.
pub const SOCKET: &str = "/run/trigon/trigon.sock";

/// This program's version, as agent and as client.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Which agent answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its version.
    pub version: String,
}

/// All policies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyList {
    /// By name; what has none comes first.
    pub policies: Vec<PolicyStatus>,
}

/// How it stands with a policy, or with a file that should have had some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// Its name; none for a file that can't be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its namespace, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// How it stands with it.
    pub state: State,
    /// Whether it does what it says; none where it isn't loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<PolicyMode>,
    /// Since when.
    pub since: Timestamp,
    /// Where it comes from.
    pub from: Origin,
    /// Its hooks, in the order of the file.
    pub hooks: Vec<HookStatus>,
    /// Bytes of the kernel's memory that it takes, at most; of what policies share, its share.
    pub kernel_memory_bytes: u64,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How it stands with a policy: Tetragon's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// In force.
    Enabled,
    /// In force, but for hooks that this kernel doesn't have and that it says it can do without.
    PartiallyEnabled,
    /// Loaded, and not in force.
    Disabled,
    /// In force as it was; what was to change could not be done.
    Error,
    /// It could not be loaded.
    LoadError,
    /// Left out: it is for other nodes, or another one has its name.
    Skipped,
}

/// Whether a policy does what it says: Tetragon's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyMode {
    /// It kills, signals and denies.
    Enforce,
    /// It tells what it would have done.
    Monitor,
    /// There is nothing that it could do but tell.
    MonitorOnly,
}

/// Where a policy comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", content = "path")]
pub enum Origin {
    /// A file that the command line names.
    File(PathBuf),
    /// A file of the directory that is watched.
    Directory(PathBuf),
    /// This API.
    Api,
    /// The API server of the cluster: an object of this group.
    Kubernetes(PolicyGroup),
}

/// A hook of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookStatus {
    /// The kernel's name for it.
    pub name: String,
    /// How it is entered; none where it isn't.
    pub mechanism: Option<String>,
}

/// What became of the policies of a file. Those that could not be loaded stay listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Added {
    /// Each of them.
    pub policies: Vec<PolicyStatus>,
    /// What has no effect where it stands in the file.
    pub warnings: Vec<FileFault>,
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What was wrong, and what to do.
    pub error: String,
    /// What is wrong in the file that was sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FileFault>,
    /// Faults beyond these.
    #[serde(default)]
    pub hidden: usize,
}

/// A fault in a policy file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFault {
    /// Its line, from 1.
    pub line: u32,
    /// Its column, from 1.
    pub column: u32,
    /// `line:column: error: path: message`, as `trigon policy check` prints it.
    pub text: String,
}

// === impl PolicyMode ===

impl PolicyMode {
    /// As JSON has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Monitor => "monitor",
            Self::MonitorOnly => "monitor_only",
        }
    }
}

impl From<Option<Mode>> for PolicyMode {
    fn from(mode: Option<Mode>) -> Self {
        match mode {
            Some(Mode::Enforce) => Self::Enforce,
            Some(Mode::Monitor) => Self::Monitor,
            None => Self::MonitorOnly,
        }
    }
}

// === impl PolicyStatus ===

impl PolicyStatus {
    /// What it is known by: `name`, or `namespace/name`. None for a file that can't be read.
    pub fn key(&self) -> Option<String> {
        self.name.as_ref().map(|name| key_of(self.namespace.as_deref(), name))
    }
}

// === impl State ===

impl State {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Enabled, Self::PartiallyEnabled, Self::Disabled, Self::Error, Self::LoadError, Self::Skipped];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::PartiallyEnabled => "partially_enabled",
            Self::Disabled => "disabled",
            Self::Error => "error",
            Self::LoadError => "load_error",
            Self::Skipped => "skipped",
        }
    }
}

// === impl Origin ===

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) | Self::Directory(path) => path.display().fmt(formatter),
            Self::Api => formatter.write_str("api"),
            Self::Kubernetes(group) => write!(formatter, "kubernetes ({})", group.as_str()),
        }
    }
}

// === impl Problem ===

impl Problem {
    /// Of a text alone.
    pub fn new(error: impl fmt::Display) -> Self {
        Self { error: error.to_string(), faults: Vec::new(), hidden: 0 }
    }
}
