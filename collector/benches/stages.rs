//! What each stage costs an event, alone on one thread: `cargo bench -p trigon --bench stages [-- NAME]`.
//!
//! The input is what the golden tests replay: records that real kernels wrote.

#![expect(clippy::expect_used, reason = "how a benchmark fails")]

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use prometheus::TextEncoder;
use trigon::{
    first_seen::FirstSeen,
    redact::{Redaction, Redactor},
    tracker::{Settings, Tracker, clock::Clock, trace::Rules},
};
use trigon_exporters::{
    compact::CompactWriter,
    event::{Cgroup, Event, Kind, Namespaces, Place, Pod, Process, Timestamp, Workload},
    json::JsonWriter,
    metrics::{EventMetrics, MetricsConfig, Registry},
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
    targets = decoding, tracking, redacting, encoding, counting, scraping
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
        expose_stack_addresses: false,
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

/// The event, of a pod of that number.
fn in_pod(event: &Event, number: usize) -> Event {
    let pod = Pod {
        namespace: "shop".to_owned(),
        name: format!("web-7d4b9c8f6d-{number:05}"),
        workload: Some(Workload { kind: "Deployment".to_owned(), name: "web".to_owned() }),
        ..Pod::default()
    };
    let cgroup = Cgroup::clone(&event.process.cgroup);
    cgroup.place.set(Some(Arc::new(Place { pod: Arc::new(pod), container: None })));
    let process = Process { cgroup: Arc::new(cgroup), ..Process::clone(&event.process) };
    Event { process: Arc::new(process), ..event.clone() }
}

/// Metrics in which `series` pods have a series of one family each.
fn metrics(event: &Event, series: usize, config: &MetricsConfig) -> (Registry, EventMetrics) {
    let registry = Registry::new();
    let mut metrics = EventMetrics::register(&registry, config).expect("families");
    (0..series).for_each(|number| metrics.observe(&in_pod(event, number)));
    (registry, metrics)
}

fn start_and_end() -> [Event; 2] {
    let events = events();
    let of = |wanted: fn(&Kind) -> bool| {
        events.iter().find(|event| wanted(&event.kind)).cloned().expect("there is one")
    };
    [of(|kind| matches!(kind, Kind::Exec(_))), of(|kind| matches!(kind, Kind::Exit(_)))]
}

fn counting(c: &mut Criterion) {
    let config = MetricsConfig::default();
    let [start, end] = start_and_end();
    let (_registry, mut known) = metrics(&start, 9_000, &config);
    let mut group = c.benchmark_group("count");
    group.throughput(Throughput::Elements(1));
    for (name, event) in [("an exec", &start), ("an exit", &end)] {
        let event = in_pod(event, 7);
        group.bench_function(name, |b| b.iter(|| known.observe(black_box(&event))));
    }
    let mut first_seen = FirstSeen::default();
    group.bench_function("first seen", |b| b.iter(|| first_seen.is_first(black_box(&start.process))));
    group.bench_function("a look for stale series among 9000", |b| {
        let later = Instant::now() + config.stale_after;
        b.iter_batched_ref(
            || metrics(&start, 9_000, &config),
            |(_, metrics)| metrics.sweep(later),
            BatchSize::PerIteration,
        );
    });
}

fn scraping(c: &mut Criterion) {
    let config = MetricsConfig { max_series: 100_000, ..MetricsConfig::default() };
    let [start, _] = start_and_end();
    let (registry, mut metrics) = metrics(&start, 10_000, &config);
    let scrape = |registry: &Registry| TextEncoder::new().encode_to_string(&registry.gather());
    let mut group = c.benchmark_group("scrape");
    group.bench_function("10000 series", |b| b.iter(|| scrape(&registry)));
    // The same with somebody who scrapes all the time: what a count, and a count in a new series, wait for.
    let stop = Arc::new(AtomicBool::new(false));
    let scraper = thread::spawn({
        let (stop, registry) = (Arc::clone(&stop), registry.clone());
        move || {
            while !stop.load(Ordering::Relaxed) {
                black_box(scrape(&registry).is_ok());
            }
        }
    });
    let known = in_pod(&start, 7);
    group.bench_function("an exec meanwhile", |b| b.iter(|| metrics.observe(black_box(&known))));
    let mut number = 10_000;
    group.bench_function("a new series meanwhile", |b| {
        b.iter_batched_ref(
            || {
                number += 1;
                in_pod(&start, number)
            },
            |event| metrics.observe(event),
            BatchSize::SmallInput,
        );
    });
    stop.store(true, Ordering::Relaxed);
    drop(scraper.join());
}
