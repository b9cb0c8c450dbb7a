//! Counters and histograms as the body of one request, each series with the time from which it counts.
//!
//! OpenTelemetry's SDK can't say them: its histograms can't be set to what was counted elsewhere, and its counters of one
//! name begin together, while ours end with their pod and begin anew with the next of its name.
//!
//! Names, types and labels follow <https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/>, so
//! that what a receiver makes of them for Prometheus is what `/metrics` has. That a counter's name keeps its `_total` is
//! by the same rules: they add it where it is missing, and take it away nowhere.

use std::{
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
        ScopeMetrics, Sum, metric::Data, number_data_point::Value,
    },
    resource::v1::Resource,
};
use prometheus::proto::{LabelPair, MetricFamily, MetricType};

use super::{SCOPE, unit};

/// What is known of the series from one push to the next.
#[derive(Debug)]
pub(super) struct Counts {
    resource: Resource,
    /// When the numbers before these were taken: what was not among them began after it.
    before: u64,
    /// By family and labels.
    series: HashMap<String, Series>,
    /// Pushes so far.
    pushes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Series {
    /// Nanoseconds of the Unix epoch: from then on it counts.
    start: u64,
    /// What it had counted.
    counted: f64,
    /// The push that it was last in.
    push: u64,
}

// === impl Counts ===

impl Counts {
    /// Series that are there at the first push began at `start` or later.
    pub(super) fn new(resource: &[(String, String)], start: SystemTime) -> Self {
        let attributes = resource.iter().map(|(key, value)| attribute(key, value)).collect();
        let resource = Resource { attributes, ..Resource::default() };
        Self { resource, before: nanoseconds(start), series: HashMap::new(), pushes: 0 }
    }

    /// The request with the counters and histograms among `families`, which were read at `now`; none where there are
    /// none.
    pub(super) fn request(
        &mut self,
        families: &[MetricFamily],
        now: SystemTime,
    ) -> Option<ExportMetricsServiceRequest> {
        let now = nanoseconds(now);
        self.pushes += 1;
        let metrics: Vec<_> = families.iter().filter_map(|family| self.metric(family, now)).collect();
        let push = self.pushes;
        self.series.retain(|_, series| series.push == push);
        self.before = now;
        let scope = InstrumentationScope { name: SCOPE.to_owned(), ..InstrumentationScope::default() };
        let scope_metrics = vec![ScopeMetrics { scope: Some(scope), metrics, ..ScopeMetrics::default() }];
        let resource = Some(self.resource.clone());
        let any = scope_metrics.iter().any(|of_scope| !of_scope.metrics.is_empty());
        any.then(|| ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }],
        })
    }

    fn metric(&mut self, family: &MetricFamily, now: u64) -> Option<Metric> {
        let name = family.name();
        let cumulative = AggregationTemporality::Cumulative.into();
        let metrics = family.get_metric().iter();
        let data = match family.get_field_type() {
            MetricType::COUNTER => {
                let point = |metric: &prometheus::proto::Metric| {
                    let value = metric.get_counter().get_value();
                    NumberDataPoint {
                        attributes: attributes(metric.get_label()),
                        start_time_unix_nano: self.start(name, metric.get_label(), value),
                        time_unix_nano: now,
                        value: Some(Value::AsDouble(value)),
                        ..NumberDataPoint::default()
                    }
                };
                let data_points = metrics.map(point).collect();
                Data::Sum(Sum { data_points, aggregation_temporality: cumulative, is_monotonic: true })
            }
            MetricType::HISTOGRAM => {
                let point = |metric: &prometheus::proto::Metric| {
                    let counted = metric.get_histogram().get_sample_count() as f64;
                    let start = self.start(name, metric.get_label(), counted);
                    histogram_point(metric, start, now)
                };
                Data::Histogram(Histogram {
                    data_points: metrics.map(point).collect(),
                    aggregation_temporality: cumulative,
                })
            }
            // Gauges go another way; of the others the agent has none.
            MetricType::GAUGE | MetricType::SUMMARY | MetricType::UNTYPED => return None,
        };
        Some(Metric {
            name: name.to_owned(),
            description: family.help().to_owned(),
            unit: unit(name).to_owned(),
            data: Some(data),
            ..Metric::default()
        })
    }

    /// From when on a series counts that has counted so much by now.
    fn start(&mut self, family: &str, labels: &[LabelPair], counted: f64) -> u64 {
        let mut key = family.to_owned();
        for label in labels {
            key.extend(["\0", label.name(), "\0", label.value()]);
        }
        let new = Series { start: self.before, counted, push: self.pushes };
        let series = self.series.entry(key).or_insert(new);
        // One that counts less has gone and come again meanwhile.
        *series = if counted < series.counted { new } else { Series { start: series.start, ..new } };
        series.start
    }
}

fn histogram_point(metric: &prometheus::proto::Metric, start: u64, now: u64) -> HistogramDataPoint {
    let histogram = metric.get_histogram();
    let count = histogram.get_sample_count();
    let (mut explicit_bounds, mut bucket_counts, mut below) = (Vec::new(), Vec::new(), 0);
    // Prometheus' buckets hold those of the lower ones too; OpenTelemetry's don't, and the last has no bound.
    for bucket in histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite()) {
        explicit_bounds.push(bucket.upper_bound());
        bucket_counts.push(bucket.cumulative_count().saturating_sub(below));
        below = bucket.cumulative_count();
    }
    bucket_counts.push(count.saturating_sub(below));
    HistogramDataPoint {
        attributes: attributes(metric.get_label()),
        start_time_unix_nano: start,
        time_unix_nano: now,
        count,
        sum: Some(histogram.get_sample_sum()),
        bucket_counts,
        explicit_bounds,
        ..HistogramDataPoint::default()
    }
}

fn attributes(labels: &[LabelPair]) -> Vec<KeyValue> {
    labels.iter().map(|label| attribute(label.name(), label.value())).collect()
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
