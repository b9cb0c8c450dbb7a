//! The password: what stands in its place, and that it is nowhere else.

use prost::Message as _;
use trigon_tests::{
    agent::Ended,
    otlp::{Attributes as _, Log, Origin, Received},
};

/// What stands in a secret's place.
const MASKED: &str = "--password=*****";

/// All that left the agent, by where it went.
#[derive(Debug)]
pub struct Places(Vec<(&'static str, Vec<u8>)>);

/// The log record of the command that was given the password: its start.
///
/// # Panics
/// Where there is none.
pub fn record<'a>(received: &'a Received, trace: &[u8]) -> &'a Log {
    let args = |log: &Log| log.texts("process.command_args").unwrap_or_default();
    let mut logs = received.logs.iter().filter(|log| {
        log.record.trace_id == trace
            && log.record.event_name == "process.exec"
            && args(log).iter().any(|arg| arg.starts_with("--password="))
    });
    logs.next().expect("no log record of the command that was given the password")
}

/// Prints the record as far as the arguments are in it.
pub fn print(log: &Log) {
    println!("The log record {} of the command, as the receiver got it:", log.record.event_name);
    for attribute in ["process.executable.path", "trigon.script.path"] {
        println!("    {attribute} = {:?}", log.text(attribute).unwrap_or_default());
    }
    println!("    process.command_args = {:?}", log.texts("process.command_args").unwrap_or_default());
}

/// Checks that the argument is there, masked.
pub fn check(log: &Log) {
    let args = log.texts("process.command_args").unwrap_or_default();
    assert!(args.iter().any(|arg| arg == MASKED), "no argument `{MASKED}`: {args:?}");
}

// === impl Places ===

impl Places {
    /// What the receiver got, of all processes; standard output and log; the answer of `/metrics`; JSON lines.
    pub fn new(received: &Received, ended: &Ended, metrics: &str, json: &str) -> Self {
        let origin =
            |origin: &Origin| origin.resource.as_ref().map(prost::Message::encode_to_vec).unwrap_or_default();
        let logs = received.logs.iter().flat_map(|log| [origin(&log.origin), log.record.encode_to_vec()]);
        let spans =
            received.spans.iter().flat_map(|span| [origin(&span.origin), span.record.encode_to_vec()]);
        Self(vec![
            ("the log records", logs.flatten().collect()),
            ("the spans", spans.flatten().collect()),
            ("the compact lines", ended.lines.join("\n").into_bytes()),
            ("the JSON lines", json.into()),
            ("/metrics", metrics.into()),
            ("the agent's own log", ended.log.clone().into_bytes()),
        ])
    }

    /// Checks that none of it has the text.
    pub fn check(&self, secret: &str) {
        let holds = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        let mut leaks = Vec::new();
        for (place, bytes) in &self.0 {
            assert!(!bytes.is_empty(), "nothing came to {place}");
            let found = holds(bytes);
            println!("    {} {place}, {} bytes", if found { "IN" } else { "not in" }, bytes.len());
            leaks.extend(found.then_some(*place));
        }
        assert!(leaks.is_empty(), "the password is in {}", leaks.join(", "));
        let checked: usize = self.0.iter().map(|(_, bytes)| bytes.len()).sum();
        println!("The password is nowhere in what left the agent: checked {checked} bytes.");
    }
}
