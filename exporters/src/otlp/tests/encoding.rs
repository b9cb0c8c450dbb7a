//! What is encoded, read by the message types of opentelemetry-proto.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, ArrayValue, KeyValue, any_value::Value},
    logs::v1::LogRecord,
    trace::v1::Span,
};
use proptest::prelude::*;
use prost::Message;

use super::sample::{self, NOON};
use crate::{
    event::{Event, Image, Process, ProcessFlags, Timestamp},
    node::Node,
    otlp::{
        Signal,
        batch::{Batch, Batcher},
        config::BatchConfig,
        declared::Declared,
        resource::SCHEMA_URL,
        spans,
    },
    samples,
};

pub(super) const ONE_BATCH: BatchConfig =
    BatchConfig { max_records: usize::MAX, max_bytes: usize::MAX, max_age: Duration::from_secs(1) };

pub(super) fn sealed(signal: Signal, node: Node, events: &[Event]) -> Option<Batch> {
    let mut batcher = Batcher::new(signal, Arc::new(node), ONE_BATCH);
    assert!(events.iter().all(|event| batcher.push(event).is_none()));
    batcher.seal()
}

/// Decodes, and asserts that nothing was left over that the message doesn't know: encoded again it is the same.
pub(super) fn decoded<M: Message + Default>(batch: &Batch) -> M {
    let message = M::decode(batch.body.as_ref()).expect("a request of this type");
    assert_eq!(message.encode_to_vec(), batch.body);
    message
}

pub(super) fn logs(events: &[Event]) -> ExportLogsServiceRequest {
    decoded(&sealed(Signal::Logs, sample::node(), events).expect("a batch"))
}

pub(super) fn traces(events: &[Event]) -> ExportTraceServiceRequest {
    decoded(&sealed(Signal::Spans, sample::node(), events).expect("a batch"))
}

pub(super) fn log(event: Event) -> LogRecord {
    logs(&[event]).resource_logs.remove(0).scope_logs.remove(0).log_records.remove(0)
}

pub(super) fn span(event: Event) -> Span {
    traces(&[event]).resource_spans.remove(0).scope_spans.remove(0).spans.remove(0)
}

/// Attributes as JSON-like text, so that a table of them can be read.
pub(super) fn attributes(attributes: &[KeyValue]) -> BTreeMap<&str, String> {
    let shown =
        attributes.iter().map(|pair| (pair.key.as_str(), text(pair.value.as_ref().expect("a value"))));
    let map: BTreeMap<_, _> = shown.collect();
    assert_eq!(map.len(), attributes.len(), "no key comes twice");
    map
}

fn text(value: &AnyValue) -> String {
    match value.value.as_ref().expect("a value") {
        Value::StringValue(text) => text.clone(),
        Value::BoolValue(value) => value.to_string(),
        Value::IntValue(value) => value.to_string(),
        Value::DoubleValue(value) => format!("{value:?}"),
        Value::ArrayValue(ArrayValue { values }) => {
            format!("{:?}", values.iter().map(text).collect::<Vec<_>>())
        }
        other => panic!("unexpected {other:?}"),
    }
}

pub(super) fn table<'a>(rows: &[(&'a str, &str)]) -> BTreeMap<&'a str, String> {
    rows.iter().map(|(key, value)| (*key, (*value).to_owned())).collect()
}

/// What [`sample::process`] has, whatever happens to it.
fn process_rows(process: &Process) -> BTreeMap<&'static str, String> {
    let mut rows = table(&[
        ("process.parent_pid", "10"),
        ("process.vpid", "3"),
        ("process.group_leader.pid", "9"),
        ("process.session_leader.pid", "8"),
        ("process.executable.path", "/usr/bin/curl"),
        ("process.executable.name", "curl"),
        ("process.command", "curl"),
        ("process.command_args", "[\"curl\", \"-s\", \"two words\"]"),
        ("process.args_count", "3"),
        ("process.working_directory", "/srv"),
        ("process.creation.time", "2026-11-24T10:00:00.000000000Z"),
        ("process.user.id", "0"),
        ("process.real_user.id", "1000"),
        ("process.saved_user.id", "2"),
        ("process.interactive", "true"),
        ("process.linux.cgroup", "/system.slice/a.service"),
        ("trigon.flags", "[\"execve\", \"tty\"]"),
        ("trigon.auid", "1000"),
        ("trigon.privileges_gained", "[\"setuid\"]"),
    ]);
    rows.insert("process.pid", process.pid().to_string());
    rows.insert("trigon.exec_id", process.exec_id.to_base64("node-1"));
    rows.insert("trigon.parent_exec_id", process.parent_exec_id.expect("a parent").to_base64("node-1"));
    rows
}

#[test]
fn an_exec_is_a_log_record() {
    let process = sample::process(20);
    let record = log(sample::exec(process.clone()));
    assert_eq!(
        (record.time_unix_nano, record.observed_time_unix_nano),
        (NOON + 1_500_000_000, NOON + 1_500_001_000)
    );
    assert_eq!((record.severity_number, record.severity_text.as_str()), (9, "INFO"));
    assert_eq!((record.event_name.as_str(), record.flags), ("process.exec", 1));
    assert_eq!(record.trace_id, process.trace.id.0);
    assert_eq!(record.span_id, process.trace.span.0);
    assert_eq!(text(record.body.as_ref().expect("a body")), "/usr/bin/curl -s \"two words\"");
    let mut found = attributes(&record.attributes);
    let uid = found.remove("log.record.uid").expect("an id");
    assert!(uid.len() == 32 && uid.bytes().all(|byte| byte.is_ascii_hexdigit()), "{uid}");
    assert_eq!(found, process_rows(&process));
}

#[test]
fn an_exit_is_a_log_record() {
    for (code, signal, body, rows) in [
        (0, 0, "exit code 0", &[("process.exit.code", "0")][..]),
        (7, 0, "exit code 7", &[("process.exit.code", "7"), ("error.type", "7")]),
        (0, 9, "SIGKILL", &[("trigon.exit.signal", "SIGKILL"), ("error.type", "SIGKILL")]),
        (0, 11, "SIGSEGV (core dumped)", &[("trigon.exit.signal", "SIGSEGV"), ("error.type", "SIGSEGV")]),
    ] {
        let process = sample::process(20);
        let record = log(sample::exit(process.clone(), code, signal));
        assert_eq!(record.event_name, "process.exit");
        assert_eq!(
            text(record.body.as_ref().expect("a body")),
            format!("/usr/bin/curl -s \"two words\": {body}")
        );
        let mut expected = process_rows(&process);
        expected.extend(table(rows));
        expected.extend(table(&[
            ("process.exit.time", "2026-11-24T10:00:01.500000000Z"),
            ("trigon.cpu.user_seconds", "0.25"),
            ("trigon.cpu.system_seconds", "1e-6"),
            ("trigon.exit.core_dumped", if signal == 11 { "true" } else { "false" }),
        ]));
        let mut found = attributes(&record.attributes);
        assert!(found.remove("log.record.uid").is_some());
        assert_eq!(found, expected, "{code} {signal}");
    }
}

#[test]
fn a_record_has_one_id_however_often_it_is_made() {
    let uid = |event: Event| attributes(&log(event).attributes)["log.record.uid"].clone();
    let exec = uid(sample::exec(sample::process(20)));
    assert_eq!(exec, uid(Event { observed: Timestamp(NOON * 2 - 1), ..sample::exec(sample::process(20)) }));
    let others = [
        sample::exec(sample::process(21)),
        sample::exit(sample::process(20), 0, 0),
        Event { time: Timestamp(NOON), ..sample::exec(sample::process(20)) },
    ];
    assert!(others.into_iter().all(|other| uid(other) != exec));
}

#[test]
fn an_exit_is_a_span() {
    for (code, signal, status, error) in [(0, 0, 0, None), (3, 0, 2, Some("3")), (0, 9, 2, Some("SIGKILL"))] {
        let process = sample::process(20);
        let span = span(sample::exit(process.clone(), code, signal));
        assert_eq!((span.name.as_str(), span.kind), ("curl", 1));
        assert_eq!(span.trace_id, process.trace.id.0);
        assert_eq!(span.span_id, process.trace.span.0);
        assert_eq!(span.parent_span_id, sample::parent().trace.span.0);
        assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (NOON, NOON + 1_500_000_000));
        assert_eq!(span.status.map_or(0, |status| status.code), status);
        assert_eq!(span.flags, 0x101, "sampled, and the parent is local");
        let found = attributes(&span.attributes);
        assert_eq!(found.get("error.type").map(String::as_str), error);
        assert!(process_rows(&process).iter().all(|(key, value)| found.get(key) == Some(value)), "{found:?}");
        assert!(!found.contains_key("log.record.uid"));
    }
}

#[test]
fn an_exec_over_another_ends_its_span() {
    let new =
        Process { image: Arc::new(Image::new("/bin/sh", "", "/", "sh\0", None)), ..sample::process(21) };
    let old = sample::process(20);
    let span = span(sample::exec_over(new, old.clone()));
    assert_eq!((span.name.as_str(), span.span_id.as_slice()), ("curl", &old.trace.span.0[..]));
    assert_eq!((span.status, span.end_time_unix_nano), (None, NOON + 1_500_000_000));
    let found = attributes(&span.attributes);
    assert_eq!(found, process_rows(&old));
    assert!(sealed(Signal::Spans, sample::node(), &[sample::exec(sample::process(20))]).is_none());
}

#[test]
fn a_span_never_ends_before_it_starts() {
    for (start, shown) in [(0, NOON + 1_500_000_000), (u64::MAX, NOON + 1_500_000_000), (NOON + 1, NOON + 1)]
    {
        let span = span(sample::exit(Process { start: Timestamp(start), ..sample::process(20) }, 0, 0));
        assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (shown, NOON + 1_500_000_000));
    }
}

#[test]
fn links_and_parents_from_elsewhere_are_marked() {
    let mut process = sample::process(20);
    process.trace.link = Some(sample::elsewhere());
    let linked = span(sample::exit(process.clone(), 0, 0));
    assert_eq!(linked.links.len(), 1);
    assert_eq!(
        (linked.links[0].trace_id.as_slice(), linked.links[0].span_id.as_slice()),
        (&[7; 16][..], &[8; 8][..])
    );

    process.trace.parent = Some(sample::elsewhere().span);
    assert_eq!(
        span(sample::exit(process.clone(), 0, 0)).flags,
        0x301,
        "the parent is in an application's trace"
    );
    assert_eq!(span(Event { parent: None, ..sample::exit(process.clone(), 0, 0) }).flags, 0x1, "not known");
    process.trace.parent = None;
    let root = span(sample::exit(process, 0, 0));
    assert_eq!((root.flags, root.parent_span_id.len()), (0x101, 0));
}

#[test]
fn what_is_not_known_is_left_out() {
    let process = Process {
        parent_exec_id: None,
        start: Timestamp(0),
        parent_pid: 0,
        vpid: 0,
        session: 0,
        group: 0,
        auid: u32::MAX,
        flags: ProcessFlags::MISS,
        cgroup: Arc::default(),
        image: Arc::default(),
        ..sample::process(20)
    };
    let span = span(sample::exit(process, 0, 0));
    assert_eq!(span.name, "unknown");
    let keys: Vec<&str> =
        attributes(&span.attributes).into_keys().filter(|key| key.starts_with("process.")).collect();
    assert_eq!(keys, ["process.exit.code", "process.exit.time", "process.pid"]);
}

#[test]
fn a_script_a_deleted_file_and_no_arguments_show() {
    let file = sample::process(1).image.file.map(|file| crate::event::FileFacts { links: 0, ..file });
    let image = Image::new("/usr/bin/bash", "./run.sh", "/", "", file);
    let record = log(sample::exec(Process { image: Arc::new(image), ..sample::process(20) }));
    let found = attributes(&record.attributes);
    assert_eq!(found["trigon.script.path"], "./run.sh");
    assert_eq!(found["trigon.binary.deleted"], "true");
    assert_eq!(found["process.args_count"], "0");
    assert!(!found.contains_key("process.command") && !found.contains_key("process.command_args"));
}

#[test]
fn each_container_and_the_host_are_resources() {
    let (long, short) = ("ab".repeat(32), "odd");
    let containers = [None, Some(sample::container(&long)), Some(sample::container(short))];
    let events: Vec<Event> = (0..9)
        .map(|n| {
            // Another allocation with the same id is the same container.
            let container = containers[n % 3].as_ref().map(|container| sample::container(&container.id));
            sample::exit(Process { cgroup: sample::cgroup(container), ..sample::process(n as u32 + 1) }, 0, 0)
        })
        .collect();

    let request = logs(&events);
    let shared = table(&[
        ("host.name", "node-1"),
        ("host.id", "0123456789abcdef0123456789abcdef"),
        ("host.arch", "amd64"),
        ("os.type", "linux"),
        ("os.name", "Debian GNU/Linux"),
        ("os.version", "12"),
        ("telemetry.distro.name", "trigon"),
        ("telemetry.distro.version", env!("CARGO_PKG_VERSION")),
        ("telemetry.sdk.name", "trigon"),
        ("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
        ("telemetry.sdk.language", "rust"),
    ]);
    let own = [
        table(&[("service.name", "node-1"), ("service.instance.id", "0123456789abcdef0123456789abcdef")]),
        table(&[
            ("service.name", "abababababab"),
            ("service.instance.id", &long),
            ("container.id", &long),
            ("container.runtime.name", "containerd"),
        ]),
        table(&[
            ("service.name", short),
            ("service.instance.id", short),
            ("container.id", short),
            ("container.runtime.name", "containerd"),
        ]),
    ];
    assert_eq!(request.resource_logs.len(), own.len());
    for (resource, own) in request.resource_logs.iter().zip(own) {
        let found = attributes(&resource.resource.as_ref().expect("a resource").attributes);
        assert_eq!(found, shared.clone().into_iter().chain(own).collect());
        let [scope] = resource.scope_logs.as_slice() else { panic!("one scope") };
        assert_eq!((scope.schema_url.as_str(), resource.schema_url.as_str()), (SCHEMA_URL, SCHEMA_URL));
        let named = scope.scope.as_ref().expect("a scope");
        assert_eq!((named.name.as_str(), named.version.as_str()), ("trigon", env!("CARGO_PKG_VERSION")));
        assert_eq!(scope.log_records.len(), 3);
    }
    assert_eq!(
        traces(&events).resource_spans.iter().map(|r| r.scope_spans[0].spans.len()).collect::<Vec<_>>(),
        [3; 3]
    );
}

#[test]
fn what_variables_declare_is_on_every_resource_and_names_the_host() {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let declared = Declared {
        service_name: Some("db".to_owned()),
        attributes: vec![pair("service.version", "3"), pair("deployment.environment.name", "prod")],
    };
    let inside = Process { cgroup: sample::cgroup(Some(sample::container("abc"))), ..sample::process(1) };
    let events = [sample::exec(sample::process(2)), sample::exec(inside)];
    let node = Node { declared, ..sample::node() };
    let request: ExportLogsServiceRequest = decoded(&sealed(Signal::Logs, node, &events).expect("a batch"));
    let of = |index: usize, key: &str| {
        let resource = request.resource_logs[index].resource.as_ref().expect("a resource");
        attributes(&resource.attributes).get(key).cloned().unwrap_or_default()
    };
    let keys = ["service.name", "service.version", "deployment.environment.name", "host.name"];
    assert_eq!(keys.map(|key| of(0, key)), ["db", "3", "prod", "node-1"]);
    assert_eq!(keys.map(|key| of(1, key)), ["abc", "", "prod", "node-1"]);
}

#[test]
fn a_node_is_kubernetes_only_where_it_is() {
    let node = Node { kubernetes: true, host_id: None, ..sample::node() };
    let batch = sealed(Signal::Logs, node, &sample::lifecycles(1)).expect("a batch");
    let request: ExportLogsServiceRequest = decoded(&batch);
    let resource = request.resource_logs[0].resource.as_ref().expect("a resource");
    let found = attributes(&resource.attributes);
    assert_eq!(
        (found["k8s.node.name"].as_str(), found["service.instance.id"].as_str()),
        ("node-1", "node-1")
    );
    assert!(!found.contains_key("host.id"));
}

#[test]
fn batches_are_sealed_by_records_and_by_bytes() {
    let events = sample::lifecycles(50);
    for (limits, at_least) in [
        (BatchConfig { max_records: 7, ..ONE_BATCH }, 100 / 7),
        (BatchConfig { max_bytes: 6_000, ..ONE_BATCH }, 10),
        (BatchConfig { max_bytes: 1, ..ONE_BATCH }, 100),
    ] {
        let mut batcher = Batcher::new(Signal::Logs, Arc::new(sample::node()), limits);
        let mut batches: Vec<Batch> = events.iter().filter_map(|event| batcher.push(event)).collect();
        assert!(batches.len() >= at_least, "{} of {limits:?}", batches.len());
        assert!(batches.iter().all(|batch| batch.counts.total() <= limits.max_records as u64));
        assert!(batches.iter().all(|batch| batch.body.len() < limits.max_bytes.saturating_add(2_000)));
        batches.extend(batcher.seal());
        assert!(batcher.seal().is_none() && batcher.deadline().is_none());
        let records = |batch: &Batch| {
            let request: ExportLogsServiceRequest = decoded(batch);
            request.resource_logs.iter().map(|r| r.scope_logs[0].log_records.len()).sum::<usize>()
        };
        assert!(batches.iter().all(|batch| records(batch) as u64 == batch.counts.total()));
        assert_eq!(batches.iter().map(records).sum::<usize>(), events.len());
    }
}

#[test]
fn a_batch_knows_its_oldest_event() {
    let later = Event { time: Timestamp(NOON + 5), ..sample::exec(sample::process(1)) };
    let first = Event { time: Timestamp(NOON + 3), ..sample::exec(sample::process(2)) };
    let batch = sealed(Signal::Logs, sample::node(), &[later, first]).expect("a batch");
    assert_eq!(batch.oldest, Timestamp(NOON + 3));
}

/// A record or span as lines, for a snapshot.
pub(super) fn lines(head: String, attributes: &[KeyValue]) -> String {
    attributes.iter().fold(head, |lines, pair| {
        let value = text(pair.value.as_ref().expect("a value")).escape_debug().to_string();
        format!("{lines}  {} = {value}\n", pair.key)
    })
}

#[test]
fn every_sample_is_a_record_and_a_span() {
    for (name, event) in samples::table() {
        let record = log(event.clone());
        let body = text(record.body.as_ref().expect("a body"));
        let mut shown = lines(format!("log {} {:?}\n", record.event_name, body), &record.attributes);
        if spans::spanned(&event).is_some() {
            let span = span(event);
            let hex = |id: &Vec<u8>| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            let ids = [&span.trace_id, &span.span_id, &span.parent_span_id].map(hex);
            let head = format!("\nspan {} kind={} flags={:#x}\n", span.name, span.kind, span.flags);
            let status = span.status.map_or(0, |status| status.code);
            let head = format!("{head}  ids={ids:?} links={} status={status}\n", span.links.len());
            shown += &lines(head, &span.attributes);
        }
        insta::assert_snapshot!(name, shown);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_arrives_as_it_is(
        binary in ".{0,200}",
        cwd in any::<String>(),
        args in prop::collection::vec("[^\0]{0,40}", 0..256),
        long in 0usize..40_000,
        container in prop::option::of("[0-9a-zé]{0,80}"),
        code in any::<u8>(),
        flags in any::<u32>(),
    ) {
        let args: Vec<String> = args.into_iter().chain((long > 0).then(|| "ä".repeat(long))).collect();
        let joined: String = args.iter().map(|argument| format!("{argument}\0")).collect();
        let process = Process {
            image: Arc::new(Image::new(&binary, "", &cwd, &joined, None)),
            cgroup: sample::cgroup(container.as_deref().map(sample::container)),
            flags: ProcessFlags::from_bits_truncate(flags) - (ProcessFlags::ERROR_ARGS | ProcessFlags::MISS),
            ..sample::process(20)
        };
        let record = log(sample::exit(process.clone(), code, 0));
        let found = attributes(&record.attributes);
        prop_assert_eq!(found.get("process.executable.path").cloned().unwrap_or_default(), binary);
        prop_assert_eq!(found.get("process.working_directory").cloned().unwrap_or_default(), cwd);
        prop_assert_eq!(&found["process.args_count"], &args.len().to_string());
        if !args.is_empty() {
            prop_assert_eq!(&found["process.command_args"], &format!("{args:?}"));
        }
        prop_assert!(text(record.body.as_ref().expect("a body")).len() < 300);
        let span = span(sample::exit(process, code, 0));
        prop_assert_eq!(span.status.is_some(), code != 0);
    }
}
