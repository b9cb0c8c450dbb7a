//! Dashboards and rules as they ship: what they ask, of whom.

use std::{fs, path::PathBuf};

use serde_json::Value;

use crate::place;

/// A question that a dashboard, or a file of rules, asks.
#[derive(Clone, Debug)]
pub struct Query {
    /// Where it stands, for messages.
    pub place: String,
    /// Whom it asks.
    pub source: Source,
    /// The query, with its variables.
    pub text: String,
}

/// A kind of data source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Metrics, by PromQL.
    Prometheus,
    /// Log records, by LogQL.
    Loki,
    /// Traces, by TraceQL.
    Tempo,
}

/// Whether what dashboards are made with and checked against is there.
pub fn is_installed() -> bool {
    let parts = ["grafana/sdk", "grafana/schema/node_modules", "pictures"];
    parts.iter().all(|part| place::cache().join(part).is_dir())
}

/// The dashboards that ship.
pub fn dashboards() -> Vec<(PathBuf, Value)> {
    let folder = place::workspace("dashboards");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("read a dashboard");
        let dashboard =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, dashboard)
    };
    place::files(&folder, "json").into_iter().map(read).collect()
}

/// The files of rules that ship.
pub fn rules() -> Vec<PathBuf> {
    place::files(&place::workspace("dashboards/alerts"), "yaml")
}

/// All queries of a dashboard: its panels' and its variables'.
pub fn queries(dashboard: &Value) -> Vec<Query> {
    let title = dashboard["title"].as_str().expect("a dashboard has a title");
    let mut queries = Vec::new();
    panels(&dashboard["panels"], title, &mut queries);
    for variable in items(&dashboard["templating"]["list"]).filter(|variable| variable["type"] == "query") {
        let source = Source::of(&variable["datasource"]);
        let text = text_of(&variable["query"]).unwrap_or_else(|| panic!("{title}: no query: {variable}"));
        queries.push(Query { place: format!("{title}, variable {}", variable["name"]), source, text });
    }
    queries
}

/// Names of metrics in a query.
pub fn families(query: &str) -> Vec<String> {
    let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    let is_family = |word: &&str| word.starts_with("trigon_") || word.starts_with("process_");
    words.filter(is_family).map(str::to_owned).collect()
}

fn panels(list: &Value, place: &str, queries: &mut Vec<Query>) {
    for panel in items(list) {
        let place = format!("{place}, {}: {}", panel["id"], panel["title"].as_str().unwrap_or_default());
        for target in items(&panel["targets"]) {
            let own =
                if target["datasource"].is_null() { &panel["datasource"] } else { &target["datasource"] };
            let text = ["expr", "query"].into_iter().find_map(|key| target[key].as_str());
            let text = text.unwrap_or_else(|| panic!("{place}: no query: {target}")).to_owned();
            queries.push(Query { place: place.clone(), source: Source::of(own), text });
        }
        // A row that is closed holds its panels.
        panels(&panel["panels"], &place, queries);
    }
}

fn text_of(query: &Value) -> Option<String> {
    query.as_str().or_else(|| query["query"].as_str()).map(str::to_owned)
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

// === impl Source ===

impl Source {
    fn of(reference: &Value) -> Self {
        match reference["type"].as_str() {
            Some("prometheus") => Self::Prometheus,
            Some("loki") => Self::Loki,
            Some("tempo") => Self::Tempo,
            _ => panic!("no data source that is known: {reference}"),
        }
    }
}
