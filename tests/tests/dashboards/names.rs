//! Log and trace panels name only what the exporter emits.

use std::{collections::BTreeSet, fs};

use opentelemetry_proto::tonic::common::v1::KeyValue;
use trigon_tests::{
    grafana::{self, Query, Source},
    otlp::{Attributes as _, Received},
    place,
};

/// Words of LogQL.
const LOGQL: &[&str] = &[
    "and",
    "or",
    "by",
    "without",
    "sum",
    "max",
    "min",
    "avg",
    "count",
    "topk",
    "bottomk",
    "rate",
    "count_over_time",
    "max_over_time",
    "min_over_time",
    "sum_over_time",
    "quantile_over_time",
    "unwrap",
    "label_format",
    "line_format",
    "json",
    "drop",
    "keep",
    "if",
    "else",
    "end",
    "ne",
    "eq",
    "duration",
    "bytes",
    "first_over_time",
    "last_over_time",
    "sort_desc",
    "offset",
];

/// What Loki itself makes of a record's fields.
const LOKI: &[&str] =
    &["severity_text", "severity_number", "scope_name", "trace_id", "span_id", "observed_timestamp"];

/// What an exporter emits: what a receiver got of it, and what the exporter's own tests keep of rarer events.
struct Emitted {
    resource: BTreeSet<String>,
    record: BTreeSet<String>,
    span: BTreeSet<String>,
}

/// Compares the names in all queries with what a receiver got.
pub fn check(received: &Received) {
    let emitted = Emitted::new(received);
    check_logs(&emitted);
    check_traces(&emitted);
}

fn check_logs(emitted: &Emitted) {
    let attributes = || emitted.resource.iter().chain(&emitted.record);
    let known = |name: &str| attributes().any(|of| of.replace('.', "_") == name) || LOKI.contains(&name);
    let mut asked = 0;
    for Query { place, text, .. } in queries(Source::Loki) {
        for name in words(&text, |c| c == '_') {
            // What `label_format` defines is known from there on.
            if LOGQL.contains(&name.as_str()) || text.contains(&format!("label_format {name}=")) {
                continue;
            }
            assert!(known(&name), "{place}: nothing emits {name}: {text}");
            asked += 1;
        }
    }
    assert!(asked > 0);
}

fn check_traces(emitted: &Emitted) {
    let mut asked = 0;
    for Query { place, text, .. } in queries(Source::Tempo) {
        for name in words(&text, |c| c == '_' || c == '.') {
            let emits = |prefix: &str, attributes: &BTreeSet<String>| {
                name.strip_prefix(prefix).map(|name| attributes.contains(name))
            };
            let found = emits("resource.", &emitted.resource).or_else(|| emits("span.", &emitted.span));
            assert_ne!(found, Some(false), "{place}: nothing emits {name}: {text}");
            asked += usize::from(found.is_some());
        }
    }
    assert!(asked > 0);
}

fn queries(source: Source) -> Vec<Query> {
    let all = grafana::dashboards().into_iter().flat_map(|(_, dashboard)| grafana::queries(&dashboard));
    all.filter(|query| query.source == source).collect()
}

/// Names in a query, without what is quoted, variables and numbers. Templates of labels are between quotes, but name some.
fn words(text: &str, also: impl Fn(char) -> bool) -> Vec<String> {
    let mut plain = String::new();
    let mut quote = None;
    let mut template = String::new();
    for c in text.chars() {
        match quote {
            Some(end) if c == end => {
                quote = None;
                plain.push_str(&in_braces(&template));
                template.clear();
            }
            Some(_) => template.push(c),
            None if matches!(c, '"' | '`') => {
                quote = Some(c);
                plain.push(' ');
            }
            None => plain.push(c),
        }
    }
    let words = plain.split(|c: char| !(c.is_ascii_alphanumeric() || c == '$' || also(c)));
    let is_name = |word: &&str| word.starts_with(|c: char| c.is_ascii_lowercase());
    words.filter(is_name).map(|word| word.trim_matches('.').to_owned()).collect()
}

/// The labels that a template names: `{{.name}}`.
fn in_braces(template: &str) -> String {
    let inner = template.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
    let dotted = inner.flat_map(|inner| inner.split_whitespace());
    dotted.filter_map(|word| word.strip_prefix('.')).map(|name| format!(" {name} ")).collect()
}

// === impl Emitted ===

impl Emitted {
    fn new(received: &Received) -> Self {
        let (mut record, mut span, mut resource) = (kept("log"), kept("span"), kept("resource"));
        for log in &received.logs {
            record.extend(keys(log.attributes()));
            resource.extend(log.origin.resource.iter().flat_map(|of| keys(&of.attributes)));
        }
        for of in &received.spans {
            span.extend(keys(of.attributes()));
            resource.extend(of.origin.resource.iter().flat_map(|of| keys(&of.attributes)));
        }
        Self { resource, record, span }
    }
}

fn keys(attributes: &[KeyValue]) -> impl Iterator<Item = String> {
    attributes.iter().map(|attribute| attribute.key.clone())
}

/// The keys of attributes of records of a kind in the snapshots that the exporter is tested against.
fn kept(kind: &str) -> BTreeSet<String> {
    let folder = place::workspace("tests/golden/snapshots");
    let mut keys = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("list the snapshots") {
        let path = entry.expect("list the snapshots").path();
        if !path.to_string_lossy().ends_with(".otlp.snap") {
            continue;
        }
        let mut of_kind = false;
        for line in fs::read_to_string(&path).expect("read a snapshot").lines() {
            if !line.starts_with(' ') {
                of_kind = line.split([':', ' ']).next() == Some(kind);
            } else if let Some((key, _)) = line.trim_start().split_once(" = ").filter(|_| of_kind) {
                keys.insert(key.to_owned());
            }
        }
    }
    keys
}
