//! What a receiver makes of pushed metrics for Prometheus, by
//! <https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/>, and what the registry has: they
//! have to be the same.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    metrics::v1::{Metric, ResourceMetrics, metric::Data, number_data_point::Value},
};
use prometheus::proto::{self, MetricType};

use super::{
    delivery::{HANG, PROTOCOLS, config},
    encoding::attributes,
    push::{push, until},
    receiver::{Closed, Receiver},
    sample,
};
use crate::{health::Health, metrics::Registry};

/// Families by name: type, help, and samples by name and labels.
pub(super) type Families = BTreeMap<String, (&'static str, String, BTreeMap<Sample, f64>)>;

type Sample = (String, BTreeSet<(String, String)>);

/// Both unit words that rules know of those that we use.
const UNITS: [(&str, &str); 3] = [("s", "seconds"), ("By", "bytes"), ("1", "ratio")];

// === OTLP ===

/// What Prometheus has of these.
pub(super) fn of_pushed(pushed: &[ResourceMetrics]) -> Families {
    let metrics = pushed.iter().flat_map(|of| &of.scope_metrics).flat_map(|scope| &scope.metrics);
    let mut families = Families::new();
    for metric in metrics {
        let (name, family) = of_metric(metric);
        assert!(families.insert(name.clone(), family).is_none(), "{name} twice");
    }
    families
}

fn of_metric(metric: &Metric) -> (String, (&'static str, String, BTreeMap<Sample, f64>)) {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut name: String = metric.name.chars().map(|c| if legal(c) { c } else { '_' }).collect();
    let is_sum = matches!(&metric.data, Some(Data::Sum(_)));
    // "as a suffix to the metric name unless the metric name already contains the unit"; "before any type-specific
    // suffixes".
    if let Some((_, unit)) = UNITS.iter().find(|(of, _)| *of == metric.unit) {
        if !name.contains(unit) {
            let base = name.strip_suffix("_total").filter(|_| is_sum).unwrap_or(&name).to_owned();
            name = format!("{base}_{unit}{}", if base == name { "" } else { "_total" });
        }
    } else {
        assert_eq!(metric.unit, "");
    }
    let mut samples = BTreeMap::new();
    let mut add = |name: String, labels: &[KeyValue], le: Option<String>, value: f64| {
        let pairs = attributes(labels).into_iter();
        let mut labels: BTreeSet<_> = pairs.map(|(key, value)| (key.to_owned(), value)).collect();
        labels.extend(le.map(|le| ("le".to_owned(), le)));
        assert!(samples.insert((name.clone(), labels), value).is_none(), "a series of {name} twice");
    };
    let kind = match metric.data.as_ref().expect("data") {
        Data::Sum(sum) => {
            assert!(sum.is_monotonic && sum.aggregation_temporality == 2, "{name}");
            if !name.ends_with("_total") {
                name.push_str("_total");
            }
            for point in &sum.data_points {
                assert!(point.start_time_unix_nano > 0 && point.start_time_unix_nano < point.time_unix_nano);
                let Some(Value::AsDouble(value)) = point.value else { panic!("{point:?}") };
                add(name.clone(), &point.attributes, None, value);
            }
            "counter"
        }
        Data::Gauge(gauge) => {
            for point in &gauge.data_points {
                let Some(Value::AsDouble(value)) = point.value else { panic!("{point:?}") };
                add(name.clone(), &point.attributes, None, value);
            }
            "gauge"
        }
        Data::Histogram(histogram) => {
            assert_eq!(histogram.aggregation_temporality, 2, "{name}");
            for point in &histogram.data_points {
                assert!(point.start_time_unix_nano > 0 && point.start_time_unix_nano < point.time_unix_nano);
                assert_eq!((point.min, point.max), (None, None));
                assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
                let les = point.explicit_bounds.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
                let mut below = 0;
                for (le, count) in les.zip(&point.bucket_counts) {
                    below += count;
                    add(format!("{name}_bucket"), &point.attributes, Some(le), below as f64);
                }
                assert_eq!(below, point.count);
                add(format!("{name}_sum"), &point.attributes, None, point.sum.expect("a sum"));
                add(format!("{name}_count"), &point.attributes, None, point.count as f64);
            }
            "histogram"
        }
        other => panic!("{other:?}"),
    };
    (name, (kind, metric.description.clone(), samples))
}

// === the registry ===

/// What Prometheus reads of these.
pub(super) fn of_registry(registry: &Registry) -> Families {
    let family = |family: proto::MetricFamily| {
        let name = family.name().to_owned();
        let mut samples = BTreeMap::new();
        for metric in family.get_metric() {
            let labels: BTreeSet<_> = metric
                .get_label()
                .iter()
                .map(|label| (label.name().to_owned(), label.value().to_owned()))
                .collect();
            if family.get_field_type() != MetricType::HISTOGRAM {
                let counted = metric.get_counter().get_value();
                let is_counter = family.get_field_type() == MetricType::COUNTER;
                let value = if is_counter { counted } else { metric.get_gauge().get_value() };
                samples.insert((name.clone(), labels), value);
                continue;
            }
            let histogram = metric.get_histogram();
            let count = histogram.get_sample_count() as f64;
            let buckets = histogram.get_bucket().iter();
            let buckets = buckets.map(|one| (one.upper_bound().to_string(), one.cumulative_count() as f64));
            for (le, value) in buckets.chain([("+Inf".to_owned(), count)]) {
                let mut labels = labels.clone();
                labels.insert(("le".to_owned(), le));
                samples.insert((format!("{name}_bucket"), labels), value);
            }
            samples.insert((format!("{name}_sum"), labels.clone()), histogram.get_sample_sum());
            samples.insert((format!("{name}_count"), labels), count);
        }
        let kind = match family.get_field_type() {
            MetricType::COUNTER => "counter",
            MetricType::GAUGE => "gauge",
            _ => "histogram",
        };
        (name, (kind, family.help().to_owned(), samples))
    };
    registry.gather().into_iter().map(family).collect()
}

// === tests ===

/// When each series of a family began, by the value of its first label.
fn starts(request: &ResourceMetrics, family: &str) -> BTreeMap<String, u64> {
    let metrics = request.scope_metrics.iter().flat_map(|scope| &scope.metrics);
    let of = metrics.filter(|metric| metric.name == family);
    let point = |labels: &[KeyValue], start: u64| {
        (attributes(labels).into_values().next().unwrap_or_default(), start)
    };
    of.flat_map(|metric| match metric.data.as_ref().expect("data") {
        Data::Sum(sum) => {
            let points = sum.data_points.iter();
            points.map(|one| point(&one.attributes, one.start_time_unix_nano)).collect::<Vec<_>>()
        }
        Data::Histogram(histogram) => {
            let points = histogram.data_points.iter();
            points.map(|one| point(&one.attributes, one.start_time_unix_nano)).collect()
        }
        other => panic!("{other:?}"),
    })
    .collect()
}

#[tokio::test]
async fn a_series_that_comes_again_begins_again() {
    for protocol in PROTOCOLS {
        let (receiver, closed) = (Receiver::default(), Closed::new());
        let config = config(protocol, &closed);
        receiver.serve(protocol, closed);
        let registry = Registry::new();
        let runs = registry.counters("t_runs_total", "Runs.", &["pod"]).unwrap();
        let took = registry.histograms("t_seconds", "Time.", &["pod"], &[1.0]).unwrap();
        let size = registry.gauges("t_size_bytes", "Size.", &["pod"]).unwrap();
        let count = |pod: &str, times: u64| {
            runs.with_label_values(&[pod]).inc_by(times);
            (0..times).for_each(|_| took.with_label_values(&[pod]).observe(0.5));
            size.with_label_values(&[pod]).set(1);
        };
        count("stays", 1);
        count("goes", 5);
        let (health, stop) = (Health::default(), tokio_util::sync::CancellationToken::new());
        let running = push(config).start(registry.clone(), &sample::node(), health, stop.clone()).unwrap();
        // Each state as it is in the end of it: what comes after two more pushes was gathered in it.
        let state = async || {
            let before = receiver.see(|received| received.metrics.len());
            until(|| receiver.see(|received| received.metrics.len() >= before + 6)).await;
            receiver.see(|received| {
                let last = received.metrics.len() / 2 * 2;
                received.metrics[last - 2..last].to_vec()
            })
        };
        let first = state().await;
        assert_eq!(of_pushed(&first), of_registry(&registry));
        runs.remove_label_values(&["goes"]).unwrap();
        took.remove_label_values(&["goes"]).unwrap();
        size.remove_label_values(&["goes"]).unwrap();
        let second = state().await;
        assert_eq!(of_pushed(&second), of_registry(&registry));
        // It has more than before, which its value alone would not tell.
        count("goes", 9);
        let third = state().await;
        assert_eq!(of_pushed(&third), of_registry(&registry));
        for family in ["t_runs_total", "t_seconds"] {
            let [first, second, third] = [&first, &second, &third].map(|pushed| starts(&pushed[0], family));
            assert_eq!(first["stays"], third["stays"], "{family}");
            assert_eq!(second.keys().collect::<Vec<_>>(), ["stays"], "{family}");
            assert!(third["goes"] > first["goes"], "{family}");
        }
        stop.cancel();
        tokio::time::timeout(HANG, running).await.expect("no hang").expect("no panic");
    }
}

/// The mapping itself tells a wrong push from a right one.
#[test]
fn the_rules_change_names_that_are_not_prometheus() {
    let metric = |name: &str, unit: &str, data| {
        let metric = Metric { name: name.into(), unit: unit.into(), data: Some(data), ..Metric::default() };
        of_metric(&metric).0
    };
    let sum = || {
        Data::Sum(opentelemetry_proto::tonic::metrics::v1::Sum {
            is_monotonic: true,
            aggregation_temporality: 2,
            data_points: Vec::new(),
        })
    };
    assert_eq!(metric("t_seconds_bucket", "", sum()), "t_seconds_bucket_total");
    assert_eq!(metric("t_total", "s", sum()), "t_seconds_total");
    assert_eq!(metric("t.events", "", sum()), "t_events_total");
    assert_eq!(metric("t_seconds_total", "s", sum()), "t_seconds_total");
}
