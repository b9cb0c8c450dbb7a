//! The report as people read it.

use std::io::{self, Write};

use super::report::{Check, Hook, Importance, Report, Section, State, Verdict};

/// Columns of the text: what terminals and mails have.
const WIDTH: usize = 96;
/// Where a check's text begins: after its state and its name.
const TEXT: usize = 16;

/// Colours, by their numbers in ECMA-48.
const GREEN: u8 = 32;
const RED: u8 = 31;
const YELLOW: u8 = 33;
const BOLD: u8 = 1;

pub(super) fn write(report: &Report, color: bool, out: &mut dyn Write) -> io::Result<()> {
    let paint = |code: u8, text: &str| match color {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_owned(),
    };
    let Report { version, kernel, verdict, uses, sections } = report;
    writeln!(out, "Trigon {version} on Linux {} {}", kernel.release, kernel.machine)?;
    let verdict = match verdict {
        Verdict::Ok => paint(GREEN, "All that Trigon needs is here."),
        Verdict::Missing => paint(RED, "Something that Trigon needs is missing."),
        Verdict::NotPermitted => {
            paint(YELLOW, "This process may not try all that Trigon needs: run it as root.")
        }
    };
    writeln!(out, "{verdict}\n\n{}", paint(BOLD, "What Trigon uses here"))?;
    if uses.lifecycle.is_empty() {
        writeln!(out, "  nothing that could be found out")?;
    }
    for lifecycle in &uses.lifecycle {
        writeln!(out, "  {:36}{}", lifecycle.hook, lifecycle.mechanism)?;
    }
    for hook in &uses.hooks {
        write_hook(hook, out)?;
    }
    for Section { name, checks } in sections {
        writeln!(out, "\n{}", paint(BOLD, &capitalised(name)))?;
        // What is there needs no line of its own where there are many.
        let (there, rest): (Vec<_>, Vec<_>) =
            checks.iter().partition(|check| check.state == State::Ok && check.detail.is_empty());
        if !there.is_empty() {
            let names: Vec<_> = there.iter().map(|check| check.name.as_str()).collect();
            wrap(out, &paint(GREEN, &format!("{:14}", "ok")), TEXT, &names.join(", "))?;
        }
        let mut rest = rest;
        while let Some(check) = rest.first().copied() {
            // What is alike is said once.
            let alike;
            (alike, rest) = rest.into_iter().partition(|other| other.is_like(check));
            write_checks(check, &alike, &paint, out)?;
        }
    }
    Ok(())
}

fn write_hook(hook: &Hook, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "  {:36}{}", hook.kind, hook.mechanism.unwrap_or("nothing"))?;
    for tried in hook.tried.iter().take_while(|tried| Some(tried.mechanism) != hook.mechanism) {
        wrap(out, &" ".repeat(14), TEXT + 2, &format!("  not {}: {}", tried.mechanism, tried.reason))?;
    }
    Ok(())
}

fn write_checks(
    check: &Check,
    alike: &[&Check],
    paint: &impl Fn(u8, &str) -> String,
    out: &mut dyn Write,
) -> io::Result<()> {
    let color = match (check.state, check.need) {
        (State::Ok, _) => GREEN,
        (State::Missing, Importance::Required) => RED,
        (State::Missing | State::NotPermitted, _) => YELLOW,
        _ => 0,
    };
    let names: Vec<_> = alike.iter().map(|check| check.name.as_str()).collect();
    let mut text = names.join(", ");
    if check.need == Importance::Unused {
        text.push_str(" (not used by this version)");
    }
    if !check.detail.is_empty() {
        text = format!("{text}: {}", check.detail);
    }
    wrap(out, &paint(color, &format!("{:14}", check.state.as_str())), TEXT, &text)?;
    for (what, text) in [("costs", check.cost), ("mend", check.mend)] {
        if !text.is_empty() {
            wrap(out, &" ".repeat(14), TEXT + 2, &format!("  {what}: {text}"))?;
        }
    }
    Ok(())
}

/// Writes words after a head of 14 columns, and goes on in further lines below `indent`.
fn wrap(out: &mut dyn Write, head: &str, indent: usize, text: &str) -> io::Result<()> {
    let mut line = format!("  {head}");
    let leading = text.len() - text.trim_start().len();
    line.push_str(&text[..leading]);
    let (mut column, mut first) = (TEXT + leading, true);
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if !first && column + 1 + length > WIDTH {
            writeln!(out, "{line}")?;
            (line, column, first) = (" ".repeat(indent), indent, true);
        }
        if !first {
            line.push(' ');
            column += 1;
        }
        line.push_str(word);
        (column, first) = (column + length, false);
    }
    writeln!(out, "{line}")
}

// === impl Check ===

impl Check {
    /// Whether the same is to be said of both.
    fn is_like(&self, other: &Self) -> bool {
        let said = |check: &Self| {
            let unused = check.need == Importance::Unused;
            (check.state, unused, check.detail.clone(), check.cost, check.mend)
        };
        std::ptr::eq(self, other) || self.need != Importance::Info && said(self) == said(other)
    }
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
