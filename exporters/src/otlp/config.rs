//! The `[otlp]` table of the configuration.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as duration;
use serde::{Deserialize, Serialize, Serializer};

use crate::{compression::Compression, filter::FilterConfig};

/// Where and how log records and spans are sent.
///
/// OpenTelemetry's environment variables (`OTEL_EXPORTER_OTLP_…`) override what they name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpConfig {
    /// What this endpoint is called in metrics; needed where there is more than one.
    pub name: String,
    /// URL of the receiver, `http://…` or `https://…`, which decides whether the connection is encrypted. Over
    /// HTTP, `/v1/logs` and `/v1/traces` are appended. Empty: nothing is exported.
    pub endpoint: String,
    /// `grpc` (receivers listen on port 4317 as a rule) or `http/protobuf` (4318).
    pub protocol: Protocol,
    /// Headers that go with each request, such as an API key.
    pub headers: Headers,
    /// A file with more headers, one a line as `name: value` or `name=value`. Empty: none.
    pub headers_file: PathBuf,
    /// How long one request may take, connecting included. A request that takes longer counts as failed and is
    /// tried again: too short, and a slow receiver gets records twice.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// `none`, `gzip` or `zstd`: about a tenth of the bytes, for CPU time.
    pub compression: Compression,
    /// What an encrypted connection trusts, and who the agent says it is.
    pub tls: TlsConfig,
    /// What log records have of their own.
    pub logs: SignalConfig,
    /// What spans have of their own.
    pub spans: SignalConfig,
    /// When the records gathered so far are sent.
    pub batch: BatchConfig,
    /// How much waits while the receiver is slow or away.
    pub queue: QueueConfig,
    /// What happens when a request fails and may succeed later.
    pub retry: RetryConfig,
    /// What is sent; where it is left out, what the general filter lets through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<FilterConfig>,
}

/// How a request travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// gRPC.
    #[serde(rename = "grpc")]
    Grpc,
    /// Protobuf over HTTP/1.1; OpenTelemetry's default.
    #[default]
    #[serde(rename = "http/protobuf")]
    HttpProtobuf,
}

/// `[otlp.tls]`: files in PEM. All are read again when they change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Certificates of the authorities that the receiver is trusted by. Empty: those of the system.
    pub ca_file: PathBuf,
    /// The certificate that the agent shows (mTLS). Empty: none.
    pub cert_file: PathBuf,
    /// Its private key, which nobody but its owner may read.
    pub key_file: PathBuf,
    /// A gRPC endpoint that is written without `http://` or `https://` is spoken to without encryption.
    pub insecure: bool,
}

/// `[otlp.logs]`, `[otlp.spans]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignalConfig {
    /// Whether the signal is sent.
    pub enabled: bool,
    /// URL of the signal's own receiver, used as it is. Empty: that of the table.
    pub endpoint: String,
}

/// Header names and values. Values are secrets as a rule: they are never shown, and never written.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Headers(pub BTreeMap<String, String>);

/// What stands for a secret.
pub const MASK: &str = "<masked>";

/// `[otlp.batch]`: a batch is sent when the first of these limits is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchConfig {
    /// Records in one request. More cost the receiver and the network less per record.
    pub max_records: usize,
    /// Bytes in one request, before compression; exceeded by less than one record. Many receivers refuse more than
    /// 4 MiB.
    pub max_bytes: usize,
    /// How long a record waits for others. Longer: fewer requests on a quiet node, later arrival.
    #[serde(with = "duration")]
    pub max_age: Duration,
}

/// `[otlp.queue]`: what finds a queue full is lost, and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueConfig {
    /// Events that wait to be encoded, per signal.
    pub max_events: usize,
    /// Bytes of encoded batches that wait for the receiver or are on their way to it, per signal. This is how much
    /// of an outage is bridged, and how much memory that takes.
    pub max_bytes: usize,
}

/// `[otlp.retry]`: the wait doubles from `initial` to `max`, each shortened at random by up to a half. A delay that
/// the receiver asks for is kept instead, up to five minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryConfig {
    /// The first wait.
    #[serde(with = "duration")]
    pub initial: Duration,
    /// The longest wait: how soon at the latest a receiver that is back is noticed.
    #[serde(with = "duration")]
    pub max: Duration,
    /// How long one batch is tried before it is given up, lost and counted. `0s`: as long as the agent runs; what
    /// comes after it waits in the queue.
    #[serde(with = "duration")]
    pub max_elapsed: Duration,
}

// === impl OtlpConfig ===

impl Default for OtlpConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            endpoint: String::new(),
            protocol: Protocol::default(),
            headers: Headers::default(),
            headers_file: PathBuf::new(),
            timeout: Duration::from_secs(10),
            compression: Compression::default(),
            tls: TlsConfig::default(),
            logs: SignalConfig::default(),
            spans: SignalConfig::default(),
            batch: BatchConfig::default(),
            queue: QueueConfig::default(),
            retry: RetryConfig::default(),
            filter: None,
        }
    }
}

impl OtlpConfig {
    /// The first key whose value is of the right type and yet of no use, that value, and what is allowed.
    pub(super) fn unusable(&self) -> Option<(&'static str, String, &'static str)> {
        let Self { timeout, batch, queue, retry, .. } = self;
        let number = |key, value: usize| (value == 0).then(|| (key, value.to_string(), "a number above 0"));
        let wait = |key, value: Duration| {
            (value.is_zero()).then(|| (key, format!("{value:?}"), "a duration above 0s"))
        };
        wait("timeout", *timeout)
            .or_else(|| number("batch.max_records", batch.max_records))
            .or_else(|| number("batch.max_bytes", batch.max_bytes))
            .or_else(|| number("queue.max_events", queue.max_events))
            .or_else(|| number("queue.max_bytes", queue.max_bytes))
            .or_else(|| wait("retry.initial", retry.initial))
            .or_else(|| {
                let short = retry.max < retry.initial;
                short.then(|| ("retry.max", format!("{:?}", retry.max), "a duration not below retry.initial"))
            })
    }
}

// === impl SignalConfig, BatchConfig, QueueConfig, RetryConfig ===

impl Default for SignalConfig {
    fn default() -> Self {
        Self { enabled: true, endpoint: String::new() }
    }
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self { max_records: 2_048, max_bytes: 1 << 20, max_age: Duration::from_secs(1) }
    }
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self { max_events: 16_384, max_bytes: 16 << 20 }
    }
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self { initial: Duration::from_secs(1), max: Duration::from_secs(30), max_elapsed: Duration::ZERO }
    }
}

// === impl Headers ===

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.keys().map(|name| (name, MASK)))
    }
}
