//! How grave an event is.

/// The severities of OpenTelemetry's logs data model, each the first of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are OpenTelemetry's")]
pub enum Severity {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

// === impl Severity ===

impl Severity {
    /// All of them, the least grave first.
    pub const ALL: [Self; 6] = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Fatal];

    /// OTLP's `SeverityNumber`.
    pub fn number(self) -> u8 {
        1 + 4 * self as u8
    }

    /// Its name, in capitals.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }
}
