//! Delivery: batches go to the endpoint one after another, each until it was taken or given up.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    batch::Batch,
    client::{Client, Outcome},
    config::RetryConfig,
    metrics::ExporterMetrics,
    queue::BatchReceiver,
    retry::Backoff,
};
use crate::{
    health::Health,
    metrics::{Loss, LossCounter},
};

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

/// Sends the batches of an exporter.
#[derive(Debug)]
pub(super) struct Delivery {
    /// Its name.
    pub(super) exporter: String,
    pub(super) client: Client,
    pub(super) retry: RetryConfig,
    pub(super) losses: Arc<Losses>,
    pub(super) metrics: ExporterMetrics,
    /// The log tells of its changes and not of each request.
    pub(super) health: Health,
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

    async fn send(&mut self, prepared: &Bytes) -> Outcome {
        self.client.refresh(&self.exporter);
        let reply = self.client.send(prepared).await;
        self.metrics.request(prepared.len(), &reply.code);
        reply.outcome
    }

    /// Counts a batch as what became of it.
    fn settle(&self, batch: &Batch, end: End) {
        match end {
            End::Accepted { rejected, message } => {
                let (lost, kept) = batch.counts.split(rejected);
                lost.lose(&self.losses.rejected);
                self.metrics.acknowledged(batch, &kept);
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

    fn ailing(&self, why: &str, consequence: &str) {
        if self.health.failed(why) {
            tracing::warn!(exporter = self.exporter, why, "OTLP export fails: {consequence}");
        }
    }

    fn well(&self, message: &str) {
        let recovered = self.health.succeeded();
        match self.client.stale() {
            // It goes well as long as what was read before does.
            Some(why) => drop(self.health.failed(why)),
            None if recovered => tracing::info!(exporter = self.exporter, "OTLP export works again"),
            None => {}
        }
        if !message.is_empty() {
            tracing::debug!(exporter = self.exporter, message, "the OTLP endpoint warns");
        }
    }
}

// === impl Losses ===

impl Losses {
    pub(super) fn new(exporter: &str, loss: &Loss) -> Self {
        let counter = |stage, reason| loss.counter(stage, reason, exporter);
        Self {
            full: counter("spool", "full"),
            rejected: counter("export", "rejected"),
            permanent: counter("export", "permanent"),
            expired: counter("spool", "expired"),
            shutdown: counter("spool", "shutdown"),
        }
    }
}
