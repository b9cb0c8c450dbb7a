//! A signal and where it is sent: each has an exporter of its own.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    ExportMetrics, Signal,
    batch::Batcher,
    client::{Client, ClientError},
    config::OtlpConfig,
    delivery::{Delivery, Losses},
    encoding::Encoding,
    environment::Environment,
    queue,
    settings::{Settings, SettingsError, Table},
};
use crate::{
    filter::Gate,
    health::Health,
    metrics::Loss,
    node::Node,
    sink::{self, QueueReceiver, QueueSender},
};

/// Where a signal is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Which table of the configuration it is of, from 0.
    pub table: usize,
    /// What the table is called; empty where it has no name.
    pub name: String,
    /// What is sent.
    pub signal: Signal,
    /// Where and how.
    pub settings: Settings,
}

const NAME: &str = "a name of its own, of a-z, 0-9, _ and -, at most 32 of them,";

// === impl Destination ===

impl Destination {
    /// Where each signal of each table is sent. `flag` and OpenTelemetry's environment variables are for the first
    /// table.
    ///
    /// # Errors
    /// Names the first setting that can't be used, its value, and what is allowed.
    pub fn all(
        tables: &[OtlpConfig],
        environment: &dyn Fn(&str) -> Option<String>,
        flag: Option<&str>,
    ) -> Result<Vec<Self>, SettingsError> {
        let mut destinations = Vec::new();
        let default = [OtlpConfig::default()];
        let tables = if tables.is_empty() { &default } else { tables };
        for (index, config) in tables.iter().enumerate() {
            let path = path(tables, index);
            let table = Table { config, path: &path };
            let name = &config.name;
            let taken = tables[..index].iter().any(|other| other.name == *name);
            let valid = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
            if taken || name.len() > 32 || !name.bytes().all(valid) {
                return Err(SettingsError::new(&table.key("", "name"), name.clone(), NAME));
            }
            for signal in Signal::ALL {
                let applies = index == 0;
                let names = table.names(signal);
                let environment = Environment { get: environment, signal: names.environment, applies };
                let settings = Settings::new(&table, &names, &environment, flag.filter(|_| applies))?;
                let of = |settings| Self { table: index, name: name.clone(), signal, settings };
                destinations.extend(settings.map(of));
            }
        }
        Ok(destinations)
    }

    /// Name of the exporter in metrics: `otlp_logs`, or `otlp_logs_NAME` where the table has a name.
    pub fn exporter(&self) -> String {
        let dash = if self.name.is_empty() { "" } else { "_" };
        format!("{}{dash}{}", self.signal.exporter(), self.name)
    }

    /// The queue between the router and this exporter, behind the filter of its settings; what finds it full is lost
    /// at stage `queue`.
    pub fn queue(&self, loss: &Loss) -> (QueueSender, QueueReceiver) {
        let exporter = self.exporter();
        let gate = Gate::new(&self.settings.filter, &exporter, loss);
        let gate = if self.signal == Signal::Spans { gate.of_spans() } else { gate };
        let lost = loss.counter("queue", "full", &exporter);
        sink::gated(self.settings.queue.max_events, lost, self.signal.concerns(), gate)
    }

    /// Starts the exporter, on the current tokio runtime.
    ///
    /// It ends when the router's end of `events` is gone and everything was sent. From the moment that `give_up` is
    /// cancelled it ends at once, and what the endpoint has not acknowledged is lost and counted.
    ///
    /// # Errors
    /// The connection can't be prepared: https is wanted and the system has no certificates, a file can't be used. An
    /// endpoint that is away is no error: it is tried until it is there.
    pub fn start(
        &self,
        node: Arc<Node>,
        events: QueueReceiver,
        loss: &Loss,
        metrics: &ExportMetrics,
        health: Health,
        give_up: CancellationToken,
    ) -> Result<JoinHandle<()>, ClientError> {
        let Self { signal, ref settings, .. } = *self;
        let exporter = self.exporter();
        let client = Client::new(signal, settings)?;
        let metrics = metrics.of(&exporter, settings.queue.max_bytes);
        let losses = Arc::new(Losses::new(&exporter, loss));
        let (batches, waiting) = queue::queue(settings.queue.max_bytes, metrics.depth.clone());
        let encoding = Encoding {
            signal,
            batcher: Batcher::new(signal, node, settings.batch).showing(events.fields()),
            batches,
            losses: Arc::clone(&losses),
        };
        let name = exporter.clone();
        let delivery = Delivery { exporter, client, retry: settings.retry, losses, metrics, health };
        Ok(tokio::spawn(async move {
            // A task of its own, so that it goes on while events are being encoded.
            let delivering = tokio::spawn(delivery.run(waiting, give_up.clone()));
            encoding.run(events, give_up).await;
            if let Err(error) = delivering.await {
                tracing::error!(exporter = name, %error, "OTLP delivery ended early");
            }
        }))
    }
}

/// What messages call a table: `otlp` where there is one, else by its name or its number from 0.
fn path(tables: &[OtlpConfig], index: usize) -> String {
    match &*tables[index].name {
        _ if tables.len() == 1 => "otlp".to_owned(),
        "" => format!("otlp[{index}]"),
        name => format!("otlp[{name:?}]"),
    }
}

#[cfg(test)]
mod tests;
