//! The command line.

use clap::{Parser, Subcommand};

mod agent;
pub mod config;
pub mod doctor;
pub mod events;
mod flags;
pub mod metrics;
mod output;
pub mod policy;
pub mod run;
pub mod shell;
pub mod status;
pub mod trace;
pub mod tree;

/// What stands below the help of all commands together.
const AFTER: &str = "\
Examples:
  sudo trigon run                       events here, metrics on http://127.0.0.1:2112/metrics
  sudo trigon run -o none --otlp-endpoint http://127.0.0.1:4318
  sudo trigon doctor                    what this kernel offers, and what is missing
  trigon config show /etc/trigon/config.toml
  sudo trigon status                    how the agent that runs here does
  sudo trigon events --event-type exec  what it sees, as it comes
  sudo trigon policy list

Exit codes:
  0  done, or stopped as told
  1  something that should not happen; `doctor`: something is missing; `policy check`: a fault
  2  wrong command line
  3  wrong configuration, or a wrong policy
  4  not permitted
  5  the kernel can't: too old, or without BTF
  6  the address for metrics, or the socket of the local API, is taken or can't be made
  7  a policy can't be loaded
  8  no agent runs here, or it doesn't answer

Environment:
  TRIGON_LOG  what the agent logs to standard error: error, warn, info (the default), debug
  NO_COLOR    no colours, also on a terminal";

/// See every process on this machine, as OpenTelemetry logs, spans and Prometheus metrics.
#[derive(Debug, Parser)]
#[command(name = "trigon", version, about, propagate_version = true, after_help = AFTER)]
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
    /// Check the configuration, or show what is in effect and where each value comes from.
    Config(config::Arguments),
    /// List the metrics that an agent has: their names, types, labels and meanings.
    Metrics(metrics::Arguments),
    /// Try what this kernel offers, and say what Trigon will use, what is missing, and what mends it.
    Doctor(doctor::Arguments),
    /// Write completions for a shell to standard output.
    Completions(shell::CompletionsArguments),
    /// Write man pages.
    Man(shell::ManArguments),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn clap_finds_nothing_wrong() {
        Cli::command().debug_assert();
    }

    /// Nothing is without help, whoever adds it.
    #[test]
    fn every_command_and_every_argument_has_help() {
        fn walk(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "{path} has no help");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{path}: {} has no help", argument.get_id());
                for value in argument.get_possible_values() {
                    let named = argument.get_id() == "shell" || value.get_help().is_some();
                    let switch = ["true", "false"].contains(&value.get_name());
                    assert!(
                        named || switch,
                        "{path}: {} of {} has no help",
                        value.get_name(),
                        argument.get_id()
                    );
                }
            }
            command.get_subcommands().for_each(|command| walk(command, &path));
        }
        let mut command = Cli::command();
        command.build();
        walk(&command, "");
    }

    #[test]
    fn examples_fit_a_terminal() {
        fn walk(command: &clap::Command) {
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in text.lines() {
                assert!(line.chars().count() <= 120, "{line}");
            }
            command.get_subcommands().for_each(walk);
        }
        walk(&Cli::command());
    }
}
