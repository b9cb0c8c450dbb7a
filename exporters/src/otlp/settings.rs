//! What a signal's exporter is told: the configuration, with OpenTelemetry's environment variables applied.
//!
//! Source: the specification's "OpenTelemetry Protocol Exporter", <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.

use std::{path::PathBuf, time::Duration};

use super::{
    Signal,
    client::{Client, ClientError},
    config::{BatchConfig, OtlpConfig, Protocol, QueueConfig, RetryConfig, SignalConfig},
    endpoint::{Endpoint, Target},
    environment::Environment,
    headers::{BadHeader, HeaderSources, set},
    tls::{ClientFiles, TlsFiles},
};
use crate::{compression::Compression, filter::Filter};

/// Where and how one signal is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Over HTTP the URL that requests are posted to; over gRPC its scheme, host and port count.
    pub endpoint: Endpoint,
    /// How a request travels.
    pub protocol: Protocol,
    /// Headers of each request.
    pub headers: HeaderSources,
    /// What an encrypted connection is made with.
    pub tls: TlsFiles,
    /// How long one request may take.
    pub timeout: Duration,
    /// How a request's body is compressed.
    pub compression: Compression,
    /// When a batch is sent.
    pub batch: BatchConfig,
    /// How much waits.
    pub queue: QueueConfig,
    /// How a request is tried again.
    pub retry: RetryConfig,
    /// What is sent, and what of it: all where nobody changes that.
    pub filter: Filter,
}

/// A setting that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} = \"{value}\" can't be used: {allowed} is allowed")]
pub struct SettingsError {
    /// The environment variable, flag or key of the configuration.
    pub name: String,
    /// What it was set to; `…` in place of what may be secret.
    pub value: String,
    /// What it may be set to.
    pub allowed: &'static str,
}

/// A table of the configuration and what it is called in messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a> {
    pub(super) config: &'a OtlpConfig,
    pub(super) path: &'a str,
}

/// What a signal is called where settings are looked up, and what it has of its own.
#[derive(Debug)]
pub(super) struct Names<'a> {
    /// As in `OTEL_EXPORTER_OTLP_…_ENDPOINT`.
    pub(super) environment: &'static str,
    /// Its own table.
    pub(super) table: String,
    /// Appended to the URL of an OTLP/HTTP endpoint.
    pub(super) path: &'static str,
    pub(super) own: &'a SignalConfig,
}

const PROTOCOL: &str = "grpc or http/protobuf";
const COMPRESSION: &str = "none, gzip or zstd";
const TIMEOUT: &str = "a number of milliseconds above 0";
const INSECURE: &str = "true or false";
const CERTIFICATE: &str = "the file of the certificate that the key belongs to";
const KEY: &str = "the file of the certificate's private key";

// === impl Settings ===

impl Settings {
    /// The settings of a signal; none where nothing says where to send it.
    ///
    /// Each setting is taken from the first that has it: `flag` (the value of `--otlp-endpoint`), the signal's
    /// environment variable, the general environment variable, the signal's own table, the table.
    ///
    /// # Errors
    /// Names the first setting that can't be used, its value, and what is allowed. Environment variables are only
    /// looked at where there is an endpoint.
    pub(super) fn new(
        table: &Table<'_>,
        names: &Names<'_>,
        environment: &Environment<'_>,
        flag: Option<&str>,
    ) -> Result<Option<Self>, SettingsError> {
        let Table { config, .. } = *table;
        if let Some((key, value, allowed)) = config.unusable() {
            return Err(SettingsError::new(&table.key("", key), value, allowed));
        }
        if !names.own.enabled || environment.is_off() {
            return Ok(None);
        }
        let Some(target) = Target::find(table, names, environment, flag) else { return Ok(None) };
        let protocol = environment.choose("PROTOCOL", config.protocol, PROTOCOL, |text| match text {
            "grpc" => Some(Protocol::Grpc),
            "http/protobuf" => Some(Protocol::HttpProtobuf),
            _ => None,
        })?;
        // Other words than these are false to OpenTelemetry: that would be a bad guess here.
        let insecure = environment.choose("INSECURE", config.tls.insecure, INSECURE, |text| {
            text.to_ascii_lowercase().parse().ok()
        })?;
        Ok(Some(Self {
            endpoint: target.url(names.path, protocol, insecure)?,
            protocol,
            headers: headers(table, environment)?,
            tls: tls(table, environment)?,
            timeout: environment.choose("TIMEOUT", config.timeout, TIMEOUT, |text| {
                text.parse().ok().filter(|number| *number > 0).map(Duration::from_millis)
            })?,
            compression: environment.choose(
                "COMPRESSION",
                config.compression,
                COMPRESSION,
                |text| match text {
                    "none" => Some(Compression::None),
                    "gzip" => Some(Compression::Gzip),
                    "zstd" => Some(Compression::Zstd),
                    _ => None,
                },
            )?,
            batch: config.batch,
            queue: config.queue,
            retry: config.retry,
            filter: Filter::default(),
        }))
    }

    /// Reads the files that the settings name and prepares a connection, and makes none.
    ///
    /// # Errors
    /// A file can't be read or holds something else, or is a secret that others can read.
    pub fn check(&self, signal: Signal) -> Result<(), ClientError> {
        Client::new(signal, self).map(drop)
    }
}

/// The headers of the environment, or else the configured ones.
fn headers(table: &Table<'_>, environment: &Environment<'_>) -> Result<HeaderSources, SettingsError> {
    let (variable, headers) = match environment.find("HEADERS") {
        Some((variable, list)) => (variable, HeaderSources::listed(&list)),
        None => {
            let OtlpConfig { headers, headers_file, .. } = table.config;
            let configured = HeaderSources::configured(headers, headers_file, environment.get);
            (table.key("", "headers"), configured)
        }
    };
    headers.map_err(|BadHeader { name, allowed }| {
        let shown = if name.is_empty() { "…".to_owned() } else { format!("{name}=…") };
        SettingsError::new(&variable, shown, allowed)
    })
}

fn tls(table: &Table<'_>, environment: &Environment<'_>) -> Result<TlsFiles, SettingsError> {
    let config = &table.config.tls;
    let file = |setting, configured: &PathBuf| {
        environment.find(setting).map_or_else(|| set(configured), |(_, path)| Some(path.into()))
    };
    let missing = |key, allowed| Err(SettingsError::new(&table.key("tls", key), String::new(), allowed));
    let client = match (file("CLIENT_CERTIFICATE", &config.cert_file), file("CLIENT_KEY", &config.key_file)) {
        (Some(certificate), Some(key)) => Some(ClientFiles { certificate, key }),
        (None, None) => None,
        (Some(_), None) => return missing("key_file", KEY),
        (None, Some(_)) => return missing("cert_file", CERTIFICATE),
    };
    Ok(TlsFiles { ca: file("CERTIFICATE", &config.ca_file), client })
}

// === impl Table ===

impl Table<'_> {
    /// What a signal is called.
    pub(super) fn names(&self, signal: Signal) -> Names<'_> {
        let (below, own) = match signal {
            Signal::Logs => ("logs", &self.config.logs),
            Signal::Spans => ("spans", &self.config.spans),
        };
        let (environment, path) = (signal.environment(), signal.http_path());
        Names { environment, table: format!("{}.{below}", self.path), path, own }
    }

    /// A key of the table, or of one below it, as messages name it.
    pub(super) fn key(&self, below: &str, key: &str) -> String {
        let dot = if below.is_empty() { "" } else { "." };
        format!("{}{dot}{below}.{key}", self.path)
    }
}

// === impl SettingsError ===

impl SettingsError {
    pub(super) fn new(name: &str, value: String, allowed: &'static str) -> Self {
        Self { name: name.to_owned(), value, allowed }
    }
}

#[cfg(test)]
mod tests;
