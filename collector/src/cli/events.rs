//! `trigon events`

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, IsTerminal as _, Write as _},
    os::{fd::AsFd as _, unix::fs::FileTypeExt as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use tracing::{error, warn};
use trigon_exporters::filter::{Filter, FilterConfig, FilterError, Rule, Source};

mod lines;
mod show;
#[cfg(test)]
mod tests;

pub use self::show::{Damage, Options, Outcome, ShowError, show};

/// Arguments of `trigon events`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A file of JSON lines, Trigon's or Tetragon's; `-` for standard input, which is also read where something is
    /// piped into it.
    #[arg(value_name = "FILE|-")]
    file: Option<PathBuf>,
    /// How events are shown.
    #[arg(short, long, value_enum, default_value_t = Output::Compact)]
    output: Output,
    /// Show the time before each compact line.
    #[arg(long)]
    timestamps: bool,
    /// Colours of compact lines.
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    color: Color,
    #[command(flatten)]
    filters: Filters,
}

/// Which events are shown: those that have one of the values of each option that is given.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Filters, each of which may be given more than once")]
struct Filters {
    /// Namespace of the pod.
    #[arg(short, long)]
    namespace: Vec<String>,
    /// Name of the pod, a regular expression.
    #[arg(long, value_name = "REGEX")]
    pod: Vec<String>,
    /// Path of what the process executes, a regular expression.
    #[arg(long, value_name = "REGEX")]
    process: Vec<String>,
    /// Type of event: exec, exit, kprobe, PROCESS_EXEC and so on.
    #[arg(short, long, value_name = "TYPE")]
    event_type: Vec<String>,
    /// Name of the policy that asked for the event.
    #[arg(long, value_name = "NAME")]
    policy: Vec<String>,
    /// Processes in no container, beside those of the namespaces and pods that are given.
    #[arg(long)]
    host: bool,
}

/// How events are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// One line for people.
    Compact,
    /// The JSON as it came.
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    Always,
    Never,
}

/// Where lines come from.
enum Input {
    File(PathBuf),
    Stdin,
    Agent,
}

/// Damaged lines that are reported one by one.
const REPORTED: u64 = 100;

/// Words for event types that the part after this stands for, too.
const PREFIX: &str = "PROCESS_";

/// Does what the command line says.
pub fn run(arguments: &Arguments) -> ExitCode {
    let options = match arguments.options() {
        Ok(options) => options,
        Err(error) => {
            error!("{error}");
            return ExitCode::from(2);
        }
    };
    match arguments.input() {
        Input::File(path) => match File::open(&path) {
            Ok(file) => show_lines(BufReader::with_capacity(lines::CHUNK, file), &options),
            Err(error) => {
                error!("cannot read {}: {error}", path.display());
                ExitCode::FAILURE
            }
        },
        Input::Stdin => show_lines(BufReader::with_capacity(lines::CHUNK, io::stdin().lock()), &options),
        Input::Agent => {
            error!("nothing to read: name a file, or pipe JSON lines into it");
            ExitCode::from(2)
        }
    }
}

/// Shows what the reader has on standard output, and reports what is damaged on standard error.
///
/// The exit code is 0 where events could be read, or there was nothing to be read; 1 where the reading or the writing
/// failed, or every line was damaged.
pub fn show_lines(reader: impl BufRead, options: &Options) -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut reported = 0;
    let report = |number: u64, damage: &Damage| {
        reported += 1;
        if reported <= REPORTED {
            warn!("line {number} is skipped: {damage}");
        }
    };
    let shown = show(reader, options, &mut out, report);
    match shown.and_then(|outcome| out.flush().map(|()| outcome).map_err(ShowError::Write)) {
        Ok(outcome) => {
            if outcome.damaged > REPORTED {
                warn!("{} lines were skipped in all", outcome.damaged);
            }
            let failed = outcome.events == 0 && outcome.damaged > 0;
            if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        // Whoever reads no further has what it wanted.
        Err(ShowError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error}");
            ExitCode::FAILURE
        }
    }
}

// === impl Arguments ===

impl Arguments {
    fn options(&self) -> Result<Options, FilterError> {
        let terminal = || {
            let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            io::stdout().is_terminal() && !plain
        };
        let color = match self.color {
            Color::Auto => terminal(),
            Color::Always => true,
            Color::Never => false,
        };
        let filter = Filter::new("the command line's filter", &self.filters.config(), Source::Lines)?;
        Ok(Options { output: self.output, color, timestamps: self.timestamps, filter })
    }

    fn input(&self) -> Input {
        match &self.file {
            Some(path) if path.as_os_str() == "-" => Input::Stdin,
            Some(path) => Input::File(path.clone()),
            None if is_fed() => Input::Stdin,
            None => Input::Agent,
        }
    }
}

/// Whether standard input is a pipe, a file or a socket. Where it is /dev/null, as for a service, nobody means it.
fn is_fed() -> bool {
    let stdin = io::stdin().as_fd().try_clone_to_owned().map(File::from);
    let kind = stdin.and_then(|file| file.metadata()).map(|metadata| metadata.file_type());
    kind.is_ok_and(|kind| kind.is_fifo() || kind.is_file() || kind.is_socket())
}

// === impl Filters ===

impl Filters {
    /// The same in the form that the agent takes, too.
    fn config(&self) -> FilterConfig {
        let rule = Rule {
            binary_regex: self.process.clone(),
            event_set: self.event_type.iter().map(|name| event_type(name)).collect(),
            policy_names: self.policy.clone(),
            ..Rule::default()
        };
        let pods = Rule { namespace: self.namespace.clone(), pod_regex: self.pod.clone(), ..rule.clone() };
        let hosts = Rule { host: Some(true), ..rule.clone() };
        let has_pods = !(self.namespace.is_empty() && self.pod.is_empty());
        let allow = match (self.host, has_pods) {
            (true, true) => vec![pods, hosts],
            (true, false) => vec![hosts],
            (false, true) => vec![pods],
            (false, false) if rule == Rule::default() => Vec::new(),
            (false, false) => vec![rule],
        };
        FilterConfig { allow, deny: Vec::new() }
    }
}

/// `exec` for PROCESS_EXEC, and the whole name in upper or lower case.
fn event_type(name: &str) -> String {
    let name = name.to_uppercase().replace('-', "_");
    let is_whole = name.starts_with(PREFIX) || ["TEST", "RATE_LIMIT_INFO"].contains(&name.as_str());
    if is_whole { name } else { format!("{PREFIX}{name}") }
}
