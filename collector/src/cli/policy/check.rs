//! `trigon policy check`

use std::{io, path::PathBuf, process::ExitCode};

use clap::Args;
use serde::Serialize;

use crate::cli::output::{Output, write};
use crate::policy::{self, Checked, FileError, Rules, fault::Fault};

/// Arguments of `trigon policy check`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Files, or directories of files that end in .yaml or .yml.
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    /// Take actions that call out (GetUrl, DnsLookup), as an agent with policy.allow_outbound_actions does.
    #[arg(long)]
    allow_outbound_actions: bool,
    /// How the result is written.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// What `check` found.
#[derive(Serialize)]
struct Report {
    ok: bool,
    files: Vec<FileReport>,
}

#[derive(Serialize)]
struct FileReport {
    file: PathBuf,
    ok: bool,
    policies: Vec<PolicyReport>,
    faults: Vec<Fault>,
    /// Faults that aren't listed.
    hidden: usize,
    /// Why the file couldn't be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    unread: Option<String>,
}

#[derive(Serialize)]
struct PolicyReport {
    name: String,
    hooks: usize,
}

/// Does what the command line says.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let report = Report::of(&arguments.paths, Rules { outbound: arguments.allow_outbound_actions });
    let code = if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    write(arguments.output, &report, |out| report.write_text(out), code)
}

// === impl Report ===

impl Report {
    fn of(paths: &[PathBuf], rules: Rules) -> Self {
        let mut files = Vec::new();
        for path in paths {
            match policy::files(path) {
                Ok(found) => files.extend(
                    found.into_iter().map(|file| FileReport::new(file.clone(), rules.check_file(&file))),
                ),
                Err(error) => files.push(FileReport::new(path.clone(), Err(error))),
            }
        }
        Self { ok: files.iter().all(|file| file.ok), files }
    }

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
            for PolicyReport { name, hooks } in &report.policies {
                writeln!(out, "{file}: ok {name}: {hooks} {}", if *hooks == 1 { "hook" } else { "hooks" })?;
            }
        }
        Ok(())
    }
}

// === impl FileReport ===

impl FileReport {
    fn new(file: PathBuf, checked: Result<Checked, FileError>) -> Self {
        let (checked, unread) = match checked {
            Ok(checked) => (checked, None),
            Err(error) => (Checked::default(), Some(error.to_string())),
        };
        let Checked { policies, faults, hidden, errors } = checked;
        let policies = policies
            .into_iter()
            .map(|policy| PolicyReport { hooks: policy.hooks.len(), name: policy.key() })
            .collect();
        Self { file, ok: errors == 0 && unread.is_none(), policies, faults, hidden, unread }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const SOUND: &str = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: sound}\nspec: {kprobes: [{call: sys_read}, {call: sys_write}]}\n";
    const BROKEN: &str = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: broken}\nspec:\n  selectorsMacros: {a: {}}\n  kprobes: [{cal: sys_read}]\n";

    /// A directory of policies, and what is reported of it, its own name left out.
    fn report(files: &[(&str, &str)]) -> (Report, String) {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let report = Report::of(&[directory.path().to_owned()], Rules::default());
        let mut out = Vec::new();
        report.write_text(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        (report, text.replace(&format!("{}/", directory.path().display()), ""))
    }

    #[test]
    fn a_directory_is_its_yaml_files_in_order() {
        let (found, text) =
            report(&[("b.yml", SOUND), ("a.yaml", SOUND), (".c.yaml", BROKEN), ("d.txt", BROKEN)]);
        insta::assert_snapshot!(text, @r"
        a.yaml: ok sound: 2 hooks
        b.yml: ok sound: 2 hooks
        ");
        assert!(found.ok);
    }

    #[test]
    fn faults_read_like_a_compilers() {
        let (found, text) = report(&[("a.yaml", SOUND), ("b.yaml", BROKEN)]);
        insta::assert_snapshot!(text, @r"
        a.yaml: ok sound: 2 hooks
        b.yaml:5:24: warning: spec.selectorsMacros.a: no selector uses this macro
        b.yaml:6:13: error: spec.kprobes[0]: the key call is missing
        b.yaml:6:14: error: spec.kprobes[0].cal: no such key: did you mean call?; allowed: call, syscall, return, args, returnArg, returnArgAction, data, selectors, message, messageTemplate, severity, tags, ignore
        ");
        assert!(!found.ok);
        let faults = serde_json::to_value(&found.files[1].faults).unwrap();
        let first = serde_json::json!({
            "class": "warning",
            "line": 5,
            "column": 24,
            "path": "spec.selectorsMacros.a",
            "message": "no selector uses this macro",
        });
        assert_eq!(faults[0], first);
        assert_eq!(
            (&faults[1]["class"], &faults[1]["feature"]),
            (&"invalid".into(), &serde_json::Value::Null)
        );
        assert!(faults[2]["allowed"].as_str().unwrap().starts_with("call, syscall"));
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let report = Report::of(&["/nowhere/at/all.yaml".into(), "/dev/null".into()], Rules::default());
        let mut out = Vec::new();
        report.write_text(&mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r"
        error: cannot read /nowhere/at/all.yaml: No such file or directory (os error 2)
        error: cannot read /dev/null: a policy is a file
        ");
        assert!(!report.ok);
        let (empty, _) = self::report(&[("d.txt", SOUND)]);
        assert!(!empty.ok && empty.files[0].unread.is_some());
    }
}
