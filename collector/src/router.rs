//! From one stage to every way out: what was read together goes to each in one chunk.

use std::sync::Arc;

use trigon_exporters::{
    event::Event,
    metrics::EventMetrics,
    sink::{Chunk, QueueSender},
};

/// As many events make a chunk at most.
pub const CHUNK: usize = 512;

/// Counts every event and queues it for every way out. A way out that is slow loses its own events, and no others.
#[derive(Debug)]
pub struct Router {
    metrics: EventMetrics,
    queues: Vec<QueueSender>,
    gathered: Vec<Event>,
}

// === impl Router ===

impl Router {
    /// A router to these queues.
    pub fn new(metrics: EventMetrics, queues: Vec<QueueSender>) -> Self {
        Self { metrics, queues, gathered: Vec::with_capacity(CHUNK) }
    }

    /// Takes an event.
    pub fn route(&mut self, event: Event) {
        self.metrics.observe(&event);
        if self.queues.is_empty() {
            return;
        }
        self.gathered.push(event);
        if self.gathered.len() >= CHUNK {
            self.flush();
        }
    }

    /// Does what is due with time in the queues.
    pub fn tick(&self) {
        self.queues.iter().for_each(QueueSender::tick);
    }

    /// Sends on what was taken so far.
    pub fn flush(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let chunk: Chunk = Arc::from_iter(self.gathered.drain(..));
        self.queues.iter().for_each(|queue| queue.send(&chunk));
    }
}
