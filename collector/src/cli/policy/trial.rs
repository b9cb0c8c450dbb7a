//! `trigon policy try`

use std::{io, path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use tracing::error;

use crate::{
    api::tries::{Caller, LONGEST, TriedPolicy, TryReport},
    cli::{
        agent::Agent,
        output::{Output, write},
    },
    policy,
};

use super::change::{refused, unread};

/// Arguments of `trigon policy try`.
#[derive(Debug, Args)]
#[command(after_help = "\
The agent loads the policies beside those that it has. Their filters run in the kernel, and what they match is counted
there: no event, no signal, nothing denied, nothing followed. Afterwards nothing of them is left.

Examples:
  sudo trigon policy try my-policy.yaml --for 30s
  sudo trigon policy try my-policy.yaml --for 2m -o json | jq '.policies[].by'")]
pub(super) struct Arguments {
    /// A file of policies.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// For how long: 500ms, 30s, 2m; 4m at most.
    #[arg(long = "for", value_name = "TIME", default_value = "30s", value_parser = time)]
    time: Duration,
    #[command(flatten)]
    agent: Agent,
    /// How the result is written.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// As many callers are shown to people.
const SHOWN: usize = 10;

/// Has the agent try them.
pub(super) fn run(arguments: Arguments) -> ExitCode {
    let Arguments { file, time, agent, output } = arguments;
    agent.ask(async |client| {
        let text = match policy::read_file(&file) {
            Ok(text) => text,
            Err(error) => return unread(&error),
        };
        if text.len() > policy::limits::FILE_BYTES {
            error!("{}: it is too long for a policy file", file.display());
            return ExitCode::from(3);
        }
        match client.try_policies(text, time).await {
            Ok(report) => write(output, &report, |out| write_text(&report, out), ExitCode::SUCCESS),
            Err(error) => refused(&file, error),
        }
    })
}

/// `500ms`, `30s`, `2m`.
fn time(text: &str) -> Result<Duration, String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return Err("a number and its unit: ms, s or m".to_owned()),
    };
    let time =
        number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).map(Duration::from_millis);
    let time = time.filter(|time| !time.is_zero() && *time <= LONGEST);
    time.ok_or_else(|| format!("from 1ms to {}m", LONGEST.as_secs() / 60))
}

fn write_text(report: &TryReport, out: &mut dyn io::Write) -> io::Result<()> {
    report.policies.iter().try_for_each(|policy| write_policy(policy, out))
}

fn write_policy(policy: &TriedPolicy, out: &mut dyn io::Write) -> io::Result<()> {
    let TriedPolicy { name, seconds, posted, killed, signalled, denied, hooks, by, notes } = policy;
    writeln!(out, "{name}: in {seconds:.1} s it would have")?;
    writeln!(out, "  posted    {posted} events ({} a second)", per_second(*posted, *seconds))?;
    writeln!(out, "  killed    {killed} times")?;
    if *signalled > 0 {
        writeln!(out, "  signalled {signalled} times")?;
    }
    writeln!(out, "  denied    {denied} calls")?;
    let head = ["HOOK", "BY", "RUNS", "NS/RUN", "MATCHED", "POSTED"].map(str::to_owned);
    let mut rows = vec![head];
    for hook in hooks {
        let cost = hook.runs.zip(hook.nanoseconds);
        let mean = cost.filter(|(runs, _)| *runs > 0).map(|(runs, nanoseconds)| nanoseconds / runs);
        let or_dash =
            |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let sum =
            |of: fn(&crate::api::tries::TriedSelector) -> u64| hook.selectors.iter().map(of).sum::<u64>();
        rows.push([
            hook.name.clone(),
            hook.mechanism.clone().unwrap_or_else(|| "missing".to_owned()),
            or_dash(hook.runs),
            or_dash(mean),
            sum(|selector| selector.matched).to_string(),
            sum(|selector| selector.posted).to_string(),
        ]);
        for (selector, number) in hook.selectors.iter().zip(1..) {
            if hook.selectors.len() < 2 && selector.actions.is_empty() {
                continue;
            }
            let label = selector.label.clone().unwrap_or_else(|| format!("selector {number}"));
            let actions = selector.actions.join(", ");
            let (matched, posted) = (selector.matched.to_string(), selector.posted.to_string());
            rows.push([format!("  {label}"), actions, String::new(), String::new(), matched, posted]);
        }
    }
    write_table(&rows, out)?;
    let mut rows = vec![["PROGRAM", "POD", "MATCHED", "POSTED"].map(str::to_owned)];
    rows.extend(by.iter().take(SHOWN).map(caller));
    if by.is_empty() {
        writeln!(out, "  nobody made a call that it matches")?;
    } else {
        write_table(&rows, out)?;
    }
    if by.len() > SHOWN {
        writeln!(out, "  and {} more (-o json has all)", by.len() - SHOWN)?;
    }
    notes.iter().try_for_each(|note| writeln!(out, "  note: {note}"))
}

fn caller(caller: &Caller) -> [String; 4] {
    let binary = caller.binary.clone().unwrap_or_else(|| "(others)".to_owned());
    let pod = caller.pod.clone().unwrap_or_else(|| "-".to_owned());
    [binary, pod, caller.matched.to_string(), caller.posted.to_string()]
}

/// Columns of text to the left, of numbers to the right.
fn write_table<const N: usize>(rows: &[[String; N]], out: &mut dyn io::Write) -> io::Result<()> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let gap = " ".repeat(width(column) - cell.chars().count());
            let text = column < 2;
            line.push_str("  ");
            if text { line.extend([cell.as_str(), &gap]) } else { line.extend([gap.as_str(), cell]) }
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn per_second(count: u64, seconds: f64) -> String {
    let rate = if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
    if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tries::{TriedHook, TriedSelector};

    #[test]
    fn times_have_units_and_an_end() {
        assert_eq!(time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(time("4m"), Ok(Duration::from_secs(240)));
        for wrong in ["", "30", "s", "0s", "5m", "1h", "-1s", "99999999999999999999s", "1.5s"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_table_says_what_would_have_been() {
        let selector = |label: &str, actions: &[&str], matched, posted| TriedSelector {
            label: Some(label.to_owned()),
            actions: actions.iter().map(|&action| action.to_owned()).collect(),
            matched,
            posted,
        };
        let policy = TriedPolicy {
            name: "guard".to_owned(),
            seconds: 30.0,
            posted: 1_205,
            killed: 5,
            signalled: 0,
            denied: 0,
            hooks: vec![
                TriedHook {
                    name: "__x64_sys_openat".to_owned(),
                    mechanism: Some("fentry".to_owned()),
                    runs: Some(90_000),
                    nanoseconds: Some(81_000_000),
                    selectors: vec![
                        selector("forbidden", &["kill"], 5, 5),
                        selector("watched", &[], 4_000, 1_200),
                    ],
                },
                TriedHook {
                    name: "no_such_function".to_owned(),
                    mechanism: None,
                    runs: None,
                    nanoseconds: None,
                    selectors: Vec::new(),
                },
            ],
            by: vec![
                Caller {
                    binary: Some("/usr/bin/cat".to_owned()),
                    pod: Some("shop/web-0 main".to_owned()),
                    matched: 4_000,
                    posted: 1_200,
                },
                Caller { binary: None, pod: None, matched: 5, posted: 5 },
            ],
            notes: vec!["nothing was followed".to_owned()],
        };
        let mut out = Vec::new();
        write_text(&TryReport { policies: vec![policy] }, &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }
}
