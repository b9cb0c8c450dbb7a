//! `[otlp]`, or `[[otlp]]` as often as there are endpoints.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

use super::OtlpConfig;

/// The tables; one of defaults where the configuration has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpTables(pub Vec<OtlpConfig>);

/// Takes a table or an array of them. An enum that serde tries in turn would lose the line of an error.
struct OneOrMany;

// === impl OtlpTables ===

impl Default for OtlpTables {
    fn default() -> Self {
        Self(vec![OtlpConfig::default()])
    }
}

impl Serialize for OtlpTables {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &*self.0 {
            [one] => one.serialize(serializer),
            many => many.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for OtlpTables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMany)
    }
}

// === impl OneOrMany ===

impl<'de> Visitor<'de> for OneOrMany {
    type Value = OtlpTables;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table, or an array of tables")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OtlpTables, A::Error> {
        OtlpConfig::deserialize(MapAccessDeserializer::new(map)).map(|one| OtlpTables(vec![one]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<OtlpTables, A::Error> {
        let mut tables = Vec::new();
        while let Some(table) = seq.next_element()? {
            tables.push(table);
        }
        Ok(OtlpTables(tables))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Config {
        otlp: OtlpTables,
    }

    #[test]
    fn one_table_or_many() {
        for (text, names) in [
            ("[otlp]\nname = \"a\"\n", &["a"][..]),
            ("[[otlp]]\nname = \"a\"\n[[otlp]]\nname = \"b\"\n", &["a", "b"]),
            ("otlp = []\n", &[]),
        ] {
            let config: Config = toml::from_str(text).unwrap();
            assert_eq!(config.otlp.0.iter().map(|table| &*table.name).collect::<Vec<_>>(), names);
            assert_eq!(toml::from_str::<Config>(&toml::to_string(&config).unwrap()).unwrap(), config);
        }
    }

    #[test]
    fn an_error_has_its_line() {
        for (text, line) in [
            ("[otlp]\nprotocol = \"udp\"\n", "line 2"),
            ("[[otlp]]\n[[otlp]]\ncolour = 1\n", "line 3"),
            ("otlp = 1\n", "line 1"),
        ] {
            let error = toml::from_str::<Config>(text).unwrap_err().to_string();
            assert!(error.contains(line), "{error}");
        }
    }
}
