//! Loss: one family with one meaning for each stage that can drop something; and beside it what filters hold back,
//! which is none.

use prometheus::{IntCounter, IntCounterVec, core::Collector as _};

use super::Registry;
use crate::event::EventType;

/// `trigon_lost_events_total{stage,reason,type,exporter}`, and `trigon_filtered_events_total{exporter,type}`.
///
/// Each event is lost once at most on its way to each exporter: what the kernel handed over and what was made of it is
/// what an exporter exported and what was lost for all of them (no exporter) or for that one.
#[derive(Clone, Debug)]
pub struct Loss(IntCounterVec, IntCounterVec);

/// Loss at one stage, for one reason, by type; or what the filter of one exporter held back.
#[derive(Clone, Debug)]
pub struct LossCounter([IntCounter; EventType::ALL.len()]);

/// What was lost so far of one type at one stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Where.
    pub stage: String,
    /// Why.
    pub reason: String,
    /// On the way to which exporter; empty where it is lost for all.
    pub exporter: String,
    /// How many events.
    pub events: u64,
}

// === impl Loss ===

impl Loss {
    /// Makes the families and registers them.
    ///
    /// # Errors
    /// Fails where the registry has a family of one of the names.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let lost = registry.counters(
            "trigon_lost_events_total",
            "Events that were lost, by the stage that lost them, the reason, the type of event, and the exporter that did not get them (empty: none did).",
            &["stage", "reason", "type", "exporter"],
        )?;
        let filtered = registry.counters(
            "trigon_filtered_events_total",
            "Events that an exporter did not get because its filter holds them back, by their type.",
            &["exporter", "type"],
        )?;
        Ok(Self(lost, filtered))
    }

    /// The counter for events of any type that `stage` loses for `reason`, on the way to `exporter`.
    pub fn counter(&self, stage: &str, reason: &str, exporter: &str) -> LossCounter {
        let of = |event: EventType| self.0.with_label_values(&[stage, reason, event.as_str(), exporter]);
        LossCounter(EventType::ALL.map(of))
    }

    /// What was lost so far.
    pub fn read(&self) -> Vec<Lost> {
        let families = self.0.collect();
        let metrics = families.iter().flat_map(|family| family.get_metric());
        let row = |metric: &prometheus::proto::Metric| {
            let label = |name| {
                let pair = metric.get_label().iter().find(|pair| pair.name() == name);
                pair.map(|pair| pair.value().to_owned()).unwrap_or_default()
            };
            Lost {
                stage: label("stage"),
                reason: label("reason"),
                exporter: label("exporter"),
                events: metric.get_counter().get_value() as u64,
            }
        };
        metrics.map(row).collect()
    }

    /// The counter for events of any type that the filter of an exporter holds back.
    pub fn filtered(&self, exporter: &str) -> LossCounter {
        LossCounter(EventType::ALL.map(|event| self.1.with_label_values(&[exporter, event.as_str()])))
    }

    /// The counter for what no exporter gets, by a type that may be no event's: a record that the kernel or the reader
    /// lost before it was one.
    pub fn untyped(&self, stage: &str, reason: &str, kind: &str) -> IntCounter {
        self.0.with_label_values(&[stage, reason, kind, ""])
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

    /// How many events of a type were lost.
    pub fn of(&self, event: EventType) -> u64 {
        self.0[event.index()].get()
    }
}
