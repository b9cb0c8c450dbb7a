//! What keeps the agent from running, with an exit code for each kind.

use std::{path::PathBuf, process::ExitCode};

use trigon_exporters::{file, metrics::http::BindError, otlp::ClientError};
use trigon_probes::ProbeError;

use crate::{
    api::socket::SocketError,
    config::ConfigError,
    kubernetes,
    policy::{FileError, engine::LoadError},
};

/// Why the agent doesn't run, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address for metrics is taken.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The socket of the local API can't be made.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The kernel doesn't let it.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The Kubernetes API server can't be reached as the configuration says.
    #[error(transparent)]
    Kubernetes(#[from] kubernetes::client::ClientError),
    /// The container runtime's socket can't be used.
    #[error("cannot use the container runtime's socket {}: {source}; kubernetes.cri_socket names it", socket.display())]
    Cri {
        /// The socket.
        socket: PathBuf,
        /// Why not.
        source: tonic::transport::Error,
    },
    /// An OTLP connection can't be prepared.
    #[error(transparent)]
    Otlp(#[from] ClientError),
    /// Events can't be written to a file.
    #[error(transparent)]
    File(#[from] file::FileError),
    /// A policy's file can't be read.
    #[error(transparent)]
    PolicyFile(#[from] FileError),
    /// A policy is wrong.
    #[error("{} has {errors} errors; `trigon policy check` shows them", file.display())]
    Policy {
        /// Which file.
        file: PathBuf,
        /// How many.
        errors: usize,
    },
    /// A policy can't be loaded.
    #[error("policy {policy} can't be loaded: {source}")]
    PolicyLoad {
        /// Which.
        policy: String,
        /// Why not.
        source: Box<LoadError>,
    },
    /// /proc can't be listed.
    #[error("cannot list the processes that run already: {0}. Is /proc mounted?")]
    Bootstrap(Box<procfs::ProcError>),
    /// The system refused something that it grants as a rule.
    #[error("cannot {what}: {source}")]
    System {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// Two metrics have the same name: an error of the program.
    #[error("cannot register a metric: {0}")]
    Metrics(#[from] prometheus::Error),
    /// A thread ended by a panic: an error of the program.
    #[error("a part of the agent ended unexpectedly; please report what was logged before")]
    Panic,
}

// === impl AgentError ===

impl AgentError {
    /// The program's exit code. 2 is what clap uses for a wrong command line.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Config(_)
            | Self::Kubernetes(_)
            | Self::Cri { .. }
            | Self::PolicyFile(_)
            | Self::Policy { .. } => 3,
            Self::PolicyLoad { .. } => 7,
            Self::Probe(ProbeError::NotPermitted(_)) => 4,
            Self::Probe(
                ProbeError::NoBtf(_)
                | ProbeError::Types(_)
                | ProbeError::TooOld { .. }
                | ProbeError::Attach { .. },
            ) => 5,
            Self::Bind(_) | Self::Socket(_) | Self::File(_) => 6,
            _ => 1,
        })
    }
}
