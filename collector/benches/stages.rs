//! What each stage costs an event, alone on one thread: `cargo bench -p trigon --bench stages [-- NAME]`.
//!
//! The input is what the golden tests replay: records that real kernels wrote.

#![expect(clippy::expect_used, reason = "how a benchmark fails")]

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use trigon::{
    redact::{Redaction, Redactor},
    tracker::{Settings, Tracker, clock::Clock, trace::Rules},
};
use trigon_exporters::{
    compact::CompactWriter,
    event::{Event, Namespaces, Timestamp},
    json::JsonWriter,
    node::Node,
    otlp::{self, Signal},
};
use trigon_probes::record::{ExecKey, Record, decode, decode_first};

/// A fork, an exec and an exit.
const EXIT: &[u8] = include_bytes!("../../tests/golden/exit.records");
/// A tree of processes, in a session.
const TREE: &[u8] = include_bytes!("../../tests/golden/tree.records");

const NODE: &str = "node-1";

/// Events in one batch.
const BATCH: usize = 1024;

criterion_group! {
    name = stages;
    config = Criterion::default().measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    targets = decoding, tracking, redacting, encoding
}
criterion_main!(stages);

fn split(mut recorded: &[u8]) -> Vec<&[u8]> {
    let mut records = Vec::new();
    while let Ok((_, rest)) = decode_first(recorded) {
        records.push(&recorded[..recorded.len() - rest.len()]);
        recorded = rest;
    }
    records
}

fn tracker(redaction: Redaction) -> Tracker {
    let settings = Settings {
        node: NODE.to_owned(),
        rules: Rules { join_env: true, max_age_ns: 86_400_000_000_000 },
        max_args: 256,
        variables: Vec::new(),
        redaction,
        capacity: 65_536,
        linger: Duration::ZERO,
    };
    Tracker::new(settings, Clock::new())
}

/// A record's copy, of the process of that number.
fn of_process<'a>(record: &Record<'a>, number: u64) -> Record<'a> {
    let mut record = *record;
    let key = |key: ExecKey| ExecKey {
        ktime: 1_000_000 + 1000 * number,
        pid: 1000 + (number as u32 & 0xffff),
        ..key
    };
    match &mut record {
        Record::Exec(exec) => exec.fixed.task.key = key(exec.fixed.task.key),
        Record::Fork(fork) => fork.fixed.task.key = key(fork.fixed.task.key),
        Record::Exit(exit) => exit.key = key(exit.key),
        _ => {}
    }
    record
}

fn decoding(c: &mut Criterion) {
    let records = split(TREE);
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(records.len() as u64));
    group.bench_function("records of a tree of processes", |b| {
        b.iter(|| records.iter().filter(|record| decode(black_box(record)).is_ok()).count());
    });
}

fn tracking(c: &mut Criterion) {
    let records: Vec<_> = split(EXIT).into_iter().map(|record| decode(record).expect("a record")).collect();
    let mut group = c.benchmark_group("track");
    group.throughput(Throughput::Elements(records.len() as u64));
    let off = toml::from_str("enabled = false").expect("a configuration");
    let off = Redaction::new(&off).expect("a configuration");
    for (name, redaction) in [("fork, exec, exit", Redaction::default()), ("the same without redaction", off)]
    {
        let mut tracker = tracker(redaction);
        let mut number = 0;
        group.bench_function(name, |b| {
            b.iter(|| {
                number += 1;
                if number % BATCH as u64 == 0 {
                    tracker.tick();
                }
                let taken = records.iter().map(|record| of_process(record, number));
                taken.filter_map(|record| tracker.take(record, Timestamp(0))).count()
            });
        });
    }
}

fn redacting(c: &mut Criterion) {
    let mut group = c.benchmark_group("redact");
    let mut redactor = Redactor::new(Redaction::default());
    let long: String = (0..256).map(|n| format!("--option-{n}=/usr/share/value/{n}\0")).collect();
    for (name, binary, args) in [
        ("a short command", "/usr/bin/ls", "ls\0-la\0/var/log\0"),
        (
            "a compiler's command",
            "/usr/lib/gcc/x86_64-linux-gnu/12/cc1",
            "cc1\0-quiet\0-I\0include\0-imultiarch\0x86_64-linux-gnu\0-D_GNU_SOURCE\0src/main.c\0-dumpbase\0main.c\0-O2\0\
             -fno-strict-aliasing\0-Wall\0-o\0/tmp/ccAbCdEf.s\0",
        ),
        ("256 arguments", "/usr/bin/app", &long),
        ("a password", "/usr/bin/app", "app\0--host=db\0--password=hunter2\0--verbose\0"),
        ("a shell's script", "/bin/sh", "sh\0-c\0curl -s -u bob:hunter2 https://example.com/ | jq .name\0"),
    ] {
        group.throughput(Throughput::Bytes(args.len() as u64));
        group.bench_function(name, |b| {
            b.iter_batched_ref(
                || args.to_owned(),
                |args| redactor.arguments(black_box(binary), args, false),
                BatchSize::SmallInput,
            );
        });
    }
}

/// Execs and exits of as many processes, as the tracker makes them.
fn events() -> Vec<Event> {
    let records: Vec<_> = split(EXIT).into_iter().map(|record| decode(record).expect("a record")).collect();
    let mut tracker = tracker(Redaction::default());
    let all =
        (0..BATCH as u64).flat_map(|number| records.iter().map(move |record| of_process(record, number)));
    all.filter_map(|record| tracker.take(record, Timestamp(0))).take(BATCH).collect()
}

fn encoding(c: &mut Criterion) {
    let events = events();
    let node = Arc::new(Node::detect(NODE.to_owned(), false));
    let mut group = c.benchmark_group("encode");
    group.throughput(Throughput::Elements(events.len() as u64));
    for (name, signal) in [("OTLP log records", Signal::Logs), ("OTLP spans", Signal::Spans)] {
        group.bench_function(name, |b| b.iter(|| otlp::encode(signal, &node, black_box(&events))));
    }
    let mut out = Vec::new();
    let mut json = JsonWriter::new(NODE, Namespaces::default());
    group.bench_function("JSON lines", |b| {
        b.iter(|| {
            out.clear();
            events.iter().for_each(|event| json.write(black_box(event), &mut out));
        });
    });
    let mut compact = CompactWriter::new(NODE, false, false);
    group.bench_function("compact lines", |b| {
        b.iter(|| {
            out.clear();
            events.iter().for_each(|event| compact.write(black_box(event), &mut out));
        });
    });
}
