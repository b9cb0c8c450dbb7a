//! The queue between the router and one way out: bounded, and never in the router's way.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use tokio::sync::mpsc;

use crate::{
    event::Event,
    filter::{Fields, Gate},
    metrics::LossCounter,
};

/// Events that were read together. Every way out gets the same chunk.
pub type Chunk = Arc<[Event]>;

/// The router's end of a queue.
#[derive(Debug)]
pub struct QueueSender {
    chunks: mpsc::UnboundedSender<Chunk>,
    depth: Depth,
    capacity: usize,
    lost: LossCounter,
    concerns: fn(&Event) -> bool,
    gate: Option<Gate>,
}

/// A way out's end of a queue.
#[derive(Debug)]
pub struct QueueReceiver {
    chunks: mpsc::UnboundedReceiver<Chunk>,
    depth: Depth,
    fields: Option<Arc<Fields>>,
}

/// How many events a queue holds now, and how many it lost.
#[derive(Clone, Debug, Default)]
pub struct Depth(Arc<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    waiting: AtomicUsize,
    lost: AtomicU64,
}

/// Makes a queue that holds at most `capacity` events; `lost` counts those that found it full, as far as they concern
/// the way out.
pub fn queue(
    capacity: usize,
    lost: LossCounter,
    concerns: fn(&Event) -> bool,
) -> (QueueSender, QueueReceiver) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let depth = Depth::default();
    (
        QueueSender { chunks: sender, depth: depth.clone(), capacity, lost, concerns, gate: None },
        QueueReceiver { chunks: receiver, depth, fields: None },
    )
}

/// The same, with a gate before it: only what passes takes room.
pub fn gated(
    capacity: usize,
    lost: LossCounter,
    concerns: fn(&Event) -> bool,
    gate: Gate,
) -> (QueueSender, QueueReceiver) {
    let (mut sender, mut receiver) = queue(capacity, lost, concerns);
    receiver.fields = gate.filter.fields();
    // A gate that holds nothing back costs nothing.
    sender.gate = Some(gate).filter(|gate| !gate.filter.is_open());
    (sender, receiver)
}

// === impl QueueSender ===

impl QueueSender {
    /// Queues what passes of a chunk. Never waits: a chunk that has no room, or whose way out is gone, is lost and counted. What
    /// policies ask for has three quarters of the queue, as it has of the kernel's ring buffer: a flood of that must
    /// not cost the start or the end of a process.
    pub fn send(&self, chunk: &Chunk) {
        match &self.gate {
            Some(gate) => {
                let now = Instant::now();
                let passed = gate.pass(chunk, self.concerns, now);
                if !passed.is_empty() {
                    self.admit(&passed);
                }
                self.tell(gate.report(now));
            }
            None => self.admit(chunk),
        }
    }

    /// Does what is due with time: tells of what the rate limit dropped.
    pub fn tick(&self) {
        self.tell(self.gate.as_ref().and_then(|gate| gate.report(Instant::now())));
    }

    fn tell(&self, report: Option<Event>) {
        if let Some(report) = report.filter(self.concerns) {
            self.send_all(&Arc::from([report]));
        }
    }

    fn admit(&self, chunk: &Chunk) {
        let is_crowded = self.depth.get() + chunk.len() > self.capacity / 4 * 3;
        if is_crowded && chunk.iter().any(Event::is_of_policy) {
            let (shed, kept): (Vec<_>, Vec<_>) = chunk.iter().partition(|event| event.is_of_policy());
            self.lose(shed);
            self.send_all(&kept.into_iter().cloned().collect());
        } else {
            self.send_all(chunk);
        }
    }

    fn send_all(&self, chunk: &Chunk) {
        // The router is the only sender, so that nobody else can take the room between the look and the leap.
        let room = self.capacity.saturating_sub(self.depth.get());
        let sent = chunk.len() <= room && {
            self.depth.0.waiting.fetch_add(chunk.len(), Ordering::Relaxed);
            self.chunks.send(Arc::clone(chunk)).is_ok()
        };
        if !sent {
            self.lose(chunk.iter());
        }
    }

    fn lose<'a>(&self, events: impl IntoIterator<Item = &'a Event>) {
        let concerned = events.into_iter().filter(|event| (self.concerns)(event));
        for event in concerned {
            self.lost.lose(event.event_type());
            self.depth.0.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many events wait.
    pub fn depth(&self) -> Depth {
        self.depth.clone()
    }

    /// Nobody will take what is sent.
    pub fn is_abandoned(&self) -> bool {
        self.chunks.is_closed()
    }
}

impl Drop for QueueSender {
    fn drop(&mut self) {
        self.tell(self.gate.as_ref().and_then(Gate::last_report));
    }
}

// === impl QueueReceiver ===

impl QueueReceiver {
    /// What is to be shown of events; none where that is all.
    pub fn fields(&self) -> Option<Arc<Fields>> {
        self.fields.clone()
    }

    /// The next chunk; none when the router is gone and everything was taken.
    pub async fn recv(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.recv().await?;
        Some(self.taken(chunk))
    }

    /// The next chunk, for a way out that runs on a thread of its own.
    pub fn blocking_recv(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.blocking_recv()?;
        Some(self.taken(chunk))
    }

    /// The next chunk if there is one now.
    pub fn try_recv(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.try_recv().ok()?;
        Some(self.taken(chunk))
    }

    /// How many events found the queue full so far.
    pub fn lost(&self) -> u64 {
        self.depth.0.lost.load(Ordering::Relaxed)
    }

    /// Takes no more: what is sent from now on is lost and counted by the sender. What waits can still be received.
    pub fn close(&mut self) {
        self.chunks.close();
    }

    fn taken(&self, chunk: Chunk) -> Chunk {
        self.depth.0.waiting.fetch_sub(chunk.len(), Ordering::Relaxed);
        chunk
    }
}

// === impl Depth ===

impl Depth {
    /// The number of events.
    pub fn get(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;
    use crate::{
        metrics::{Loss, Registry},
        samples::{self, hooks},
    };

    /// What policies ask for has no more than three quarters; starts and ends fill the rest.
    #[test]
    fn a_flood_of_policies_leaves_room_for_processes() {
        let registry = Registry::new();
        let loss = Loss::register(&registry).unwrap();
        let (sender, mut receiver) = queue(8, loss.counter("queue", "full", "x"), |_| true);
        let start = || samples::exec(samples::process(7, samples::image("/bin/true", &["true"])));
        let asked = || hooks::vi(hooks::hook(hooks::kprobe("fd_install"), vec![hooks::file("/etc/passwd")]));
        for _ in 0..8 {
            sender.send(&Arc::from([asked()]));
        }
        assert_eq!(sender.depth().get(), 6);
        sender.send(&Arc::from([asked(), start(), start()]));
        assert_eq!(sender.depth().get(), 8);
        sender.send(&Arc::from([start()]));
        let taken: Vec<Chunk> = std::iter::from_fn(|| receiver.try_recv()).collect();
        let starts = taken.iter().flat_map(|chunk| chunk.iter()).filter(|event| !event.is_of_policy());
        assert_eq!(starts.count(), 2);
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        let lost = |kind: &str| {
            let line = text.lines().find(|line| line.contains(&format!("type=\"{kind}\"")));
            line.and_then(|line| line.rsplit(' ').next()).and_then(|value| value.parse::<u64>().ok())
        };
        assert_eq!((lost("PROCESS_KPROBE"), lost("PROCESS_EXEC")), (Some(3), Some(1)), "{text}");
    }
}
