//! Numbers that are kept elsewhere, in the kernel for one, and read when somebody asks.

use std::{collections::HashMap, fmt};

use prometheus::{
    core::{Collector, Desc},
    proto,
};

use super::Registry;

/// A family of metrics that is read at each scrape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrapeFamily {
    /// Its name, `trigon_…`; of a counter with `_total` at its end.
    pub name: &'static str,
    /// One sentence for whoever meets the name.
    pub help: &'static str,
    /// How its numbers move.
    pub kind: ScrapeKind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
}

/// How a number moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScrapeKind {
    /// Only up, from 0 at the start.
    Counter,
    /// Up and down.
    Gauge,
}

/// The rows of one scrape.
#[derive(Debug)]
pub struct Rows<'a> {
    families: &'a [ScrapeFamily],
    metrics: Vec<Vec<proto::Metric>>,
}

/// Calls a function for the numbers of its families when the registry is gathered.
struct ScrapeCollector<F> {
    families: &'static [ScrapeFamily],
    descs: Vec<Desc>,
    read: F,
}

/// Registers `families`, whose numbers `read` tells at each scrape.
///
/// `read` runs on the thread that gathers, never on the way of the events, and may make system calls. One call fills
/// all families, so that they belong to one moment.
///
/// # Errors
/// Fails where a name is not valid or the registry has it.
pub fn register_scraped<F>(
    registry: &Registry,
    families: &'static [ScrapeFamily],
    read: F,
) -> prometheus::Result<()>
where
    F: Fn(&mut Rows<'_>) + Send + Sync + 'static,
{
    let desc = |family: &ScrapeFamily| {
        let labels = family.labels.iter().map(|label| (*label).to_owned()).collect();
        Desc::new(family.name.to_owned(), family.help.to_owned(), labels, HashMap::new())
    };
    let descs = families.iter().map(desc).collect::<Result<_, _>>()?;
    registry.register_boxed(Box::new(ScrapeCollector { families, descs, read }))
}

// === impl Rows ===

impl Rows<'_> {
    /// Adds a row to the family of that name, with one value for each of its labels in their order.
    ///
    /// A row that fits no family is left out and logged: that is an error of the program.
    pub fn push(&mut self, family: &str, labels: &[&str], value: f64) {
        let index = self.families.iter().position(|known| known.name == family);
        let fitting = index.filter(|index| self.families[*index].labels.len() == labels.len());
        let Some(index) = fitting else {
            debug_assert!(false, "no family {family} with {} labels", labels.len());
            tracing::error!(
                family,
                ?labels,
                "a metric is left out: no family has this name and number of labels"
            );
            return;
        };
        let family = &self.families[index];
        let pair = |(name, value): (&&str, &&str)| {
            let mut pair = proto::LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        };
        let mut metric = proto::Metric::from_label(family.labels.iter().zip(labels).map(pair).collect());
        match family.kind {
            ScrapeKind::Counter => {
                let mut counter = proto::Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            ScrapeKind::Gauge => {
                let mut gauge = proto::Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
        }
        self.metrics[index].push(metric);
    }
}

// === impl ScrapeCollector ===

impl<F> Collector for ScrapeCollector<F>
where
    F: Fn(&mut Rows<'_>) + Send + Sync,
{
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let mut rows = Rows { families: self.families, metrics: vec![Vec::new(); self.families.len()] };
        (self.read)(&mut rows);
        let family = |(family, metrics): (&ScrapeFamily, Vec<proto::Metric>)| {
            let mut of = proto::MetricFamily::default();
            of.set_name(family.name.to_owned());
            of.set_help(family.help.to_owned());
            of.set_field_type(match family.kind {
                ScrapeKind::Counter => proto::MetricType::COUNTER,
                ScrapeKind::Gauge => proto::MetricType::GAUGE,
            });
            of.set_metric(metrics);
            of
        };
        self.families.iter().zip(rows.metrics).map(family).collect()
    }
}

impl<F> fmt::Debug for ScrapeCollector<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScrapeCollector").field("families", &self.families).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use prometheus::TextEncoder;

    use super::*;

    const FAMILIES: &[ScrapeFamily] = &[
        ScrapeFamily {
            name: "trigon_dropped_total",
            help: "What was dropped.",
            kind: ScrapeKind::Counter,
            labels: &["type", "reason"],
        },
        ScrapeFamily { name: "trigon_fill", help: "How full it is.", kind: ScrapeKind::Gauge, labels: &[] },
        ScrapeFamily { name: "trigon_unused", help: "Nothing.", kind: ScrapeKind::Gauge, labels: &[] },
    ];

    #[test]
    fn numbers_are_read_at_each_scrape() {
        let number = Arc::new(AtomicU64::new(3));
        let registry = Registry::new();
        let kept = Arc::clone(&number);
        register_scraped(&registry, FAMILIES, move |rows| {
            let value = kept.load(Ordering::Relaxed) as f64;
            rows.push("trigon_dropped_total", &["exec", "full"], value);
            rows.push("trigon_dropped_total", &["exit", "full \"ring\""], 1.0);
            rows.push("trigon_fill", &[], value / 2.0);
        })
        .unwrap();
        let scrape = || TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        insta::assert_snapshot!(scrape());
        number.store(5, Ordering::Relaxed);
        assert!(scrape().contains("\ntrigon_dropped_total{type=\"exec\",reason=\"full\"} 5\n"));
        assert!(register_scraped(&registry, FAMILIES, |_| ()).is_err());
    }
}
