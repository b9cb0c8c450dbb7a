//! `trigon policy list`

use std::{io, process::ExitCode};

use clap::Args;

use crate::api::{HookStatus, PolicyList, PolicyMode, PolicyStatus};
use crate::cli::{
    agent::{Agent, failed},
    output::{Output, write},
};

/// Arguments of `trigon policy list`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    agent: Agent,
    /// How the result is written.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Shows what the agent has.
pub(super) fn run(arguments: Arguments) -> ExitCode {
    let output = arguments.output;
    arguments.agent.ask(async |client| match client.policies().await {
        Ok(list) => write(output, &list, |out| write_text(&list, out), ExitCode::SUCCESS),
        Err(error) => failed(&error),
    })
}

/// A line for each policy, and below it one for each hook and one for what is wrong.
fn write_text(list: &PolicyList, out: &mut dyn io::Write) -> io::Result<()> {
    if list.policies.is_empty() {
        return writeln!(out, "no policies");
    }
    let head = ["NAME", "STATE", "MODE", "MEMORY", "FROM"].map(str::to_owned);
    let rows: Vec<_> = [head].into_iter().chain(list.policies.iter().map(row)).collect();
    let hooks = || list.policies.iter().flat_map(|policy| &policy.hooks);
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let name = hooks().map(|hook| hook.name.len() + 2).max().unwrap_or(0).max(width(0));
    let state = hooks().map(|hook| mechanism(hook).len()).max().unwrap_or(0).max(width(1));
    let (mode, memory) = (width(2), width(3));
    let details = [None].into_iter().chain(list.policies.iter().map(Some));
    for (row, policy) in rows.iter().zip(details) {
        let [named, stands, works, takes, from] = row;
        writeln!(out, "{named:name$}  {stands:state$}  {works:mode$}  {takes:>memory$}  {from}")?;
        let Some(policy) = policy else { continue };
        for hook in &policy.hooks {
            writeln!(out, "  {:hook$}  {}", hook.name, mechanism(hook), hook = name - 2)?;
        }
        if let Some(error) = &policy.error {
            writeln!(out, "  error: {error}")?;
        }
    }
    Ok(())
}

fn row(policy: &PolicyStatus) -> [String; 5] {
    let name = policy.key().unwrap_or_else(|| "-".to_owned());
    let memory = match policy.kernel_memory_bytes {
        0 => "-".to_owned(),
        bytes => format!("{} KiB", bytes.div_ceil(1024)),
    };
    let mode = policy.mode.map_or("-", PolicyMode::as_str).to_owned();
    [name, policy.state.as_str().to_owned(), mode, memory, policy.from.to_string()]
}

fn mechanism(hook: &HookStatus) -> &str {
    hook.mechanism.as_deref().unwrap_or("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Origin, State};

    #[test]
    fn a_table_says_how_it_stands() {
        let hook = |name: &str, mechanism: Option<&str>| HookStatus {
            name: name.to_owned(),
            mechanism: mechanism.map(str::to_owned),
        };
        let policy = |name: Option<&str>, state, from, hooks, error: Option<&str>| PolicyStatus {
            name: name.map(str::to_owned),
            namespace: None,
            state,
            mode: (state == State::Enabled).then_some(PolicyMode::MonitorOnly),
            since: jiff::Timestamp::UNIX_EPOCH,
            from,
            kernel_memory_bytes: if state == State::Enabled { 5000 } else { 0 },
            hooks,
            error: error.map(str::to_owned),
        };
        let directory = |file: &str| Origin::Directory(format!("/etc/trigon/policies/{file}").into());
        let hooks =
            vec![hook("fd_install", Some("equivalent")), hook("__x64_sys_read", Some("tp_btf/sys_enter"))];
        let broken = Some("/etc/trigon/policies/b.yaml:5:3: error: spec.lsmhooks: not supported yet");
        let list = PolicyList {
            policies: vec![
                policy(None, State::LoadError, directory("b.yaml"), Vec::new(), broken),
                policy(Some("follow"), State::Enabled, directory("a.yaml"), hooks, None),
                policy(Some("rest"), State::Disabled, Origin::Api, vec![hook("commit_creds", None)], None),
            ],
        };
        let mut out = Vec::new();
        write_text(&list, &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }
}
