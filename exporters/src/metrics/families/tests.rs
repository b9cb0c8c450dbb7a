use prometheus::proto::MetricFamily;

use super::*;
use crate::{event::Exit, samples};

fn register(config: &MetricsConfig) -> (Registry, EventMetrics) {
    let registry = Registry::new();
    let metrics = EventMetrics::register(&registry, config).unwrap();
    (registry, metrics)
}

fn exec(binary: &str) -> Event {
    samples::exec(samples::process(7, samples::image(binary, &[])))
}

fn exit(binary: &str) -> Event {
    samples::exit(samples::process(7, samples::image(binary, &[])), Exit::default())
}

/// The series of a family: the values of their labels by name, and their numbers.
fn series(registry: &Registry, family: &str) -> Vec<(Vec<(String, String)>, f64)> {
    let families = registry.gather();
    let metrics =
        families.iter().find(|of| of.name() == family).map(MetricFamily::get_metric).unwrap_or_default();
    let labels = |metric: &prometheus::proto::Metric| {
        metric.get_label().iter().map(|pair| (pair.name().to_owned(), pair.value().to_owned())).collect()
    };
    metrics.iter().map(|metric| (labels(metric), metric.get_counter().get_value())).collect()
}

fn value(registry: &Registry, wanted: &[(&str, &str)]) -> Option<f64> {
    let all = series(registry, "trigon_events_total");
    let has = |labels: &[(String, String)]| {
        wanted.iter().all(|(name, value)| labels.iter().any(|(n, v)| n == name && v == value))
    };
    all.into_iter().find(|(labels, _)| has(labels)).map(|(_, value)| value)
}

#[test]
fn events_are_counted_by_type_and_binary() {
    let (registry, mut metrics) = register(&MetricsConfig::default());
    for event in [exec("/bin/sh"), exec("/bin/sh"), exit("/bin/sh"), exec("/bin/ls")] {
        metrics.observe(&event);
    }
    let of = |kind, binary| {
        value(&registry, &[("type", kind), ("binary", binary), ("pod", ""), ("namespace", "")])
    };
    assert_eq!(of("PROCESS_EXEC", "/bin/sh"), Some(2.0));
    assert_eq!(of("PROCESS_EXIT", "/bin/sh"), Some(1.0));
    assert_eq!(of("PROCESS_EXEC", "/bin/ls"), Some(1.0));
    assert_eq!(of("PROCESS_EXIT", "/bin/ls"), None);
    let names: Vec<_> =
        series(&registry, "trigon_events_total")[0].0.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, ["binary", "namespace", "pod", "type", "workload"]);
}

#[test]
fn a_label_that_is_not_chosen_is_empty() {
    let config = MetricsConfig { labels: vec![Label::Pod], ..MetricsConfig::default() };
    let (registry, mut metrics) = register(&config);
    metrics.observe(&exec("/bin/sh"));
    metrics.observe(&exec("/bin/ls"));
    assert_eq!(series(&registry, "trigon_events_total").len(), 1);
    assert_eq!(value(&registry, &[("type", "PROCESS_EXEC"), ("binary", "")]), Some(2.0));
}

#[test]
fn the_cap_holds_and_sums_stay_true() {
    let (max_series, binaries, rounds) = (12, 50, 3);
    let (registry, mut metrics) = register(&MetricsConfig { max_series, ..MetricsConfig::default() });
    for _ in 0..rounds {
        for n in 0..binaries {
            metrics.observe(&exec(&format!("/bin/{n}")));
            metrics.observe(&exit(&format!("/bin/{n}")));
        }
    }
    let all = series(&registry, "trigon_events_total");
    assert_eq!(all.len(), max_series);
    for kind in ["PROCESS_EXEC", "PROCESS_EXIT"] {
        let of_kind = |labels: &[(String, String)]| labels.iter().any(|(_, value)| value == kind);
        let sum: f64 = all.iter().filter(|(labels, _)| of_kind(labels)).map(|(_, value)| value).sum();
        assert_eq!(sum, f64::from(binaries * rounds), "{kind}");
    }
    // Ten series had room: both types of the first five binaries.
    let folded = f64::from((binaries - 5) * rounds);
    for kind in ["PROCESS_EXEC", "PROCESS_EXIT"] {
        let labels = ["namespace", "workload", "pod", "binary"].map(|name| (name, "other"));
        let wanted: Vec<_> = labels.into_iter().chain([("type", kind)]).collect();
        assert_eq!(value(&registry, &wanted), Some(folded), "{kind}");
    }
    assert_eq!(series(&registry, "trigon_metrics_folded_total")[0].1, 2.0 * folded);
    assert_eq!(value(&registry, &[("type", "PROCESS_EXIT"), ("binary", "/bin/4")]), Some(f64::from(rounds)));
    assert_eq!(value(&registry, &[("binary", "/bin/5")]), None);
}

#[test]
fn no_room_at_all_still_counts_everything() {
    let (registry, mut metrics) = register(&MetricsConfig { max_series: 0, ..MetricsConfig::default() });
    (0..10).for_each(|n| metrics.observe(&exec(&format!("/bin/{n}"))));
    assert_eq!(value(&registry, &[("type", "PROCESS_EXEC"), ("binary", "other")]), Some(10.0));
}

#[test]
fn long_paths_fold_so_that_memory_is_bounded() {
    let (registry, mut metrics) = register(&MetricsConfig::default());
    let path = |n: usize| format!("/{}/{n}", "d".repeat(4000));
    (0..10).for_each(|n| metrics.observe(&exec(&path(n))));
    assert_eq!(series(&registry, "trigon_events_total").len(), 1);
    assert_eq!(value(&registry, &[("binary", "other")]), Some(10.0));
}

#[test]
fn labels_that_were_not_chosen_stay_empty_in_the_series_for_the_rest() {
    let config = MetricsConfig { labels: vec![Label::Binary], max_series: 0, ..MetricsConfig::default() };
    let (registry, mut metrics) = register(&config);
    metrics.observe(&exec("/bin/sh"));
    assert_eq!(value(&registry, &[("binary", "other"), ("pod", ""), ("workload", "")]), Some(1.0));
}

#[test]
fn hostile_paths_are_served_as_one_line_each() {
    let (registry, mut metrics) = register(&MetricsConfig::default());
    metrics.observe(&exec("/tmp/a\nb\"c\\d"));
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    assert!(text.contains(r#"binary="/tmp/a\nb\"c\\d""#), "{text}");
    assert!(text.lines().all(|line| line.starts_with('#') || line.starts_with("trigon_")), "{text}");
}
