//! `trigon policy add`, `delete`, `enable`, `disable`

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use tracing::error;

use crate::cli::{
    agent::{Agent, failed},
    output::{Output, write},
};
use crate::{
    api::{
        Added,
        client::{Client, ClientError},
    },
    policy::{self, FileError, model::Mode},
};

/// Arguments of `trigon policy add`.
#[derive(Debug, Args)]
pub(super) struct AddArguments {
    /// Files, or directories of files that end in .yaml or .yml.
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    /// Whether they do what they say or only tell what they would have done, whatever their option policy-mode says.
    #[arg(long)]
    mode: Option<Mode>,
    #[command(flatten)]
    agent: Agent,
}

/// Arguments of those that take names.
#[derive(Debug, Args)]
pub(super) struct NameArguments {
    /// Names of policies; of one of a namespace NAMESPACE/NAME.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    agent: Agent,
}

/// Arguments of `trigon policy set-mode`.
#[derive(Debug, Args)]
pub(super) struct ModeArguments {
    /// Name of a policy; of one of a namespace NAMESPACE/NAME.
    name: String,
    /// Whether it does what it says, or only tells what it would have done.
    mode: Mode,
    #[command(flatten)]
    agent: Agent,
}

/// What is done to a policy.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Delete,
    Enable,
    Disable,
}

/// Sends each file to the agent; the code is that of the first that failed.
pub(super) fn add(arguments: AddArguments) -> ExitCode {
    arguments.agent.ask(async |client| {
        let mut first = ExitCode::SUCCESS;
        for path in &arguments.paths {
            let files = match policy::files(path) {
                Ok(files) => files,
                Err(error) => {
                    note(&mut first, unread(&error));
                    continue;
                }
            };
            for file in files {
                let code = add_file(&client, file, arguments.mode).await;
                note(&mut first, code);
            }
        }
        first
    })
}

/// Does something to each policy that is named; the code is that of the first that failed.
pub(super) fn each(arguments: NameArguments, change: Change) -> ExitCode {
    arguments.agent.ask(async |client| {
        let mut first = ExitCode::SUCCESS;
        for name in &arguments.names {
            if let Err(error) = change.ask(&client, name).await {
                note(&mut first, failed(&error));
            }
        }
        first
    })
}

/// Sets a policy's mode.
pub(super) fn set_mode(arguments: ModeArguments) -> ExitCode {
    arguments.agent.ask(async |client| match client.set_mode(&arguments.name, arguments.mode).await {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    })
}

async fn add_file(client: &Client, file: PathBuf, mode: Option<Mode>) -> ExitCode {
    let text = match policy::read_file(&file) {
        Ok(text) => text,
        Err(error) => return unread(&error),
    };
    // One that is too long is refused as it would be there, without being sent.
    if text.len() > policy::limits::FILE_BYTES {
        let lines: Vec<_> = policy::check_bytes(&text).faults.iter().map(ToString::to_string).collect();
        return told(&file, &lines, ExitCode::from(3));
    }
    match client.add(text, mode).await {
        Ok(added) => loaded(&file, &added),
        Err(error) => refused(&file, error),
    }
}

/// Says why the agent didn't take a file.
pub(super) fn refused(file: &Path, error: ClientError) -> ExitCode {
    match error {
        ClientError::Refused { problem, .. } if !problem.faults.is_empty() => {
            let mut lines: Vec<_> = problem.faults.into_iter().map(|fault| fault.text).collect();
            if problem.hidden > 0 {
                lines.push(format!(" and {} more", problem.hidden));
            }
            told(file, &lines, ExitCode::from(3))
        }
        error => failed(&error),
    }
}

/// What became of a file's policies.
fn loaded(file: &Path, added: &Added) -> ExitCode {
    let file = file.display();
    let ok = added.policies.iter().all(|policy| policy.error.is_none());
    let code = if ok { ExitCode::SUCCESS } else { ExitCode::from(7) };
    let text = |out: &mut dyn io::Write| {
        for warning in &added.warnings {
            writeln!(out, "{file}:{}", warning.text)?;
        }
        for policy in &added.policies {
            let (name, state) = (policy.key().unwrap_or_default(), policy.state.as_str());
            match &policy.error {
                Some(error) => writeln!(out, "{file}: {state} {name}: {error}")?,
                None => writeln!(out, "{file}: {state} {name}")?,
            }
        }
        Ok(())
    };
    write(Output::Text, added, text, code)
}

/// Prints faults as `trigon policy check` does.
fn told(file: &Path, lines: &[String], code: ExitCode) -> ExitCode {
    let text = |out: &mut dyn io::Write| {
        lines.iter().try_for_each(|line| writeln!(out, "{}:{line}", file.display()))
    };
    write(Output::Text, &lines, text, code)
}

pub(super) fn unread(error: &FileError) -> ExitCode {
    error!("{error}");
    ExitCode::from(3)
}

fn note(first: &mut ExitCode, code: ExitCode) {
    if *first == ExitCode::SUCCESS {
        *first = code;
    }
}

// === impl Change ===

impl Change {
    async fn ask(self, client: &Client, name: &str) -> Result<(), ClientError> {
        match self {
            Self::Delete => client.delete(name).await,
            Self::Enable => client.set_enabled(name, true).await.map(|_| ()),
            Self::Disable => client.set_enabled(name, false).await.map(|_| ()),
        }
    }
}
