//! `trigon metrics`

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    process::ExitCode,
};

use trigon_exporters::metrics::{Family, MetricsConfig};

use crate::agent::metrics::Metrics;

/// Arguments of `trigon metrics`.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Lists the families as a table of Markdown.
pub fn run(_: &Arguments) -> ExitCode {
    let table = match Metrics::register(&MetricsConfig::default(), Default::default()) {
        Ok(metrics) => table(&metrics.registry.families()),
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: cannot register the metrics: {error}");
            return ExitCode::FAILURE;
        }
    };
    // Whoever reads may have had enough.
    let _ = io::stdout().write_all(table.as_bytes());
    ExitCode::SUCCESS
}

fn table(families: &[Family]) -> String {
    let mut text = "| name | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
    for Family { name, kind, labels, help } in families {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        // Writing to a string doesn't fail.
        let _ = writeln!(text, "| `{name}` | {kind} | {} | {help} |", labels.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// `make generate` mends it.
    #[test]
    fn what_is_documented_is_what_there_is() {
        let metrics = Metrics::register(&MetricsConfig::default(), Default::default()).unwrap();
        let families = metrics.registry.families();
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
        let page = fs::read_to_string(page).unwrap();
        assert!(page.contains(&table(&families)), "docs/metrics.md is old: make generate");
        for Family { name, kind, help, .. } in &families {
            assert_eq!(*kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
            assert!(!help.contains('|') && help.ends_with('.'), "{name}: {help}");
        }
    }
}
