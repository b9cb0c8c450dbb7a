//! An endpoint that is away, slow or refuses: what the queue holds arrives, what doesn't is counted, and the kernel's
//! side never notices.

use std::{process::ExitCode, time::Duration};

use trigon_tests::{
    exposition::Exposition,
    otlp::{Behaviour, Protocol, Received, Signal},
    rig::Rig,
    suite::{self, Need},
    workload::Workload,
};

/// Quick to send and to try again, so that the tests don't wait.
const QUICK: &str = "batch.max_age = \"50ms\"\nretry.initial = \"50ms\"\nretry.max = \"200ms\"";

/// A test of the behaviour over either protocol.
type Test = fn(Protocol);

const TESTS: [(&str, Test); 7] = [
    ("closed_endpoint_gets_everything_when_it_is_back", closed),
    ("endpoint_that_is_away_at_the_start_gets_everything", away_at_the_start),
    ("unavailable_endpoint_gets_everything_when_it_is_back", unavailable),
    ("delay_that_the_endpoint_asks_for_is_kept", delay),
    ("slow_endpoint_gets_everything", slow),
    ("refused_records_are_lost_and_counted", refused),
    ("rejected_records_are_lost_and_counted_and_not_sent_again", rejected),
];

fn main() -> ExitCode {
    suite::run(|suite| {
        for (name, test) in TESTS {
            for (suffix, protocol) in [("grpc", Protocol::Grpc), ("http", Protocol::Http)] {
                suite.test(&format!("{name}_{suffix}"), &[Need::Kernel], move || test(protocol));
            }
        }
        suite.test("what_the_queue_has_no_room_for_is_lost_and_counted", &[Need::Kernel], overflow);
    })
}

/// Losses of the way out, not of the kernel or the reader.
fn lost_on_the_way_out(metrics: &Exposition) -> f64 {
    let stages = ["queue", "spool", "export"];
    stages.into_iter().map(|stage| metrics.sum("trigon_lost_events_total", &[("stage", stage)])).sum()
}

/// Nothing was lost before the events were handed to the ways out.
fn check_kernel_side(metrics: &Exposition) {
    let lost = metrics.labels("trigon_lost_events_total", &[]);
    let before =
        lost.iter().filter(|labels| !matches!(labels["stage"].as_str(), "export" | "queue" | "spool"));
    assert_eq!(before.count(), 0, "{lost:?}");
}

fn closed(protocol: Protocol) {
    let mut rig = Rig::start(protocol, QUICK);
    rig.check(&Workload::new(), "tree 1 2");
    rig.receiver.close();
    let workload = Workload::new();
    let done = workload.run("tree 2 3");
    // Standard output goes on meanwhile.
    rig.agent.until_lines(workload.tag(), 26);
    rig.agent.until_metrics("a failed request", |metrics| {
        (metrics.sum("trigon_export_requests_total", &[("code", "connect")]) > 0.0).then_some(())
    });
    rig.receiver.reopen();
    rig.check_done(&workload, &done);
    rig.check_no_loss();
}

fn away_at_the_start(protocol: Protocol) {
    let mut receiver = trigon_tests::otlp::Receiver::open();
    receiver.close();
    let agent = Rig::agent(&receiver, protocol, QUICK).start();
    let workload = Workload::new();
    let done = workload.run("tree 2 2");
    receiver.reopen();
    let rig = Rig { receiver, agent };
    rig.check_done(&workload, &done);
    rig.check_no_loss();
}

fn unavailable(protocol: Protocol) {
    let rig = Rig::start(protocol, QUICK);
    rig.receiver.behave(Behaviour::Unavailable(None));
    let workload = Workload::new();
    let done = workload.run("tree 2 2");
    rig.receiver.until("two refused tries of each signal", |received| {
        (refusals(received, Signal::Logs) >= 2 && refusals(received, Signal::Traces) >= 2).then_some(())
    });
    rig.receiver.behave(Behaviour::Accept);
    rig.check_done(&workload, &done);
    rig.check_no_loss();
}

/// Without the asked-for delay there would be many tries a second.
fn delay(protocol: Protocol) {
    let rig = Rig::start(protocol, QUICK);
    rig.receiver.behave(Behaviour::Unavailable(Some(Duration::from_secs(60))));
    let workload = Workload::new();
    workload.run("exit 0");
    let tried =
        |signal| rig.receiver.until("a try", |received| (refusals(received, signal) > 0).then_some(()));
    tried(Signal::Logs);
    tried(Signal::Traces);
    // Ten times the longest wait of its own.
    std::thread::sleep(Duration::from_secs(2));
    let received = rig.receiver.received();
    let tries = [Signal::Logs, Signal::Traces].map(|signal| refusals(&received, signal));
    assert_eq!(tries, [1, 1], "tries within the delay");
}

/// Requests that the receiver didn't take: others of this machine may have been told of before it began to refuse.
fn refusals(received: &Received, signal: Signal) -> usize {
    received.requests.iter().filter(|request| request.signal == signal && !request.taken).count()
}

fn slow(protocol: Protocol) {
    let rig = Rig::start(protocol, QUICK);
    rig.receiver.behave(Behaviour::Slow(Duration::from_millis(300)));
    let workload = Workload::new();
    let done = workload.run("tree 3 3");
    rig.check_done(&workload, &done);
    rig.check_no_loss();
}

fn refused(protocol: Protocol) {
    let rig = Rig::start(protocol, QUICK);
    rig.receiver.behave(Behaviour::Refuse);
    let workload = Workload::new();
    workload.run("exit 0");
    rig.agent.until_lines(workload.tag(), 2);
    let lost = |metrics: &Exposition, exporter: &str| {
        let lost = metrics.labels("trigon_lost_events_total", &[("stage", "export")]);
        lost.iter().any(|labels| labels["exporter"] == exporter)
    };
    rig.agent.until_metrics("both signals' losses", |metrics| {
        (lost(metrics, "otlp_logs") && lost(metrics, "otlp_spans")).then_some(())
    });
    rig.receiver.behave(Behaviour::Accept);
    let received = rig.receiver.received();
    assert!(received.logs_of(workload.tag()).is_empty(), "what was refused isn't sent again");
    // The next ones arrive.
    rig.check(&Workload::new(), "tree 1 2");
    check_kernel_side(&rig.agent.metrics());
}

fn rejected(protocol: Protocol) {
    let rig = Rig::start(protocol, QUICK);
    rig.receiver.behave(Behaviour::Partial { rejected: 1, message: "told to reject one".into() });
    let workload = Workload::new();
    workload.run("exit 0");
    let all = |received: &Received| {
        let (logs, spans) = (received.logs_of(workload.tag()).len(), received.spans_of(workload.tag()).len());
        (logs >= 2 && spans >= 1).then_some(())
    };
    rig.receiver.until("the records", all);
    rig.receiver.behave(Behaviour::Accept);
    rig.agent.until_metrics("each rejected record as lost", |metrics| {
        let equal = |(signal, exporter)| {
            let lost =
                metrics.sum("trigon_lost_events_total", &[("reason", "rejected"), ("exporter", exporter)]);
            let requests = rig.receiver.received().requests;
            let of_signal = requests.iter().filter(|request| request.signal == signal);
            let rejected: i64 = of_signal.map(|request| request.rejected).sum();
            rejected > 0 && lost == rejected as f64
        };
        let signals = [(Signal::Logs, "otlp_logs"), (Signal::Traces, "otlp_spans")];
        signals.into_iter().all(equal).then_some(())
    });
    assert!(rig.agent.log().contains("told to reject one"), "the receiver's words are in the log");
    rig.check(&Workload::new(), "tree 1 2");
    let received = rig.receiver.received();
    assert_eq!(received.logs_of(workload.tag()).len(), 2, "a partial success isn't sent again");
    check_kernel_side(&rig.agent.metrics());
}

/// All that was exported or lost adds up to all that happened.
fn overflow() {
    let small = format!("{QUICK}\nbatch.max_records = 16\nqueue.max_bytes = 65536\nqueue.max_events = 64");
    let mut rig = Rig::start(Protocol::Grpc, &small);
    rig.receiver.close();
    let workload = Workload::new();
    workload.run("burst 500");
    rig.agent.until_lines(workload.tag(), 1002);
    rig.agent.until_metrics("a loss", |metrics| (lost_on_the_way_out(metrics) > 0.0).then_some(()));
    rig.receiver.reopen();
    rig.agent.until_metrics("an empty queue", |metrics| {
        let waiting = metrics.sum("trigon_export_queue_events", &[]);
        (metrics.has("trigon_export_queue_events") && waiting == 0.0).then_some(())
    });
    // There is room again.
    rig.check(&Workload::new(), "exit 0");
    let received = rig.receiver.received();
    let ours = received.logs_of(workload.tag()).len();
    assert!(ours > 0 && ours < 1002, "{ours} of 1002 arrived");
    let metrics = rig.agent.metrics();
    let lost_logs = metrics.sum("trigon_lost_events_total", &[("exporter", "otlp_logs")]);
    assert!(
        lost_logs >= (1002 - ours) as f64,
        "{ours} of 1002 arrived, but only {lost_logs} are counted as lost"
    );
    check_kernel_side(&metrics);
}
