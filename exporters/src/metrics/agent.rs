//! The agent's own health.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

use super::{
    Registry,
    process::ProcessMetrics,
    scrape::{Rows, ScrapeFamily, ScrapeKind, register_scraped},
};

/// What the agent tells of itself. Whoever owns a number sets it.
#[derive(Clone, Debug)]
pub struct AgentMetrics {
    received: IntCounterVec,
    evicted: IntCounterVec,
    /// Texts that were not UTF-8, and are exported with escapes.
    pub escaped_texts: IntCounter,
    /// Values that were masked.
    pub redacted_values: IntCounter,
    /// Executions whose start was not seen.
    pub missed_starts: IntCounter,
    /// `trigon_untold_executions_total`
    pub untold_executions: IntCounter,
    /// Exits that the kernel told twice.
    pub duplicate_exits: IntCounter,
    /// Processes that the table holds.
    pub table_size: IntGauge,
    /// Processes that the table can hold.
    pub table_capacity: IntGauge,
    /// Files that policies follow.
    pub followed_files: IntGauge,
    /// Cgroups of which the kernel is told which pod they are of.
    pub placements: IntGauge,
    /// Bytes in the kernel's ring buffer that wait to be read.
    pub ring_used: IntGauge,
    /// Bytes that the ring buffer can hold.
    pub ring_capacity: IntGauge,
    /// How full the ring buffer was each time that something was read from it, from 0 to 1.
    pub ring_fill: Histogram,
    /// Seconds from an event to when it was read.
    pub delay: Histogram,
}

/// Policies have three quarters of the ring buffer: a fill beyond is what they lose events at.
const FILL_BUCKETS: [f64; 9] = [0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99];
/// Seconds: the reader is woken in some 10 to 100 microseconds; what is more is a reader that can't keep up.
const DELAY_BUCKETS: [f64; 12] =
    [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 1.0, 10.0];

const QUEUES: &[ScrapeFamily] = &[ScrapeFamily {
    name: "trigon_queue_events",
    help: "Events that wait in the queue of a way out.",
    kind: ScrapeKind::Gauge,
    labels: &["exporter"],
}];

// === impl AgentMetrics ===

impl AgentMetrics {
    /// Makes the families and registers them, with the start time, which is now, the version in
    /// `trigon_build_info`, and `process_*` of the agent itself.
    ///
    /// # Errors
    /// Fails where the registry has a family of one of the names.
    pub fn register(registry: &Registry, version: &str) -> prometheus::Result<Self> {
        registry.register_boxed(Box::new(ProcessMetrics::new()))?;
        build_info(registry, version)?;
        start_time(registry)?;
        Ok(Self {
            received: registry.counters(
                "trigon_records_received_total",
                "Records that were read from the kernel, by their type.",
                &["type"],
            )?,
            evicted: registry.counters(
                "trigon_process_table_evictions_total",
                "Processes that were taken out of the process table before their time, by the reason.",
                &["reason"],
            )?,
            escaped_texts: registry.counter(
                "trigon_escaped_texts_total",
                "Executions whose paths or arguments were not UTF-8 and are exported with escapes.",
            )?,
            redacted_values: registry.counter(
                "trigon_redacted_values_total",
                "Values that looked like secrets and were masked before anything was exported.",
            )?,
            untold_executions: registry.counter(
                "trigon_untold_executions_total",
                "Executions that the process section of a policy keeps out of records, spans and counters.",
            )?,
            missed_starts: registry.counter(
                "trigon_missed_starts_total",
                "Executions whose start was not seen: their events say little about them.",
            )?,
            duplicate_exits: registry.counter(
                "trigon_duplicate_exits_total",
                "Exits that the kernel told twice, since two last threads ended at the same moment; one was taken.",
            )?,
            table_size: registry.gauge("trigon_process_table_size", "Processes that the process table holds.")?,
            table_capacity: registry.gauge(
                "trigon_process_table_capacity",
                "Processes that the process table can hold.",
            )?,
            followed_files: registry.gauge("trigon_followed_files", "Open files that policies follow (FollowFD).")?,
            placements: registry.gauge(
                "trigon_placements",
                "Cgroups of pods that the kernel knows, for policies that select pods.",
            )?,
            ring_used: registry.gauge(
                "trigon_ring_buffer_used_bytes",
                "Bytes in the kernel's ring buffer that waited when it was last read.",
            )?,
            ring_capacity: registry.gauge(
                "trigon_ring_buffer_capacity_bytes",
                "Bytes that the kernel's ring buffer can hold.",
            )?,
            ring_fill: registry.histogram(
                "trigon_ring_buffer_fill_ratio",
                "How full the kernel's ring buffer was when events were read from it, from 0 to 1, before they were.",
                &FILL_BUCKETS,
            )?,
            delay: registry.histogram(
                "trigon_event_delay_seconds",
                "Time from an event, by the kernel's clock, to when the agent began to read it and those that waited with it.",
                &DELAY_BUCKETS,
            )?,
        })
    }

    /// The counter of received records of one type. Keep it: a look-up costs more than the count.
    pub fn received(&self, kind: &str) -> IntCounter {
        self.received.with_label_values(&[kind])
    }

    /// The counter of processes that the table gave up for `reason`.
    pub fn evicted(&self, reason: &str) -> IntCounter {
        self.evicted.with_label_values(&[reason])
    }
}

fn build_info(registry: &Registry, version: &str) -> prometheus::Result<()> {
    let help = "The version of the agent, on a metric that is always 1.";
    let info = registry.gauges("trigon_build_info", help, &["version", "arch"])?;
    info.with_label_values(&[version, std::env::consts::ARCH]).set(1);
    Ok(())
}

fn start_time(registry: &Registry) -> prometheus::Result<()> {
    let help = "When the agent began, in seconds since the Unix epoch.";
    let start = registry.float_gauge("trigon_start_time_seconds", help)?;
    start.set(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
    Ok(())
}

/// Registers `trigon_queue_events{exporter}`: the depth of each way out's queue at the moment of the scrape.
///
/// # Errors
/// Fails where the registry has a family of that name.
pub fn register_queues(
    registry: &Registry,
    depths: impl Fn() -> Vec<(Arc<str>, usize)> + Send + Sync + 'static,
) -> prometheus::Result<()> {
    let read = move |rows: &mut Rows<'_>| {
        for (exporter, depth) in depths() {
            rows.push(QUEUES[0].name, &[&exporter], depth as f64);
        }
    };
    register_scraped(registry, QUEUES, read)
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;

    #[test]
    fn the_agent_tells_of_itself() {
        let registry = Registry::new();
        let agent = AgentMetrics::register(&registry, "1.2.3").unwrap();
        agent.received("exec").inc_by(7);
        agent.evicted("capacity").inc();
        agent.escaped_texts.inc();
        agent.table_size.set(5);
        agent.table_capacity.set(65_536);
        agent.ring_capacity.set(1 << 20);
        register_queues(&registry, || vec![("otlp".into(), 0), ("stdout".into(), 0)]).unwrap();
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        // What differs from run to run and from machine to machine.
        let stable = |line: &&str| {
            let sample = !line.starts_with('#');
            !(sample && (line.starts_with("process_") || line.starts_with("trigon_start_time_seconds")))
        };
        let text = text.lines().filter(stable).collect::<Vec<_>>().join("\n");
        insta::assert_snapshot!(text.replace(std::env::consts::ARCH, "ARCH"));
    }
}
