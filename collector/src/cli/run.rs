//! `trigon run`

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tracing::{error, warn};
use trigon_exporters::lines::Format;

use super::{flags::Flags, output::takes_color};
use crate::{
    agent::{self, AgentError},
    config::Given,
    policy::{self, Rules, fault::Class, model::Policy},
};

/// Arguments of `trigon run`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sudo trigon run
  sudo trigon run -o json --policy /etc/trigon/policies | jq .process_exec
  sudo trigon run --config /etc/trigon/config.toml -o none

A setting is taken from the first that has it: command line, environment, file, default; `trigon config show` tells.
SIGTERM and SIGINT let it send what it has read.")]
pub struct Arguments {
    /// The configuration file. Without one, defaults apply.
    #[arg(long, value_name = "FILE", env = "TRIGON_CONFIG")]
    config: Option<PathBuf>,
    /// How events are written to standard output.
    #[arg(short, long, value_enum, default_value_t = Output::Compact, env = "TRIGON_OUTPUT")]
    output: Output,
    /// A tracing policy, or a directory of them, to load; may be given more than once.
    #[arg(long, value_name = "FILE|DIR")]
    policy: Vec<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

/// How events are written to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// One line for people, in colour on a terminal.
    Compact,
    /// One JSON object a line, in Tetragon's shape.
    Json,
    /// Not at all.
    None,
}

/// Runs the agent until it is told to stop.
///
/// # Errors
/// Says what stopped it, and what to do.
pub fn run(arguments: &Arguments) -> Result<(), AgentError> {
    let given = Given { file: arguments.config.clone(), overrides: arguments.flags.overrides() };
    let settings = given.load()?;
    let color = takes_color();
    let format = match arguments.output {
        Output::Compact => Some(Format::Compact { color, timestamps: false }),
        Output::Json => Some(Format::Json),
        Output::None => None,
    };
    let rules = Rules { outbound: settings.config.policy.allow_outbound_actions };
    let policies = read_policies(&arguments.policy, rules)?;
    agent::run(given, settings, format, policies)
}

/// Reads the policies that the command line names: one that is wrong stops the start.
fn read_policies(paths: &[PathBuf], rules: Rules) -> Result<Vec<(PathBuf, Policy)>, AgentError> {
    let mut policies = Vec::new();
    for path in paths {
        for file in policy::files(path)? {
            let checked = rules.check_file(&file)?;
            for fault in &checked.faults {
                match fault.class {
                    // What it tells of is about to happen.
                    Class::Note => {}
                    Class::Warning => warn!("{}:{fault}", file.display()),
                    _ => error!("{}:{fault}", file.display()),
                }
            }
            if checked.errors > 0 {
                return Err(AgentError::Policy { file, errors: checked.errors });
            }
            policies.extend(checked.policies.into_iter().map(|policy| (file.clone(), policy)));
        }
    }
    Ok(policies)
}
