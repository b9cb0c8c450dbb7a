//! Each stage that can lose something is made to, and the balance of every exporter adds up: what happened is what it
//! exported, what its filter held back, and what was lost on the way to it.

use std::{path::Path, process::ExitCode};

use rustix::process::{Pid, Signal, kill_process};
use trigon_tests::{
    agent::Running,
    exposition::Exposition,
    otlp::{Behaviour, Protocol, Receiver},
    rig::Rig,
    suite::{self, Need},
    workload::Workload,
};

/// Small queues, so that they are full soon; an exporter each for what filters do.
const EXPORTERS: &str = "
batch = { max_age = '50ms', max_records = 16 }
retry = { initial = '50ms', max = '200ms' }
queue = { max_bytes = 65536, max_events = 64 }
[[file]]
path = 'FOLDER/limited.json'
filter = { rate_limit = '5/h' }
[[file]]
name = 'part'
path = 'FOLDER/part.json'
filter = { deny = [{ event_set = ['PROCESS_EXIT'] }] }
[limits]
ring_buffer_bytes = 1048576
";

fn main() -> ExitCode {
    suite::run(|suite| {
        for (name, protocol) in [("grpc", Protocol::Grpc), ("http", Protocol::Http)] {
            let name = format!("what_each_stage_loses_is_counted_once_{name}");
            suite.test(&name, &[Need::Kernel], move || every_stage(protocol));
        }
    })
}

fn every_stage(protocol: Protocol) {
    let workload = Workload::new();
    let mut receiver = Receiver::open();
    let agent = agent(&receiver, protocol, workload.folder());
    let burst = || drop(workload.run("burst 500"));

    // The receiver keeps all but one record of each request.
    receiver.behave(Behaviour::Partial { rejected: 1, message: "one is too many".into() });
    drop(workload.run("tree 2 2"));
    lost(&agent, "export", "rejected", "otlp_logs");
    lost(&agent, "export", "rejected", "otlp_spans");
    // It refuses all.
    receiver.behave(Behaviour::Refuse);
    drop(workload.run("tree 2 2"));
    lost(&agent, "export", "permanent", "otlp_logs");
    lost(&agent, "export", "permanent", "otlp_spans");
    // It is away until there is room for no more.
    receiver.behave(Behaviour::Accept);
    receiver.close();
    until_lost(&agent, "spool", "full", "otlp_logs", burst);
    // What has gathered while the agent didn't run comes at once, and is more than the queues hold.
    let pid = Pid::from_raw(agent.pid() as i32).expect("a process");
    let asleep = |deed: &dyn Fn()| {
        kill_process(pid, Signal::STOP).expect("stop the agent");
        deed();
        kill_process(pid, Signal::CONT).expect("let it go on");
    };
    until_lost(&agent, "queue", "full", "otlp_logs", || asleep(&burst));
    lost(&agent, "filter", "rate_limit", "file");
    receiver.reopen();
    balanced(&agent, &["stdout", "file", "file_part", "otlp_logs", "otlp_spans"]);
    // More than the ring buffer holds.
    until_lost(&agent, "kernel", "ring_full", "", || asleep(&|| (0..8).for_each(|_| burst())));
    // Executions whose start is lost have a span, and no time that they ran.
    balanced(&agent, &["stdout", "file", "file_part", "otlp_logs"]);
    agent.until_metrics("an event for each record", |metrics| (unaccounted(metrics) == 0.0).then_some(()));
    let metrics = agent.metrics();
    assert!(metrics.sum("trigon_filtered_events_total", &[("exporter", "file_part")]) > 500.0, "{metrics}");
    agent.stop();
}

fn agent(receiver: &Receiver, protocol: Protocol, folder: &Path) -> Running {
    let exporters = EXPORTERS.replace("FOLDER", folder.to_str().expect("a plain path"));
    Rig::agent(receiver, protocol, &exporters).start()
}

fn balanced(agent: &Running, exporters: &[&str]) {
    agent.until_metrics(&format!("a balance of each of {exporters:?}"), |metrics| {
        exporters.iter().all(|exporter| balance(metrics, exporter) == 0.0).then_some(())
    });
}

/// Events that happened, without those that an exporter has, lost or was not to get.
fn balance(metrics: &Exposition, exporter: &str) -> f64 {
    let of = [("exporter", exporter)];
    // Spans are made of executions that ended, whatever ended them.
    let happened = match exporter {
        "otlp_spans" => metrics.sum("trigon_process_run_seconds_count", &[]),
        _ => metrics.sum("trigon_events_total", &[]),
    };
    happened
        - metrics.sum("trigon_export_records_total", &of)
        - metrics.sum("trigon_filtered_events_total", &of)
        - metrics.sum("trigon_lost_events_total", &of)
}

/// Records of processes without an event.
fn unaccounted(metrics: &Exposition) -> f64 {
    let of = |family, kind| metrics.sum(family, &[("type", kind)]);
    let kinds = ["PROCESS_EXEC", "PROCESS_EXIT"];
    let records = kinds.map(|kind| of("trigon_records_received_total", kind));
    let events = kinds.map(|kind| of("trigon_events_total", kind));
    records.iter().sum::<f64>()
        - events.iter().sum::<f64>()
        - metrics.sum("trigon_duplicate_exits_total", &[])
}

fn lost(agent: &Running, stage: &str, reason: &str, exporter: &str) {
    until_lost(agent, stage, reason, exporter, || ());
}

/// Does a deed until it costs something.
fn until_lost(agent: &Running, stage: &str, reason: &str, exporter: &str, deed: impl Fn()) {
    let labels = [("stage", stage), ("reason", reason), ("exporter", exporter)];
    agent.until_metrics(&format!("{labels:?}"), |metrics| {
        let lost = metrics.sum("trigon_lost_events_total", &labels);
        if lost == 0.0 {
            deed();
        }
        (lost > 0.0).then_some(())
    });
}
