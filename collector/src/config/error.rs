//! What is wrong with a configuration.

use std::path::PathBuf;

use trigon_exporters::{file::FileConfigError, filter::FilterError, otlp::SettingsError};

use crate::redact::RedactionError;

/// A configuration that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file isn't what is expected: the message names line, column, key and what is allowed.
    #[error(
        "the configuration {} can't be used: {}{}",
        path.display(),
        source.to_string().trim_end(),
        meant.as_ref().map(|word| format!("; did you mean `{word}`?")).unwrap_or_default()
    )]
    Parse {
        /// Which.
        path: PathBuf,
        /// What and where.
        source: Box<toml::de::Error>,
        /// The word that was meant, likely.
        meant: Option<String>,
    },
    /// A value is of the right type and yet of no use.
    #[error("{key} = {value} can't be used: {allowed}")]
    Value {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A setting of a file can't be used.
    #[error(transparent)]
    File(#[from] FileConfigError),
    /// An OTLP setting can't be used.
    #[error(transparent)]
    Otlp(#[from] SettingsError),
    /// A filter can't be used.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A redaction filter can't be used.
    #[error(transparent)]
    Redaction(#[from] RedactionError),
}
