//! What policies saw, read by the message types of opentelemetry-proto; and any of it, by every way out.

use std::sync::Arc;

use proptest::prelude::*;
use prost::Message;

use super::{
    encoding::{attributes, lines, log, sealed, span, traces},
    sample::{self, NOON},
};
use crate::{
    compact::CompactWriter,
    event::{Action, Descriptor, Event, Exit, File, Hook, Kind, Process, Timestamp, Value},
    identity::ExecId,
    json::JsonWriter,
    otlp::Signal,
    samples::{HOST, NODE, hooks},
    text::is_printable,
};

#[test]
fn a_match_is_a_warning_and_an_enforced_one_an_error() {
    for (action, returned, severity, text) in [
        (Action::Post, None, 13, "WARN"),
        (Action::FollowFd, None, 13, "WARN"),
        (Action::Sigkill, None, 17, "ERROR"),
        (Action::Override, None, 17, "ERROR"),
        (Action::Post, Some(Action::Signal), 17, "ERROR"),
    ] {
        let hook = Hook { action, return_action: returned, ..hooks::read() };
        let record = log(hooks::vi(hook));
        assert_eq!((record.severity_number, record.severity_text.as_str()), (severity, text), "{action:?}");
    }
}

#[test]
fn matches_of_one_moment_have_ids_of_their_own() {
    let uid = |hook: Hook| attributes(&log(hooks::vi(hook)).attributes)["log.record.uid"].clone();
    let read = uid(hooks::read());
    assert_eq!(read, uid(Hook { action: Action::Sigkill, ..hooks::read() }));
    let others = [
        Hook { selector: 1, ..hooks::read() },
        hooks::file_hook("__x64_sys_read", "/etc/passwd"),
        hooks::file_hook("__x64_sys_read", "/etc/group"),
    ];
    let ids: Vec<String> = others.into_iter().map(uid).collect();
    assert!(ids.iter().all(|id| *id != read) && ids[1] != ids[2], "{ids:?}");
}

#[test]
fn a_followed_descriptor_is_a_span_below_its_process() {
    let event = hooks::descriptor();
    let process = Arc::clone(&event.process);
    let Kind::Descriptor(descriptor) = event.kind.clone() else { panic!("a descriptor") };
    let span = span(event.clone());
    assert_eq!((span.name.as_str(), span.kind, span.flags), ("file.access", 1, 0x101));
    assert_eq!(span.trace_id, process.trace.id.0);
    assert_eq!(span.span_id, descriptor.span.0);
    assert_eq!(span.parent_span_id, process.trace.span.0);
    let times = (span.start_time_unix_nano, span.end_time_unix_nano);
    assert_eq!(times, (descriptor.opened.0, descriptor.closed.0));
    insta::assert_snapshot!("descriptor", lines(String::new(), &span.attributes));
    assert!(sealed(Signal::Logs, sample::node(), std::slice::from_ref(&event)).is_none());
    assert!(!Signal::Logs.makes(&event) && Signal::Spans.makes(&event));

    // A clock that was set back must not make a span of negative length.
    let backwards = Descriptor { opened: Timestamp(u64::MAX), ..*descriptor };
    let span = self::span(Event { kind: Kind::Descriptor(Box::new(backwards)), ..event });
    assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
}

#[test]
fn what_policies_saw_stands_in_the_span_of_the_process() {
    let process = sample::process(20);
    let saw =
        |hook: Hook| Event { time: Timestamp(NOON + 7), ..sample::event(process.clone(), Kind::Hook(hook)) };
    let mut events: Vec<Event> = (0..40).map(|_| saw(hooks::read())).collect();
    events.push(sample::exit(process.clone(), 0, 0));
    events.push(sample::exit(sample::process(21), 0, 0));
    let request = traces(&events);
    let spans = &request.resource_spans[0].scope_spans[0].spans;
    assert_eq!(spans.iter().map(|span| span.events.len()).collect::<Vec<_>>(), [32, 0]);
    assert_eq!(spans.iter().map(|span| span.dropped_events_count).collect::<Vec<_>>(), [8, 0]);
    let first = &spans[0].events[0];
    assert_eq!((first.name.as_str(), first.time_unix_nano), ("file.read", NOON + 7));
    insta::assert_snapshot!("span_event", lines(String::new(), &first.attributes));
    let batch = sealed(Signal::Spans, sample::node(), &events).expect("a batch");
    assert_eq!(batch.counts.total(), 2, "only spans are records");
    assert!(Signal::Spans.makes(&events[0]));
}

#[test]
fn events_end_with_the_image_that_they_are_of() {
    let old = sample::process(20);
    let new =
        Process { exec_id: ExecId { ktime: old.exec_id.ktime + 1, ..old.exec_id }, ..sample::process(20) };
    let request = traces(&[
        sample::event(old.clone(), Kind::Hook(hooks::read())),
        sample::exec_over(new.clone(), old),
        sample::event(new.clone(), Kind::Hook(hooks::read())),
        sample::event(new.clone(), Kind::Hook(hooks::read())),
        sample::exit(new, 0, 0),
    ]);
    let spans = &request.resource_spans[0].scope_spans[0].spans;
    assert_eq!(spans.iter().map(|span| span.events.len()).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn huge_values_are_cut() {
    let long = "/é".repeat(100_000);
    let args = vec![
        hooks::file(&long),
        hooks::bytes(&vec![0xff; 1 << 20], 1 << 40),
        hooks::text(&"\u{1b}".repeat(1 << 20)),
    ];
    let record = log(hooks::vi(hooks::hook(hooks::kprobe("sys_write"), args)));
    let found = attributes(&record.attributes);
    assert!(
        found["file.path"].starts_with('…') && long.ends_with(found["file.path"].trim_start_matches('…'))
    );
    assert!(record.encoded_len() < 32 << 10, "{}", record.encoded_len());
    assert_eq!(found["trigon.file.bytes"], (1_u64 << 40).to_string());
    // A path of the kernel's limit is whole.
    let whole = "/abcdefghijklmno".repeat(256);
    let found = log(hooks::vi(hooks::file_hook("fd_install", &whole))).attributes;
    assert_eq!((whole.len(), &attributes(&found)["file.path"]), (4096, &whole));
}

fn any_value() -> impl Strategy<Value = Option<Value>> {
    let text = || any::<String>().prop_map(String::into_boxed_str);
    prop_oneof![
        Just(None),
        any::<i32>().prop_map(|number| Some(Value::Int(number))),
        any::<u32>().prop_map(|number| Some(Value::UInt(number))),
        any::<i64>().prop_map(|number| Some(Value::Long(number))),
        any::<u64>().prop_map(|number| Some(Value::Size(number))),
        (text(), any::<bool>()).prop_map(|(text, truncated)| Some(Value::Text { text, truncated })),
        (any::<Vec<u8>>(), any::<u64>())
            .prop_map(|(data, size)| Some(Value::Bytes { data: data.into(), size })),
        (text(), any::<[u32; 2]>(), any::<[bool; 2]>()).prop_map(
            |(path, [flags, mode], [truncated, deleted])| Some(Value::File(File {
                path,
                flags,
                mode,
                truncated,
                deleted
            }))
        ),
        (text(), any::<[bool; 2]>()).prop_map(|(path, [truncated, deleted])| Some(Value::Path {
            path,
            truncated,
            deleted
        })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_call_goes_every_way_out(
        function in prop_oneof![
            "(__x64_)?sys_(read|write|open|openat|close|mount|setns|setuid|renameat2)",
            "security_(file_permission|mmap_file|path_truncate|inode_unlink)",
            any::<String>(),
        ],
        args in prop::collection::vec(any_value(), 0..6),
        labels in prop::collection::vec(any::<String>(), 0..6),
        returned in any_value(),
        action in any::<u8>(),
        selector in any::<u16>(),
    ) {
        let mut source = hooks::kprobe(&function);
        let specs: Vec<_> = labels.iter().map(|label| (label.as_str(), "int")).collect();
        source.args = hooks::specs(&specs);
        let hook = Hook {
            args: args.into(),
            returned,
            action: Action::from_number(action),
            selector,
            ..hooks::hook(source, Vec::new())
        };
        let event = hooks::vi(hook.clone());
        let record = log(event.clone());
        let found = attributes(&record.attributes);
        prop_assert_eq!(&found["trigon.hook.function"], &function);
        prop_assert_eq!(found.contains_key("trigon.args"), !hook.args.is_empty());
        let body = record.body.expect("a body").encode_to_vec();
        prop_assert!(body.len() < 4096);

        let mut line = Vec::new();
        JsonWriter::new(NODE, HOST).write(&event, &mut line);
        let json: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
        prop_assert_eq!(json["process_kprobe"]["args"].as_array().map_or(0, Vec::len), hook.args.len());

        line.clear();
        CompactWriter::new(NODE, false, false).write(&event, &mut line);
        let text = String::from_utf8(line).expect("UTF-8");
        prop_assert!(text.strip_suffix('\n').is_some_and(|line| line.chars().all(is_printable)), "{:?}", text);

        let ended = Event { kind: Kind::Exit(Exit::default()), ..event.clone() };
        let request = traces(&[event, ended]);
        prop_assert_eq!(request.resource_spans[0].scope_spans[0].spans[0].events.len(), 1);
    }
}
