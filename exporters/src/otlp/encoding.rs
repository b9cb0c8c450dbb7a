//! Encoding: what the router sends becomes batches. It never waits for the endpoint.

use std::sync::Arc;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    Signal,
    batch::{Batch, Batcher, Counts},
    delivery::Losses,
    queue::BatchSender,
};
use crate::sink::QueueReceiver;

/// Encodes what the router sends.
pub(super) struct Encoding {
    pub(super) signal: Signal,
    pub(super) batcher: Batcher,
    pub(super) batches: BatchSender,
    pub(super) losses: Arc<Losses>,
}

// === impl Encoding ===

impl Encoding {
    /// Encodes what comes until the router is gone or it is time to give up.
    pub(super) async fn run(mut self, mut events: QueueReceiver, give_up: CancellationToken) {
        loop {
            let deadline = self.batcher.deadline();
            let sealed = tokio::select! {
                biased;
                () = give_up.cancelled() => break,
                () = at(deadline) => self.batcher.seal(),
                chunk = events.recv() => match chunk {
                    Some(chunk) => {
                        for event in chunk.iter() {
                            if event.is_of_policy() && self.signal.has_record(event) && self.batches.is_crowded() {
                                self.losses.full.lose(event.event_type());
                                continue;
                            }
                            let sealed = self.batcher.push(event);
                            self.enqueue(sealed);
                        }
                        None
                    }
                    None => break,
                },
            };
            self.enqueue(sealed);
        }
        let rest = self.batcher.seal();
        self.enqueue(rest);
        self.abandon(events).await;
    }

    fn enqueue(&self, sealed: Option<Batch>) {
        if let Some(Err(refused)) = sealed.map(|batch| self.batches.send(batch)) {
            refused.counts.lose(&self.losses.full);
        }
    }

    /// Counts what the router has sent and nobody will encode.
    async fn abandon(&self, mut events: QueueReceiver) {
        events.close();
        let mut counts = Counts::default();
        while let Some(chunk) = events.recv().await {
            let lost = chunk.iter().filter(|event| self.signal.makes(event));
            lost.for_each(|event| counts.add(event.event_type()));
        }
        counts.lose(&self.losses.shutdown);
    }
}

/// Waits until then; for ever where there is no such moment.
async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
