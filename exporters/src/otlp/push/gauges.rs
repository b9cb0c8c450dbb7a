//! Gauges by OpenTelemetry's SDK and its OTLP exporter. They have no past, so its instruments are made for each push:
//! what is gone from the registry is gone, and each instrument has room for just the series that there are.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use opentelemetry::{KeyValue, metrics::MeterProvider as _};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{MetricExporter, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    metrics::{
        Instrument, InstrumentKind, ManualReader, Pipeline, SdkMeterProvider, Stream, Temporality,
        data::ResourceMetrics, exporter::PushMetricExporter as _, reader::MetricReader,
    },
};
use prometheus::proto::{LabelPair, MetricFamily, MetricType};
use reqwest::header::HeaderMap;
use tonic::metadata::MetadataMap;

use super::{SCOPE, unit};
use crate::otlp::{
    client::{MAX_REPLY, chain},
    config::Protocol,
    files::Contents,
    grpc, http,
    settings::Settings,
};

/// The exporter, and what it says it exports for.
#[derive(Debug)]
pub(super) struct Gauges {
    resource: Resource,
    exporter: MetricExporter,
    failure: Failure,
    timeout: Duration,
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

// === impl Gauges ===

impl Gauges {
    /// Prepares the connection, with what its files hold.
    pub(super) fn new(
        resource: &[(String, String)],
        settings: &Settings,
        contents: &Contents,
    ) -> Result<Self, String> {
        let attributes = resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
        let failure = Failure::default();
        Ok(Self {
            resource: Resource::builder_empty().with_attributes(attributes).build(),
            exporter: exporter(settings, contents, &failure)?,
            failure,
            timeout: settings.timeout,
        })
    }

    /// Sends the gauges among `families`.
    pub(super) async fn send(&self, families: &[MetricFamily]) -> Result<(), String> {
        self.failure.take();
        let metrics = self.collect(families)?;
        match tokio::time::timeout(self.timeout, self.exporter.export(&metrics)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.failure.take().unwrap_or_else(|| chain(&error))),
            Err(_) => Err(format!("no reply within {:?}", self.timeout)),
        }
    }

    fn collect(&self, families: &[MetricFamily]) -> Result<ResourceMetrics, String> {
        let gauges = || families.iter().filter(|family| family.get_field_type() == MetricType::GAUGE);
        let sizes: HashMap<String, usize> =
            gauges().map(|family| (family.name().to_owned(), family.get_metric().len())).collect();
        let reader = Reader(Arc::new(ManualReader::builder().build()));
        let provider = SdkMeterProvider::builder()
            .with_resource(self.resource.clone())
            .with_reader(reader.clone())
            .with_view(move |instrument: &Instrument| {
                let size = sizes.get(instrument.name())?;
                Stream::builder().with_cardinality_limit((*size).max(1)).build().ok()
            })
            .build();
        let meter = provider.meter(SCOPE);
        for family in gauges() {
            let name = family.name();
            let gauge = meter.f64_gauge(name.to_owned()).with_description(family.help().to_owned());
            let gauge = gauge.with_unit(unit(name)).build();
            for metric in family.get_metric() {
                gauge.record(metric.get_gauge().get_value(), &attributes(metric.get_label()));
            }
        }
        let mut metrics = ResourceMetrics::default();
        reader.collect(&mut metrics).map_err(|error| error.to_string())?;
        Ok(metrics)
    }
}

fn attributes(labels: &[LabelPair]) -> Vec<KeyValue> {
    labels.iter().map(|label| KeyValue::new(label.name().to_owned(), label.value().to_owned())).collect()
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

// === impl Reader ===

impl MetricReader for Reader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
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

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
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
