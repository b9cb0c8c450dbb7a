//! The worked examples of docs/policies.md: each is accepted, and where it has a deed, an agent tells of that.
//!
//! A deed stands before its example, `<!-- deed: COMMAND => TEXT -->`: a shell does it, and an event of the policy has the
//! text.

use std::{
    fs,
    process::{Command, ExitCode, Stdio},
};

use trigon::policy::{Rules, check_text};
use trigon_tests::{
    agent::Agent,
    json::Line,
    suite::{self, Need},
};

const POLICIES: &str = include_str!("../../docs/policies.md");

/// An example.
#[derive(Debug)]
struct Example {
    /// Its line in the text.
    line: usize,
    text: String,
    /// The command, and what an event has of it.
    deed: Option<(String, String)>,
}

fn main() -> ExitCode {
    suite::run(|suite| {
        suite.test("every_example_is_accepted", &[], every_example_is_accepted);
        suite.test("every_deed_is_told", &[Need::Kernel], every_deed_is_told);
    })
}

/// The blocks of YAML that are whole policies, in order.
fn examples() -> Vec<Example> {
    let mut examples = Vec::new();
    let mut lines = POLICIES.lines().zip(1..);
    let mut deed = None;
    while let Some((line, number)) = lines.next() {
        let marked = line.strip_prefix("<!-- deed: ").and_then(|rest| rest.strip_suffix(" -->"));
        if let Some(marked) = marked {
            let (command, text) =
                marked.rsplit_once(" => ").unwrap_or_else(|| panic!("line {number}: {line}"));
            deed = Some((command.to_owned(), text.to_owned()));
        } else if line == "```yaml" {
            let block = lines.by_ref().map(|(line, _)| line).take_while(|line| *line != "```");
            let text = block.collect::<Vec<_>>().join("\n");
            // What is no whole policy is part of one that stands above it.
            if text.starts_with("apiVersion: ") {
                examples.push(Example { line: number, text, deed: deed.take() });
            }
        } else {
            assert!(deed.is_none(), "line {number}: a deed without an example");
        }
    }
    examples
}

fn every_example_is_accepted() {
    let examples = examples();
    assert!(examples.len() > 3, "{examples:?}");
    let mut names = Vec::new();
    for Example { line, text, .. } in &examples {
        let checked = Rules::ALL.check_text(text);
        assert_eq!(checked.errors, 0, "line {line}: {:?}", checked.faults);
        names.extend(checked.policies.iter().map(|policy| policy.key()));
    }
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "examples have names of their own: {names:?}");
}

fn every_deed_is_told() {
    let folder = tempfile::tempdir().expect("make a folder");
    let deeds: Vec<_> =
        examples().into_iter().filter_map(|mut example| Some((example.deed.take()?, example))).collect();
    let mut agent = Agent::new();
    for ((..), Example { line, text, .. }) in &deeds {
        let file = folder.path().join(format!("{line}.yaml"));
        fs::write(&file, text).expect("write a policy");
        agent = agent.argument("--policy").argument(file.to_str().expect("a plain path"));
    }
    let agent = agent.start();
    for ((command, _), _) in &deeds {
        // One that is killed does not succeed.
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).stdout(Stdio::null()).stderr(Stdio::null());
        shell.status().expect("run sh");
    }
    let ended = agent.stop();
    for ((command, text), Example { line, text: policy, .. }) in &deeds {
        let name = check_text(policy).policies[0].name.clone();
        let told = ended.lines.iter().filter(|line| line.contains(text));
        let told = told.map(|line| Line::parse(line)).any(|line| line.text("/policy_name") == name);
        assert!(
            told,
            "line {line}: {name} told nothing of {command:?} with {text:?}; the log:\n{}",
            ended.log
        );
    }
    for left in ["/tmp/trigon-forbidden", "/tmp/trigon-followed", "/tmp/trigon-marked"] {
        let _ = fs::remove_file(left);
    }
}
