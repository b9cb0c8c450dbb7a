//! `trigon policy`

use std::process::ExitCode;

use clap::{Args, Subcommand};

mod change;
mod check;
mod crds;
mod explain;
mod list;
mod trial;

use change::Change;

/// Arguments of `trigon policy`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  trigon policy check deploy/policies
  sudo trigon policy explain my-policy.yaml
  sudo trigon policy add my-policy.yaml
  sudo trigon policy list -o json
  sudo trigon policy disable my-policy
  sudo trigon policy set-mode my-policy monitor")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check policy files without loading them. Needs no privileges.
    Check(check::Arguments),
    /// Say in plain words what policies will do, how each hook is entered here, what it can't prevent, what it costs.
    Explain(explain::Arguments),
    /// Print the definitions of the kinds of policies, for the API server: `trigon policy crds | kubectl apply -f -`.
    Crds(crds::Arguments),
    /// Show the policies of the agent that runs here: state, hooks, how each is entered.
    List(list::Arguments),
    /// Load policies into the agent that runs here.
    Add(change::AddArguments),
    /// Take policies out of the agent that runs here.
    Delete(change::NameArguments),
    /// Put policies in force that were disabled, or try again to load them.
    Enable(change::NameArguments),
    /// Have the agent that runs here count for a while what policies would do, without telling or doing anything.
    Try(trial::Arguments),
    /// Put policies out of force, without forgetting them.
    Disable(change::NameArguments),
    /// Have a policy do what it says, or only tell what it would have done. It need not be loaded again for that.
    SetMode(change::ModeArguments),
}

/// Does what the command line says.
pub fn run(arguments: Arguments) -> ExitCode {
    match arguments.command {
        Command::Check(arguments) => check::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Crds(arguments) => crds::run(&arguments),
        Command::List(arguments) => list::run(arguments),
        Command::Add(arguments) => change::add(arguments),
        Command::Delete(arguments) => change::each(arguments, Change::Delete),
        Command::Enable(arguments) => change::each(arguments, Change::Enable),
        Command::Try(arguments) => trial::run(arguments),
        Command::Disable(arguments) => change::each(arguments, Change::Disable),
        Command::SetMode(arguments) => change::set_mode(arguments),
    }
}
