//! The limit, what is folded, and what goes, on families of both kinds.

use std::collections::{HashMap, HashSet};

use prometheus::{TextEncoder, proto::MetricFamily};
use proptest::prelude::*;

use super::*;
use crate::metrics::series::{Count, Times};

const ALL: &[Label] = &LABELS;
const HOUR: Duration = Duration::from_secs(3600);

fn register<N: Number, const WHAT: usize, const WHO: usize>(
    what: [&'static str; WHAT],
    max_series: usize,
    rest: usize,
    labels: &[Label],
) -> (Registry, Capped<N, WHAT, WHO>) {
    let registry = Registry::new();
    let config = MetricsConfig { labels: labels.to_vec(), max_series, ..MetricsConfig::default() };
    let folded = register_folded(&registry).unwrap();
    let about = About { name: "a", help: "A.", what, rest };
    let capped = Capped::register(&registry, about, &config, &folded).unwrap();
    (registry, capped)
}

fn counts(max_series: usize, rest: usize) -> (Registry, Capped<Count, 1, 4>) {
    register(["what"], max_series, rest, ALL)
}

/// The numbers of the family by the values of their labels, which no two share; of a histogram its count.
fn numbers(registry: &Registry) -> HashMap<Vec<String>, u64> {
    let families = registry.gather();
    let metrics = families.iter().find(|of| of.name() == "a").map(MetricFamily::get_metric);
    let metrics = metrics.unwrap_or_default();
    let number = |metric: &prometheus::proto::Metric| {
        let values = metric.get_label().iter().map(|pair| pair.value().to_owned()).collect();
        let count = metric.get_counter().get_value() as u64;
        (values, count + metric.get_histogram().get_sample_count())
    };
    let numbers: HashMap<_, _> = metrics.iter().map(number).collect();
    assert_eq!(numbers.len(), metrics.len(), "a series twice: Prometheus would refuse them all");
    numbers
}

/// Lines of the text that are series of the family.
fn lines(registry: &Registry) -> usize {
    let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    assert!(text.lines().all(|line| line.starts_with(['#', 'a', 't'])), "{text}");
    text.lines().filter(|line| line.starts_with('a')).count()
}

fn sum(registry: &Registry) -> u64 {
    numbers(registry).values().sum()
}

#[test]
fn a_hundred_thousand_sets_of_labels_keep_the_limit_and_the_sum() {
    let (registry, mut capped) = counts(1000, 10);
    let mut random = fastrand::Rng::with_seed(7);
    let mut sets = HashSet::new();
    for _ in 0..100_000 {
        let pod = format!("pod-{}", random.u32(..));
        let what = format!("what-{}", random.u8(..20));
        capped.observe([&what], ["ns", "app", &pod, "/bin/sh"], ());
        sets.insert((what, pod));
    }
    assert!(sets.len() > 99_000);
    assert_eq!((numbers(&registry).len(), capped.series().len()), (1000, 1000));
    assert_eq!(sum(&registry), 100_000);
    assert_eq!(capped.folded.get(), 100_000 - 990);
}

#[test]
fn of_a_histogram_each_bucket_is_a_series() {
    let (registry, mut capped) = register::<Times, 0, 2>([], 1000, 1, ALL);
    for number in 0..5000 {
        capped.observe([], ["ns", &format!("app-{}", number % 500)], 0.5);
    }
    // A thousand hold 66 histograms of 15 series.
    assert_eq!((numbers(&registry).len(), capped.series().len()), (66, 66 * 15));
    assert_eq!(lines(&registry), 66 * 15);
    assert_eq!(sum(&registry), 5000);
    let other = ["other", "other"].map(str::to_owned).to_vec();
    assert_eq!(numbers(&registry)[&other], 5000 - 65 * 10);
}

#[test]
fn what_is_idle_goes_and_comes_back_from_zero() {
    let (registry, mut capped) = counts(5, 2);
    let who = |pod| ["ns", "app", pod, ""];
    for pod in ["deleted", "living", "living"] {
        capped.observe(["exec"], who(pod), ());
    }
    // The host's, where no label says who.
    capped.observe(["exec"], [""; 4], ());
    capped.observe(["exec"], who("late"), ());
    let of = |pod: &str| {
        let values = ["", "ns", pod, "exec", "app"].map(str::to_owned).to_vec();
        let host = ["", "", "", "exec", ""].map(str::to_owned).to_vec();
        numbers(&registry).get(if pod.is_empty() { &host } else { &values }).copied()
    };
    let tenth = HOUR / 10;
    for look in 0..=10 {
        assert_eq!((of("deleted"), of("")), (Some(1), Some(1)), "after {look} looks");
        capped.observe(["exec"], who("living"), ());
        capped.sweep(tenth, HOUR);
    }
    assert_eq!((of("deleted"), of(""), of("living"), of("late")), (None, None, Some(13), None));
    let other = ["other", "other", "other", "exec", "other"].map(str::to_owned).to_vec();
    assert_eq!(numbers(&registry)[&other], 1, "what was folded stays");
    // Both give their room back, and one that comes again begins anew.
    for pod in ["deleted", "late", "more"] {
        capped.observe(["exec"], who(pod), ());
    }
    assert_eq!((of("deleted"), of("late"), of("more")), (Some(1), Some(1), None));
    assert_eq!((numbers(&registry)[&other], sum(&registry)), (2, 17));
}

#[test]
fn an_idle_histogram_goes_too() {
    let (registry, mut capped) = register::<Times, 0, 2>([], 100, 1, ALL);
    capped.observe([], ["ns", "app"], 2.0);
    (0..=10).for_each(|_| capped.sweep(HOUR / 10, HOUR));
    assert_eq!((lines(&registry), capped.series().len()), (0, 0));
    capped.observe([], ["ns", "app"], 3.0);
    let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    assert!(text.contains("a_sum{namespace=\"ns\",workload=\"app\"} 3\n"), "{text}");
    assert!(text.contains("a_bucket{namespace=\"ns\",workload=\"app\",le=\"1\"} 0\n"), "{text}");
    assert!(text.contains("a_bucket{namespace=\"ns\",workload=\"app\",le=\"10\"} 1\n"), "{text}");
    assert!(text.contains("a_bucket{namespace=\"ns\",workload=\"app\",le=\"+Inf\"} 1\n"), "{text}");
}

#[test]
fn a_bound_is_in_its_bucket() {
    let (registry, mut capped) = register::<Times, 0, 2>([], 100, 1, ALL);
    for seconds in [0.0, 0.001, 0.0011, 86_400.0, 86_401.0] {
        capped.observe([], ["", ""], seconds);
    }
    let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    for (bound, count) in [("0.001", 2), ("0.005", 3), ("3600", 3), ("86400", 4), ("+Inf", 5)] {
        assert!(text.contains(&format!("le=\"{bound}\"}} {count}\n")), "{bound}: {text}");
    }
}

#[test]
fn hostile_names_are_one_line_each_and_never_mixed_up() {
    let (registry, mut capped) = counts(100, 1);
    let long = "n".repeat(4096);
    for pod in ["a\nb\"c\\d", "\u{1b}[31m\u{202e}", &long, "x\0", "x", "é日本🚀", "other"] {
        capped.observe(["exec"], ["ns", "app", pod, ""], ());
    }
    // Without a look at NULs these two were one.
    capped.observe(["exec"], ["a", "b\0", "", ""], ());
    capped.observe(["exec"], ["a\0b", "", "", ""], ());
    let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    assert!(text.contains(r#"pod="a\nb\"c\\d""#) && text.contains("é日本🚀"), "{text}");
    assert!(!text.contains('\0') && text.len() < 2000, "{text}");
    // Five have a series, and the one for the rest is of four.
    assert_eq!((lines(&registry), sum(&registry)), (6, 9));
    let other = ["other", "other", "other", "other", "other"].map(str::to_owned).to_vec();
    assert_eq!(numbers(&registry)[&other], 4);
}

#[test]
fn somebody_whose_name_is_other_is_folded_with_the_others() {
    let (registry, mut capped) = counts(3, 1);
    let other = ["other"; 4];
    capped.observe(["other"], other, ());
    capped.observe(["exec"], ["ns", "app", "a", ""], ());
    capped.observe(["exec"], ["ns", "app", "b", ""], ());
    let all = ["other"; 5].map(str::to_owned).to_vec();
    assert_eq!(numbers(&registry)[&all], 2);
    (0..20).for_each(|_| capped.sweep(HOUR / 10, HOUR));
    assert_eq!(numbers(&registry).into_iter().collect::<Vec<_>>(), [(all, 2)]);
}

#[derive(Clone, Debug)]
enum Step {
    Observe([String; 2], [String; 2]),
    Sweep,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let value = || {
        prop_oneof![
            6 => "[a-c]",
            2 => Just("other".to_owned()),
            1 => Just(String::new()),
            1 => "[\0a]{1,3}",
            1 => Just("x".repeat(MAX_LEN)),
            1 => "\\PC{0,4}",
        ]
    };
    let step = prop_oneof![
        9 => ([value(), value()], [value(), value()]).prop_map(|(what, who)| Step::Observe(what, who)),
        1 => Just(Step::Sweep),
    ];
    prop::collection::vec(step, 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever comes: no more series than there may be, none twice, and all that was observed is in them but for what
    /// went with those that were idle.
    #[test]
    fn the_limit_holds_and_sums_stay_true(
        steps in steps(),
        max_series in 0..30_usize,
        rest in 0..8_usize,
        labels in prop::sample::subsequence(ALL, 0..=2),
    ) {
        let (registry, mut capped) = register::<Count, 2, 2>(["x", "y"], max_series, rest, &labels);
        let choose = |who: [&str; 2]| {
            let [a, b, ..] = Labels(LABELS.map(|label| labels.contains(&label))).choose([who[0], who[1], "", ""]);
            [a.to_owned(), b.to_owned()]
        };
        let (mut observed, mut gone) = (0, 0);
        for step in steps {
            match step {
                Step::Observe(what, who) => {
                    let who = choose([&who[0], &who[1]]);
                    capped.observe([&what[0], &what[1]], [&who[0], &who[1]], ());
                    observed += 1;
                }
                Step::Sweep => {
                    let before = sum(&registry);
                    capped.sweep(HOUR, HOUR);
                    gone += before - sum(&registry);
                }
            }
            prop_assert!(numbers(&registry).len() <= max_series.max(1));
            prop_assert_eq!(numbers(&registry).len(), capped.series().len());
            prop_assert_eq!(sum(&registry) + gone, observed);
        }
    }
}
