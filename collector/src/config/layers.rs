//! Where each value of the configuration comes from: what `trigon config show` shows.
//!
//! It goes by the form in which the configuration is written, so that a new key is known here by itself. Only what
//! environment variables mean is a table.

use std::{collections::HashMap, fmt};

use percent_encoding::percent_decode_str;
use toml::{
    Spanned, Table, Value,
    de::{DeTable, DeValue},
};
use trigon_exporters::otlp::config::MASK;

use super::{Effective, Environment};

/// The configuration as it is in effect, in the form of a file, with the source of each value.
#[derive(Debug)]
pub struct Layers {
    /// All values. Secrets are masked.
    pub values: Table,
    /// The source of what isn't a default, by path: `otlp.endpoint`.
    pub sources: HashMap<String, Source>,
    /// Variables that are set and stand for no key, or for one of a signal only: name, value, what they beat.
    pub beside: Vec<(String, String, String)>,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nothing says otherwise.
    Default,
    /// The file; which line.
    File(usize),
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(String),
}

/// The keys of a file and the line of each.
#[derive(Debug, Default)]
pub struct Lines(HashMap<String, usize>);

/// A value that beats the file.
#[derive(Clone, Debug)]
pub struct Override {
    /// The key, as a path.
    pub key: &'static str,
    /// The value.
    pub value: String,
    /// Who said it.
    pub source: Source,
}

/// A variable: its name, the key that it beats, and its value in the form that the file has.
type Variable = (&'static str, &'static str, fn(&str) -> Value);

/// OpenTelemetry's variables without `OTEL_EXPORTER_OTLP_`.
const OTLP: [Variable; 9] = [
    ("ENDPOINT", "otlp.endpoint", text),
    ("PROTOCOL", "otlp.protocol", text),
    ("HEADERS", "otlp.headers", headers),
    ("TIMEOUT", "otlp.timeout", |value| format!("{value}ms").into()),
    ("COMPRESSION", "otlp.compression", text),
    ("CERTIFICATE", "otlp.tls.ca_file", text),
    ("CLIENT_CERTIFICATE", "otlp.tls.cert_file", text),
    ("CLIENT_KEY", "otlp.tls.key_file", text),
    ("INSECURE", "otlp.tls.insecure", |value| value.eq_ignore_ascii_case("true").into()),
];

/// The infixes of variables for one signal.
const SIGNALS: [&str; 2] = ["LOGS", "TRACES"];

fn text(value: &str) -> Value {
    value.into()
}

/// W3C Baggage's form, as the specification asks. Values are secrets.
fn headers(list: &str) -> Value {
    let names = list.split(',').filter_map(|member| member.split_once('='));
    let decoded = names.map(|(name, _)| percent_decode_str(name.trim()).decode_utf8_lossy().into_owned());
    Value::Table(decoded.map(|name| (name, MASK.into())).collect())
}

/// A value as a comment can have it.
fn one_line(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), |text| format!("{text:?}"))
}

// === impl Layers ===

impl Layers {
    /// Tells the layers of a configuration apart. `lines` are those of its file, `flags` what the command line says.
    ///
    /// # Errors
    /// A value can't be written as TOML: an error of the program.
    pub fn new(
        effective: &Effective,
        lines: &Lines,
        environment: Environment<'_>,
        flags: &[Override],
    ) -> Result<Self, toml::ser::Error> {
        let mut layers = Self {
            values: Table::try_from(&effective.config)?,
            sources: lines.0.iter().map(|(key, line)| (key.clone(), Source::File(*line))).collect(),
            beside: Vec::new(),
        };
        let set = |name: &str| {
            environment(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        if set("NODE_NAME").is_some() {
            layers.put(
                "node.name",
                effective.node.clone().into(),
                Source::Environment("NODE_NAME".to_owned()),
            );
        } else if effective.config.node.name.is_empty() {
            // The default is what the machine is called.
            layers.put("node.name", effective.node.clone().into(), Source::Default);
        }
        for (setting, key, form) in OTLP {
            let name = format!("OTEL_EXPORTER_OTLP_{setting}");
            if let Some(value) = set(&name)
                && !layers.put(key, form(&value), Source::Environment(name.clone()))
            {
                layers.beside.push((name, one_line(&form(&value)), key.to_owned()));
            }
            for signal in SIGNALS {
                let name = format!("OTEL_EXPORTER_OTLP_{signal}_{setting}");
                if let Some(value) = set(&name) {
                    let beaten = format!("{key} for {}", signal.to_lowercase());
                    layers.beside.push((name, one_line(&form(&value)), beaten));
                }
            }
        }
        for Override { key, value, source } in flags {
            layers.put(key, value.as_str().into(), source.clone());
        }
        mask(&mut layers.values);
        layers.beside.iter_mut().for_each(|(_, value, _)| mask_text(value));
        Ok(layers)
    }

    /// Puts a value in its place; false where there is no such key.
    fn put(&mut self, key: &str, value: Value, source: Source) -> bool {
        let (tables, last) = key.rsplit_once('.').map_or(("", key), |(tables, last)| (tables, last));
        let mut table = &mut self.values;
        let mut path = String::new();
        for name in tables.split('.').filter(|name| !name.is_empty()) {
            path += name;
            table = match table.get_mut(name) {
                Some(Value::Table(inner)) => inner,
                // Of several tables they mean the first.
                Some(Value::Array(tables)) => match tables.first_mut() {
                    Some(Value::Table(inner)) => {
                        path += "[0]";
                        inner
                    }
                    _ => return false,
                },
                _ => return false,
            };
            path.push('.');
        }
        let key = &*(path + last);
        if !table.contains_key(last) {
            return false;
        }
        table.insert(last.to_owned(), value);
        // What the file says of it, or within it, is beaten.
        let within = format!("{key}.");
        self.sources.retain(|path, _| path != key && !path.starts_with(&within));
        self.sources.insert(key.to_owned(), source);
        true
    }

    /// Where the value at a path comes from: what it is in decides where nothing says so itself.
    pub fn source(&self, path: &str) -> Source {
        let mut path = path;
        loop {
            if let Some(source) = self.sources.get(path) {
                return source.clone();
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return Source::Default,
            }
        }
    }

    /// Each value that isn't a table, with its path, in the order of the file.
    pub fn leaves(&self) -> Vec<(String, &Value)> {
        leaves(&self.values)
    }
}

/// Each value of a table that isn't a table itself, with its path, such as `otlp.queue.max_bytes` or
/// `file[0].path`.
pub fn leaves(values: &Table) -> Vec<(String, &Value)> {
    let mut leaves = Vec::new();
    for (key, value) in values {
        collect(key.clone(), value, &mut leaves);
    }
    leaves
}

fn collect<'v>(path: String, value: &'v Value, leaves: &mut Vec<(String, &'v Value)>) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                collect(format!("{path}.{key}"), value, leaves);
            }
        }
        Value::Array(array) if is_tables(array) => {
            for (index, value) in array.iter().enumerate() {
                collect(format!("{path}[{index}]"), value, leaves);
            }
        }
        value => leaves.push((path, value)),
    }
}

/// Whether an array is written as tables of its own, `[[name]]`.
pub fn is_tables(array: &[Value]) -> bool {
    !array.is_empty() && array.iter().all(Value::is_table)
}

/// Masks the secrets that are in URLs. Types whose values are secrets write a mask themselves.
fn mask(table: &mut Table) {
    for (_, value) in table.iter_mut() {
        mask_value(value);
    }
}

fn mask_value(value: &mut Value) {
    match value {
        Value::String(text) => mask_text(text),
        Value::Array(values) => values.iter_mut().for_each(mask_value),
        Value::Table(table) => mask(table),
        _ => {}
    }
}

/// `https://user:password@host` becomes `https://<masked>@host`.
fn mask_text(text: &mut String) {
    let Some(start) = text.find("://").map(|at| at + 3) else { return };
    let end = text[start..].find(['/', '?', '#']).map_or(text.len(), |at| start + at);
    if let Some(at) = text[start..end].rfind('@') {
        text.replace_range(start..start + at, MASK);
    }
}

// === impl Lines ===

impl Lines {
    /// Of the text of a file; empty where it isn't TOML.
    pub fn of(text: &str) -> Self {
        let mut lines = Self::default();
        if let Ok(table) = DeTable::parse(text) {
            lines.add(text, "", table.get_ref());
        }
        lines
    }

    /// The line of a key, or of the table that it would be in.
    pub fn get(&self, path: &str) -> Option<usize> {
        self.0.get(path).copied()
    }

    fn add(&mut self, text: &str, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let path = match prefix {
                "" => key.get_ref().to_string(),
                prefix => format!("{prefix}.{}", key.get_ref()),
            };
            self.add_value(text, path, key.span().start, value);
        }
    }

    fn add_value(&mut self, text: &str, path: String, at: usize, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::Table(table) => self.add(text, &path, table),
            DeValue::Array(array)
                if array.iter().all(|value| value.get_ref().is_table()) && !array.is_empty() =>
            {
                for (index, value) in array.iter().enumerate() {
                    self.add_value(text, format!("{path}[{index}]"), value.span().start, value);
                }
            }
            _ => {
                let line = 1 + text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count();
                self.0.insert(path, line);
            }
        }
    }
}

// === impl Source ===

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(line) => write!(f, "file, line {line}"),
            Self::Environment(name) => write!(f, "env {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

#[cfg(test)]
mod tests;
