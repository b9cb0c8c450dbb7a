//! `trigon`: parses the command line and dispatches.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use tracing::error;
use tracing_subscriber::EnvFilter;
use trigon::cli::{Cli, Command, config, doctor, events, metrics, policy, run, shell, status, trace, tree};

fn main() -> ExitCode {
    // The agent's memory is small and scattered: huge pages would round each piece up to 2 MiB. A kernel without
    // them has nothing to refuse.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("TRIGON_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    // Standard output carries events and nothing else.
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal).init();
    let result = match cli.command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Status(arguments) => return status::run(arguments),
        Command::Tree(arguments) => return tree::run(arguments),
        Command::Trace(arguments) => return trace::run(arguments),
        Command::Events(arguments) => return events::run(arguments),
        Command::Policy(arguments) => return policy::run(arguments),
        Command::Config(arguments) => return config::run(&arguments),
        Command::Metrics(arguments) => return metrics::run(&arguments),
        Command::Doctor(arguments) => return doctor::run(&arguments),
        Command::Completions(arguments) => return shell::completions(&arguments),
        Command::Man(arguments) => return shell::man(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error}");
            error.exit_code()
        }
    }
}
