//! OpenTelemetry's environment variables of one signal.

use super::settings::SettingsError;

/// Looks variables up; an empty one counts as unset.
#[derive(Clone, Copy)]
pub(super) struct Environment<'a> {
    pub(super) get: &'a dyn Fn(&str) -> Option<String>,
    /// The part of the variables' names: `LOGS`, `TRACES`, `METRICS`.
    pub(super) signal: &'static str,
    /// The variables are for this table of the configuration: they are for one.
    pub(super) applies: bool,
}

/// The variable of a setting for all signals.
pub(super) fn general(setting: &str) -> String {
    format!("OTEL_EXPORTER_OTLP_{setting}")
}

// === impl Environment ===

impl Environment<'_> {
    /// The variable that holds a setting, and its value.
    pub(super) fn find(&self, setting: &str) -> Option<(String, String)> {
        let own = format!("OTEL_EXPORTER_OTLP_{}_{setting}", self.signal);
        [own, general(setting)].into_iter().find_map(|name| self.set(name))
    }

    /// A setting from the environment, or else `configured`.
    pub(super) fn choose<T>(
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

    /// `OTEL_LOGS_EXPORTER` and so on says that the signal isn't exported.
    pub(super) fn is_off(&self) -> bool {
        let name = format!("OTEL_{}_EXPORTER", self.signal);
        self.set(name).is_some_and(|(_, value)| value.eq_ignore_ascii_case("none"))
    }

    fn set(&self, name: String) -> Option<(String, String)> {
        let value = (self.get)(&name).filter(|_| self.applies)?.trim().to_owned();
        (!value.is_empty()).then_some((name, value))
    }
}
