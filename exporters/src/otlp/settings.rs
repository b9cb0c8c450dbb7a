//! What a signal's exporter is told: the configuration, with OpenTelemetry's environment variables applied.
//!
//! Source: the specification's "OpenTelemetry Protocol Exporter", <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use reqwest::{
    Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};

use super::{
    Signal,
    config::{BatchConfig, Compression, Headers, OtlpConfig, Protocol, QueueConfig, RetryConfig},
};

use crate::filter::Filter;

/// Where and how one signal is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Over HTTP the URL that requests are posted to; over gRPC its scheme, host and port count.
    pub endpoint: Url,
    /// How a request travels.
    pub protocol: Protocol,
    /// Headers of each request, their values marked as secret.
    pub headers: HeaderMap,
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

/// The flag that overrides every endpoint.
const FLAG: &str = "--otlp-endpoint";

const ENDPOINT: &str =
    "a URL such as http://127.0.0.1:4318 or https://otlp.example.com, without a user name,";
const PROTOCOL: &str = "grpc or http/protobuf";
const COMPRESSION: &str = "none or gzip";
const TIMEOUT: &str = "a number of milliseconds above 0";
const HEADERS: &str = "a list such as name=value,other=value, values percent-encoded,";

/// Environment variables of one signal.
struct Environment<'a> {
    get: &'a dyn Fn(&str) -> Option<String>,
    signal: Signal,
}

// === impl Settings ===

impl Settings {
    /// The settings of a signal; none where nothing says where to send it.
    ///
    /// Each setting is taken from the first that has it: `flag` (the value of `--otlp-endpoint`), the signal's
    /// environment variable, the general environment variable, the configuration. `environment` looks a variable up;
    /// an empty one counts as unset.
    ///
    /// # Errors
    /// Names the first setting that can't be used, its value, and what is allowed. Environment variables are only
    /// looked at where there is an endpoint.
    pub fn new(
        signal: Signal,
        config: &OtlpConfig,
        environment: &dyn Fn(&str) -> Option<String>,
        flag: Option<&str>,
    ) -> Result<Option<Self>, SettingsError> {
        if let Some((key, value, allowed)) = config.unusable() {
            return Err(SettingsError::new(key, value, allowed));
        }
        let environment = Environment { get: environment, signal };
        let Some(target) = Target::find(config, &environment, flag) else { return Ok(None) };
        let protocol = environment.choose("PROTOCOL", config.protocol, PROTOCOL, |text| match text {
            "grpc" => Some(Protocol::Grpc),
            "http/protobuf" => Some(Protocol::HttpProtobuf),
            _ => None,
        })?;
        Ok(Some(Self {
            endpoint: target.url(signal, protocol)?,
            protocol,
            headers: environment.headers(&config.headers)?,
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
                    _ => None,
                },
            )?,
            batch: config.batch,
            queue: config.queue,
            retry: config.retry,
            filter: Filter::default(),
        }))
    }
}

/// An endpoint and where it was said.
struct Target {
    name: String,
    value: String,
    /// It is the signal's own, and used as it is.
    exact: bool,
}

// === impl Target ===

impl Target {
    fn find(config: &OtlpConfig, environment: &Environment<'_>, flag: Option<&str>) -> Option<Self> {
        let base = |name: &str, value: &str| {
            (!value.is_empty()).then(|| Self { name: name.to_owned(), value: value.to_owned(), exact: false })
        };
        // An empty flag says that nothing is to be exported, whatever the environment says.
        match flag {
            Some(flag) => base(FLAG, flag),
            None => environment
                .find("ENDPOINT")
                .map(|(name, value)| Self { exact: name != general("ENDPOINT"), name, value })
                .or_else(|| base("otlp.endpoint", &config.endpoint)),
        }
    }

    fn url(self, signal: Signal, protocol: Protocol) -> Result<Url, SettingsError> {
        let parsed = Url::parse(self.value.trim()).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https") && url.host().is_some() && url.username().is_empty()
        });
        let Some(mut url) = parsed.filter(|url| url.password().is_none()) else {
            // What stands before an @ may be a password.
            let shown = self.value.rsplit_once('@').map(|(_, rest)| format!("…@{rest}"));
            return Err(SettingsError::new(&self.name, shown.unwrap_or(self.value), ENDPOINT));
        };
        if protocol == Protocol::HttpProtobuf && !self.exact {
            let path = format!("{}/{}", url.path().trim_end_matches('/'), signal.http_path());
            url.set_path(&path);
        }
        Ok(url)
    }
}

// === impl Environment ===

fn general(setting: &str) -> String {
    format!("OTEL_EXPORTER_OTLP_{setting}")
}

impl Environment<'_> {
    /// The variable that holds a setting, and its value.
    fn find(&self, setting: &str) -> Option<(String, String)> {
        let own = format!("OTEL_EXPORTER_OTLP_{}_{setting}", self.signal.environment_name());
        [own, general(setting)].into_iter().find_map(|name| {
            let value = (self.get)(&name)?.trim().to_owned();
            (!value.is_empty()).then_some((name, value))
        })
    }

    /// A setting from the environment, or else `configured`.
    fn choose<T>(
        &self,
        setting: &str,
        configured: T,
        allowed: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, SettingsError> {
        match self.find(setting) {
            Some((name, value)) => parse(&value).ok_or_else(|| SettingsError::new(&name, value, allowed)),
            None => Ok(configured),
        }
    }

    /// The headers of the environment, as W3C Baggage writes its members; or else the configured ones.
    fn headers(&self, configured: &Headers) -> Result<HeaderMap, SettingsError> {
        let mut headers = HeaderMap::new();
        let Some((variable, list)) = self.find("HEADERS") else {
            for (name, value) in &configured.0 {
                insert(&mut headers, name, value)
                    .ok_or_else(|| bad_header("otlp.headers", name, "a header's name and value"))?;
            }
            return Ok(headers);
        };
        for member in list.split(',').map(str::trim).filter(|member| !member.is_empty()) {
            let (name, value) = member.split_once('=').ok_or_else(|| bad_header(&variable, "", HEADERS))?;
            let value = percent_decode_str(value.trim()).decode_utf8().ok();
            value
                .and_then(|value| insert(&mut headers, name.trim(), &value))
                .ok_or_else(|| bad_header(&variable, name.trim(), HEADERS))?;
        }
        Ok(headers)
    }
}

fn insert(headers: &mut HeaderMap, name: &str, value: &str) -> Option<()> {
    let name = HeaderName::try_from(name).ok()?;
    let mut value = HeaderValue::try_from(value).ok()?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Some(())
}

/// Names the header and keeps its value to itself.
fn bad_header(variable: &str, name: &str, allowed: &'static str) -> SettingsError {
    let shown = if name.is_empty() { "…".to_owned() } else { format!("{name}=…") };
    SettingsError::new(variable, shown, allowed)
}

// === impl SettingsError ===

impl SettingsError {
    fn new(name: &str, value: String, allowed: &'static str) -> Self {
        Self { name: name.to_owned(), value, allowed }
    }
}

#[cfg(test)]
mod tests;
