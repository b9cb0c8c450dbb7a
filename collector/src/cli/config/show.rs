//! The two forms in which a configuration is shown.

use std::{
    borrow::Cow,
    io::{self, Write},
    path::Path,
};

use serde::Serialize;
use toml::{Table, Value};

use crate::config::layers::{Layers, Source, is_tables};

/// The form of `-o json`.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    file: Option<String>,
    settings: Vec<Setting>,
    /// Variables that beat a key for one signal, or stand for none.
    variables: Vec<Variable>,
}

#[derive(Debug, Serialize)]
struct Setting {
    key: String,
    value: Value,
    source: &'static str,
    /// The variable, or the flag.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// The line of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
}

#[derive(Debug, Serialize)]
struct Variable {
    name: String,
    value: String,
    beats: String,
}

// === impl Shown ===

impl Shown {
    pub(super) fn new(file: Option<&Path>, layers: &Layers) -> Self {
        let settings = layers.leaves().into_iter().map(|(key, value)| {
            let (source, from, line) = match layers.source(&key) {
                Source::Default => ("default", None, None),
                Source::File(line) => ("file", None, Some(line)),
                Source::Environment(name) => ("environment", Some(name), None),
                Source::Flag(name) => ("flag", Some(name), None),
            };
            Setting { key, value: value.clone(), source, from, line }
        });
        let variables = layers.beside.iter().cloned();
        Self {
            file: file.map(|file| file.display().to_string()),
            settings: settings.collect(),
            variables: variables.map(|(name, value, beats)| Variable { name, value, beats }).collect(),
        }
    }
}

/// Writes a configuration file whose comments tell the source of each value.
pub(super) fn write_toml(file: Option<&Path>, layers: &Layers, out: &mut dyn Write) -> io::Result<()> {
    let file = file.map_or("no file".into(), Path::to_string_lossy);
    writeln!(out, "# What is in effect, and where it comes from. File: {}", file.escape_debug())?;
    for (name, value, beaten) in &layers.beside {
        writeln!(out, "# env {name} = {value} beats {beaten}")?;
    }
    write_table(layers, &layers.values, "", "", out)
}

/// Writes a table: `path` as sources are found by, `header` as TOML writes it.
fn write_table(
    layers: &Layers,
    table: &Table,
    path: &str,
    header: &str,
    out: &mut dyn Write,
) -> io::Result<()> {
    // First what isn't a table: whatever follows the header of one belongs to it.
    for (key, value) in table {
        if !is_table(value) {
            let source = layers.source(&join(path, key));
            writeln!(out, "{} = {value}  # {source}", quoted(key))?;
        }
    }
    for (key, value) in table {
        let (path, header) = (join(path, key), join(header, &quoted(key)));
        match value {
            Value::Table(inner) => {
                writeln!(out, "\n[{header}]")?;
                write_table(layers, inner, &path, &header, out)?;
            }
            Value::Array(array) if is_tables(array) => {
                for (index, inner) in array.iter().enumerate() {
                    writeln!(out, "\n[[{header}]]")?;
                    let inner = inner.as_table().map_or_else(|| Cow::Owned(Table::new()), Cow::Borrowed);
                    write_table(layers, &inner, &format!("{path}[{index}]"), &header, out)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_table(value: &Value) -> bool {
    value.is_table() || value.as_array().is_some_and(|array| is_tables(array))
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// A key, in quotation marks where TOML asks for them.
fn quoted(key: &str) -> Cow<'_, str> {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match !key.is_empty() && key.chars().all(bare) {
        true => key.into(),
        false => Value::from(key).to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Overrides, layers::Lines};

    fn shown(text: &str, variables: &[(&str, &str)]) -> (String, Config) {
        let environment =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let config = Config::parse(Path::new("config.toml"), text).unwrap();
        let effective = config.apply(&environment, &Overrides::default()).unwrap();
        let layers = Layers::new(&effective, &Lines::of(text), &environment, &[]).unwrap();
        let mut out = Vec::new();
        write_toml(Some(Path::new("a\nb")), &layers, &mut out).unwrap();
        (String::from_utf8(out).unwrap(), effective.config)
    }

    #[test]
    fn what_is_shown_is_a_configuration() {
        let text =
            "[node]\nname = \"n\"\n[otlp]\nendpoint = \"http://h:1\"\n[otlp.headers]\n\"x.y\" = \"s\"\n";
        let (text, config) = shown(text, &[]);
        let read = Config::parse(Path::new("shown"), &text).unwrap_or_else(|error| panic!("{error}"));
        // But for the secret.
        let mut expected = config;
        expected.otlp.0[0].headers = read.otlp.0[0].headers.clone();
        assert_eq!(read, expected);
        assert_eq!(read.otlp.0[0].headers.0["x.y"], "<masked>");
    }

    #[test]
    fn sources_stand_beside_the_values() {
        let text = "[node]\nname = \"n\"\n[otlp]\ntimeout = \"2s\"\n";
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:1"),
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://user:pw@h/\n[api]"),
        ];
        let (text, _) = shown_unapplied(text, &variables);
        let head: Vec<_> = text.lines().take_while(|line| !line.starts_with("[otlp.batch]")).collect();
        insta::assert_snapshot!(head.join("\n"));
    }

    /// As [`shown`], with variables that can't be used.
    fn shown_unapplied(text: &str, variables: &[(&str, &str)]) -> (String, Config) {
        let environment =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let config = Config::parse(Path::new("config.toml"), text).unwrap();
        let effective = config.apply(&|_| None, &Overrides::default()).unwrap();
        let layers = Layers::new(&effective, &Lines::of(text), &environment, &[]).unwrap();
        let mut out = Vec::new();
        write_toml(Some(Path::new("a\nb")), &layers, &mut out).unwrap();
        (String::from_utf8(out).unwrap(), effective.config)
    }
}
