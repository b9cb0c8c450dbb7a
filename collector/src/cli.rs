//! The command line.

use clap::{Parser, Subcommand};

mod agent;
pub mod events;
mod output;
pub mod policy;
pub mod run;
pub mod status;
pub mod trace;
pub mod tree;

/// See every process on this machine, as OpenTelemetry logs, spans and Prometheus metrics.
#[derive(Debug, Parser)]
#[command(name = "trigon", version, about, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent: attach to the kernel and export what happens, until it is told to stop.
    Run(run::Arguments),
    /// Show how the agent that runs here does: what is wrong, what is loaded, what was lost, where it exports.
    Status(status::Arguments),
    /// Show the processes on this machine as a tree, as the agent that runs here knows them.
    Tree(tree::Arguments),
    /// Show a trace as a waterfall, from what lives and the recent past that the agent keeps.
    Trace(trace::Arguments),
    /// Follow the events of the agent that runs here, or show those of a file or of standard input.
    Events(events::Arguments),
    /// Look after tracing policies.
    Policy(policy::Arguments),
}
