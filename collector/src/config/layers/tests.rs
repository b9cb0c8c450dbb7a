use std::path::Path;

use super::*;
use crate::config::{Config, Overrides};

fn layers(text: &str, variables: &[(&str, &str)], flags: &[Override]) -> Layers {
    let environment =
        |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let config = Config::parse(Path::new("config.toml"), text).unwrap();
    let effective = config.apply(&environment, &Overrides::default()).unwrap();
    Layers::new(&effective, &Lines::of(text), &environment, flags).unwrap()
}

fn value(layers: &Layers, path: &str) -> (String, Source) {
    let leaves = layers.leaves();
    let (_, value) =
        leaves.iter().find(|(key, _)| key == path).unwrap_or_else(|| panic!("{path}: {leaves:?}"));
    (value.to_string(), layers.source(path))
}

#[test]
fn each_value_has_the_source_that_beats_the_others() {
    let text = "# first\n[otlp]\nendpoint = \"http://file:1\"\ntimeout = \"3s\"\nbatch = {max_records = 7}\n[limits]\nargs = 5\n";
    let variables = [
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
        ("NODE_NAME", "worker-1"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://env:2"),
    ];
    let flag = Override {
        key: "otlp.endpoint",
        value: "http://flag:3".to_owned(),
        source: Source::Flag("--otlp-endpoint".to_owned()),
    };
    let found = layers(text, &variables, &[flag]);
    let env = |name: &str| Source::Environment(name.to_owned());
    assert_eq!(
        value(&found, "otlp.endpoint"),
        ("\"http://flag:3\"".to_owned(), Source::Flag("--otlp-endpoint".to_owned()))
    );
    assert_eq!(value(&found, "otlp.timeout"), ("\"250ms\"".to_owned(), env("OTEL_EXPORTER_OTLP_TIMEOUT")));
    assert_eq!(value(&found, "node.name"), ("\"worker-1\"".to_owned(), env("NODE_NAME")));
    assert_eq!(value(&found, "otlp.batch.max_records"), ("7".to_owned(), Source::File(5)));
    assert_eq!(value(&found, "limits.args"), ("5".to_owned(), Source::File(7)));
    assert_eq!(value(&found, "limits.args_bytes").1, Source::Default);
}

#[test]
fn secrets_are_masked_wherever_they_come_from() {
    let text = "[otlp.headers]\nauthorization = \"Bearer s3cret\"\n";
    let found = layers(text, &[], &[]);
    assert_eq!(value(&found, "otlp.headers.authorization"), (format!("\"{MASK}\""), Source::File(2)));
    let flag = Override {
        key: "otlp.endpoint",
        value: "https://user:s3cret@host:4318/x@y".to_owned(),
        source: Source::Flag("--otlp-endpoint".to_owned()),
    };
    let variables = [
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cret,%61b=s3cret"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x=s3cret"),
    ];
    let found = layers(text, &variables, &[flag]);
    assert_eq!(value(&found, "otlp.endpoint").0, format!("\"https://{MASK}@host:4318/x@y\""));
    for name in ["api-key", "ab"] {
        let (masked, source) = value(&found, &format!("otlp.headers.{name}"));
        assert_eq!(masked, format!("\"{MASK}\""));
        assert_eq!(source, Source::Environment("OTEL_EXPORTER_OTLP_HEADERS".to_owned()));
    }
    // Variables replace all headers, as they do where they are used.
    assert_eq!(found.leaves().iter().filter(|(key, _)| key.starts_with("otlp.headers.")).count(), 2);
    assert_eq!(found.beside.len(), 1);
    assert!(!format!("{found:?}").contains("s3cret"));
}

#[test]
fn lines_of_tables_in_arrays() {
    let lines = Lines::of("a.b = 1\n[[c]]\nd = 2\n[[c]]\nd = [\n 3]\n");
    assert_eq!(
        ["a.b", "c[0].d", "c[1].d", "c"].map(|path| lines.get(path)),
        [Some(1), Some(3), Some(5), None]
    );
    assert_eq!(Lines::of("a = ").get("a"), None);
}
