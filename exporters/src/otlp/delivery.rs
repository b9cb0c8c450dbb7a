//! Delivery: batches go to the endpoint one after another, each until it was taken or given up.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    Signal,
    batch::Batch,
    client::{Client, Outcome},
    config::RetryConfig,
    metrics::SignalMetrics,
    queue::BatchReceiver,
    retry::Backoff,
};
use crate::metrics::{Loss, LossCounter};

/// Where events of a signal are counted that never arrived.
#[derive(Debug)]
pub(super) struct Losses {
    /// No room among the batches that wait for the endpoint.
    pub(super) full: LossCounter,
    /// The endpoint took the batch and rejected some of its records.
    rejected: LossCounter,
    /// The endpoint will never take the batch.
    permanent: LossCounter,
    /// The endpoint did not take the batch within `otlp.retry.max_elapsed`.
    expired: LossCounter,
    /// The agent ended first.
    pub(super) shutdown: LossCounter,
}

/// Sends a signal's batches.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) signal: Signal,
    pub(super) client: Client,
    pub(super) retry: RetryConfig,
    pub(super) losses: Arc<Losses>,
    pub(super) metrics: SignalMetrics,
    /// The endpoint takes batches, as far as is known; for the log, which tells of changes and not of each request.
    pub(super) healthy: bool,
}

/// How the tries to send a batch ended.
enum End {
    Accepted { rejected: u64, message: String },
    Permanent { reason: String },
    Expired { why: String },
}

// === impl Delivery ===

impl Delivery {
    /// Sends what comes until the encoder has ended and nothing is left. From the moment that `give_up` says so,
    /// what is left is lost.
    pub(super) async fn run(mut self, mut batches: BatchReceiver, give_up: CancellationToken) {
        while let Some(queued) = batches.recv().await {
            let end = tokio::select! {
                // A reply that has come counts, even in the last moment.
                biased;
                end = self.deliver(&queued.batch), if !give_up.is_cancelled() => Some(end),
                () = give_up.cancelled() => None,
            };
            match end {
                Some(end) => self.settle(&queued.batch, end),
                None => queued.batch.counts.lose(&self.losses.shutdown),
            }
        }
    }

    /// Sends a batch until the endpoint takes it, refuses it for good, or the time for it is over.
    async fn deliver(&mut self, batch: &Batch) -> End {
        let prepared = match self.client.prepare(&batch.body) {
            Ok(prepared) => prepared,
            Err(error) => return End::Permanent { reason: format!("compressing the request: {error}") },
        };
        let begun = Instant::now();
        let mut backoff = Backoff::new(&self.retry);
        loop {
            let (after, why) = match self.send(&prepared).await {
                Outcome::Accepted { rejected, message } => return End::Accepted { rejected, message },
                Outcome::Permanent { reason } => return End::Permanent { reason },
                Outcome::Retry { after, why } => (after, why),
            };
            let wait = backoff.wait(after);
            if self.retry.max_elapsed > Duration::ZERO && begun.elapsed() + wait > self.retry.max_elapsed {
                return End::Expired { why };
            }
            self.ailing(&why, "records wait in the queue and are sent again");
            self.metrics.retries.inc();
            sleep(wait).await;
        }
    }

    async fn send(&self, prepared: &Bytes) -> Outcome {
        let reply = self.client.send(prepared).await;
        self.metrics.request(prepared.len(), &reply.code);
        reply.outcome
    }

    /// Counts a batch as what became of it.
    fn settle(&mut self, batch: &Batch, end: End) {
        match end {
            End::Accepted { rejected, message } => {
                let (lost, kept) = batch.counts.split(rejected);
                lost.lose(&self.losses.rejected);
                self.metrics.acknowledged(batch, kept.total());
                match lost.total() {
                    0 => self.well(&message),
                    count => self
                        .ailing(&message, &format!("{count} records of a batch were rejected and are lost")),
                }
            }
            End::Permanent { reason } => {
                batch.counts.lose(&self.losses.permanent);
                self.ailing(&reason, "the batch is lost: the same request can never succeed");
            }
            End::Expired { why } => {
                batch.counts.lose(&self.losses.expired);
                self.ailing(&why, "the batch is lost: otlp.retry.max_elapsed is over");
            }
        }
    }

    fn ailing(&mut self, why: &str, consequence: &str) {
        if std::mem::replace(&mut self.healthy, false) {
            tracing::warn!(exporter = self.signal.exporter(), why, "OTLP export fails: {consequence}");
        }
    }

    fn well(&mut self, message: &str) {
        if !std::mem::replace(&mut self.healthy, true) {
            tracing::info!(exporter = self.signal.exporter(), "OTLP export works again");
        }
        if !message.is_empty() {
            tracing::debug!(exporter = self.signal.exporter(), message, "the OTLP endpoint warns");
        }
    }
}

// === impl Losses ===

impl Losses {
    pub(super) fn new(signal: Signal, loss: &Loss) -> Self {
        Self {
            full: signal.loss(loss, "queue", "bytes_full"),
            rejected: signal.loss(loss, "export", "rejected"),
            permanent: signal.loss(loss, "export", "permanent"),
            expired: signal.loss(loss, "export", "expired"),
            shutdown: signal.loss(loss, "export", "shutdown"),
        }
    }
}
