//! `trigon doctor`

use std::process::ExitCode;

use clap::Args;
use trigon_probes::kernel;

use super::output::{Output, takes_color, write};
use report::{Report, Verdict};

mod report;
mod surroundings;
mod text;

/// Arguments of `trigon doctor`.
#[derive(Debug, Args)]
#[command(after_help = "\
Each type of program is loaded and attached for a moment, doing nothing; no agent has to run.

Exit codes:
  0  all that Trigon needs is here
  1  something that it needs is missing
  4  not all could be tried: run it as root

Examples:
  sudo trigon doctor
  sudo trigon doctor -o json | jq '.uses'")]
pub struct Arguments {
    /// How the result is written.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Does what the command line says.
pub fn run(arguments: &Arguments) -> ExitCode {
    let examination = kernel::examine();
    let report = Report::new(&examination, surroundings::examine());
    let code = match report.verdict {
        Verdict::Ok => ExitCode::SUCCESS,
        Verdict::Missing => ExitCode::FAILURE,
        Verdict::NotPermitted => ExitCode::from(4),
    };
    write(arguments.output, &report, |out| text::write(&report, takes_color(), out), code)
}
