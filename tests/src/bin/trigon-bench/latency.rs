//! How late an event is.

use std::{
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::body::Bytes;
use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest, common::v1::any_value::Value, logs::v1::LogRecord,
};
use prost::Message as _;

use crate::{
    Bench, receiver,
    table::{Row, Sample},
    wait_for,
};

/// Executions a second: two events each.
const RATE: u32 = 500;
const SECONDS: u32 = 10;

/// Milliseconds from the kernel to a place, for each event.
#[derive(Debug, Default)]
struct Delays {
    queued: Vec<f64>,
    acknowledged: Vec<f64>,
}

/// Budget: 5 ms to the exporter's queue at 1 000 events a second.
pub fn run(bench: &mut Bench) {
    let delays = Arc::new(Mutex::new(Delays::default()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("make a runtime");
    let listener = runtime.block_on(receiver::bind());
    let endpoint = format!("http://{}", listener.local_addr().expect("read the address of a listener"));
    let tiny = bench.tiny();
    let (tag, taken) = (tiny.display().to_string(), Arc::clone(&delays));
    let listen = move |path: &str, body: &Bytes| {
        if path == "/v1/logs" {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            taken.lock().unwrap_or_else(PoisonError::into_inner).take(body, &tag, now);
        }
    };
    runtime.spawn(receiver::serve(listener, Some(Arc::new(listen))));

    let agent = crate::agent::Agent::start_over_http(&endpoint);
    let begun = Instant::now();
    let count = RATE * SECONDS;
    for number in 0..count {
        let due = Duration::from_secs(1) / RATE * number;
        thread::sleep(due.saturating_sub(begun.elapsed()));
        let mut command = Command::new(&tiny);
        command
            .env_clear()
            .stdin(Stdio::null())
            .spawn()
            .expect("start a child")
            .wait()
            .expect("wait for a child");
    }
    let took = begun.elapsed();
    let arrived = || delays.lock().unwrap_or_else(PoisonError::into_inner).queued.len();
    wait_for("all log records", || arrived() >= 2 * count as usize, || format!("{} of them", arrived()));
    agent.stop(&mut bench.losses);

    let delays = std::mem::take(&mut *delays.lock().unwrap_or_else(PoisonError::into_inner));
    let (queued, acknowledged) = (Sample::new(delays.queued), Sample::new(delays.acknowledged));
    let rate = queued.len() as f64 / took.as_secs_f64();
    bench.table.add(Row {
        what: "latency kernel → exporter queue, p99".into(),
        budget: "≤ 5 ms",
        measured: format!(
            "{:.2} ms (p50 {:.2}, most {:.2})",
            queued.quantile(0.99),
            queued.median(),
            queued.quantile(1.0)
        ),
        met: Some(queued.quantile(0.99) <= 5.0),
        how: format!(
            "ObservedTimestamp less Timestamp of {} log records at {rate:.0} events a second: until the reader took \
             the record; tracking and queueing come after that, some microseconds an event.",
            queued.len()
        ),
    });
    bench.table.add(Row {
        what: "latency kernel → receiver, p99".into(),
        budget: "–",
        measured: format!("{:.0} ms (p50 {:.0})", acknowledged.quantile(0.99), acknowledged.median()),
        met: None,
        how: "of the same log records, to the moment when a local receiver had the request over HTTP; batch.max_age \
              = 1s is nearly all of it."
            .into(),
    });
}

// === impl Delays ===

impl Delays {
    fn take(&mut self, body: &Bytes, tag: &str, now: Duration) {
        let request = ExportLogsServiceRequest::decode(body.as_ref()).expect("a request for log records");
        let scopes = request.resource_logs.iter().flat_map(|group| &group.scope_logs);
        for log in scopes.flat_map(|scope| &scope.log_records).filter(|log| is_of(log, tag)) {
            let milliseconds = |later: u64| later.saturating_sub(log.time_unix_nano) as f64 / 1e6;
            self.queued.push(milliseconds(log.observed_time_unix_nano));
            self.acknowledged.push(milliseconds(now.as_nanos() as u64));
        }
    }
}

fn is_of(log: &LogRecord, tag: &str) -> bool {
    let path = log.attributes.iter().find(|attribute| attribute.key == "process.executable.path");
    let value = path.and_then(|path| path.value.as_ref()?.value.as_ref());
    matches!(value, Some(Value::StringValue(path)) if path == tag)
}
