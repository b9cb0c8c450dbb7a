//! What the agent knows of its node's pods, and how it came to it.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec};

use super::Registry;

/// What the agent tells of its dealings with Kubernetes. Whoever owns a number sets it.
#[derive(Clone, Debug)]
pub struct KubernetesMetrics {
    pods: IntGaugeVec,
    waits: IntCounterVec,
    /// Events that wait for their pod now.
    pub waiting: IntGauge,
    watch_events: IntCounterVec,
    watch_errors: IntCounterVec,
    watch_synced: IntGaugeVec,
}

// === impl KubernetesMetrics ===

impl KubernetesMetrics {
    /// Makes the families and registers them.
    ///
    /// # Errors
    /// Fails where the registry has a family of one of the names.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            pods: registry.gauges(
                "trigon_pods",
                "Pods of this node that the agent knows: present, or deleted a moment ago.",
                &["state"],
            )?,
            waits: registry.counters(
                "trigon_pod_waits_total",
                "Events that had to wait for their pod, by what came of it: found, or sent on without the pod or without the container since the time was over (without_pod, without_container), or since too many waited (full).",
                &["outcome"],
            )?,
            waiting: registry.gauge(
                "trigon_pod_waiting_events",
                "Events that wait until it is known which pod they are of.",
            )?,
            watch_events: registry.counters(
                "trigon_watch_events_total",
                "Changes that the Kubernetes API server told of, by what is watched.",
                &["watch"],
            )?,
            watch_errors: registry.counters(
                "trigon_watch_errors_total",
                "Failures of watching at the Kubernetes API server, each of which is tried again.",
                &["watch", "error"],
            )?,
            watch_synced: registry.gauges(
                "trigon_watch_synced",
                "Whether the agent has the whole list of what it watches. It keeps that while the API server is away.",
                &["watch"],
            )?,
        })
    }

    /// Sets how many pods are known.
    pub fn pods(&self, present: usize, deleted: usize) {
        for (state, count) in [("present", present), ("deleted", deleted)] {
            self.pods.with_label_values(&[state]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Counts events that waited.
    pub fn waited(&self, outcome: &str, events: u64) {
        self.waits.with_label_values(&[outcome]).inc_by(events);
    }

    /// Counts a change that the API server told of.
    pub fn watch_event(&self, watch: &str) {
        self.watch_events.with_label_values(&[watch]).inc();
    }

    /// Counts a failure. What is known stays.
    pub fn watch_error(&self, watch: &str, error: &str) {
        self.watch_errors.with_label_values(&[watch, error]).inc();
    }

    /// Tells whether all that is watched is known.
    pub fn synced(&self, watch: &str, synced: bool) {
        self.watch_synced.with_label_values(&[watch]).set(i64::from(synced));
    }
}
