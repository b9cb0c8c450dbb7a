//! From one stage to every way out: what was read together goes to each in one chunk.

use std::{sync::Arc, time::Instant};

use trigon_exporters::{
    event::{Event, Kind},
    metrics::EventMetrics,
    sink::{Chunk, QueueSender},
};

use crate::{first_seen::FirstSeen, recent::Recent};

/// As many events make a chunk at most.
pub const CHUNK: usize = 512;

/// Marks what is executed for the first time, counts every event, remembers it a while, and queues it for every way
/// out. A way out that is slow loses its own events, and no others.
#[derive(Debug)]
pub struct Router {
    metrics: EventMetrics,
    first_seen: FirstSeen,
    recent: Recent,
    ways_out: Vec<(Arc<str>, QueueSender)>,
    /// Clients of the API that follow: each stays until it goes.
    followers: Vec<QueueSender>,
    gathered: Vec<Event>,
}

// === impl Router ===

impl Router {
    /// A router without a way out yet.
    pub fn new(metrics: EventMetrics, recent: Recent) -> Self {
        Self {
            metrics,
            first_seen: FirstSeen::default(),
            recent,
            ways_out: Vec::new(),
            followers: Vec::new(),
            gathered: Vec::with_capacity(CHUNK),
        }
    }

    /// Sends to a way out from now on; the one that had its name gets no more, and comes to its end.
    pub fn open(&mut self, name: Arc<str>, queue: QueueSender) {
        self.close(&name);
        self.ways_out.push((name, queue));
    }

    /// Sends no more to a way out, which comes to its end with what it has.
    pub fn close(&mut self, name: &str) {
        self.ways_out.retain(|(open, _)| **open != *name);
    }

    /// Sends to a client until it goes.
    pub fn follow(&mut self, queue: QueueSender) {
        self.followers.push(queue);
    }

    /// The recent past.
    pub fn recent(&mut self) -> &mut Recent {
        &mut self.recent
    }

    /// Takes an event.
    pub fn route(&mut self, mut event: Event) {
        if let Kind::Exec(exec) = &mut event.kind {
            exec.first_seen = self.first_seen.is_first(&event.process);
        }
        self.metrics.observe(&event);
        if self.ways_out.is_empty() && self.followers.is_empty() && !self.recent.keeps() {
            return;
        }
        self.gathered.push(event);
        if self.gathered.len() >= CHUNK {
            self.flush();
        }
    }

    /// Does what is due with time: in the queues, and with series that nothing is counted in any more.
    pub fn tick(&mut self, now: Instant) {
        let queues = self.ways_out.iter().map(|(_, queue)| queue).chain(&self.followers);
        queues.for_each(QueueSender::tick);
        self.metrics.sweep(now);
    }

    /// Sends on what was taken so far.
    pub fn flush(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let chunk: Chunk = Arc::from_iter(self.gathered.drain(..));
        self.ways_out.iter().for_each(|(_, queue)| queue.send(&chunk));
        self.followers.retain(|queue| !queue.is_abandoned());
        self.followers.iter().for_each(|queue| queue.send(&chunk));
        self.recent.push(&chunk);
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;
    use trigon_exporters::{
        event::{Exec, Image, Process, Timestamp},
        metrics::{Loss, MetricsConfig, Registry},
        sink,
    };

    use super::*;

    #[test]
    fn what_is_executed_for_the_first_time_is_marked_and_counted() {
        let registry = Registry::new();
        let metrics = EventMetrics::register(&registry, &MetricsConfig::default()).unwrap();
        let mut router = Router::new(metrics, Recent::new(0));
        let full = Loss::register(&registry).unwrap().counter("queue", "full", "x");
        let (sender, mut receiver) = sink::queue(100, full, |_| true);
        router.open("x".into(), sender);
        for binary in ["/bin/sh", "/bin/ls", "/bin/sh"] {
            let image = Arc::new(Image::new(binary, "", "/", "", None));
            router.route(Event {
                time: Timestamp(1),
                observed: Timestamp(2),
                process: Arc::new(Process { image, ..Process::default() }),
                parent: None,
                kind: Kind::Exec(Exec::default()),
            });
        }
        router.flush();
        let chunk = receiver.try_recv().unwrap();
        let marks = chunk.iter().map(|event| matches!(&event.kind, Kind::Exec(exec) if exec.first_seen));
        assert_eq!(marks.collect::<Vec<_>>(), [true, true, false]);
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert!(
            text.contains("trigon_first_seen_binaries_total{namespace=\"\",workload=\"\"} 2\n"),
            "{text}"
        );
    }
}
