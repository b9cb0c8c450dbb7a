use std::sync::Arc;

use prometheus::proto::MetricFamily;

use super::*;
use crate::{
    event::{Action, FileFacts, Image, Replaced},
    metrics::Label,
    samples::{self, hooks},
};

/// By all labels.
fn all_labels() -> MetricsConfig {
    let labels = vec![Label::Namespace, Label::Workload, Label::Pod, Label::Binary];
    MetricsConfig { labels, ..MetricsConfig::default() }
}

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
    let (registry, mut metrics) = register(&all_labels());
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
    assert_eq!(names, ["type", "namespace", "workload", "pod", "binary"]);
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
    // For what finds no room one is kept for each type and one more, of which two are needed.
    let (max_series, binaries, rounds) = (10 + EventType::ALL.len() + 1, 50, 3);
    let (registry, mut metrics) = register(&MetricsConfig { max_series, ..all_labels() });
    for _ in 0..rounds {
        for n in 0..binaries {
            metrics.observe(&exec(&format!("/bin/{n}")));
            metrics.observe(&exit(&format!("/bin/{n}")));
        }
    }
    let all = series(&registry, "trigon_events_total");
    assert_eq!(all.len(), 12);
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
    let (registry, mut metrics) = register(&MetricsConfig { max_series: 0, ..all_labels() });
    (0..10).for_each(|n| metrics.observe(&exec(&format!("/bin/{n}"))));
    (0..10).for_each(|n| metrics.observe(&exit(&format!("/bin/{n}"))));
    assert_eq!(value(&registry, &[("type", "other"), ("binary", "other")]), Some(20.0));
}

#[test]
fn long_paths_fold_so_that_memory_is_bounded() {
    let (registry, mut metrics) = register(&all_labels());
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
    let (registry, mut metrics) = register(&all_labels());
    metrics.observe(&exec("/tmp/a\nb\"c\\d"));
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    assert!(text.contains(r#"binary="/tmp/a\nb\"c\\d""#), "{text}");
    assert!(text.lines().all(|line| line.starts_with('#') || line.starts_with("trigon_")), "{text}");
}

fn matched(policy: &str, function: &str, action: Action, binary: &str) -> Event {
    matched_in(None, policy, function, action, binary)
}

fn matched_in(namespace: Option<&str>, policy: &str, function: &str, action: Action, binary: &str) -> Event {
    let kind = crate::event::HookKind::Kprobe { function: function.into() };
    let policy = crate::event::Policy { name: policy.into(), namespace: namespace.map(Into::into) };
    let source = crate::event::HookSource::new(Arc::new(policy), kind);
    let hook = crate::event::Hook { action, ..hooks::hook(source, Vec::new()) };
    samples::event(samples::process(7, samples::image(binary, &[])), Kind::Hook(hook))
}

fn sum(registry: &Registry, family: &str) -> f64 {
    series(registry, family).iter().map(|(_, value)| value).sum()
}

const POLICIES: &str = "trigon_policy_events_total";

#[test]
fn matches_are_counted_by_policy_hook_and_action() {
    let (registry, mut metrics) = register(&all_labels());
    for event in [
        matched("files", "__x64_sys_read", Action::Post, "/bin/cat"),
        matched("files", "__x64_sys_read", Action::Post, "/bin/cat"),
        matched("files", "__x64_sys_read", Action::Sigkill, "/bin/cat"),
        matched_in(Some("shop"), "files", "__x64_sys_read", Action::Post, "/bin/cat"),
        hooks::descriptor(),
        exec("/bin/cat"),
    ] {
        metrics.observe(&event);
    }
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    insta::assert_snapshot!("policies", text);
}

#[test]
fn the_cap_holds_for_policies_and_sums_stay_true() {
    for max_series in [0, 1, 4, 40, 400] {
        let (registry, mut metrics) = register(&MetricsConfig { max_series, ..all_labels() });
        let mut count = 0.0;
        for policy in 0..20 {
            for binary in 0..30 {
                let name = format!("p{policy}");
                metrics.observe(&matched(&name, "fd_install", Action::Post, &format!("/bin/{binary}")));
                count += 1.0;
            }
        }
        let all = series(&registry, POLICIES);
        assert!(all.len() <= max_series.max(1), "{} of {max_series}", all.len());
        assert_eq!(sum(&registry, POLICIES), count);
        assert_eq!(sum(&registry, "trigon_events_total"), count);
        let has = |labels: &[(String, String)], wanted: &[(&str, &str)]| {
            wanted.iter().all(|(name, value)| labels.iter().any(|(n, v)| n == name && v == value))
        };
        let other = [("policy", "other"), ("hook", "other"), ("action", "other"), ("binary", "other")];
        let rest = all.iter().filter(|(labels, _)| has(labels, &other)).count();
        // 20 policies have a series each for the rest where 100 are kept for it.
        assert_eq!(rest, usize::from(max_series < 400), "{max_series}");
        if max_series == 400 {
            let folded = [("policy", "p19"), ("hook", "kprobe:fd_install"), ("binary", "other")];
            assert!(all.iter().any(|(labels, value)| has(labels, &folded) && *value == 30.0));
        }
    }
}

#[test]
fn long_names_of_policies_fold() {
    let (registry, mut metrics) = register(&all_labels());
    for n in 0..10 {
        metrics.observe(&matched(&format!("{}{n}", "p".repeat(4000)), "f", Action::Post, "/bin/cat"));
    }
    let all = series(&registry, POLICIES);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].1, 10.0);
}

fn in_pod(namespace: &str, name: &str, binary: &str) -> Event {
    let place = samples::place();
    let pod = crate::event::Pod { namespace: namespace.into(), name: name.into(), ..samples::pod() };
    let process = samples::process(7, samples::image(binary, &[]));
    samples::exec(samples::placed(process, Place { pod: pod.into(), ..place }))
}

#[test]
fn pods_are_labels() {
    let (registry, mut metrics) = register(&all_labels());
    metrics.observe(&in_pod("shop", "web-1", "/bin/sh"));
    metrics.observe(&Event {
        kind: matched("p", "f", Action::Post, "").kind,
        ..in_pod("shop", "web-1", "/bin/sh")
    });
    let who = [("namespace", "shop"), ("workload", "web"), ("pod", "web-1"), ("binary", "/bin/sh")];
    assert_eq!(value(&registry, &who), Some(1.0));
    let policies = &series(&registry, POLICIES)[0].0;
    assert!(
        who.iter().all(|(name, value)| policies.contains(&((*name).into(), (*value).into()))),
        "{policies:?}"
    );

    let labels = vec![Label::Namespace, Label::Workload];
    let (registry, mut metrics) = register(&MetricsConfig { labels, ..all_labels() });
    metrics.observe(&in_pod("shop", "web-1", "/bin/sh"));
    metrics.observe(&in_pod("shop", "web-2", "/bin/ls"));
    let who = [("namespace", "shop"), ("workload", "web"), ("pod", ""), ("binary", "")];
    assert_eq!(value(&registry, &who), Some(2.0));
}

#[test]
fn every_family_loses_the_series_that_are_idle() {
    let config = MetricsConfig { stale_after: Duration::from_secs(600), ..all_labels() };
    let (registry, mut metrics) = register(&config);
    let everything = || {
        let image = gaining(Gains::all());
        let process = samples::placed(samples::process(7, image), samples::place());
        let started = Kind::Exec(Exec { first_seen: true, ..Exec::default() });
        [
            samples::event(process.clone(), started),
            samples::exit(process, Exit::default()),
            matched("p", "f", Action::Post, "/bin/sh"),
        ]
    };
    everything().iter().for_each(|event| metrics.observe(event));
    let sizes = || {
        let families = registry.gather();
        let sizes = families.iter().find(|family| family.name() == "trigon_metrics_series").unwrap();
        let size = |metric: &prometheus::proto::Metric| {
            (metric.get_label()[0].value().to_owned(), metric.get_gauge().get_value())
        };
        sizes.get_metric().iter().map(size).collect::<Vec<_>>()
    };
    let sized = |numbers: [f64; 6]| {
        let names = [
            "trigon_events_total",
            "trigon_first_seen_binaries_total",
            "trigon_policy_events_total",
            "trigon_privileges_gained_total",
            "trigon_process_exits_total",
            "trigon_process_run_seconds",
        ];
        names.map(str::to_owned).into_iter().zip(numbers).collect::<Vec<_>>()
    };
    let full = sized([3.0, 1.0, 1.0, 3.0, 1.0, 15.0]);
    assert_eq!(sizes(), full);
    let mut now = metrics.swept;
    // The look that finds them new, and nine minutes in which they are idle.
    for _ in 0..10 {
        now += Duration::from_secs(60);
        metrics.sweep(now);
        metrics.sweep(now + Duration::from_secs(1));
    }
    assert_eq!(sizes(), full);
    metrics.sweep(now + Duration::from_secs(60));
    assert_eq!(sizes(), sized([0.0; 6]));
    everything().iter().for_each(|event| metrics.observe(event));
    assert_eq!((sizes(), sum(&registry, "trigon_events_total")), (full, 3.0));
}

#[test]
fn where_none_is_stale_all_stay() {
    let (registry, mut metrics) = register(&MetricsConfig { stale_after: Duration::ZERO, ..all_labels() });
    metrics.observe(&exec("/bin/sh"));
    for days in 1..100 {
        metrics.sweep(metrics.swept + Duration::from_secs(days * 86_400));
    }
    assert_eq!(sum(&registry, "trigon_events_total"), 1.0);
}

fn image() -> Image {
    samples::image("/usr/bin/sudo", &[])
}

fn gaining(gained: Gains) -> Image {
    Image::new("/usr/bin/sudo", "", "/", "", Some(FileFacts { gained, ..FileFacts::default() }))
}

#[test]
fn ends_are_counted_by_code_or_signal_and_run_times_observed() {
    let (registry, mut metrics) = register(&MetricsConfig::default());
    let ended = |exit| samples::exit(samples::placed(samples::process(7, image()), samples::place()), exit);
    let killed = Exit { signal: 9, ..Exit::default() };
    for exit in [Exit::default(), Exit { code: 255, ..Exit::default() }, killed, killed] {
        metrics.observe(&ended(exit));
    }
    // One image is replaced, another was there before anybody looked.
    let replaced = Replaced { process: Arc::new(samples::process(8, image())), parent: None };
    let kind = Kind::Exec(Exec { replaced: Some(replaced), first_seen: true });
    let took_over = samples::event(samples::process(8, image()), kind);
    metrics.observe(&Event { time: Timestamp(took_over.time.0 + 20_000_000), ..took_over });
    let missed = Process { start: Timestamp(0), ..samples::process(9, image()) };
    metrics.observe(&samples::exit(missed, Exit::default()));
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    insta::assert_snapshot!("ends", text);
}

#[test]
fn privileges_are_counted_one_by_one() {
    let (registry, mut metrics) = register(&MetricsConfig::default());
    for gained in [Gains::all(), Gains::SETGID, Gains::empty()] {
        let image = gaining(gained);
        metrics.observe(&samples::exec(samples::process(7, image.clone())));
        // A process that such a one forked, and that ends, gains nothing.
        metrics.observe(&samples::exit(samples::process(8, image), Exit::default()));
    }
    let all = series(&registry, "trigon_privileges_gained_total");
    let gained = |(labels, value): &(Vec<(String, String)>, f64)| {
        let label = labels.iter().find(|(name, _)| name == "gained").map(|(_, value)| value.clone());
        (label.unwrap(), *value)
    };
    let told: Vec<_> = all.iter().map(gained).collect();
    assert_eq!(told, [("file_caps".to_owned(), 1.0), ("setgid".to_owned(), 2.0), ("setuid".to_owned(), 1.0)]);
}
