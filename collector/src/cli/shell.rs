//! `trigon completions` and `trigon man`: what shells and `man` know of the command line.

use std::{fs, io, path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;
use tracing::error;

use super::{Cli, output::print};

/// Arguments of `trigon completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  source <(trigon completions bash)
  trigon completions fish > ~/.config/fish/completions/trigon.fish
  trigon completions zsh > /usr/local/share/zsh/site-functions/_trigon")]
pub struct CompletionsArguments {
    /// Whose form to write.
    #[arg(value_enum)]
    shell: Shell,
}

/// Arguments of `trigon man`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  trigon man | man -l -
  trigon man --dir /usr/local/share/man/man1")]
pub struct ManArguments {
    /// Write a page for each command into this directory, instead of the first to standard output.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Writes completions to standard output.
pub fn completions(arguments: &CompletionsArguments) -> ExitCode {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "trigon", &mut text);
    print(|out| out.write_all(&text), ExitCode::SUCCESS)
}

/// Writes man pages.
pub fn man(arguments: &ManArguments) -> ExitCode {
    let Some(dir) = &arguments.dir else {
        return print(|mut out| Man::new(Cli::command()).render(&mut out), ExitCode::SUCCESS);
    };
    let written: io::Result<()> =
        fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Cli::command(), dir));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("cannot write man pages to {}: {error}", dir.display());
            ExitCode::FAILURE
        }
    }
}
