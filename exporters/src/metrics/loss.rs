//! Loss: one family with one meaning for each stage that can drop something.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use crate::event::EventType;

/// `trigon_lost_events_total{stage,reason,type}`.
#[derive(Clone, Debug)]
pub struct Loss(IntCounterVec);

/// Loss at one stage, for one reason, by type.
#[derive(Clone, Debug)]
pub struct LossCounter([IntCounter; EventType::ALL.len()]);

// === impl Loss ===

impl Loss {
    /// Makes the family and registers it.
    ///
    /// # Errors
    /// Fails where the registry has a family of that name.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let opts = Opts::new(
            "trigon_lost_events_total",
            "Events that were lost, by the stage that lost them, the reason and the type of event.",
        );
        let family = IntCounterVec::new(opts, &["stage", "reason", "type"])?;
        registry.register(Box::new(family.clone()))?;
        Ok(Self(family))
    }

    /// The counter for events of any type that `stage` loses for `reason`.
    pub fn counter(&self, stage: &str, reason: &str) -> LossCounter {
        LossCounter(EventType::ALL.map(|event| self.untyped(stage, reason, event.as_str())))
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
