//! A configuration as a list of keys: for what compares two, or tells where each value is from.

use std::collections::BTreeMap;

use serde::Serialize;
use toml::Value;

/// Each value under its key: `otlp.queue.max_bytes`. An array counts as one value, but for one of tables, whose keys
/// are numbered: `otlp[0].endpoint`.
pub fn flat(config: &impl Serialize) -> BTreeMap<String, Value> {
    let mut keys = BTreeMap::new();
    // What has been read can be written.
    if let Ok(value) = Value::try_from(config) {
        add(String::new(), value, &mut keys);
    }
    keys
}

fn add(key: String, value: Value, keys: &mut BTreeMap<String, Value>) {
    match value {
        Value::Table(table) => {
            let dot = if key.is_empty() { "" } else { "." };
            for (name, value) in table {
                add(format!("{key}{dot}{name}"), value, keys);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_table) => {
            for (index, value) in items.into_iter().enumerate() {
                add(format!("{key}[{index}]"), value, keys);
            }
        }
        value => {
            keys.insert(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_file() {
        let file = "a = 1\n[b]\nc = [1, 2]\n[b.d]\ne = \"f\"\n[[g]]\nh = true\n[[g]]\nh = false\n";
        let value: Value = toml::from_str(file).unwrap();
        let keys: Vec<_> = flat(&value).into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(keys, ["a=1", "b.c=[1, 2]", "b.d.e=\"f\"", "g[0].h=true", "g[1].h=false"]);
    }
}
