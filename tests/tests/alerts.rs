//! The Prometheus rules of `dashboards/alerts`: Prometheus takes them, each alert was seen to fire and to stay silent,
//! and says what to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use serde_json::Value;
use trigon_exporters::event::Action;
use trigon_tests::{
    command::said,
    place,
    suite::{self, Need},
};

const RULES: &str = "dashboards/alerts";
const TESTS: &str = "dashboards/alerts/tests";
const RUNBOOKS: &str = "docs/runbooks";
const URL: &str = "https://github.com/trigon-io/trigon/blob/main/docs/runbooks/";

fn main() -> ExitCode {
    suite::run(|suite| {
        suite.test("prometheus_takes_the_rules", &[Need::Prometheus], prometheus_takes_the_rules);
        suite.test("alerts_fire_and_stay_silent", &[Need::Prometheus], alerts_fire_and_stay_silent);
        suite.test("every_alert_has_a_twin", &[], every_alert_has_a_twin);
        suite.test("every_alert_says_what_to_do", &[], every_alert_says_what_to_do);
        suite.test("every_runbook_has_an_alert", &[], every_runbook_has_an_alert);
        suite.test("what_alerts_take_is_recorded", &[], what_alerts_take_is_recorded);
        suite.test("what_alerts_ask_for_is_there", &[], what_alerts_ask_for_is_there);
        suite.test("policies_of_alerts_are_there", &[], policies_of_alerts_are_there);
        suite.test("what_enforces_is_what_policies_say", &[], what_enforces_is_what_policies_say);
    })
}

fn parse(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What is under a key that holds a list; nothing where the key is missing.
fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key}: {value}"))
}

/// All rules, of alerts and of records.
fn rules() -> Vec<Value> {
    let parsed = place::files(&place::workspace(RULES), "yaml").into_iter().map(|path| parse(&path));
    parsed
        .flat_map(|file| {
            items(&file, "groups").flat_map(|group| items(group, "rules")).cloned().collect::<Vec<_>>()
        })
        .collect()
}

/// The alerts by name.
fn alerts() -> BTreeMap<String, Value> {
    let mut alerts = BTreeMap::new();
    for rule in rules().into_iter().filter(|rule| !rule["alert"].is_null()) {
        let name = text(&rule, "alert").to_owned();
        assert!(alerts.insert(name.clone(), rule).is_none(), "two alerts are called {name}");
    }
    alerts
}

/// The name of an alert's page.
fn page(alert: &Value) -> &str {
    let url = text(&alert["annotations"], "runbook_url");
    let name = url.strip_prefix(URL).and_then(|name| name.strip_suffix(".md"));
    name.unwrap_or_else(|| panic!("{url} is no page of {URL}"))
}

/// Words that could be names of metrics: those with a colon, or ours. What is quoted is a label's value.
fn metrics(expr: &str) -> BTreeSet<&str> {
    let other = |letter: char| !letter.is_ascii_alphanumeric() && letter != '_' && letter != ':';
    let words = expr.split('"').step_by(2).flat_map(|part| part.split(other));
    words.filter(|word| word.contains(':') || word.starts_with("trigon_")).collect()
}

fn promtool(arguments: &[&str], files: &[PathBuf]) {
    let said = said(Command::new("promtool").args(arguments).args(files));
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
}

fn prometheus_takes_the_rules() {
    promtool(&["check", "rules"], &place::files(&place::workspace(RULES), "yaml"));
}

fn alerts_fire_and_stay_silent() {
    promtool(&["test", "rules"], &place::files(&place::workspace(TESTS), "yaml"));
}

/// A twin is a test of its own in which series are given and the alert is never expected.
fn every_alert_has_a_twin() {
    let (mut fired, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for path in place::files(&place::workspace(TESTS), "yaml") {
        for test in items(&parse(&path), "tests") {
            assert_ne!(items(test, "input_series").count(), 0, "{test}");
            let mut expected = BTreeMap::new();
            for check in items(test, "alert_rule_test") {
                let alerts = items(check, "exp_alerts").count();
                *expected.entry(text(check, "alertname").to_owned()).or_insert(0) += alerts;
            }
            for (alert, count) in expected {
                if count > 0 { &mut fired } else { &mut silent }.insert(alert);
            }
        }
    }
    let names: BTreeSet<_> = alerts().into_keys().collect();
    assert_eq!(fired, names, "each alert fires in a test");
    assert_eq!(silent, names, "each alert stays silent in a test");
}

fn every_alert_says_what_to_do() {
    let index = fs::read_to_string(place::workspace(RUNBOOKS).join("README.md")).expect("read the index");
    for (name, alert) in alerts() {
        assert!(name.starts_with("Trigon"), "{name}");
        let severity = text(&alert["labels"], "severity");
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: {severity}");
        let summary = text(&alert["annotations"], "summary");
        assert!(!summary.contains("{{"), "{name}: a summary groups what is alike");
        // Where something is known of what it is about, it says what.
        let description = text(&alert["annotations"], "description");
        assert!(description.contains("$labels") || text(&alert, "expr").starts_with("absent("), "{name}");

        let page = page(&alert);
        let path = place::workspace(RUNBOOKS).join(format!("{page}.md"));
        let runbook = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(runbook.lines().next(), Some(format!("# {name}").as_str()), "{page}");
        for part in ["\n## Look at\n", "\n## Harmless causes\n", "\n## Silence or tune\n"] {
            assert!(runbook.contains(part), "{page} has no {}", part.trim());
        }
        let row = format!("| [{name}]({page}.md) | {severity} | {summary} |");
        assert!(index.contains(&row), "the index lacks {row}");
    }
}

fn every_runbook_has_an_alert() {
    let pages: BTreeSet<_> = alerts().values().map(|alert| page(alert).to_owned()).collect();
    let entries = fs::read_dir(place::workspace(RUNBOOKS)).expect("read the runbooks");
    for entry in entries {
        let path = entry.expect("read a folder").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a plain name");
        assert!(name == "README" || pages.contains(name), "no alert leads to {}", path.display());
    }
}

fn what_alerts_take_is_recorded() {
    let rules = rules();
    let recorded: BTreeSet<_> = rules.iter().filter_map(|rule| rule["record"].as_str()).collect();
    let used: BTreeSet<_> = rules.iter().flat_map(|rule| metrics(text(rule, "expr"))).collect();
    for name in used.iter().filter(|name| name.contains(':')) {
        assert!(recorded.contains(name), "{name} is used and not recorded");
    }
    assert!(!recorded.is_disjoint(&used), "no rule uses what is recorded");
    for name in recorded {
        assert_eq!(name.matches(':').count(), 2, "{name} is not level:metric:operations");
    }
}

/// A test of the agent keeps the page as its registry is.
fn what_alerts_ask_for_is_there() {
    let page = fs::read_to_string(place::workspace("docs/metrics.md")).expect("read the page");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let families: BTreeSet<_> = rows.filter_map(|row| row.split('`').next()).collect();
    for rule in rules() {
        for name in metrics(text(&rule, "expr")).into_iter().filter(|name| !name.contains(':')) {
            let parts = ["_bucket", "_sum", "_count"];
            let family = parts.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
            assert!(families.contains(family) || families.contains(name), "nothing counts {name}");
        }
    }
}

fn policies_of_alerts_are_there() {
    let mut count = 0;
    for (name, alert) in alerts() {
        for part in text(&alert, "expr").split("policy=\"").skip(1) {
            let policy = part.split('"').next().unwrap_or_default();
            let path = place::workspace("deploy/policies").join(format!("{policy}.yaml"));
            assert_eq!(text(&parse(&path)["metadata"], "name"), policy, "{name}");
            count += 1;
        }
    }
    assert_ne!(count, 0, "no alert names a policy");
}

fn what_enforces_is_what_policies_say() {
    let actions = (0..=u8::MAX).map(Action::from_number).filter(|action| action.enforces());
    let words: BTreeSet<_> = actions.map(|action| action.word().to_lowercase()).collect();
    let alerts = alerts();
    let expr = text(&alerts["TrigonEnforced"], "expr");
    let pattern = expr.split("action=~\"(?i:").nth(1).and_then(|rest| rest.split(")\"").next());
    let named: BTreeSet<_> = pattern.expect("the actions").split('|').map(str::to_owned).collect();
    assert_eq!(named, words);
}
