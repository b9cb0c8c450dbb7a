//! Recorded raw records in, what leaves the agent out: JSON, compact lines and OTLP, as snapshots. Needs no root.
//!
//! `make record-golden` records the files anew, on a real kernel; then `INSTA_UPDATE=always cargo test -p trigon-tests
//! --test golden` takes the new snapshots, which somebody has to read.

mod broken;
mod otlp;
mod redaction;
mod replay;
mod text;

use replay::{NODE, Replayed};
use trigon_exporters::{compact::CompactWriter, event::Namespaces, json::JsonWriter};

/// For each recording, a test of what it becomes and one of what broken records do to it.
macro_rules! recordings {
    ($($test:ident: $name:literal,)*) => {
        const NAMES: &[&str] = &[$($name,)*];

        $(mod $test {
            const RECORDED: &[u8] = include_bytes!(concat!($name, ".records"));

            #[test]
            fn leaves_by_every_way_out() {
                super::leaves_by_every_way_out($name, RECORDED);
            }

            #[test]
            fn broken_records_harm_no_neighbour() {
                super::broken::harm_no_neighbour(RECORDED);
            }

            #[test]
            fn cut_record_is_counted_and_skipped() {
                super::broken::cut_is_counted_and_skipped(RECORDED);
            }
        })*
    };
}

recordings! {
    container: "container",
    core_dumped: "core",
    double_fork: "double-fork",
    exec_over_exec: "exec-over-exec",
    exit: "exit",
    fork_only: "fork-only",
    hostile_args: "hostile-args",
    long_args: "long-args",
    many_args: "many-args",
    memfd: "memfd",
    orphan: "orphan",
    script: "script",
    session: "session",
    set_uid: "set-uid",
    signal: "signal",
    thread_exec: "thread-exec",
    traceparent: "traceparent",
    tree: "tree",
}

#[test]
fn every_recording_has_its_tests() {
    let folder =
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/golden")).expect("list the recordings");
    let names = folder.filter_map(|entry| {
        let path = entry.expect("list the recordings").path();
        path.extension()
            .is_some_and(|extension| extension == "records")
            .then(|| path.file_stem().map(Into::into))?
    });
    let mut names: Vec<std::ffi::OsString> = names.collect();
    names.sort();
    assert_eq!(names, NAMES);
}

fn leaves_by_every_way_out(name: &str, recorded: &[u8]) {
    let Replayed { events, undecoded, .. } = replay::replay(replay::split(recorded));
    assert_eq!(undecoded, replay::Undecoded::default());
    assert!(events.len() >= 2, "an execution begins and ends");
    // All deeds were begun in the host's namespaces.
    let host = events[0].process.namespaces;
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        let (json, compact) = (json(&events, host), compact(&events));
        assert_eq!(compact_of_json(&json), compact, "`trigon events` shows what `trigon run` does");
        insta::assert_snapshot!(format!("{name}.json"), json);
        insta::assert_snapshot!(format!("{name}.compact"), compact);
        insta::assert_snapshot!(format!("{name}.otlp"), otlp::exported(&events));
    });
}

fn json(events: &[trigon_exporters::event::Event], host: Namespaces) -> String {
    let mut writer = JsonWriter::new(NODE, host);
    let mut out = Vec::new();
    events.iter().for_each(|event| writer.write(event, &mut out));
    String::from_utf8(out).expect("JSON is UTF-8")
}

fn compact(events: &[trigon_exporters::event::Event]) -> String {
    let mut writer = CompactWriter::new(NODE, false, true);
    let mut out = Vec::new();
    events.iter().for_each(|event| writer.write(event, &mut out));
    String::from_utf8(out).expect("a compact line is UTF-8")
}

fn compact_of_json(json: &str) -> String {
    let mut writer = CompactWriter::new("", false, true);
    let mut out = Vec::new();
    for line in json.lines() {
        let line = serde_json::from_str(line).expect("a line is JSON");
        assert!(writer.write_json(&line, &mut out), "a line holds an event");
    }
    String::from_utf8(out).expect("a compact line is UTF-8")
}
