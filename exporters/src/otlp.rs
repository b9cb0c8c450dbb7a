//! OpenTelemetry: a log record for every event, and a span for every execution when it ends and for every file that a
//! policy followed when it is closed, sent by OTLP.
//!
//! ```text
//! events ─► batcher ─► sealed batches ─► delivery ─► endpoint
//!           (encode)   (bounded by bytes) (retry)
//! ```
//!
//! One exporter a signal, each with its own queue, connection and counters. Encoding never waits for the endpoint.
//! Events that come in are acknowledged or lost, and every loss is counted by stage and reason:
//! `trigon_lost_events_total{stage="queue"|"export",reason="otlp_logs_…"}`. A batch whose reply never came may have
//! arrived, and is sent again: delivery is at least once, and `log.record.uid` and the span id tell copies apart.

use std::sync::Arc;

use bytes::Bytes;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use self::{
    batch::{Batch, Batcher, Counts},
    client::Client,
    config::BatchConfig,
    delivery::{Delivery, Losses},
    queue::BatchSender,
};
pub use self::{
    client::ClientError,
    config::OtlpConfig,
    metrics::ExportMetrics,
    settings::{Settings, SettingsError},
};
use crate::{
    event::Event,
    filter::Gate,
    metrics::{Loss, LossCounter},
    node::Node,
    sink::{self, QueueReceiver, QueueSender},
};

mod attributes;
mod batch;
mod client;
pub mod config;
mod delivery;
mod grpc;
mod hook;
mod http;
mod logs;
mod metrics;
mod queue;
mod resource;
mod retry;
pub mod settings;
mod span_events;
mod spans;
#[cfg(test)]
mod tests;
mod veil;
mod wire;

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// A log record for every event.
    Logs,
    /// A span for every execution that ended, and for every followed file that was closed.
    Spans,
}

/// Encodes what the router sends.
struct Encoding {
    signal: Signal,
    batcher: Batcher,
    batches: BatchSender,
    losses: Arc<Losses>,
}

/// The body of one request with what a signal makes of these events, whatever their number: an encoded
/// `ExportLogsServiceRequest` or `ExportTraceServiceRequest`. Empty where it makes nothing of them.
pub fn encode(signal: Signal, node: &Arc<Node>, events: &[Event]) -> Bytes {
    let limits = BatchConfig { max_records: usize::MAX, max_bytes: usize::MAX, ..BatchConfig::default() };
    let mut batcher = Batcher::new(signal, Arc::clone(node), limits);
    // Without limits none is sealed before its time.
    events.iter().for_each(|event| drop(batcher.push(event)));
    batcher.seal().map(|batch| batch.body).unwrap_or_default()
}

/// Starts the exporter of a signal, on the current tokio runtime.
///
/// It ends when the router's end of `events` is gone and everything was sent. From the moment that `give_up` is
/// cancelled it ends at once, and what the endpoint has not acknowledged is lost and counted.
///
/// # Errors
/// The connection can't be prepared, such as when https is wanted and the system has no certificates. An endpoint
/// that is away is no error: it is tried until it is there.
pub fn start(
    signal: Signal,
    settings: &Settings,
    node: Arc<Node>,
    events: QueueReceiver,
    loss: &Loss,
    metrics: &ExportMetrics,
    give_up: CancellationToken,
) -> Result<JoinHandle<()>, ClientError> {
    let client = Client::new(signal, settings)?;
    let metrics = metrics.of(signal);
    let losses = Arc::new(Losses::new(signal, loss));
    let (batches, waiting) = queue::queue(settings.queue.max_bytes, metrics.depth.clone());
    let encoding = Encoding {
        signal,
        batcher: Batcher::new(signal, node, settings.batch).showing(events.fields()),
        batches,
        losses: Arc::clone(&losses),
    };
    let delivery = Delivery { signal, client, retry: settings.retry, losses, metrics, healthy: true };
    Ok(tokio::spawn(async move {
        // A task of its own, so that it goes on while events are being encoded.
        let delivering = tokio::spawn(delivery.run(waiting, give_up.clone()));
        encoding.run(events, give_up).await;
        if let Err(error) = delivering.await {
            tracing::error!(exporter = signal.exporter(), %error, "OTLP delivery ended early");
        }
    }))
}

// === impl Signal ===

impl Signal {
    /// Name of this signal's exporter in metrics.
    pub fn exporter(self) -> &'static str {
        match self {
            Self::Logs => "otlp_logs",
            Self::Spans => "otlp_spans",
        }
    }

    /// The queue between the router and this signal's exporter, behind the filter of `settings`; what finds it full is
    /// lost at stage `queue`.
    pub fn queue(self, settings: &Settings, loss: &Loss) -> (QueueSender, QueueReceiver) {
        let gate = Gate::new(&settings.filter, self.exporter(), loss);
        let gate = if self == Self::Spans { gate.of_spans() } else { gate };
        let lost = self.loss(loss, "queue", "events_full");
        sink::gated(settings.queue.max_events, lost, self.concerns(), gate)
    }

    /// Which events make something of this signal.
    fn concerns(self) -> fn(&Event) -> bool {
        match self {
            Self::Logs => |event| Self::Logs.makes(event),
            Self::Spans => |event| Self::Spans.makes(event),
        }
    }

    /// The counter of what this signal loses: the reason names the exporter, since each has a balance of its own.
    fn loss(self, loss: &Loss, stage: &str, reason: &str) -> LossCounter {
        loss.counter(stage, &format!("{}_{reason}", self.exporter()))
    }

    /// The part of environment variables' names.
    fn environment_name(self) -> &'static str {
        match self {
            Self::Logs => "LOGS",
            Self::Spans => "TRACES",
        }
    }

    /// Appended to the URL of an OTLP/HTTP endpoint.
    fn http_path(self) -> &'static str {
        match self {
            Self::Logs => "v1/logs",
            Self::Spans => "v1/traces",
        }
    }

    /// The method that takes this signal's requests.
    fn grpc_method(self) -> &'static str {
        match self {
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            Self::Spans => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        }
    }
}

// === impl Encoding ===

impl Encoding {
    /// Encodes what comes until the router is gone or it is time to give up.
    async fn run(mut self, mut events: QueueReceiver, give_up: CancellationToken) {
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
