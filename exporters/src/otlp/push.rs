//! The agent's own metrics, pushed by OTLP: for those who have no Prometheus.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use jiff::fmt::serde::unsigned_duration::friendly::compact::required as duration;
use opentelemetry::{KeyValue, metrics::MeterProvider as _};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{MetricExporter, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    metrics::{
        Instrument, ManualReader, Pipeline, SdkMeterProvider, Stream, Temporality, data::ResourceMetrics,
        exporter::PushMetricExporter as _, reader::MetricReader,
    },
};
use reqwest::header::HeaderMap;
use serde::{Deserialize, Serialize};
use tokio::{task::JoinHandle, time};
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;

use super::{
    client::{ClientError, MAX_REPLY, chain, read},
    config::{OtlpConfig, Protocol, SignalConfig},
    environment::Environment,
    files::Contents,
    grpc, http,
    settings::{Names, Settings, SettingsError, Table},
};
use crate::{
    health::Health,
    metrics::{Registry, instruments::Instruments},
    node::Node,
};

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
    registry: Registry,
    instruments: Instruments,
    reader: Reader,
    exporter: MetricExporter,
    /// What the files of the settings held when the exporter was made.
    contents: Contents,
    failure: Failure,
    health: Health,
    _provider: SdkMeterProvider,
}

/// What collects from the instruments when it is told to.
#[derive(Clone, Debug)]
struct Reader(Arc<ManualReader>);

/// Our connection for the exporter, which adds the headers: their values are secrets.
#[derive(Debug)]
struct Connection {
    client: reqwest::Client,
    headers: HeaderMap,
    failure: Failure,
}

/// Why there was no connection: the exporter would say no more than that there was none.
#[derive(Clone, Debug, Default)]
struct Failure(Arc<Mutex<Option<String>>>);

/// Name in the log and in what the agent tells of its ways out.
pub const EXPORTER: &str = "otlp_self_metrics";

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
    /// `max_series` is how many series a family of event counters may have.
    ///
    /// # Errors
    /// The connection can't be prepared.
    pub fn start(
        &self,
        registry: Registry,
        max_series: usize,
        node: &Node,
        health: Health,
        stop: CancellationToken,
    ) -> Result<JoinHandle<()>, ClientError> {
        let settings = self.settings.clone();
        let failed = |reason| ClientError { endpoint: settings.endpoint.to_string(), reason };
        let contents = read(&settings).map_err(failed)?;
        let failure = Failure::default();
        let exporter = exporter(&settings, &contents, &failure).map_err(failed)?;
        let reader =
            Reader(Arc::new(ManualReader::builder().with_temporality(Temporality::Cumulative).build()));
        let provider = SdkMeterProvider::builder()
            .with_resource(resource(node))
            .with_reader(reader.clone())
            .with_view(move |instrument: &Instrument| {
                let many = instrument.name().ends_with("events_total");
                many.then(|| Stream::builder().with_cardinality_limit(max_series.max(1)).build().ok())?
            })
            .build();
        let instruments = Instruments::new(provider.meter("trigon"));
        let pusher = Pusher {
            settings,
            registry,
            instruments,
            reader,
            exporter,
            contents,
            failure,
            health,
            _provider: provider,
        };
        Ok(tokio::spawn(pusher.run(self.interval, stop)))
    }
}

fn resource(node: &Node) -> Resource {
    let mut attributes = vec![
        KeyValue::new("service.name", "trigon"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", node.host_id.as_ref().unwrap_or(&node.name).clone()),
        KeyValue::new("host.name", node.name.clone()),
    ];
    attributes.extend(node.host_id.clone().map(|id| KeyValue::new("host.id", id)));
    attributes.extend(node.kubernetes.then(|| KeyValue::new("k8s.node.name", node.name.clone())));
    attributes.extend(node.declared.of_all().map(|(key, value)| KeyValue::new(key.clone(), value.clone())));
    Resource::builder_empty().with_attributes(attributes).build()
}

fn exporter(settings: &Settings, contents: &Contents, failure: &Failure) -> Result<MetricExporter, String> {
    let headers = settings.headers.resolve(contents).map_err(|error| error.to_string())?;
    let builder = MetricExporter::builder().with_temporality(Temporality::Cumulative);
    let exporter = match settings.protocol {
        Protocol::Grpc => builder
            .with_tonic()
            .with_channel(grpc::channel(settings, contents)?)
            .with_metadata(MetadataMap::from_headers(headers))
            .with_timeout(settings.timeout)
            .build(),
        Protocol::HttpProtobuf => builder
            .with_http()
            .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
            .with_endpoint(settings.endpoint.as_str())
            .with_http_client(Connection {
                client: http::client(settings, contents)?,
                headers,
                failure: failure.clone(),
            })
            .with_timeout(settings.timeout)
            .build(),
    };
    exporter.map_err(|error| chain(&error))
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
        self.failure.take();
        self.instruments.set(&families.map_err(|error| error.to_string())?);
        let mut metrics = ResourceMetrics::default();
        self.reader.collect(&mut metrics).map_err(|error| error.to_string())?;
        match time::timeout(self.settings.timeout, self.exporter.export(&metrics)).await {
            Ok(Ok(())) => refreshed,
            Ok(Err(error)) => Err(self.failure.take().unwrap_or_else(|| chain(&error))),
            Err(_) => Err(format!("no reply within {:?}", self.settings.timeout)),
        }
    }

    /// Makes another exporter where a file has changed.
    fn refresh(&mut self) -> Result<(), String> {
        let contents = read(&self.settings)?;
        if contents != self.contents {
            self.exporter = exporter(&self.settings, &contents, &self.failure)?;
            self.contents = contents;
        }
        Ok(())
    }
}

// === impl Reader ===

impl MetricReader for Reader {
    fn register_pipeline(&self, pipeline: std::sync::Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: opentelemetry_sdk::metrics::InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}

// === impl Failure ===

impl Failure {
    fn set(&self, why: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

// === impl Connection ===

#[tonic::async_trait]
impl HttpClient for Connection {
    async fn send_bytes(
        &self,
        request: ::http::Request<Bytes>,
    ) -> Result<::http::Response<Bytes>, HttpError> {
        let mut request = reqwest::Request::try_from(request)?;
        request.headers_mut().extend(self.headers.clone());
        let mut response = self.client.execute(request).await.map_err(|error| {
            let why = chain(&error.without_url());
            self.failure.set(why.clone());
            why
        })?;
        let mut reply = ::http::Response::builder().status(response.status());
        if let Some(headers) = reply.headers_mut() {
            headers.clone_from(response.headers());
        }
        let body = http::body(&mut response).await.freeze();
        debug_assert!(body.len() <= MAX_REPLY);
        Ok(reply.body(body)?)
    }
}
