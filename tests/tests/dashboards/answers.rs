//! Every query of every dashboard, and every rule, to a real Prometheus.

use std::collections::BTreeMap;

use serde_json::Value;
use trigon_tests::{
    grafana::{self, Query, Source},
    prometheus::Prometheus,
    showcase::Showcase,
    suite::{Need, Suite},
    wait,
};

use crate::names;

/// Families that have no series in this scene, and why. A query over one of them must parse, and is listed.
const ABSENT: &[(&str, &str)] = &[
    ("trigon_metrics_folded_total", "no family reaches its cap"),
    ("trigon_watch_errors_total", "the API server never fails"),
    ("trigon_missed_starts_total", "no start is missed"),
    ("trigon_duplicate_exits_total", "no exit is told twice"),
    ("trigon_process_table_evictions_total", "the table has room"),
];

/// What Grafana puts in place of its variables.
const VARIABLES: &[(&str, &str)] =
    &[("$__rate_interval", "10s"), ("$__interval", "10s"), ("$__range", "30s"), ("$__auto", "10s")];

pub fn tests(suite: &mut Suite) {
    let needs = &[Need::Kernel, Need::Prometheus];
    suite.test("every_query_is_answered_and_names_what_is_emitted", needs, every_query_is_answered);
}

/// A query that is asked until it has an answer.
struct Question {
    place: String,
    query: String,
    /// Why it may have none.
    absent: Option<&'static str>,
}

fn every_query_is_answered() {
    let mut show = Showcase::start();
    let questions = questions();
    println!("{} queries, {} of them over absent features:", questions.len(), listed(&questions));
    let mut open: Vec<&Question> = questions.iter().filter(|question| question.absent.is_none()).collect();
    // Rates need two scrapes, and what rules record is there a moment later.
    wait::until(
        "an answer to every query",
        || {
            show.round();
            open.retain(|question| !ask(&show.prometheus, question));
            open.is_empty().then_some(())
        },
        String::new,
    );
    for question in questions.iter().filter(|question| question.absent.is_some()) {
        ask(&show.prometheus, question);
    }
    rules_are_healthy(&show.prometheus);
    names::check(&show.receiver.received());
    show.agent.stop();
}

/// Prints those that may have no answer; how many there are.
fn listed(questions: &[Question]) -> usize {
    let absent = questions.iter().filter_map(|question| Some((question, question.absent?)));
    absent.map(|(question, why)| println!("  {}: {why}: {}", question.place, question.query)).count()
}

fn questions() -> Vec<Question> {
    let mut questions = Vec::new();
    for (_, dashboard) in grafana::dashboards() {
        let variables = variables(&dashboard);
        let metrics =
            grafana::queries(&dashboard).into_iter().filter(|query| query.source == Source::Prometheus);
        questions.extend(metrics.map(|query| Question::new(&query, &variables)));
    }
    questions
}

/// Whether there is an answer; a query that is wrong fails the test.
fn ask(prometheus: &Prometheus, question: &Question) -> bool {
    let Question { place, query, .. } = question;
    let answer = prometheus.ask("query", &[("query", query)]);
    let answer = answer.unwrap_or_else(|error| panic!("{place}: {query}: {error}"));
    answer["result"].as_array().is_some_and(|series| !series.is_empty())
}

/// Prometheus evaluates every rule without error, and each names families that have series.
fn rules_are_healthy(prometheus: &Prometheus) {
    let answer = prometheus.ask("rules", &[]).expect("ask for the rules");
    let groups = answer["groups"].as_array().expect("groups");
    let rules: Vec<&Value> =
        groups.iter().flat_map(|group| group["rules"].as_array().expect("rules")).collect();
    assert!(!rules.is_empty());
    for rule in rules {
        // One with an interval of its own may not have had its turn yet.
        assert!(rule["health"] != "err" && rule["lastError"].is_null(), "{rule}");
        let query = rule["query"].as_str().expect("a query");
        prometheus.ask("query", &[("query", query)]).unwrap_or_else(|error| panic!("{rule}: {error}"));
        for family in grafana::families(query) {
            let absent = ABSENT.iter().find(|(absent, _)| *absent == family);
            if let Some((_, why)) = absent {
                println!("  rule {}: {why}: {family}", rule["name"]);
                continue;
            }
            let series = prometheus.query(&format!("count({{__name__=\"{family}\"}})"));
            assert!(!series.is_empty(), "no series of {family}, which {} asks for", rule["name"]);
        }
    }
}

/// The variables of a dashboard with their values: everything.
fn variables(dashboard: &Value) -> BTreeMap<String, String> {
    let list = dashboard["templating"]["list"].as_array().into_iter().flatten();
    let all = |variable: &Value| {
        let name = variable["name"].as_str().expect("a variable has a name").to_owned();
        let value = variable["allValue"].as_str().or_else(|| variable["current"]["value"].as_str());
        (name, value.filter(|value| !value.is_empty() && *value != "$__all").unwrap_or(".*").to_owned())
    };
    list.map(all).collect()
}

// === impl Question ===

impl Question {
    fn new(query: &Query, variables: &BTreeMap<String, String>) -> Self {
        let mut text = query.text.clone();
        for (name, value) in VARIABLES {
            text = text.replace(name, value);
        }
        // The longest first: one name may begin another.
        for (name, value) in variables.iter().rev() {
            text = text.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value);
        }
        assert!(!text.contains('$'), "{}: a variable that nobody knows: {text}", query.place);
        let absent = |family: &String| ABSENT.iter().find(|(absent, _)| absent == family);
        let absent = grafana::families(&text).iter().find_map(absent).map(|(_, why)| *why);
        Self { place: query.place.clone(), query: values(&text), absent }
    }
}

/// The query of a variable, `label_values(SELECTOR, LABEL)`, as PromQL.
fn values(text: &str) -> String {
    let arguments = text.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
    match arguments.and_then(|arguments| arguments.rsplit_once(',')) {
        Some((selector, label)) => format!("group by ({}) ({selector})", label.trim()),
        None => text.to_owned(),
    }
}
