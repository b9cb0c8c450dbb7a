//! What exporters count about themselves; all but the records they exported, only those by OTLP.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec};

use super::{
    batch::{Batch, Counts},
    queue::Depth,
};
use crate::{event::EventType, metrics::Registry};

/// The families, with a series for each exporter.
#[derive(Clone, Debug)]
pub struct ExportMetrics {
    records: IntCounterVec,
    bytes: IntCounterVec,
    requests: IntCounterVec,
    retries: IntCounterVec,
    queue_events: IntGaugeVec,
    queue_bytes: IntGaugeVec,
    queue_capacity: IntGaugeVec,
    latency: HistogramVec,
}

/// One exporter's series.
#[derive(Debug)]
pub(super) struct ExporterMetrics {
    exporter: String,
    records: IntCounter,
    bytes: IntCounter,
    requests: IntCounterVec,
    pub(super) retries: IntCounter,
    pub(super) depth: Depth,
    latency: Histogram,
}

/// Seconds: a local receiver answers within the batch's age; minutes are an outage that the queue bridged.
const LATENCY_BUCKETS: [f64; 13] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0];

// === impl ExportMetrics ===

impl ExportMetrics {
    /// Makes the families and registers them.
    ///
    /// # Errors
    /// Fails where the registry has a family of one of the names.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            records: registry.counters(
                "trigon_export_records_total",
                "Records of events that were exported: that the endpoint acknowledged and did not reject, or lines that were written whole.",
                &["exporter"],
            )?,
            bytes: registry.counters(
                "trigon_export_bytes_total",
                "Bytes of request bodies that were sent, before gRPC's compression and after HTTP's, retries included.",
                &["exporter"],
            )?,
            requests: registry.counters(
                "trigon_export_requests_total",
                "Requests by outcome: an HTTP status, a gRPC code, connect (no connection) or timeout (no reply).",
                &["exporter", "code"],
            )?,
            retries: registry.counters(
                "trigon_export_retries_total",
                "Requests that failed and were scheduled to be sent again.",
                &["exporter"],
            )?,
            queue_events: registry.gauges(
                "trigon_export_queue_events",
                "Events in encoded batches that wait for the endpoint or are on their way to it.",
                &["exporter"],
            )?,
            queue_bytes: registry.gauges(
                "trigon_export_queue_bytes",
                "Bytes of encoded batches that wait for the endpoint or are on their way to it.",
                &["exporter"],
            )?,
            queue_capacity: registry.gauges(
                "trigon_export_queue_capacity_bytes",
                "Bytes of encoded batches that may wait for the endpoint, and beyond which events are lost (otlp.queue.max_bytes).",
                &["exporter"],
            )?,
            latency: registry.histograms(
                "trigon_export_latency_seconds",
                "Time from the oldest event of a batch, by the kernel's clock, to the endpoint's acknowledgement.",
                &["exporter"],
                &LATENCY_BUCKETS,
            )?,
        })
    }

    /// Events in encoded batches that wait for an exporter's endpoint.
    pub fn waiting(&self, exporter: &str) -> prometheus::IntGauge {
        self.queue_events.with_label_values(&[exporter])
    }

    /// The counter of an exporter's records.
    pub(crate) fn records(&self, exporter: &str) -> IntCounter {
        self.records.with_label_values(&[exporter])
    }

    /// The series of an exporter, whose queue of batches holds so many bytes.
    pub(super) fn of(&self, exporter: &str, queue_bytes: usize) -> ExporterMetrics {
        let capacity = self.queue_capacity.with_label_values(&[exporter]);
        capacity.set(i64::try_from(queue_bytes).unwrap_or(i64::MAX));
        let label = [exporter];
        ExporterMetrics {
            exporter: exporter.to_owned(),
            records: self.records(exporter),
            bytes: self.bytes.with_label_values(&label),
            requests: self.requests.clone(),
            retries: self.retries.with_label_values(&label),
            depth: Depth {
                events: self.queue_events.with_label_values(&label),
                bytes: self.queue_bytes.with_label_values(&label),
            },
            latency: self.latency.with_label_values(&label),
        }
    }
}

// === impl ExporterMetrics ===

impl ExporterMetrics {
    /// Counts a request that was sent and what came of it.
    pub(super) fn request(&self, bytes: usize, code: &str) {
        self.bytes.inc_by(bytes as u64);
        self.requests.with_label_values(&[&self.exporter, code]).inc();
    }

    /// Counts a batch that the endpoint has, of which it kept these records.
    pub(super) fn acknowledged(&self, batch: &Batch, kept: &Counts) {
        // A note of what the rate limit dropped is no event that was seen.
        self.records.inc_by(kept.total() - kept.of(EventType::RateLimitInfo));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = now.saturating_sub(Duration::from_nanos(batch.oldest.0));
        self.latency.observe(age.as_secs_f64());
    }
}
