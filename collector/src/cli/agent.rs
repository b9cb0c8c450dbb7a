//! The agent that a command asks.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use tracing::error;

use crate::api::{
    self,
    client::{Client, ClientError},
};

/// Where the agent listens.
#[derive(Debug, Args)]
pub(super) struct Agent {
    /// The socket of the agent.
    #[arg(long, value_name = "PATH", env = "TRIGON_SOCKET", default_value = api::SOCKET)]
    socket: PathBuf,
}

// === impl Agent ===

impl Agent {
    /// Asks the agent, on a runtime of its own.
    pub(super) fn ask(self, job: impl AsyncFnOnce(Client) -> ExitCode) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(job(Client::new(self.socket))),
            Err(error) => {
                error!("cannot start: {error}");
                ExitCode::FAILURE
            }
        }
    }
}

/// Says why the agent didn't do it.
pub(super) fn failed(error: &ClientError) -> ExitCode {
    error!("{error}");
    error.exit_code()
}
