//! `trigon policy crds`

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use tracing::error;

use crate::{
    cli::output::print,
    kubernetes::{config::PolicyGroup, crd},
};

/// Arguments of `trigon policy crds`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only the kinds of this API group.
    #[arg(long, value_enum)]
    group: Option<Group>,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Group {
    /// Trigon's own.
    #[value(name = "trigon.io")]
    Trigon,
    /// Tetragon's.
    #[value(name = "cilium.io")]
    Cilium,
}

/// Prints them.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let groups = match arguments.group {
        None => PolicyGroup::ALL.to_vec(),
        Some(Group::Trigon) => vec![PolicyGroup::Trigon],
        Some(Group::Cilium) => vec![PolicyGroup::Cilium],
    };
    let documents = groups.into_iter().flat_map(crd::of).map(|definition| crd::yaml(&definition));
    match documents.collect::<Result<Vec<_>, _>>() {
        Ok(documents) => print(|out| write!(out, "{}", documents.join("---\n")), ExitCode::SUCCESS),
        Err(error) => {
            error!("cannot write a definition as YAML: {error}");
            ExitCode::FAILURE
        }
    }
}
