//! The queue between encoding and sending: sealed batches, bounded by their bytes.

use std::sync::Arc;

use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::batch::Batch;

/// What waits for the endpoint, for the metrics.
#[derive(Clone, Debug)]
pub(super) struct Depth {
    pub(super) events: IntGauge,
    pub(super) bytes: IntGauge,
}

/// The encoder's end.
#[derive(Debug)]
pub(super) struct BatchSender {
    batches: mpsc::UnboundedSender<Queued>,
    room: Arc<Semaphore>,
    capacity: usize,
    depth: Depth,
}

/// The end that sends to the endpoint.
#[derive(Debug)]
pub(super) struct BatchReceiver(mpsc::UnboundedReceiver<Queued>);

/// A batch that takes room in the queue until it is dropped: until it was acknowledged or given up.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) batch: Batch,
    _room: Room,
}

/// The room that a batch takes, given back on drop.
#[derive(Debug)]
struct Room {
    events: i64,
    bytes: i64,
    depth: Depth,
    _permit: OwnedSemaphorePermit,
}

/// Makes a queue of at most this many bytes. A single batch that is larger has it for itself.
pub(super) fn queue(max_bytes: usize, depth: Depth) -> (BatchSender, BatchReceiver) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let capacity = max_bytes.min(u32::MAX as usize).min(Semaphore::MAX_PERMITS);
    let room = Arc::new(Semaphore::new(capacity));
    (BatchSender { batches: sender, room, capacity, depth }, BatchReceiver(receiver))
}

// === impl BatchSender ===

impl BatchSender {
    /// Whether what is left is for the starts and ends of processes.
    pub(super) fn is_crowded(&self) -> bool {
        self.room.available_permits() < self.capacity / 4
    }

    /// Queues a batch, and gives it back where there is no room. Never waits.
    pub(super) fn send(&self, batch: Batch) -> Result<(), Batch> {
        let bytes = batch.body.len().min(self.capacity) as u32;
        match Arc::clone(&self.room).try_acquire_many_owned(bytes) {
            Ok(permit) => {
                let room = Room::take(&batch, &self.depth, permit);
                self.batches.send(Queued { batch, _room: room }).map_err(|refused| refused.0.batch)
            }
            Err(_) => Err(batch),
        }
    }
}

// === impl BatchReceiver ===

impl BatchReceiver {
    /// The next batch; none when the encoder has ended and everything was taken.
    pub(super) async fn recv(&mut self) -> Option<Queued> {
        self.0.recv().await
    }
}

// === impl Room ===

impl Room {
    fn take(batch: &Batch, depth: &Depth, permit: OwnedSemaphorePermit) -> Self {
        let (events, bytes) = (batch.counts.total() as i64, batch.body.len() as i64);
        depth.events.add(events);
        depth.bytes.add(bytes);
        Self { events, bytes, depth: depth.clone(), _permit: permit }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.depth.events.sub(self.events);
        self.depth.bytes.sub(self.bytes);
    }
}
