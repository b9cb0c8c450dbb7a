//! `trigon status`

use std::{io, process::ExitCode};

use clap::Args;
use jiff::Timestamp;

use super::{
    agent::{Agent, failed},
    output::{Output, between, length, write},
};
use crate::api::status::{ExportStatus, Status};

/// Arguments of `trigon status`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    agent: Agent,
    /// How the result is written.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Shows how the agent that runs here does: 0 where that is well, 1 where it isn't.
pub fn run(arguments: Arguments) -> ExitCode {
    let Arguments { agent, output } = arguments;
    agent.ask(async |client| match client.status().await {
        Ok(status) => {
            let code = if status.healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE };
            write(output, &status, |out| write_text(&status, out), code)
        }
        Err(error) => failed(&error),
    })
}

fn write_text(status: &Status, out: &mut dyn io::Write) -> io::Result<()> {
    let now = status.now;
    let health = if status.healthy { "healthy" } else { "NOT healthy" };
    let up = length(between(status.start, now));
    writeln!(out, "trigon {} on {}, pid {}, up {up}: {health}", status.version, status.node, status.pid)?;
    for problem in &status.problems {
        writeln!(out, "  ! {problem}")?;
    }
    let config = &status.config;
    let file = config.file.as_ref().map_or("defaults".to_owned(), |file| file.display().to_string());
    writeln!(out, "\nconfiguration  {file}, read {} ago", length(between(config.loaded, now)))?;
    if !config.needs_restart.is_empty() {
        writeln!(
            out,
            "               changed, in force after a restart: {}",
            config.needs_restart.join(", ")
        )?;
    }
    let table = &status.processes;
    writeln!(out, "processes      {} live, {} of {} known", table.living, table.known, table.capacity)?;
    for (index, hook) in status.lifecycle.iter().enumerate() {
        let head = if index == 0 { "seen by" } else { "" };
        writeln!(out, "{head:15}{}: {}", hook.name, hook.mechanism.as_deref().unwrap_or("-"))?;
    }
    writeln!(out, "\npolicies       {}", some(status.policies.len()))?;
    for policy in &status.policies {
        let name = policy.key().unwrap_or_else(|| policy.from.to_string());
        writeln!(out, "  {name}: {}, {} hooks", policy.state.as_str(), policy.hooks.len())?;
    }
    writeln!(out, "\nways out       {}", some(status.exports.len()))?;
    for export in &status.exports {
        writeln!(out, "  {}", export_line(export, now))?;
    }
    writeln!(out, "\nlost           {}", if status.lost.is_empty() { "nothing" } else { "" })?;
    for loss in &status.lost {
        let lately = match loss.last_minute {
            0 => String::new(),
            events => format!(" ({events} in the last minute)"),
        };
        writeln!(out, "  {}: {} events{lately}", loss.place(), loss.events)?;
    }
    Ok(())
}

fn some(count: usize) -> String {
    if count == 0 { "none".to_owned() } else { count.to_string() }
}

fn export_line(export: &ExportStatus, now: Timestamp) -> String {
    let mut line = export.name.clone();
    if !export.target.is_empty() {
        line += &format!(" to {}", export.target);
    }
    line += &format!(": {}", if export.health.failing { "fails" } else { "ok" });
    if let Some(at) = export.health.last_success {
        line += &format!(", last sent {} ago", length(between(at, now)));
    }
    line += &format!(", {} events wait", export.queued);
    if let Some(failure) = &export.health.last_failure {
        line += &format!(", last failure {} ago: {}", length(between(failure.at, now)), failure.why);
    }
    line
}

#[cfg(test)]
mod tests {
    use trigon_exporters::health::{Failure, State};

    use super::*;
    use crate::api::{
        HookStatus,
        status::{ConfigStatus, LossStatus, TableStatus},
    };

    #[test]
    fn what_is_wrong_comes_first() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let why = "no connection".to_owned();
        let health = State {
            last_success: Some(at(40)),
            last_failure: Some(Failure { at: at(90), why }),
            failing: true,
        };
        let export = |name: &str, target: &str, health| ExportStatus {
            name: name.to_owned(),
            kind: "otlp logs".to_owned(),
            target: target.to_owned(),
            queued: 12,
            health,
        };
        let status = Status {
            healthy: false,
            problems: vec!["otlp_logs fails: no connection".to_owned()],
            version: "1.2.3".to_owned(),
            node: "node".to_owned(),
            pid: 7,
            start: at(0),
            now: at(100),
            config: ConfigStatus {
                file: Some("/etc/trigon/config.toml".into()),
                loaded: at(10),
                error: None,
                needs_restart: vec!["metrics.addr".to_owned()],
            },
            lifecycle: vec![HookStatus {
                name: "sched_process_exec".to_owned(),
                mechanism: Some("tp_btf".to_owned()),
            }],
            processes: TableStatus { living: 5, known: 7, capacity: 100 },
            policies: Vec::new(),
            exports: vec![
                export("otlp_logs", "http://127.0.0.1:4318/v1/logs", health),
                export("stdout", "", State::default()),
            ],
            lost: vec![LossStatus {
                stage: "queue".to_owned(),
                reason: "full".to_owned(),
                exporter: "stdout".to_owned(),
                events: 30,
                last_minute: 2,
            }],
        };
        let mut out = Vec::new();
        write_text(&status, &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }
}
