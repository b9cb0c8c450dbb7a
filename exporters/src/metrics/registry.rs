//! Where all families are registered, and what there is to know of them before they have numbers.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    core::Collector,
    proto::{MetricFamily, MetricType},
};

/// The agent's families of metrics.
///
/// Prometheus' own registry says nothing of a family that has no series yet. This one does, so that what there is can
/// be documented.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    registry: prometheus::Registry,
    families: Arc<Mutex<Vec<Family>>>,
}

/// A family of metrics, with or without series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Family {
    /// Its name; of a counter with `_total` at its end.
    pub name: String,
    /// How its numbers move: `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Names of its labels, in their order.
    pub labels: Vec<String>,
    /// One sentence for whoever meets the name.
    pub help: String,
}

// === impl Registry ===

impl Registry {
    /// One without families.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a collector of one or more families, and returns it.
    ///
    /// # Errors
    /// Fails where one of the names is taken.
    pub fn register<C: Collector + Clone + 'static>(&self, collector: C) -> prometheus::Result<C> {
        self.register_boxed(Box::new(collector.clone())).map(|()| collector)
    }

    /// Registers a collector that is asked by nobody but the registry.
    ///
    /// # Errors
    /// Fails where one of the names is taken.
    pub fn register_boxed(&self, collector: Box<dyn Collector>) -> prometheus::Result<()> {
        let numbers = collector.collect();
        let kind = |name: &str| {
            let family = numbers.iter().find(|family| family.name() == name);
            family.map_or("untyped", |family| kind_of(family.get_field_type()))
        };
        let families: Vec<Family> = collector
            .desc()
            .into_iter()
            .map(|desc| Family {
                name: desc.fq_name.clone(),
                kind: kind(&desc.fq_name),
                labels: desc.variable_labels.clone(),
                help: desc.help.clone(),
            })
            .collect();
        self.registry.register(collector)?;
        self.families.lock().unwrap_or_else(PoisonError::into_inner).extend(families);
        Ok(())
    }

    /// A counter without labels.
    ///
    /// # Errors
    /// Fails where the name is taken.
    pub fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.register(IntCounter::new(name, help)?)
    }

    /// Counters by labels.
    ///
    /// # Errors
    /// Fails where the name is taken.
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    /// A gauge of whole numbers.
    ///
    /// # Errors
    /// Fails where the name is taken.
    pub fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.register(IntGauge::new(name, help)?)
    }

    /// A gauge of any number.
    ///
    /// # Errors
    /// Fails where the name is taken.
    pub fn float_gauge(&self, name: &str, help: &str) -> prometheus::Result<Gauge> {
        self.register(Gauge::new(name, help)?)
    }

    /// Gauges of whole numbers by labels.
    ///
    /// # Errors
    /// Fails where the name is taken.
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    /// A histogram, with the upper bounds of its buckets but for the last, which has none.
    ///
    /// # Errors
    /// Fails where the name is taken.
    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> prometheus::Result<Histogram> {
        self.register(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?)
    }

    /// Histograms by labels.
    ///
    /// # Errors
    /// Fails where the name is taken.
    pub fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> prometheus::Result<HistogramVec> {
        self.register(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?)
    }

    /// The numbers of this moment, by name. Families without series are left out.
    pub fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }

    /// All families, by name.
    pub fn families(&self) -> Vec<Family> {
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner).clone();
        families.sort();
        families
    }
}

fn kind_of(kind: MetricType) -> &'static str {
    match kind {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        MetricType::SUMMARY => "summary",
        MetricType::UNTYPED => "untyped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_known_before_it_has_series() {
        let registry = Registry::new();
        let counters = registry.counters("b_total", "Bees.", &["kind", "hive"]).unwrap();
        registry.histogram("a_seconds", "Age.", &[1.0]).unwrap();
        let families = registry.families();
        let told: Vec<_> =
            families.iter().map(|family| (&*family.name, family.kind, family.labels.join(","))).collect();
        assert_eq!(
            told,
            [("a_seconds", "histogram", String::new()), ("b_total", "counter", "kind,hive".to_owned())]
        );
        let names = || registry.gather().iter().map(|family| family.name().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(), ["a_seconds"]);
        counters.with_label_values(&["worker", "1"]).inc();
        assert_eq!(names(), ["a_seconds", "b_total"]);
    }

    #[test]
    fn a_name_that_is_taken_leaves_one_family() {
        let registry = Registry::new();
        registry.gauge("a", "A.").unwrap();
        assert!(registry.gauge("a", "A.").is_err());
        assert_eq!(registry.families().len(), 1);
    }
}
