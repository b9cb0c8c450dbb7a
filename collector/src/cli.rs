//! The command line.

use clap::{Parser, Subcommand};

pub mod config;
pub mod doctor;
mod flags;
mod output;
pub mod policy;
pub mod run;

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
    /// Look after tracing policies.
    Policy(policy::Arguments),
    /// Check the configuration, or show what is in effect and where each value comes from.
    Config(config::Arguments),
    /// Try what this kernel offers, and say what Trigon will use, what is missing, and what mends it.
    Doctor(doctor::Arguments),
}
