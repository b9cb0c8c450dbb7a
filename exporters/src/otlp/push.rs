//! The agent's own metrics, pushed by OTLP: for those who have no Prometheus.
//!
//! A push is two requests of one moment: gauges by OpenTelemetry's SDK and exporter, and what counts from a start on,
//! which the SDK can't be told, as a body of our own.

use std::time::{Duration, SystemTime};

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as duration;
use prometheus::proto::MetricFamily;
use prost::Message as _;
use serde::{Deserialize, Serialize};
use tokio::{task::JoinHandle, time};
use tokio_util::sync::CancellationToken;

use super::{
    client::{Client, ClientError, Outcome, read},
    config::{OtlpConfig, SignalConfig},
    environment::Environment,
    files::Contents,
    settings::{Names, Settings, SettingsError, Table},
};
use crate::{compression::Compression, health::Health, metrics::Registry, node::Node};

mod counts;
mod gauges;

use counts::Counts;
use gauges::Gauges;

/// `[self_metrics]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelfMetricsConfig {
    /// Whether the agent's metrics are pushed too; they are served on `metrics.addr` either way.
    pub enabled: bool,
    /// How often.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// URL of a receiver for them alone, used as it is. Empty: that of the first `[otlp]`.
    pub endpoint: String,
}

/// Where and how often the agent's metrics are pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// Where and how: what the first `[otlp]` says. Batches, queue, retry and compression are not for metrics.
    pub settings: Settings,
    /// How often.
    pub interval: Duration,
}

/// A push that runs.
struct Pusher {
    settings: Settings,
    resource: Vec<(String, String)>,
    registry: Registry,
    connections: Connections,
    counts: Counts,
    /// What the files of the settings held when the connections were prepared.
    contents: Contents,
    health: Health,
}

/// A connection for each of a push's requests.
struct Connections {
    counts: Client,
    gauges: Gauges,
}

/// Name in the log and in what the agent tells of its ways out.
pub const EXPORTER: &str = "otlp_self_metrics";

/// The method that takes metrics over gRPC.
const GRPC_METHOD: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// What the metrics are made by: their instrumentation scope.
const SCOPE: &str = "trigon";

const INTERVAL: &str = "a duration above 0s";
const ENDPOINT: &str = "a URL, here or as otlp.endpoint,";

// === impl SelfMetricsConfig ===

impl Default for SelfMetricsConfig {
    fn default() -> Self {
        Self { enabled: false, interval: Duration::from_secs(60), endpoint: String::new() }
    }
}

// === impl Push ===

impl Push {
    /// Where metrics are pushed; none where they aren't.
    ///
    /// # Errors
    /// As [`super::Destination::all`], and where they are to be pushed and nothing says where.
    pub fn new(
        config: &SelfMetricsConfig,
        tables: &[OtlpConfig],
        environment: &dyn Fn(&str) -> Option<String>,
        flag: Option<&str>,
    ) -> Result<Option<Self>, SettingsError> {
        let SelfMetricsConfig { enabled, interval, ref endpoint } = *config;
        let default = OtlpConfig::default();
        let table = Table { config: tables.first().unwrap_or(&default), path: "otlp" };
        let own = SignalConfig { enabled, endpoint: endpoint.clone() };
        let names =
            Names { environment: "METRICS", table: "self_metrics".into(), path: "v1/metrics", own: &own };
        let environment = Environment { get: environment, signal: names.environment, applies: true };
        if interval.is_zero() {
            let value = format!("{interval:?}");
            return Err(SettingsError::new("self_metrics.interval", value, INTERVAL));
        }
        let settings = Settings::new(&table, &names, &environment, flag)?;
        if settings.is_none() && enabled && !environment.is_off() && flag != Some("") {
            return Err(SettingsError::new("self_metrics.endpoint", String::new(), ENDPOINT));
        }
        Ok(settings.map(|settings| Self { settings, interval }))
    }

    /// Starts to push what `registry` has, on the current tokio runtime, until `stop` is cancelled: then a last time.
    ///
    /// # Errors
    /// The connection can't be prepared.
    pub fn start(
        &self,
        registry: Registry,
        node: &Node,
        health: Health,
        stop: CancellationToken,
    ) -> Result<JoinHandle<()>, ClientError> {
        let settings = Settings { compression: Compression::None, ..self.settings.clone() };
        let failed = |reason| ClientError { endpoint: settings.endpoint.to_string(), reason };
        let resource = resource(node);
        let contents = read(&settings).map_err(failed)?;
        let connections = Connections::new(&resource, &settings, &contents).map_err(failed)?;
        let counts = Counts::new(&resource, SystemTime::now());
        let pusher = Pusher { settings, resource, registry, connections, counts, contents, health };
        Ok(tokio::spawn(pusher.run(self.interval, stop)))
    }
}

fn resource(node: &Node) -> Vec<(String, String)> {
    let id = node.host_id.as_ref().unwrap_or(&node.name);
    let named = [
        ("service.name", Some("trigon")),
        ("service.version", Some(env!("CARGO_PKG_VERSION"))),
        ("service.instance.id", Some(id)),
        ("host.name", Some(&node.name)),
        ("host.id", node.host_id.as_deref()),
        ("k8s.node.name", Some(&*node.name).filter(|_| node.kubernetes)),
    ];
    let named = named.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())));
    let declared = node.declared.of_all().map(|(key, value)| (key.to_string(), value.to_string()));
    named.chain(declared).collect()
}

/// The unit of a family's numbers in UCUM, by its name; empty where it has none. The rules by which names become those of
/// Prometheus don't add a unit that the name has.
fn unit(family: &str) -> &'static str {
    let name = family.strip_suffix("_total").unwrap_or(family);
    match name.rsplit('_').next() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        Some("ratio") => "1",
        _ => "",
    }
}

// === impl Connections ===

impl Connections {
    fn new(resource: &[(String, String)], settings: &Settings, contents: &Contents) -> Result<Self, String> {
        Ok(Self {
            counts: Client::with(GRPC_METHOD, settings, contents)?,
            gauges: Gauges::new(resource, settings, contents)?,
        })
    }
}

// === impl Pusher ===

impl Pusher {
    async fn run(mut self, interval: Duration, stop: CancellationToken) {
        let mut ticks = time::interval_at(time::Instant::now() + interval, interval);
        ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            let stopping = tokio::select! {
                _ = ticks.tick() => false,
                () = stop.cancelled() => true,
            };
            match self.push().await {
                Ok(()) if self.health.succeeded() => {
                    tracing::info!(exporter = EXPORTER, "OTLP export works again")
                }
                Ok(()) => {}
                Err(why) if self.health.failed(&why) => {
                    tracing::warn!(
                        exporter = EXPORTER,
                        why,
                        "OTLP export fails: later numbers tell what these would have"
                    );
                }
                Err(_) => {}
            }
            if stopping {
                return;
            }
        }
    }

    /// Pushes what is counted now, and tells too of files that can't be used: then it goes on with what they held.
    async fn push(&mut self) -> Result<(), String> {
        let refreshed = self.refresh();
        // Collectors read /proc and the kernel's maps.
        let registry = self.registry.clone();
        let families = tokio::task::spawn_blocking(move || registry.gather()).await;
        let families = families.map_err(|error| error.to_string())?;
        // One that is refused says nothing of the other.
        let counts = self.push_counts(&families).await;
        let gauges = self.connections.gauges.send(&families).await;
        counts.and(gauges).and(refreshed)
    }

    async fn push_counts(&mut self, families: &[MetricFamily]) -> Result<(), String> {
        let Some(request) = self.counts.request(families, SystemTime::now()) else { return Ok(()) };
        match self.connections.counts.send(&request.encode_to_vec().into()).await.outcome {
            Outcome::Accepted { rejected: 0, .. } => Ok(()),
            Outcome::Accepted { rejected, message } => {
                Err(format!("the endpoint rejected {rejected} data points: {message}"))
            }
            Outcome::Retry { why, .. } | Outcome::Permanent { reason: why } => Err(why),
        }
    }

    /// Prepares other connections where a file has changed.
    fn refresh(&mut self) -> Result<(), String> {
        let contents = read(&self.settings)?;
        if contents != self.contents {
            self.connections = Connections::new(&self.resource, &self.settings, &contents)?;
            self.contents = contents;
        }
        Ok(())
    }
}
