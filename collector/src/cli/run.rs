//! `trigon run`

use std::{net::SocketAddr, path::PathBuf};

use clap::{
    Args, ValueEnum,
    builder::{OsStringValueParser, TypedValueParser as _},
};
use tracing::{error, warn};
use trigon_exporters::stdout::Format;

use super::output::takes_color;
use crate::{
    agent::{self, AgentError},
    config::{Config, Overrides},
    policy::{self, fault::Class, model::Policy},
};

/// Arguments of `trigon run`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The configuration file. Without one, defaults apply.
    #[arg(long, value_name = "FILE", env = "TRIGON_CONFIG")]
    config: Option<PathBuf>,
    /// How events are written to standard output.
    #[arg(short, long, value_enum, default_value_t = Output::Compact, env = "TRIGON_OUTPUT")]
    output: Output,
    /// Where to send log records and spans, such as http://127.0.0.1:4318.
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// A tracing policy, or a directory of them, to load; may be given more than once.
    #[arg(long, value_name = "FILE|DIR")]
    policy: Vec<PathBuf>,
    /// Where to serve /metrics, such as 127.0.0.1:2112.
    #[arg(long, value_name = "ADDRESS", env = "TRIGON_METRICS_ADDR")]
    metrics_addr: Option<SocketAddr>,
    /// The Unix socket for `trigon policy`; empty for none.
    #[arg(long, value_name = "PATH", env = "TRIGON_SOCKET", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    socket: Option<PathBuf>,
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
pub fn run(arguments: Arguments) -> Result<(), AgentError> {
    let config = match &arguments.config {
        Some(path) => Config::read(path)?,
        None => Config::default(),
    };
    let overrides = Overrides {
        otlp_endpoint: arguments.otlp_endpoint,
        metrics_addr: arguments.metrics_addr,
        socket: arguments.socket,
    };
    let environment = |name: &str| std::env::var(name).ok();
    let effective = config.apply(&environment, &overrides)?;
    let color = takes_color();
    let format = match arguments.output {
        Output::Compact => Some(Format::Compact { color, timestamps: false }),
        Output::Json => Some(Format::Json),
        Output::None => None,
    };
    let policies = read_policies(&arguments.policy)?;
    agent::run(&effective, format, policies)
}

/// Reads the policies that the command line names: one that is wrong stops the start.
fn read_policies(paths: &[PathBuf]) -> Result<Vec<(PathBuf, Policy)>, AgentError> {
    let mut policies = Vec::new();
    for path in paths {
        for file in policy::files(path)? {
            let checked = policy::check_file(&file)?;
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
