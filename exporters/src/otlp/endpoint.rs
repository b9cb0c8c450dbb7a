//! Where requests go.

use std::{fmt, ops::Deref};

use reqwest::Url;

use super::{
    config::Protocol,
    environment::{Environment, general},
    settings::{Names, SettingsError, Table},
};

/// The URL of an endpoint; shown without its query, which may hold a key. It has no user name.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

/// An endpoint and where it was said.
pub(super) struct Target {
    name: String,
    value: String,
    /// It is the signal's own, and used as it is.
    exact: bool,
}

/// The flag that overrides every endpoint.
const FLAG: &str = "--otlp-endpoint";

const ENDPOINT: &str =
    "a URL such as http://127.0.0.1:4318 or https://otlp.example.com, without a user name,";

// === impl Target ===

impl Target {
    pub(super) fn find(
        table: &Table<'_>,
        names: &Names<'_>,
        environment: &Environment<'_>,
        flag: Option<&str>,
    ) -> Option<Self> {
        let target = |name: String, value: &str, exact| {
            (!value.is_empty()).then(|| Self { name, value: value.to_owned(), exact })
        };
        // An empty flag says that nothing is to be exported, whatever the environment says.
        match flag {
            Some(flag) => target(FLAG.to_owned(), flag, false),
            None => environment
                .find("ENDPOINT")
                .map(|(name, value)| Self { exact: name != general("ENDPOINT"), name, value })
                .or_else(|| target(format!("{}.endpoint", names.table), &names.own.endpoint, true))
                .or_else(|| target(table.key("", "endpoint"), &table.config.endpoint, false)),
        }
    }

    /// The URL, with the signal's path where it is a base; `insecure` for a gRPC endpoint that doesn't say whether it
    /// is encrypted.
    pub(super) fn url(
        self,
        path: &str,
        protocol: Protocol,
        insecure: bool,
    ) -> Result<Endpoint, SettingsError> {
        let value = self.value.trim();
        let scheme = match protocol == Protocol::Grpc && !value.contains("://") {
            true if insecure => "http://",
            true => "https://",
            false => "",
        };
        let parsed = Url::parse(&format!("{scheme}{value}")).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https") && url.host().is_some() && url.username().is_empty()
        });
        let Some(mut url) = parsed.filter(|url| url.password().is_none()) else {
            // What stands before an @ may be a password, what stands behind a question mark a key.
            let shown = value.split_once('?').map_or(value.to_owned(), |(base, _)| format!("{base}?…"));
            let shown = shown.rsplit_once('@').map(|(_, rest)| format!("…@{rest}")).unwrap_or(shown);
            return Err(SettingsError::new(&self.name, shown, ENDPOINT));
        };
        if protocol == Protocol::HttpProtobuf && !self.exact {
            let path = format!("{}/{}", url.path().trim_end_matches('/'), path);
            url.set_path(&path);
        }
        Ok(Endpoint(url))
    }
}

// === impl Endpoint ===

impl Deref for Endpoint {
    type Target = Url;

    fn deref(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.clone();
        shown.set_query(None);
        shown.set_fragment(None);
        f.write_str(shown.as_str())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}
