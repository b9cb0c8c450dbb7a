//! `trigon config`

use std::{fs, path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand, ValueEnum};
use tracing::error;

use super::{
    flags::Flags,
    output::{Output, print, write},
};
use crate::config::{
    Config, ConfigError, Effective,
    layers::{Layers, Lines},
};
use show::Shown;

mod show;

/// Arguments of `trigon config`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  trigon config check /etc/trigon/config.toml
  trigon config show --otlp-endpoint http://127.0.0.1:4318
  trigon config show -o json /etc/trigon/config.toml | jq '.settings[] | select(.source != \"default\")'")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check a configuration without running anything. Needs no privileges.
    Check(Which),
    /// Show what is in effect and where each value comes from, secrets masked.
    ///
    /// What is shown as TOML is a configuration that `trigon run` takes, but for the secrets.
    Show(ShowArguments),
}

#[derive(Debug, Args)]
struct ShowArguments {
    #[command(flatten)]
    which: Which,
    /// How it is written.
    #[arg(short, long, value_enum, default_value_t = Form::Toml)]
    output: Form,
}

/// Which configuration: file and flags, as `trigon run` would be told.
#[derive(Debug, Args)]
struct Which {
    /// The configuration file. Without one, defaults apply.
    #[arg(value_name = "FILE", env = "TRIGON_CONFIG")]
    file: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

/// How the configuration is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A configuration file, the sources in its comments.
    Toml,
    /// One JSON object.
    Json,
}

/// Why a configuration can't be used, and where.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A value can't be used, and its line is known.
    #[error("{}:{line}: {error}", file.display())]
    At { file: PathBuf, line: usize, error: ConfigError },
    /// It can't be written.
    #[error("cannot write the configuration: {0}")]
    Write(#[from] toml::ser::Error),
}

/// What was read.
struct Loaded {
    effective: Effective,
    lines: Lines,
}

/// Does what the command line says.
pub fn run(arguments: &Arguments) -> ExitCode {
    let result = match &arguments.command {
        Command::Check(which) => which.load().map(|_| which.say_ok()),
        Command::Show(arguments) => show(arguments),
    };
    result.unwrap_or_else(|fault| {
        error!("{fault}");
        match fault {
            Fault::Write(_) => ExitCode::FAILURE,
            _ => ExitCode::from(3),
        }
    })
}

fn show(arguments: &ShowArguments) -> Result<ExitCode, Fault> {
    let ShowArguments { which, output } = arguments;
    let Loaded { effective, lines } = which.load()?;
    let layers = Layers::new(&effective, &lines, &variable, which.flags.set())?;
    let shown = Shown::new(which.file.as_deref(), &layers);
    Ok(match output {
        Form::Toml => print(|out| show::write_toml(which.file.as_deref(), &layers, out), ExitCode::SUCCESS),
        Form::Json => write(Output::Json, &shown, |_| Ok(()), ExitCode::SUCCESS),
    })
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

// === impl Which ===

impl Which {
    fn load(&self) -> Result<Loaded, Fault> {
        let text = match &self.file {
            Some(path) => {
                fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.clone(), source })?
            }
            None => String::new(),
        };
        let lines = Lines::of(&text);
        let config = Config::parse(self.file.as_deref().unwrap_or("".as_ref()), &text)?;
        match config.apply(&variable, &self.flags.overrides()) {
            Ok(effective) => Ok(Loaded { effective, lines }),
            Err(error) => Err(self.locate(error, &lines)),
        }
    }

    /// Adds the line to what is wrong with a value.
    fn locate(&self, error: ConfigError, lines: &Lines) -> Fault {
        let key = match &error {
            ConfigError::Value { key, .. } => key,
            ConfigError::Otlp(error) => error.name.as_str(),
            _ => return error.into(),
        };
        match (&self.file, lines.get(key)) {
            (Some(file), Some(line)) => Fault::At { file: file.clone(), line, error },
            _ => error.into(),
        }
    }

    fn say_ok(&self) -> ExitCode {
        let what = self.file.as_deref().map_or("the defaults".into(), |file| file.to_string_lossy());
        print(|out| writeln!(out, "{what}: ok"), ExitCode::SUCCESS)
    }
}
