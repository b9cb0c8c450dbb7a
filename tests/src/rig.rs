//! An agent and an OTLP receiver that belong together.

use crate::{
    agent::{Agent, Running},
    expected::{Counts, Executions, Sighting},
    otlp::{Log, Protocol, Receiver, Span},
    workload::{Done, Workload},
};

/// An agent that exports to a receiver.
#[derive(Debug)]
pub struct Rig {
    /// The receiver.
    pub receiver: Receiver,
    /// The agent.
    pub agent: Running,
}

/// What the agent said about one deed, by all of its ways out.
#[derive(Debug)]
pub struct Said {
    /// The executions.
    pub executions: Executions,
    /// The log records.
    pub logs: Vec<Log>,
    /// The spans.
    pub spans: Vec<Span>,
}

/// The configuration's name of a protocol.
pub fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Grpc => "grpc",
        Protocol::Http => "http/protobuf",
    }
}

// === impl Said ===

impl Said {
    /// The node that all of it is about.
    pub fn node(&self) -> &str {
        self.executions.node()
    }
}

// === impl Rig ===

impl Rig {
    /// Starts a receiver and an agent that sends to it, with more lines for its `[otlp]` table.
    pub fn start(protocol: Protocol, otlp: &str) -> Self {
        let receiver = Receiver::open();
        let agent = Self::agent(&receiver, protocol, otlp).start();
        Self { receiver, agent }
    }

    /// An agent that will send to a receiver.
    pub fn agent(receiver: &Receiver, protocol: Protocol, otlp: &str) -> Agent {
        // Counters are told apart by their binaries, unless the lines have a table of metrics of their own.
        let labels = match otlp.contains("[metrics]") {
            true => "",
            false => "metrics.labels = [\"namespace\", \"workload\", \"pod\", \"binary\"]\n",
        };
        Agent::new()
            .config(&format!("{labels}[otlp]\nprotocol = \"{}\"\n{otlp}", protocol_name(protocol)))
            .argument("--otlp-endpoint")
            .argument(receiver.endpoint())
    }

    /// Does a deed and checks all that the agent says about it: log records, spans, JSON lines, counters.
    ///
    /// # Panics
    /// Where anything is missing, too much or wrong.
    pub fn check(&self, workload: &Workload, deed: &str) -> Said {
        let done = workload.run(deed);
        self.check_done(workload, &done)
    }

    /// As [`Self::check`], for a deed that was done.
    pub fn check_done(&self, workload: &Workload, done: &Done) -> Said {
        let (tag, counts) = (workload.tag(), Counts::of(done));
        self.receiver.until(&format!("{counts:?} of {tag}"), |received| {
            let enough = received.logs_of(tag).len() >= counts.events()
                && received.spans_of(tag).len() >= counts.spans;
            enough.then_some(())
        });
        let received = self.receiver.received();
        let (logs, spans) = (received.logs_of(tag), received.spans_of(tag));
        let sightings: Vec<_> = logs.iter().map(|log| Sighting::from(*log)).collect();
        let executions = Executions::check(done, &sightings);
        executions.check_spans(&sightings, &spans);
        let lines: Vec<_> = self.agent.until_lines(tag, counts.events()).iter().map(Sighting::from).collect();
        assert_eq!(lines, sightings, "JSON lines say what log records say");
        self.check_counters(workload, counts);
        Said {
            executions,
            logs: logs.into_iter().cloned().collect(),
            spans: spans.into_iter().cloned().collect(),
        }
    }

    fn check_counters(&self, workload: &Workload, counts: Counts) {
        let metrics = self.agent.metrics();
        let count = |kind: &str| {
            let of_type = metrics.labels("trigon_events_total", &[("type", kind)]);
            let ours = of_type.into_iter().filter_map(|labels| labels.get("binary"));
            let ours = ours.filter(|binary| binary.contains(workload.tag()));
            ours.map(|binary| metrics.sum("trigon_events_total", &[("type", kind), ("binary", binary)]))
                .sum::<f64>()
        };
        assert_eq!(count("PROCESS_EXEC"), counts.execs as f64, "{metrics}");
        assert_eq!(count("PROCESS_EXIT"), counts.exits as f64, "{metrics}");
    }

    /// Checks that nothing at all was lost.
    ///
    /// # Panics
    /// Where something was.
    pub fn check_no_loss(&self) {
        let metrics = self.agent.metrics();
        let lost = metrics.labels("trigon_lost_events_total", &[]);
        assert!(lost.is_empty(), "lost: {lost:?}; the agent's log:\n{}", self.agent.log());
    }
}
