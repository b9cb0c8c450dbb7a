//! Records without what is not shown, read by the message types of opentelemetry-proto.

use std::{collections::BTreeSet, sync::Arc};

use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::any_value::Value,
    logs::v1::LogRecord,
    trace::v1::Span,
};

use super::{
    encoding::{ONE_BATCH, attributes, decoded, log, span, traces},
    sample,
};
use crate::{
    event::{Event, Kind},
    filter::{Filter, FilterConfig, Source},
    otlp::{
        Signal,
        batch::{Batch, Batcher},
        veil::is_known,
    },
    samples::{self, hooks},
};

fn sealed(signal: Signal, rules: &str, events: &[Event]) -> Batch {
    let config: FilterConfig = toml::from_str(rules).unwrap();
    let fields = Filter::new("x", &config, Source::Agent).unwrap().fields();
    let mut batcher = Batcher::new(signal, Arc::new(sample::node()), ONE_BATCH).showing(fields);
    events.iter().for_each(|event| assert!(batcher.push(event).is_none()));
    batcher.seal().unwrap()
}

fn veiled(rules: &str, event: Event) -> LogRecord {
    let request: ExportLogsServiceRequest = decoded(&sealed(Signal::Logs, rules, &[event]));
    request.resource_logs.into_iter().next().unwrap().scope_logs[0].log_records[0].clone()
}

fn spans(rules: &str, events: &[Event]) -> Vec<Span> {
    let request: ExportTraceServiceRequest = decoded(&sealed(Signal::Spans, rules, events));
    request
        .resource_spans
        .into_iter()
        .flat_map(|group| group.scope_spans)
        .flat_map(|scope| scope.spans)
        .collect()
}

fn body(record: &LogRecord) -> &str {
    match record.body.as_ref().and_then(|body| body.value.as_ref()) {
        Some(Value::StringValue(text)) => text,
        other => panic!("unexpected {other:?}"),
    }
}

const NO_ARGUMENTS: &str = "[[fields]]\naction = 'EXCLUDE'\nfields = 'process.arguments,args,data'";

#[test]
fn arguments_that_are_excluded_are_nowhere_and_all_else_is_as_it_was() {
    let gone = ["process.command", "process.command_args", "process.args_count"];
    for (name, event) in samples::table() {
        let (whole, without) = (log(event.clone()), veiled(NO_ARGUMENTS, event.clone()));
        let is_gone = |key: &str| {
            gone.contains(&key)
                || key == "trigon.args"
                || key == "trigon.data"
                || key.starts_with("network.")
                || key.starts_with("file.")
                || key.starts_with("trigon.file.")
        };
        let mut expected = whole.clone();
        expected.attributes.retain(|attribute| !is_gone(&attribute.key));
        expected.body = without.body.clone();
        assert_eq!(without, expected, "{name}");
        if !matches!(event.kind, Kind::RateLimit(_)) {
            for argument in event.process.image.args().skip(1).filter(|argument| argument.len() > 4) {
                assert!(!body(&without).contains(argument), "{name}: {}", body(&without));
            }
        }
    }
    let shell = samples::table().into_iter().find(|(name, _)| *name == "killed_with_core").unwrap().1;
    assert_eq!(body(&veiled(NO_ARGUMENTS, shell)), "/usr/bin/bash: SIGSEGV (core dumped)");
    assert_eq!(body(&veiled(NO_ARGUMENTS, hooks::vi(hooks::read()))), "/bin/vi");
}

#[test]
fn what_is_included_is_all_there_is_beside_what_the_protocol_needs() {
    let rules = "[[fields]]\nfields = ['process.pid', 'status']";
    let (whole, record) = (
        log(sample::exit(sample::process(20), 3, 0)),
        veiled(rules, sample::exit(sample::process(20), 3, 0)),
    );
    let keys: Vec<String> = attributes(&record.attributes).into_keys().map(str::to_owned).collect();
    assert_eq!(keys, ["log.record.uid", "process.exit.code", "process.pid"]);
    assert_eq!(body(&record), "process.exit");
    assert_eq!(
        (record.time_unix_nano, record.observed_time_unix_nano, &record.trace_id, &record.span_id),
        (whole.time_unix_nano, whole.observed_time_unix_nano, &whole.trace_id, &whole.span_id)
    );
    assert_eq!((record.event_name, record.severity_number), (whole.event_name, whole.severity_number));
}

#[test]
fn spans_and_their_events_are_veiled_each_by_its_type() {
    let rules = "[[fields]]
        event_set = ['PROCESS_EXIT']
        action = 'EXCLUDE'
        fields = ['process.arguments', 'process.binary']
        [[fields]]
        event_set = ['PROCESS_KPROBE', 'TRIGON_DESCRIPTOR']
        action = 'EXCLUDE'
        fields = 'args'";
    let process = sample::process(20);
    let events = [
        sample::event(process.clone(), Kind::Hook(hooks::read())),
        sample::exit(process, 0, 0),
        hooks::descriptor(),
        // The span is of the execution that ended: an exit.
        sample::exec_over(sample::process(22), sample::process(21)),
    ];
    let spans = spans(rules, &events);
    let whole = traces(&events[..2]).resource_spans.remove(0).scope_spans.remove(0).spans.remove(0);
    let [ended, access, replaced] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!((ended.name.as_str(), replaced.name.as_str()), ("process", "process"));
    for span in [ended, replaced] {
        let found = attributes(&span.attributes);
        assert!(!found.keys().any(|key| key.starts_with("process.command") || key.contains("executable")));
        assert!(!found.contains_key("process.args_count") && found.contains_key("process.pid"));
    }
    assert_eq!((&ended.span_id, &ended.parent_span_id), (&whole.span_id, &whole.parent_span_id));
    assert_eq!(whole.events.len(), 1);
    let event = attributes(&ended.events[0].attributes);
    assert!(event.contains_key("trigon.policy.name") && !event.contains_key("file.path"), "{event:?}");
    let access = attributes(&access.attributes);
    assert!(!access.keys().any(|key| key.contains("file.")) && access.contains_key("process.pid"));
    assert!(attributes(&span(hooks::descriptor()).attributes).contains_key("file.path"));
}

/// An attribute that nobody says the source of would be shown where it is excluded.
#[test]
fn of_every_attribute_the_source_is_known() {
    let mut keys = BTreeSet::new();
    for (_, event) in samples::table() {
        keys.extend(log(event.clone()).attributes.into_iter().map(|attribute| attribute.key));
    }
    let process = sample::process(20);
    let events = [
        sample::event(process.clone(), Kind::Hook(hooks::read())),
        sample::exit(process, 3, 0),
        hooks::descriptor(),
    ];
    for group in traces(&events).resource_spans.into_iter().flat_map(|group| group.scope_spans) {
        for span in group.spans {
            let of_events = span.events.into_iter().flat_map(|event| event.attributes);
            keys.extend(span.attributes.into_iter().chain(of_events).map(|attribute| attribute.key));
        }
    }
    assert!(keys.len() > 50, "{keys:?}");
    let unknown: Vec<_> = keys.iter().filter(|key| !is_known(key)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
