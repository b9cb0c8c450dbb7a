//! A real Prometheus server scrapes the agent and answers for it.

use std::process::ExitCode;

use trigon_tests::{
    otlp::Protocol,
    prometheus::Prometheus,
    rig::Rig,
    suite::{self, Need},
    workload::Workload,
};

fn main() -> ExitCode {
    suite::run(|suite| {
        suite.test(
            "prometheus_counts_what_happened",
            &[Need::Kernel, Need::Prometheus],
            counts_what_happened,
        );
    })
}

fn counts_what_happened() {
    let rig = Rig::start(Protocol::Grpc, "");
    let server = Prometheus::start(rig.agent.metrics_address());
    server.until("up", 1.0);
    let workload = Workload::new();
    rig.check(&workload, "tree 2 2");
    let program = workload.program().display().to_string();
    server.until(&format!("trigon_events_total{{type=\"PROCESS_EXEC\",binary=\"{program}\"}}"), 7.0);
    server.until(&format!("sum(trigon_events_total{{binary=\"{program}\"}})"), 14.0);
    server.until("sum(trigon_lost_events_total) or vector(0)", 0.0);
    assert_eq!(server.query("trigon_build_info").len(), 1);
    assert_eq!(server.query("process_resident_memory_bytes > 0").len(), 1);
    // The types of the families reached the server: a rate of a counter, and a quantile of a histogram.
    assert!(!server.query("rate(trigon_events_total[1m])").is_empty());
    rig.agent.stop();
    server.until("up", 0.0);
}
