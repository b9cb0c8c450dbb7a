//! Where a way out's filter acts: before an event takes room in its queue.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use super::{Filter, event::About, rate::Bucket};
use crate::{
    event::{Event, Timestamp},
    metrics::{Loss, LossCounter},
    sink::Chunk,
};

#[cfg(test)]
mod tests;

/// A filter at work for one way out, with what it counts.
#[derive(Debug)]
pub struct Gate {
    pub(crate) filter: Filter,
    bucket: Option<Mutex<Bucket>>,
    /// What a filter sees of an event.
    about: fn(&Event) -> About<'_>,
    filtered: LossCounter,
    limited: LossCounter,
}

// === impl Gate ===

impl Gate {
    /// The gate of the exporter that metrics know by this name.
    pub fn new(filter: &Filter, exporter: &str, loss: &Loss) -> Self {
        Self {
            filter: filter.clone(),
            bucket: filter.config.rate_limit.map(|rate| Mutex::new(Bucket::new(rate, Instant::now()))),
            about: |event| About::event(event),
            filtered: loss.filtered(exporter),
            limited: loss.counter("filter", "rate_limit", exporter),
        }
    }

    /// The same, for a way out that makes spans.
    pub fn of_spans(self) -> Self {
        Self { about: |event| About::span(event), ..self }
    }

    /// What passes of a chunk: all of it as it is, or a copy of a part. What doesn't concern the way out is not asked
    /// about, and not counted.
    pub(crate) fn pass(&self, chunk: &Chunk, concerns: fn(&Event) -> bool, now: Instant) -> Chunk {
        let mut bucket = self.bucket();
        let mut kept: Option<Vec<Event>> = None;
        for (place, event) in chunk.iter().enumerate() {
            let passes = !concerns(event) || {
                let allowed = self.filter.passes(&(self.about)(event));
                let within = !allowed || bucket.as_mut().is_none_or(|bucket| bucket.take(now));
                if !allowed {
                    self.filtered.lose(event.event_type());
                } else if !within {
                    self.limited.lose(event.event_type());
                }
                allowed && within
            };
            match &mut kept {
                Some(kept) if passes => kept.push(event.clone()),
                None if !passes => kept = Some(chunk[..place].to_vec()),
                _ => {}
            }
        }
        kept.map_or_else(|| Chunk::clone(chunk), Chunk::from)
    }

    /// The event that tells of what the rate limit dropped, where it is time for it.
    pub(crate) fn report(&self, now: Instant) -> Option<Event> {
        self.bucket()?.report(now).map(tell)
    }

    /// The same, at once.
    pub(crate) fn last_report(&self) -> Option<Event> {
        self.bucket()?.last_report().map(tell)
    }

    fn bucket(&self) -> Option<MutexGuard<'_, Bucket>> {
        Some(self.bucket.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn tell(dropped: u64) -> Event {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Event::rate_limit(Timestamp(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)), dropped)
}
