//! The registry's families as OpenTelemetry's instruments, each with its name and labels.
//!
//! The numbers belong to one moment: that of [`Instruments::set`]. A histogram is what it is in Prometheus's text too,
//! counters `_bucket` (cumulative, by `le`), `_sum` and `_count`: OpenTelemetry has no histogram that is read from
//! elsewhere.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use opentelemetry::{
    KeyValue,
    metrics::{AsyncInstrument, Meter},
};
use prometheus::proto::{LabelPair, MetricFamily, MetricType};

/// The instruments of a meter, made as their families come up.
#[derive(Debug)]
pub(crate) struct Instruments {
    meter: Meter,
    known: HashMap<String, Rows>,
}

/// What an instrument observes next.
type Rows = Arc<Mutex<Vec<Row>>>;

#[derive(Debug)]
struct Row {
    attributes: Vec<KeyValue>,
    value: f64,
}

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

// === impl Instruments ===

impl Instruments {
    pub(crate) fn new(meter: Meter) -> Self {
        Self { meter, known: HashMap::new() }
    }

    /// Sets all numbers; a series that is gone is observed no longer.
    pub(crate) fn set(&mut self, families: &[MetricFamily]) {
        for rows in self.known.values() {
            lock(rows).clear();
        }
        for family in families {
            let (name, help) = (family.name(), family.help());
            let metrics = family.get_metric();
            match family.get_field_type() {
                MetricType::COUNTER => {
                    let row = |metric: &prometheus::proto::Metric| {
                        Row::new(metric.get_label(), metric.get_counter().get_value())
                    };
                    self.observe(name.to_owned(), help, Kind::Counter, metrics.iter().map(row));
                }
                MetricType::GAUGE => {
                    let row = |metric: &prometheus::proto::Metric| {
                        Row::new(metric.get_label(), metric.get_gauge().get_value())
                    };
                    self.observe(name.to_owned(), help, Kind::Gauge, metrics.iter().map(row));
                }
                MetricType::HISTOGRAM => self.histogram(name, help, metrics),
                // The agent has none of these.
                MetricType::SUMMARY | MetricType::UNTYPED => {}
            }
        }
    }

    fn histogram(&mut self, name: &str, help: &str, metrics: &[prometheus::proto::Metric]) {
        let mut buckets = Vec::new();
        let (mut sums, mut counts) = (Vec::new(), Vec::new());
        for metric in metrics {
            let (labels, histogram) = (metric.get_label(), metric.get_histogram());
            let count = histogram.get_sample_count() as f64;
            let bounded = histogram
                .get_bucket()
                .iter()
                .map(|bucket| (bucket.upper_bound().to_string(), bucket.cumulative_count() as f64));
            for (le, value) in bounded.chain([("+Inf".to_owned(), count)]) {
                let mut row = Row::new(labels, value);
                row.attributes.push(KeyValue::new("le", le));
                buckets.push(row);
            }
            sums.push(Row::new(labels, histogram.get_sample_sum()));
            counts.push(Row::new(labels, count));
        }
        for (part, rows) in [("bucket", buckets), ("sum", sums), ("count", counts)] {
            self.observe(format!("{name}_{part}"), help, Kind::Counter, rows.into_iter());
        }
    }

    fn observe(&mut self, name: String, help: &str, kind: Kind, new: impl Iterator<Item = Row>) {
        let rows = match self.known.get(&name) {
            Some(rows) => rows,
            None => {
                let rows = Rows::default();
                self.make(name.clone(), help, kind, Arc::clone(&rows));
                self.known.entry(name).or_insert(rows)
            }
        };
        lock(rows).extend(new);
    }

    /// Makes an instrument, which lives as long as its meter's provider.
    fn make(&self, name: String, help: &str, kind: Kind, rows: Rows) {
        let help = help.to_owned();
        let observe = move |instrument: &dyn AsyncInstrument<f64>| {
            for row in &*lock(&rows) {
                instrument.observe(row.value, &row.attributes);
            }
        };
        match kind {
            Kind::Counter => {
                let instrument = self.meter.f64_observable_counter(name);
                instrument.with_description(help).with_callback(observe).build();
            }
            Kind::Gauge => {
                let instrument = self.meter.f64_observable_gauge(name);
                instrument.with_description(help).with_callback(observe).build();
            }
        }
    }
}

fn lock(rows: &Rows) -> std::sync::MutexGuard<'_, Vec<Row>> {
    rows.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Row ===

impl Row {
    fn new(labels: &[LabelPair], value: f64) -> Self {
        let pair = |label: &LabelPair| KeyValue::new(label.name().to_owned(), label.value().to_owned());
        Self { attributes: labels.iter().map(pair).collect(), value }
    }
}
