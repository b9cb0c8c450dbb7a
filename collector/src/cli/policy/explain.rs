//! `trigon policy explain`

use std::{io, path::PathBuf, process::ExitCode};

use clap::Args;
use serde::Serialize;
use trigon_probes::kernel;

use crate::cli::output::{Output, write};
use crate::policy::{
    self, FileError, Rules,
    explain::{self, Case, Explanation, HookExplanation, Place},
    fault::Fault,
    model::Policy,
    resolve,
};

/// Arguments of `trigon policy explain`.
#[derive(Debug, Args)]
#[command(after_help = "\
As root each hook is attached for a moment, doing nothing, to find its mechanism. Without root
that is not tried, and what only the kernel knows (the fields of tracepoints) stays unknown.

Exit codes: as `trigon policy check`

Examples:
  sudo trigon policy explain my-policy.yaml
  trigon policy explain deploy/policies -o json | jq '.files[].policies[] | {name, cost}'")]
pub(super) struct Arguments {
    /// Files, or directories of files that end in .yaml or .yml.
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    /// How the result is written.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// What there is to say of files.
#[derive(Serialize)]
struct Report {
    ok: bool,
    files: Vec<FileReport>,
}

#[derive(Serialize)]
struct FileReport {
    file: PathBuf,
    policies: Vec<PolicyReport>,
    faults: Vec<Fault>,
    /// Faults that aren't listed.
    hidden: usize,
    /// Why the file couldn't be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    unread: Option<String>,
    #[serde(skip)]
    ok: bool,
}

#[derive(Serialize)]
struct PolicyReport {
    #[serde(flatten)]
    explanation: Explanation,
    /// Why mechanisms were not tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    untried: Option<String>,
    /// Why types that only the kernel knows are not known, or what of them doesn't fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    unresolved: Option<String>,
}

/// Does what the command line says.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let mut files = Vec::new();
    for path in &arguments.paths {
        match policy::files(path) {
            Ok(found) => files.extend(found.into_iter().map(FileReport::of)),
            Err(error) => files.push(FileReport::unread(path.clone(), &error)),
        }
    }
    let report = Report { ok: files.iter().all(|file| file.ok), files };
    let code = if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    write(arguments.output, &report, |out| report.write_text(out), code)
}

// === impl Report ===

impl Report {
    fn write_text(&self, out: &mut dyn io::Write) -> io::Result<()> {
        for report in &self.files {
            let file = report.file.display();
            for fault in &report.faults {
                writeln!(out, "{file}:{fault}")?;
            }
            if report.hidden > 0 {
                writeln!(out, "{file}: and {} more", report.hidden)?;
            }
            if let Some(reason) = &report.unread {
                writeln!(out, "error: {reason}")?;
            }
            for policy in &report.policies {
                writeln!(out, "{file}:")?;
                policy.write_text(out)?;
            }
        }
        Ok(())
    }
}

// === impl FileReport ===

impl FileReport {
    fn of(file: PathBuf) -> Self {
        match Rules::ALL.check_file(&file) {
            Ok(checked) => Self {
                policies: checked.policies.iter().map(PolicyReport::of).collect(),
                ok: checked.errors == 0,
                faults: checked.faults,
                hidden: checked.hidden,
                unread: None,
                file,
            },
            Err(error) => Self::unread(file, &error),
        }
    }

    fn unread(file: PathBuf, error: &FileError) -> Self {
        let unread = Some(error.to_string());
        Self { file, policies: Vec::new(), faults: Vec::new(), hidden: 0, unread, ok: false }
    }
}

// === impl PolicyReport ===

impl PolicyReport {
    fn of(policy: &Policy) -> Self {
        let (policy, unresolved) = match resolve::here(policy.clone()) {
            Ok(resolved) => (resolved, None),
            Err(error) => (policy.clone(), Some(error.to_string())),
        };
        let (ladders, untried) = match kernel::serve(&explain::wanted(&policy)) {
            Ok(ladders) => (ladders, None),
            Err(outcome) => (Vec::new(), Some(outcome.reason().to_owned())),
        };
        Self { explanation: explain::explain(&policy, &ladders), untried, unresolved }
    }

    fn write_text(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let Explanation { name, kind, applies_to, hooks, limits, cost } = &self.explanation;
        writeln!(out, "{kind} {name}")?;
        writeln!(out, "  applies to  {applies_to}")?;
        if let Some(cost) = cost {
            writeln!(out, "  cost        {} ({} points)", cost.class.as_str(), cost.points)?;
        }
        if let Some(why) = &self.untried {
            writeln!(out, "  mechanisms  not tried: {why}")?;
        }
        if let Some(why) = &self.unresolved {
            writeln!(out, "  types       not known:")?;
            why.lines().try_for_each(|line| writeln!(out, "    {line}"))?;
        }
        for hook in hooks {
            write_hook(hook, self.untried.is_some(), out)?;
        }
        writeln!(out, "  limits")?;
        limits.iter().try_for_each(|limit| writeln!(out, "    - {limit}"))
    }
}

fn write_hook(hook: &HookExplanation, untried: bool, out: &mut dyn io::Write) -> io::Result<()> {
    writeln!(out, "  line {}: {}", hook.line, hook.at)?;
    if let Some(message) = &hook.message {
        writeln!(out, "    says        {message:?}")?;
    }
    write_places(&hook.places, untried, out)?;
    if !hook.carries.is_empty() {
        writeln!(out, "    carries     {}", hook.carries.join("; "))?;
    }
    match &hook.cost {
        Some(cost) => writeln!(
            out,
            "    cost        {} ({} points): {}; up to {}, {}",
            cost.class.as_str(),
            cost.points,
            cost.frequency.as_str(),
            counted(cost.lookups, "lookup"),
            counted(cost.texts, "text copied")
        )?,
        None => writeln!(out, "    cost        not known before the kernel told the types")?,
    }
    let alone = hook.cases.len() == 1;
    for (Case { label, when, then }, number) in hook.cases.iter().zip(1..) {
        let label = label.as_deref().map(|label| format!(" ({label})")).unwrap_or_default();
        match (when.is_empty(), alone) {
            (true, true) => writeln!(out, "    every call{label}:")?,
            (true, false) => writeln!(out, "    {number}. any other call{label}:")?,
            (false, true) => writeln!(out, "    a call{label}, if")?,
            (false, false) => writeln!(out, "    {number}. a call{label}, if")?,
        }
        when.iter().try_for_each(|condition| writeln!(out, "       - {condition}"))?;
        writeln!(out, "       then {}", then.join(", "))?;
    }
    Ok(())
}

/// Places that are entered alike are told together.
fn write_places(places: &[Place], untried: bool, out: &mut dyn io::Write) -> io::Result<()> {
    let mut groups: Vec<(String, Vec<&Place>)> = Vec::new();
    for place in places {
        let order = || place.tried.iter().map(|one| one.mechanism).collect::<Vec<_>>().join(", ");
        let how = match place.mechanism {
            _ if untried => format!("the first that loads of {}", order()),
            Some(mechanism) => format!("{mechanism} ({})", place.why()),
            None if place.optional => format!("left out here ({})", place.why()),
            None => format!("nothing here, so the policy can't be loaded ({})", place.why()),
        };
        match groups.iter_mut().find(|(known, _)| *known == how) {
            Some((_, places)) => places.push(place),
            None => groups.push((how, vec![place])),
        }
    }
    for (how, places) in groups {
        let names = match places.as_slice() {
            [one] => one.name.clone(),
            [one, other] => format!("{}, {}", one.name, other.name),
            [one, .., last] => format!("{} … {} ({} places)", one.name, last.name, places.len()),
            [] => continue,
        };
        writeln!(out, "    entered by  {how}: {names}")?;
    }
    Ok(())
}

fn counted(count: u64, what: &str) -> String {
    match (count, what.split_once(' ')) {
        (0, _) => format!("no {what}"),
        (1, _) => format!("1 {what}"),
        (count, Some((noun, rest))) => format!("{count} {noun}s {rest}"),
        (count, None) => format!("{count} {what}s"),
    }
}

#[cfg(test)]
mod tests;
