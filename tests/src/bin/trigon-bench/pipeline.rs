//! How many records a second one core takes from the reader to the endpoint's acknowledgement.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use prometheus::TextEncoder;
use rustix::time::{ClockId, clock_gettime};
use tokio_util::sync::CancellationToken;
use trigon::{
    config::RecentConfig,
    recent::Recent,
    redact::Redaction,
    router::{CHUNK, Router},
    tracker::{Settings as TrackerSettings, Tracker, clock::Clock, trace::Rules},
};
use trigon_exporters::{
    health::Health,
    metrics::{EventMetrics, Loss, MetricsConfig, Registry},
    node::Node,
    otlp::{
        Destination, ExportMetrics, OtlpConfig,
        config::{Protocol, QueueConfig},
    },
    sink::Depth,
};
use trigon_probes::record::{ExecKey, ExecRecord, ExitRecord, ForkRecord, Record, decode, decode_first};
use trigon_tests::exposition::Exposition;
use zerocopy::{Immutable, IntoBytes};

use crate::{
    Bench,
    cpu::{self, Core},
    receiver::Receiver,
    table::{Row, Sample},
};

/// A fork, an exec and an exit, as this project's probes wrote them.
const RECORDED: &[u8] = include_bytes!("../../../golden/exit.records");

/// Processes in one round.
const PROCESSES: usize = 60_000;
const ROUNDS: usize = 5;

/// Records of processes that nobody saw before.
struct Records {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// What one round did.
struct Round {
    wall: Duration,
    cpu: Duration,
    lost: f64,
    acknowledged: f64,
}

/// Budgets: 60 000 exec+exit pairs and 300 000 small events a second, none lost.
pub fn run(bench: &mut Bench) {
    // The pipeline has the agent's core for itself.
    let receiver = Receiver::start();
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        for (what, execs, budget, need) in [
            ("exec+exit pairs", true, "≥ 60 000 pairs/s, loss 0", 60_000.0),
            ("small events", false, "≥ 300 000 records/s, loss 0", 300_000.0),
        ] {
            // A pair is three records and counts once; of small events each record counts.
            let counted = PROCESSES as f64 * if execs { 1.0 } else { 2.0 };
            let rounds = Core::Agent.start(|| rounds(&receiver, protocol, execs));
            let rate = |time: fn(&Round) -> Duration| {
                Sample::new(rounds.iter().map(|round| counted / time(round).as_secs_f64()).collect())
            };
            let (wall, cpu) = (rate(|round| round.wall), rate(|round| round.cpu));
            let lost: f64 = rounds.iter().map(|round| round.lost).sum();
            let acknowledged: f64 = rounds.iter().map(|round| round.acknowledged).sum();
            let shape = if execs { "fork, exec, exit" } else { "fork, exit" };
            bench.table.add(Row {
                what: format!("{what}, one core, {}", name(protocol)),
                budget,
                measured: format!(
                    "{:.0}/s ({:.0} to {:.0}), {lost} lost",
                    wall.median(),
                    wall.quantile(0.0),
                    wall.quantile(1.0)
                ),
                met: Some(wall.median() >= need && lost == 0.0),
                how: format!(
                    "recorded raw records in memory ({shape} of {PROCESSES} processes a round, {ROUNDS} rounds), \
                     decoded, tracked, routed, encoded and sent as log records and spans until a local receiver had \
                     acknowledged all ({acknowledged}); all threads on one core, the receiver on another. The kernel's \
                     ring is not in this figure. {:.0} per second of CPU time.",
                    cpu.median()
                ),
            });
        }
    }
}

fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Grpc => "gRPC",
        Protocol::HttpProtobuf => "HTTP",
    }
}

fn rounds(receiver: &Receiver, protocol: Protocol, execs: bool) -> Vec<Round> {
    let settings = TrackerSettings {
        node: "node-1".into(),
        rules: Rules { join_env: true, max_age_ns: 86_400_000_000_000 },
        max_args: 256,
        capacity: 65_536,
        linger: Duration::from_secs(10),
        variables: Vec::new(),
        redaction: Redaction::default(),
        expose_stack_addresses: false,
    };
    let mut tracker = Tracker::new(settings, Clock::new());
    // The first fills the table and everybody's buffers.
    let mut all = (0..=ROUNDS).map(|_| round(&mut tracker, receiver, protocol, execs));
    all.next();
    all.collect()
}

fn round(tracker: &mut Tracker, receiver: &Receiver, protocol: Protocol, execs: bool) -> Round {
    let records = Records::new(execs);
    let (registry, exporters) = (Registry::new(), Registry::new());
    let loss = Loss::register(&registry).expect("register a family");
    let export = ExportMetrics::register(&exporters).expect("register families");
    let events = EventMetrics::register(&registry, &MetricsConfig::default()).expect("register families");
    let config = OtlpConfig { endpoint: receiver.endpoint(), protocol, ..OtlpConfig::default() };
    let node = Arc::new(Node::detect("node-1".into(), false));
    // As in the agent.
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().expect("make a runtime");
    let inside = runtime.enter();
    let mut router = Router::new(events, Recent::new(RecentConfig::default().max_bytes));
    let (mut depths, mut tasks) = (Vec::new(), Vec::new());
    let config = [config];
    for destination in Destination::all(&config, &|_| None, None).expect("the settings can be used") {
        let (sender, queue) = destination.queue(&loss);
        depths.push(sender.depth());
        router.open(destination.exporter().into(), sender);
        let token = CancellationToken::new();
        let started = destination.start(Arc::clone(&node), queue, &loss, &export, Health::default(), token);
        tasks.push(started.expect("start"));
    }
    drop(inside);

    let QueueConfig { max_events, max_bytes } = config[0].queue;
    let pace = Pace { depths, exporters, events: max_events, bytes: max_bytes };
    let (begun, cpu) = (Instant::now(), cpu::time_of(std::process::id()));
    for chunk in 0..records.ends.len().div_ceil(CHUNK) {
        pace.keep(chunk);
        let observed = tracker.tick();
        for bytes in records.chunk(chunk) {
            let record = decode(bytes).expect("a record");
            if let Some(event) = tracker.take(record, observed) {
                router.route(event);
            }
        }
        router.flush();
    }
    // The exporters end when they have sent all.
    drop(router);
    for exporter in tasks {
        runtime.block_on(exporter).expect("an exporter ends");
    }
    let (wall, cpu) = (begun.elapsed(), cpu::time_of(std::process::id()) - cpu);
    let lost = exposition(&registry).sum("trigon_lost_events_total", &[]);
    let acknowledged = exposition(&pace.exporters).sum("trigon_export_records_total", &[]);
    let expected = PROCESSES as f64 * if execs { 3.0 } else { 2.0 };
    assert_eq!(acknowledged + lost, expected, "every event is acknowledged or lost");
    Round { wall, cpu, lost, acknowledged }
}

/// Keeps the reader from running ahead of the exporters, as the kernel's pace does in the agent: what is measured is
/// how fast all of them are, and not how much the queues hold.
struct Pace {
    depths: Vec<Depth>,
    /// Only the exporters' families: to gather them is cheap.
    exporters: Registry,
    events: usize,
    bytes: usize,
}

// === impl Pace ===

impl Pace {
    fn keep(&self, chunk: usize) {
        const LOOK_EVERY: usize = 4;
        let full = || self.depths.iter().any(|depth| depth.get() > self.events / 4);
        while full() {
            thread::sleep(Duration::from_micros(50));
        }
        while chunk.is_multiple_of(LOOK_EVERY) && self.waiting() > self.bytes as f64 / 2.0 {
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Bytes of batches that wait for the endpoint, of the signal that has more of them.
    fn waiting(&self) -> f64 {
        let families = self.exporters.gather();
        let rows = families.iter().filter(|family| family.name() == "trigon_export_queue_bytes");
        let rows = rows.flat_map(|family| family.get_metric());
        rows.map(|row| row.get_gauge().get_value()).fold(0.0, f64::max)
    }
}

fn exposition(registry: &Registry) -> Exposition {
    Exposition::parse(&TextEncoder::new().encode_to_string(&registry.gather()).expect("encode the metrics"))
}

// === impl Records ===

impl Records {
    fn new(execs: bool) -> Self {
        let now = clock_gettime(ClockId::Boottime);
        let mut time = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
        let parent = ExecKey { ktime: 1_000, pid: 1_000, image: 0 };
        let mut records = Self { bytes: Vec::new(), ends: Vec::new() };
        // Their parent, which the tracker has to know as it does in life.
        records.add(template(3), parent, ExecKey::default(), 1_000);
        for number in 0..PROCESSES {
            time += 1_000;
            let key = ExecKey { ktime: time, pid: 2_000 + (number % 30_000) as u32, image: 0 };
            records.add(template(3), key, parent, time);
            if execs {
                records.add(template(1), key, parent, time + 300);
            }
            records.add(template(2), key, parent, time + 600);
        }
        records
    }

    fn add(&mut self, template: &[u8], key: ExecKey, parent: ExecKey, time: u64) {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(template);
        patch(&mut self.bytes[begin..], key, parent, time);
        self.ends.push(self.bytes.len());
    }

    fn chunk(&self, index: usize) -> impl Iterator<Item = &[u8]> {
        let range = index * CHUNK..self.ends.len().min((index + 1) * CHUNK);
        range.map(|index| {
            let begin = index.checked_sub(1).map_or(0, |before| self.ends[before]);
            &self.bytes[begin..self.ends[index]]
        })
    }
}

/// The recorded record of this type.
fn template(kind: u16) -> &'static [u8] {
    let mut rest = RECORDED;
    loop {
        let (_, after) = decode_first(rest).expect("the recording has a record of each type");
        if rest.starts_with(&kind.to_ne_bytes()) {
            return &rest[..rest.len() - after.len()];
        }
        rest = after;
    }
}

fn patch(bytes: &mut [u8], key: ExecKey, parent: ExecKey, time: u64) {
    match decode(bytes).expect("a record") {
        Record::Fork(fork) => {
            let mut fixed: ForkRecord = fork.fixed;
            (fixed.header.time, fixed.task.key, fixed.task.parent) = (time, key, parent);
            put(&fixed, bytes);
        }
        Record::Exec(exec) => {
            let mut fixed: ExecRecord = exec.fixed;
            (fixed.header.time, fixed.task.key, fixed.task.parent) = (time, key, parent);
            put(&fixed, bytes);
        }
        Record::Exit(mut fixed) => {
            (fixed.header.time, fixed.key, fixed.parent) = (time, key, parent);
            put::<ExitRecord>(&fixed, bytes);
        }
        _ => unreachable!("the recording has no other types"),
    }
}

fn put<T: IntoBytes + Immutable>(fixed: &T, bytes: &mut [u8]) {
    bytes[..size_of::<T>()].copy_from_slice(fixed.as_bytes());
}
