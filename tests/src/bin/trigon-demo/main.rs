//! Trigon's story in a minute: an OTLP receiver, a Prometheus server, the agent and a small incident, all of them real.
//! What is printed is what came out there. `trigon-demo [--without-redaction]`; needs root.
//!
//! Exits with 0 only if every part of the story was there, and with 1 and a line about what wasn't.

mod incident;
mod secret;
mod trace;

use std::{
    fmt::Display,
    io::IsTerminal as _,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    process::ExitCode,
};

use incident::{Incident, PASSWORD};
use secret::Places;
use serde_json::Value;
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};
use trace::Trace;
use trigon_tests::{
    agent::Agent,
    http,
    otlp::{Attributes as _, Receiver},
    prometheus::{self, Prometheus},
    wait,
};

const POLICIES: [&str; 2] = ["container-shell", "sensitive-files"];

/// What Prometheus is asked.
struct Question {
    query: &'static str,
    /// Labels that one series of the answer has,
    labels: &'static [(&'static str, &'static str)],
    /// and its least value.
    least: f64,
}

fn main() -> ExitCode {
    let redact = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => true,
        [word] if word == "--without-redaction" => false,
        _ => {
            eprintln!("usage: trigon-demo [--without-redaction]");
            return ExitCode::from(2);
        }
    };
    let _signals = unwind_when_interrupted();
    panic::set_hook(Box::new(|what| {
        // What was interrupted, too, may fail in other words.
        let why =
            if wait::is_interrupted() { "interrupted" } else { what.payload_as_str().unwrap_or("failed") };
        eprintln!("demo: {why}");
    }));
    // Unwinding drops what was started and made, wherever the story broke off.
    match panic::catch_unwind(AssertUnwindSafe(|| run(redact))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Ctrl-C, SIGTERM and SIGHUP end the story as a failure does, while what is returned lives.
fn unwind_when_interrupted() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().expect("make a runtime");
    let context = runtime.enter();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let mut signal = signal(kind).expect("handle a signal");
        runtime.spawn(async move { signal.recv().await.map(|()| wait::interrupt()) });
    }
    drop(context);
    runtime
}

fn run(redact: bool) {
    assert!(nix::unistd::geteuid().is_root(), "needs root, for eBPF programs, namespaces and a cgroup");
    assert!(prometheus::find().is_some(), "needs the program `prometheus` (scripts/setup demo)");

    let incident = Incident::prepare();
    let receiver = Receiver::open();
    let agent = agent(&incident, &receiver, redact).start();
    let prometheus = Prometheus::start(agent.metrics_address());
    prometheus.until("up", 1.0);
    let metrics = format!("http://{}/metrics", agent.metrics_address());
    let version = prometheus.query("trigon_build_info");
    let version = version.first().and_then(|(labels, _)| labels["version"].as_str()).unwrap_or_default();

    println!("Trigon {version} on Linux {}, with an OTLP receiver and a Prometheus server.", kernel());
    title(1, "The incident");
    println!("A shell on the host enters container {}, and gets these commands:", incident.short_id());
    incident.typed().for_each(|line| println!("    {line}"));
    let entered = incident.play();

    // The span of what entered is the last of the trace.
    let root = receiver.until("the span of what entered the container", |received| {
        let mut spans = received.spans.iter();
        spans
            .find(|span| incident.is_within(&span.origin) && span.int("process.pid") == Some(entered))
            .cloned()
    });
    let answers = questions(redact).map(|question| (question.query, question.ask(&prometheus)));
    let metrics = http::get(&metrics, &[]).unwrap_or_else(|error| panic!("no metrics: {error}"));
    let ended = agent.stop();
    let json = incident.json_lines();
    let received = receiver.received();

    title(2, "What the agent wrote: compact lines of that container");
    ended.lines.iter().for_each(|line| println!("{line}"));
    incident.check_lines(&ended.lines);

    title(3, "The trace, as the OTLP receiver got it");
    let trace = Trace::new(&received, &root);
    print!("{trace}");
    incident.check_trace(&trace);

    title(4, "The password");
    let log = secret::record(&received, &root.record.trace_id);
    secret::print(log);
    let places = Places::new(&received, &ended, &metrics, &json);
    places.check(PASSWORD);
    secret::check(log);

    title(5, "What Prometheus answers");
    for (query, answer) in answers {
        println!("{query}");
        answer.iter().for_each(|series| println!("    {series}"));
    }
}

/// The agent: its standard output shows the container alone, every other output the whole machine.
fn agent(incident: &Incident, receiver: &Receiver, redact: bool) -> Agent {
    let config = format!(
        "process_table.state_file = \"\"\n\
         metrics.labels = [\"namespace\", \"workload\", \"pod\", \"binary\"]\n\
         stdout.filter.allow = [{{ container_id = [\"{}\"] }}]\n\
         file = {{ path = \"{}\" }}\n\
         redaction.enabled = {redact}\n",
        incident.id(),
        incident.json_path().display()
    );
    let agent = Agent::new().output("compact").config(&config);
    let agent = agent.argument("--otlp-endpoint").argument(receiver.endpoint());
    POLICIES
        .iter()
        .fold(agent, |agent, name| agent.argument("--policy").argument(policy(name).display().to_string()))
}

fn questions(redact: bool) -> [Question; 3] {
    let policies = Question {
        query: "sum by (policy, binary) (trigon_policy_events_total)",
        labels: &[("policy", "sensitive-files"), ("binary", "/usr/bin/cat")],
        least: 1.0,
    };
    let redacted = Question { query: "trigon_redacted_values_total", labels: &[], least: f64::from(redact) };
    // What a policy holds back by a rate limit of its own isn't lost.
    let lost = "sum(trigon_lost_events_total{reason!=\"rate_limit\"})";
    [policies, redacted, Question { query: lost, labels: &[], least: 0.0 }]
}

fn policy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../deploy/policies/{name}.yaml"))
}

/// The labels that tell series apart, in PromQL's notation, and a space.
fn show(labels: &Value) -> String {
    let labels = labels.as_object().into_iter().flatten();
    let told = labels.filter(|(name, _)| !["__name__", "instance", "job"].contains(&name.as_str()));
    let told: Vec<_> = told.map(|(name, value)| format!("{name}={value}")).collect();
    if told.is_empty() { String::new() } else { format!("{{{}}} ", told.join(", ")) }
}

fn title(number: u8, text: impl Display) {
    let (on, off) = if std::io::stdout().is_terminal() { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    println!("\n{on}== {number}. {text}{off}");
}

fn kernel() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("read the kernel's release");
    release.trim().to_owned()
}

// === impl Question ===

impl Question {
    /// Waits for the answer that it must have: its series, each a line.
    fn ask(&self, prometheus: &Prometheus) -> Vec<String> {
        let &Self { query, labels, least } = self;
        let complete = || {
            let series = prometheus.query(query);
            let has_labels = |found: &Value| labels.iter().all(|(name, value)| found[name] == *value);
            series.iter().any(|(found, value)| has_labels(found) && *value >= least).then_some(series)
        };
        let seen = || format!("{:?}", prometheus.query(query));
        let series = wait::until(&format!("{least} or more of {query}, {labels:?}"), complete, seen);
        series.iter().map(|(labels, value)| format!("{}{value}", show(labels))).collect()
    }
}
