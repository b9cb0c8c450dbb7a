//! Prometheus' text format, as far as a test asks: name and labels to value.

use std::{collections::BTreeMap, fmt};

/// One sample's labels.
pub type Labels = BTreeMap<String, String>;

/// What `/metrics` said.
#[derive(Clone, Debug)]
pub struct Exposition {
    text: String,
    samples: Vec<Sample>,
}

#[derive(Clone, Debug)]
struct Sample {
    name: String,
    labels: Labels,
    value: f64,
}

// === impl Exposition ===

impl Exposition {
    /// Reads the text format.
    ///
    /// # Panics
    /// Where a line is malformed.
    pub fn parse(text: &str) -> Self {
        let samples =
            text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(Sample::parse);
        Self { text: text.to_owned(), samples: samples.collect() }
    }

    /// The sum of the samples of `name` whose labels hold all of `labels`; 0 where there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|sample| sample.value).sum()
    }

    /// The labels of the samples of `name` that hold all of `labels` and are not zero.
    pub fn labels(&self, name: &str, labels: &[(&str, &str)]) -> Vec<&Labels> {
        self.matching(name, labels)
            .filter(|sample| sample.value != 0.0)
            .map(|sample| &sample.labels)
            .collect()
    }

    /// Whether there is a sample of `name`.
    pub fn has(&self, name: &str) -> bool {
        self.matching(name, &[]).next().is_some()
    }

    fn matching(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = &Sample> {
        let holds = move |sample: &&Sample| {
            sample.name == name
                && labels
                    .iter()
                    .all(|(key, value)| sample.labels.get(*key).is_some_and(|found| found == value))
        };
        self.samples.iter().filter(holds)
    }
}

impl fmt::Display for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

// === impl Sample ===

impl Sample {
    fn parse(line: &str) -> Self {
        Self::try_parse(line).unwrap_or_else(|| panic!("malformed sample: {line:?}"))
    }

    fn try_parse(line: &str) -> Option<Self> {
        let (name, rest) = line.split_at(line.find(['{', ' '])?);
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => parse_labels(rest)?,
            None => (Labels::new(), rest),
        };
        let value = value.split_whitespace().next()?.parse().ok()?;
        Some(Self { name: name.to_owned(), labels, value })
    }
}

/// The labels up to the closing brace, and what follows it.
fn parse_labels(mut rest: &str) -> Option<(Labels, &str)> {
    let mut labels = Labels::new();
    loop {
        rest = rest.trim_start_matches(',');
        if let Some(value) = rest.strip_prefix('}') {
            return Some((labels, value));
        }
        let (key, quoted) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        rest = loop {
            match chars.next()? {
                (at, '"') => break &quoted[at + 1..],
                (_, '\\') => value.push(match chars.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => value.push(other),
            }
        };
        labels.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_with_escapes_and_sums() {
        let text = "# HELP a A.\n# TYPE a counter\na{x=\"1,}\",y=\"q\\\"\\\\\\n\"} 2\na{x=\"2\"} 3 1700000000\nb 1e3\n";
        let exposition = Exposition::parse(text);
        assert_eq!(exposition.sum("a", &[]), 5.0);
        assert_eq!(exposition.sum("a", &[("y", "q\"\\\n")]), 2.0);
        assert_eq!(exposition.sum("a", &[("x", "1,}")]), 2.0);
        assert_eq!(exposition.sum("b", &[]), 1000.0);
        assert!(exposition.has("b") && !exposition.has("c"));
    }
}
