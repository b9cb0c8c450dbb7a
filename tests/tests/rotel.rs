//! An OTLP receiver that this project didn't write reads what the agent sends.

use std::process::ExitCode;

use trigon_tests::{
    agent::Agent,
    expected::{Executions, Sighting, What},
    otlp::Protocol,
    rig::protocol_name,
    rotel::{Kind, Rotel},
    suite::{self, Need},
    workload::Workload,
};

fn main() -> ExitCode {
    suite::run(|suite| {
        for (name, protocol) in [("rotel_reads_grpc", Protocol::Grpc), ("rotel_reads_http", Protocol::Http)] {
            suite.test(name, &[Need::Kernel, Need::Rotel], move || rotel_reads(protocol));
        }
    })
}

fn rotel_reads(protocol: Protocol) {
    let rotel = Rotel::start();
    let endpoint = if protocol == Protocol::Grpc { rotel.grpc() } else { rotel.http() };
    let agent = Agent::new()
        .config(&format!("[otlp]\nprotocol = \"{}\"", protocol_name(protocol)))
        .argument("--otlp-endpoint")
        .argument(endpoint)
        .start();
    let workload = Workload::new();
    let done = workload.run("tree 1 2");
    let lines = agent.until_lines(workload.tag(), 6);
    let sightings: Vec<_> = lines.iter().map(Sighting::from).collect();
    Executions::check(&done, &sightings);
    // The agent's lines were right; what rotel read must be the same.
    let program = workload.program().to_str().expect("a plain path");
    let logs = rotel.until(Kind::LogRecord, program, 6);
    let spans = rotel.until(Kind::Span, program, 3);
    assert_eq!((logs.len(), spans.len()), (6, 3));
    for (log, sighting) in logs.iter().zip(&sightings) {
        assert_eq!((&log["Trace ID"], &log["Span ID"]), (&sighting.trace, &sighting.span), "{log:?}");
        assert_eq!(log["Timestamp"], sighting.time.to_string(), "{log:?}");
        let name = if sighting.what == What::Exec { "process.exec" } else { "process.exit" };
        assert_eq!(log["EventName"], name, "{log:?}");
    }
    for span in &spans {
        let of_it: Vec<_> = sightings.iter().filter(|sighting| sighting.span == span["ID"]).collect();
        let [exec, exit] = of_it[..] else { panic!("an exec and an exit for {span:?}: {of_it:?}") };
        assert_eq!(span["Trace ID"], exec.trace);
        assert_eq!(span["Start time"], exec.time.to_string());
        assert_eq!(span["End time"], exit.time.to_string());
        assert_eq!((span["Name"].as_str(), span["Kind"].as_str()), ("workload", "SPAN_KIND_INTERNAL"));
        let parent = exec.parent.expect("a parent").span_id(&exec.node).to_string();
        assert_eq!(span["Parent ID"], parent, "{span:?}");
    }
    agent.stop();
}
