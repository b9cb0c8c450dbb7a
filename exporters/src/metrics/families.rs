//! Events, counted: the families that dashboards are made of.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use rustc_hash::FxHashMap;

use super::{Label, MetricsConfig};
use crate::event::{Event, EventType};

#[cfg(test)]
mod tests;

/// `trigon_events_total{type,namespace,workload,pod,binary}`.
///
/// Belongs to the one thread that the events pass through: an event of a known series costs a look-up and an addition.
#[derive(Debug)]
pub struct EventMetrics {
    events: Family,
    labels: Labels,
}

/// Which labels were chosen.
#[derive(Clone, Copy, Debug)]
struct Labels {
    namespace: bool,
    workload: bool,
    pod: bool,
    binary: bool,
}

/// A family of counters with a hard limit on its series.
#[derive(Debug)]
struct Family {
    counters: IntCounterVec,
    folded: IntCounter,
    /// Counters of the series that there are, by the values of their labels, each followed by a NUL.
    known: FxHashMap<Box<str>, PerType>,
    /// Where a key is put together.
    key: String,
    /// Values of the series that stands for all that found no room.
    other: [&'static str; VALUES],
    others: PerType,
    /// Series that there may yet be.
    room: usize,
}

/// The counters of one set of values, by type; there are so few that a search through all is the quickest.
#[derive(Debug, Default)]
struct PerType(Vec<(EventType, IntCounter)>);

const NAMES: [&str; 1 + VALUES] = ["type", "namespace", "workload", "pod", "binary"];
/// Labels beside the type.
const VALUES: usize = 4;
/// Bytes that the values of one series may have together: a path can be 4 KiB long, which times `max_series` would be
/// too much to hold and to serve.
const MAX_LEN: usize = 1024;
const OTHER: &str = "other";

// === impl EventMetrics ===

impl EventMetrics {
    /// Makes the families and registers them.
    ///
    /// # Errors
    /// Fails where the registry has a family of one of the names.
    pub fn register(registry: &Registry, config: &MetricsConfig) -> prometheus::Result<Self> {
        let folded = IntCounterVec::new(
            Opts::new(
                "trigon_metrics_folded_total",
                "Events that were counted under the labels \"other\", since their family had metrics.max_series series or the labels were too long.",
            ),
            &["family"],
        )?;
        registry.register(Box::new(folded.clone()))?;
        let labels = Labels::new(&config.labels);
        let opts =
            Opts::new("trigon_events_total", "Events that the agent saw, by their type and by who did it.");
        let family = IntCounterVec::new(opts, &NAMES)?;
        registry.register(Box::new(family.clone()))?;
        let folded = folded.with_label_values(&["trigon_events_total"]);
        Ok(Self { events: Family::new(family, folded, labels, config.max_series), labels })
    }

    /// Counts an event.
    pub fn observe(&mut self, event: &Event) {
        let binary = if self.labels.binary { event.process.image.binary() } else { "" };
        self.events.count(event.event_type(), ["", "", "", binary]);
    }
}

// === impl Labels ===

impl Labels {
    fn new(chosen: &[Label]) -> Self {
        Self {
            namespace: chosen.contains(&Label::Namespace),
            workload: chosen.contains(&Label::Workload),
            pod: chosen.contains(&Label::Pod),
            binary: chosen.contains(&Label::Binary),
        }
    }
}

// === impl Family ===

impl Family {
    fn new(counters: IntCounterVec, folded: IntCounter, labels: Labels, max_series: usize) -> Self {
        let other = [labels.namespace, labels.workload, labels.pod, labels.binary]
            .map(|chosen| if chosen { OTHER } else { "" });
        Self {
            counters,
            folded,
            known: FxHashMap::default(),
            key: String::new(),
            other,
            others: PerType::default(),
            // The series for the rest are within the limit.
            room: max_series.saturating_sub(EventType::ALL.len()),
        }
    }

    fn count(&mut self, event: EventType, values: [&str; VALUES]) {
        self.key.clear();
        for value in values {
            self.key.push_str(value);
            self.key.push('\0');
        }
        match self.known.get(self.key.as_str()).and_then(|counters| counters.get(event)) {
            Some(counter) => counter.inc(),
            None => self.count_new(event, values),
        }
    }

    #[cold]
    fn count_new(&mut self, event: EventType, values: [&str; VALUES]) {
        let has_room = self.room > 0 && self.key.len() <= MAX_LEN;
        let (counters, values) = if has_room {
            self.room -= 1;
            (self.known.entry(self.key.as_str().into()).or_default(), values)
        } else {
            self.folded.inc();
            (&mut self.others, self.other)
        };
        if let Some(counter) = counters.get(event) {
            return counter.inc();
        }
        let [namespace, workload, pod, binary] = values;
        let counter = self.counters.with_label_values(&[event.as_str(), namespace, workload, pod, binary]);
        counter.inc();
        counters.0.push((event, counter));
    }
}

// === impl PerType ===

impl PerType {
    fn get(&self, event: EventType) -> Option<&IntCounter> {
        self.0.iter().find(|(known, _)| *known == event).map(|(_, counter)| counter)
    }
}
