//! Ways out: what each gets of the same events, and what of them; and the agent's own metrics.

use std::process::ExitCode;

use trigon_tests::{
    agent::Agent,
    expected::Counts,
    otlp::{Attributes as _, Log, Protocol, Received, Receiver},
    rig::Rig,
    suite::{self, Need},
    workload::Workload,
};

const KERNEL: &[Need] = &[Need::Kernel];

fn main() -> ExitCode {
    suite::run(|suite| {
        suite.test("each_output_gets_what_its_filter_lets_through", KERNEL, each_output);
        suite.test("a_rate_limit_tells_what_it_dropped", KERNEL, rate_limit);
        suite.test("several_endpoints_get_what_each_is_for", KERNEL, several_endpoints);
        suite.test("the_agents_own_metrics_are_pushed", KERNEL, own_metrics);
        suite.test("a_filter_that_cannot_be_used_stops_the_start", &[], unusable);
    })
}

/// Each with its own filter, protocol and signals; one that is away keeps nothing from the other.
fn several_endpoints() {
    let (workload, first, second) = (Workload::new(), Receiver::open(), Receiver::open());
    let config = format!(
        "[[otlp]]
        endpoint = '{}'
        spans.enabled = false
        batch.max_age = '100ms'
        [[otlp]]
        name = 'second'
        endpoint = '{}'
        protocol = 'grpc'
        compression = 'gzip'
        batch.max_age = '100ms'
        filter.deny = [{{ event_set = ['PROCESS_EXEC'] }}]
        [[otlp]]
        name = 'away'
        endpoint = 'http://127.0.0.1:1'",
        first.endpoint(),
        second.endpoint()
    );
    let agent = Agent::new().output("none").config(&config).start();
    let counts = Counts::of(&workload.run("tree 2 2"));
    let tag = workload.tag();
    let all = |received: &Received| (received.logs_of(tag).len() >= counts.events()).then_some(());
    first.until("all log records", all);
    let ends = |received: &Received| (received.spans_of(tag).len() >= counts.spans).then_some(());
    second.until("all spans", ends);
    let exits = |received: &Received| (received.logs_of(tag).len() >= counts.exits).then_some(());
    second.until("the ends' log records", exits);
    assert!(first.received().spans.is_empty());
    assert_eq!(second.received().logs_of(tag).len(), counts.exits);
    let sent = |exporter| agent.metrics().sum("trigon_export_records_total", &[("exporter", exporter)]);
    assert!(sent("otlp_logs") > 0.0 && sent("otlp_spans_second") > 0.0);
    assert_eq!(sent("otlp_logs_away"), 0.0);
    agent.stop();
}

fn own_metrics() {
    let receiver = Receiver::open();
    let config = "[self_metrics]\nenabled = true\ninterval = '200ms'";
    let agent = Rig::agent(&receiver, Protocol::Http, "").config(config).start();
    // A machine that does nothing has nothing to count.
    Workload::new().run("exit 0");
    receiver.until("metrics", |received| {
        received.metrics.iter().any(|metric| metric.name == "trigon_events_total").then_some(())
    });
    agent.stop();
}

fn each_output() {
    let (workload, receiver) = (Workload::new(), Receiver::open());
    let tag = workload.tag();
    let filters = format!(
        "[[otlp.filter.fields]]
        fields = 'process.arguments'
        action = 'EXCLUDE'
        [stdout.filter]
        deny = [{{ binary_regex = ['{tag}'], event_set = ['PROCESS_EXEC'] }}]
        [[stdout.filter.fields]]
        event_set = ['PROCESS_EXIT']
        fields = ['process.pid', 'process.binary', 'status']"
    );
    let agent = Rig::agent(&receiver, Protocol::Http, "").config(&filters).start();
    let done = workload.run("tree 2 2");
    let counts = Counts::of(&done);

    receiver
        .until("all log records", |received| (received.logs_of(tag).len() >= counts.events()).then_some(()));
    let received = receiver.received();
    let logs = received.logs_of(tag);
    assert_eq!(logs.len(), counts.events(), "OTLP gets all events");
    for log in logs {
        let binary = log.text("process.executable.path").expect("its executable");
        assert!(log.attribute("process.command_args").is_none(), "{:?}", log.record);
        assert!(log.attribute("process.pid").is_some() && log.record.trace_id.len() == 16);
        if log.record.event_name == "process.exec" {
            assert_eq!(body(log), binary);
        }
    }

    let lines = agent.until_lines(tag, counts.exits);
    assert_eq!(lines.len(), counts.exits, "standard output gets the ends alone");
    for line in &lines {
        assert_eq!(line.kind, "process_exit");
        let process = line.at("/process").as_object().expect("a process");
        assert_eq!(process.keys().collect::<Vec<_>>(), ["binary", "pid"], "{}", line.whole);
        assert!(line.whole["time"].is_string() && line.at("/trigon").is_null(), "{}", line.whole);
    }
    let metrics = agent.metrics();
    let filtered =
        |kind| metrics.sum("trigon_filtered_events_total", &[("exporter", "stdout"), ("type", kind)]);
    assert_eq!((filtered("PROCESS_EXEC"), filtered("PROCESS_EXIT")), (counts.execs as f64, 0.0), "{metrics}");
    let lost = metrics.labels("trigon_lost_events_total", &[]);
    assert!(lost.is_empty(), "what is filtered is not lost: {lost:?}");
    agent.stop();
}

fn rate_limit() {
    const LIMIT: usize = 5;
    let (workload, receiver) = (Workload::new(), Receiver::open());
    let tag = workload.tag();
    let filter = format!("[filter]\nallow = [{{ binary_regex = ['{tag}'] }}]\nrate_limit = '{LIMIT}/h'");
    let agent = Rig::agent(&receiver, Protocol::Grpc, "").config(&filter).start();
    let counts = Counts::of(&workload.run("burst 50"));
    let dropped = (counts.events() - LIMIT) as i64;

    // It is told while the agent runs, and not only at its end.
    receiver.until("what was dropped of log records", |received| {
        let told = received.logs.iter().filter(|log| log.record.event_name == "trigon.rate_limit");
        (told.filter_map(|log| log.int("trigon.dropped_events")).sum::<i64>() == dropped).then_some(())
    });
    let received = receiver.received();
    assert_eq!(received.logs_of(tag).len(), LIMIT);
    let told =
        received.logs.iter().find(|log| log.record.event_name == "trigon.rate_limit").expect("a record");
    assert_eq!((told.record.severity_text.as_str(), told.record.trace_id.len()), ("WARN", 0));
    assert!(body(told).contains("events dropped"), "{}", body(told));
    assert!(received.spans_of(tag).len() <= LIMIT && received.spans.len() == received.spans_of(tag).len());

    let stage = |exporter| [("stage", "filter"), ("reason", "rate_limit"), ("exporter", exporter)];
    let lost = |metrics: &trigon_tests::exposition::Exposition, exporter| {
        metrics.sum("trigon_lost_events_total", &stage(exporter)) as i64
    };
    agent.until_metrics("what was dropped", |metrics| {
        let counted = ["stdout", "otlp_logs"].map(|exporter| lost(metrics, exporter));
        (counted == [dropped; 2]).then_some(())
    });
    let lines = agent.stop().lines;
    let (told, others): (Vec<_>, Vec<_>) =
        lines.iter().partition(|line| line.contains("\"rate_limit_info\""));
    assert_eq!(others.len(), LIMIT, "{lines:?}");
    assert!(others.iter().all(|line| line.contains(tag)), "{others:?}");
    let number = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(line["node_name"].is_string() && line["time"].is_string(), "{line}");
        let number =
            line["rate_limit_info"]["number_of_dropped_process_events"].as_str().map(str::parse::<i64>);
        number.expect("a number as text").expect("a number")
    };
    assert_eq!(told.iter().map(|line| number(line)).sum::<i64>(), dropped, "{told:?}");
}

fn unusable() {
    for (filter, parts) in [
        (
            "[stdout.filter]\ndeny = [{ ancestor_binary_regex = ['x'] }]",
            ["stdout.filter.deny[0].ancestor_binary_regex", "ancestors"],
        ),
        (
            "[otlp.filter]\nallow = [{ binary_regex = ['('] }]",
            ["otlp.filter.allow[0].binary_regex[0]", "unclosed"],
        ),
        (
            "[filter]\nfields = [{ fields = 'process.argument' }]",
            ["filter.fields[0].fields[0]", "process.arguments"],
        ),
        ("[filter]\nrate_limit = '5'", ["rate_limit", "1000/m"]),
    ] {
        let ended = Agent::new().config(filter).spawn().wait();
        assert!(!ended.status.success());
        parts
            .iter()
            .for_each(|part| assert!(ended.log.contains(part), "{part:?} is missing in: {}", ended.log));
    }
}

fn body(log: &Log) -> &str {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    match log.record.body.as_ref().and_then(|body| body.value.as_ref()) {
        Some(Value::StringValue(text)) => text,
        other => panic!("no text: {other:?}"),
    }
}
