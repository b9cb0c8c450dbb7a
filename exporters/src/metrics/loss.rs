//! Loss: one family with one meaning for each stage that can drop something; and beside it what filters hold back,
//! which is none.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry, core::Collector as _};

use crate::event::EventType;

/// `trigon_lost_events_total{stage,reason,type}`, and `trigon_filtered_events_total{exporter,type}`.
#[derive(Clone, Debug)]
pub struct Loss(IntCounterVec, IntCounterVec);

/// Loss at one stage, for one reason, by type; or what the filter of one exporter held back.
#[derive(Clone, Debug)]
pub struct LossCounter([IntCounter; EventType::ALL.len()]);

// === impl Loss ===

impl Loss {
    /// Makes the families and registers them.
    ///
    /// # Errors
    /// Fails where the registry has a family of one of the names.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let opts = Opts::new(
            "trigon_lost_events_total",
            "Events that were lost, by the stage that lost them, the reason and the type of event.",
        );
        let family = IntCounterVec::new(opts, &["stage", "reason", "type"])?;
        registry.register(Box::new(family.clone()))?;
        let opts = Opts::new(
            "trigon_filtered_events_total",
            "Events that an exporter did not get because its filter holds them back, by their type.",
        );
        let filtered = IntCounterVec::new(opts, &["exporter", "type"])?;
        registry.register(Box::new(filtered.clone()))?;
        Ok(Self(family, filtered))
    }

    /// The counter for events of any type that `stage` loses for `reason`.
    pub fn counter(&self, stage: &str, reason: &str) -> LossCounter {
        LossCounter(EventType::ALL.map(|event| self.untyped(stage, reason, event.as_str())))
    }

    /// What was lost so far: stage, reason and events, for each type by itself.
    pub fn read(&self) -> Vec<(String, String, u64)> {
        let families = self.0.collect();
        let metrics = families.iter().flat_map(|family| family.get_metric());
        let label = |metric: &prometheus::proto::Metric, name| {
            let pair = metric.get_label().iter().find(|pair| pair.name() == name);
            pair.map(|pair| pair.value().to_owned()).unwrap_or_default()
        };
        let row = |metric| {
            (label(metric, "stage"), label(metric, "reason"), metric.get_counter().get_value() as u64)
        };
        metrics.map(row).collect()
    }

    /// The counter for events of any type that the filter of an exporter holds back.
    pub fn filtered(&self, exporter: &str) -> LossCounter {
        LossCounter(EventType::ALL.map(|event| self.1.with_label_values(&[exporter, event.as_str()])))
    }

    /// The counter for a type that is no event's: a record that the kernel or the reader lost before it was one.
    pub fn untyped(&self, stage: &str, reason: &str, kind: &str) -> IntCounter {
        self.0.with_label_values(&[stage, reason, kind])
    }
}

// === impl LossCounter ===

impl LossCounter {
    /// Counts one lost event.
    pub fn lose(&self, event: EventType) {
        self.lose_many(event, 1);
    }

    /// Counts `n` lost events.
    pub fn lose_many(&self, event: EventType, n: u64) {
        self.0[event.index()].inc_by(n);
    }
}
