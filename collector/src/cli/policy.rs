//! `trigon policy`

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use tracing::error;

use super::output::{Output, write};
use crate::api::{
    self,
    client::{Client, ClientError},
};

mod change;
mod check;
mod list;

use change::Change;

/// Arguments of `trigon policy`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  trigon policy check deploy/policies
  sudo trigon policy add my-policy.yaml
  sudo trigon policy list -o json
  sudo trigon policy disable my-policy")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check policy files without loading them. Needs no privileges.
    Check(check::Arguments),
    /// Show the policies of the agent that runs here: state, hooks, how each is entered.
    List(list::Arguments),
    /// Load policies into the agent that runs here.
    Add(change::AddArguments),
    /// Take policies out of the agent that runs here.
    Delete(change::NameArguments),
    /// Put policies in force that were disabled, or try again to load them.
    Enable(change::NameArguments),
    /// Put policies out of force, without forgetting them.
    Disable(change::NameArguments),
}

/// Where the agent listens.
#[derive(Debug, Args)]
struct Agent {
    /// The socket of the agent.
    #[arg(long, value_name = "PATH", env = "TRIGON_SOCKET", default_value = api::SOCKET)]
    socket: PathBuf,
}

/// Does what the command line says.
pub fn run(arguments: Arguments) -> ExitCode {
    match arguments.command {
        Command::Check(arguments) => check::run(&arguments),
        Command::List(arguments) => list::run(arguments),
        Command::Add(arguments) => change::add(arguments),
        Command::Delete(arguments) => change::each(arguments, Change::Delete),
        Command::Enable(arguments) => change::each(arguments, Change::Enable),
        Command::Disable(arguments) => change::each(arguments, Change::Disable),
    }
}

// === impl Agent ===

impl Agent {
    /// Asks the agent, on a runtime of its own.
    fn ask(self, job: impl AsyncFnOnce(Client) -> ExitCode) -> ExitCode {
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
fn failed(error: &ClientError) -> ExitCode {
    error!("{error}");
    error.exit_code()
}
