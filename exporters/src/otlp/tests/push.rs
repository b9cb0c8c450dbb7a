//! The agent's own metrics, pushed over real sockets.

use std::{collections::BTreeMap, time::Duration};

use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    metrics::v1::{ResourceMetrics, metric::Data, number_data_point::Value},
};
use tokio_util::sync::CancellationToken;

use super::{
    delivery::{HANG, PROTOCOLS, config},
    encoding::attributes,
    receiver::{Answer, Closed, Receiver},
    sample, tls,
};
use crate::{
    health::Health,
    metrics::Registry,
    otlp::{
        OtlpConfig,
        config::{Headers, Protocol},
        push::{Push, SelfMetricsConfig},
    },
};

const QUICK: SelfMetricsConfig =
    SelfMetricsConfig { enabled: true, interval: Duration::from_millis(10), endpoint: String::new() };

const SERIES: i32 = 2_500;

/// A registry with more series than an instrument has by default.
fn registry() -> Registry {
    let registry = Registry::new();
    let events = registry.counters("t_events_total", "Events.", &["kind"]).unwrap();
    (0..SERIES).for_each(|n| events.with_label_values(&[&n.to_string()]).inc_by(2));
    registry.gauge("t_depth", "How deep.").unwrap().set(-7);
    let took = registry.histograms("t_seconds", "How long.", &["who"], &[1.0, 2.5]).unwrap();
    [0.5, 2.0, 9.0].into_iter().for_each(|seconds| took.with_label_values(&["a"]).observe(seconds));
    registry
}

fn labels(pairs: &[KeyValue]) -> String {
    attributes(pairs).iter().map(|(key, value)| format!("{key}={value} ")).collect()
}

/// Each point of the last push, by name and labels; counters are told from gauges by a `+`.
fn points(pushed: &ResourceMetrics) -> BTreeMap<String, f64> {
    let mut points = BTreeMap::new();
    for metric in pushed.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
        let (mark, found) = match metric.data.as_ref().expect("data") {
            Data::Sum(sum) => {
                assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
                ("+", &sum.data_points)
            }
            Data::Gauge(gauge) => ("", &gauge.data_points),
            other => panic!("{other:?}"),
        };
        for point in found {
            let Some(Value::AsDouble(value)) = point.value else { panic!("{point:?}") };
            points.insert(format!("{mark}{} {}", metric.name, labels(&point.attributes)), value);
        }
    }
    points
}

async fn until(mut is: impl FnMut() -> bool) {
    let reached = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(HANG, reached).await.expect("it becomes so");
}

fn push(config: OtlpConfig) -> Push {
    Push::new(&QUICK, &[config], &|_| None, None).expect("usable").expect("an endpoint")
}

#[tokio::test]
async fn every_number_arrives_over_both_protocols() {
    for protocol in PROTOCOLS {
        let (receiver, closed) = (Receiver::default(), Closed::new());
        let headers = Headers([("x-api-key".to_owned(), "k y".to_owned())].into());
        let config = OtlpConfig { headers, ..config(protocol, &closed) };
        let (health, stop) = (Health::default(), CancellationToken::new());
        let (registry, node) = (registry(), sample::node());
        let late = registry.gauge("t_late", "Comes up later.").unwrap();
        let running =
            push(config).start(registry.clone(), 10_000, &node, health.clone(), stop.clone()).unwrap();
        // First nobody is there.
        until(|| health.state().failing).await;
        let why = health.state().last_failure.expect("a failure").why;
        // tonic's client tells no more than the code.
        assert!(why.contains(if protocol == Protocol::Grpc { "Unavailable" } else { "refused" }), "{why}");
        receiver.serve(protocol, closed);
        until(|| receiver.see(|received| received.metrics.len() > 1)).await;
        late.set(3);
        stop.cancel();
        tokio::time::timeout(HANG, running).await.expect("no hang").expect("no panic");
        assert!(!health.state().failing);

        let (last, sent) = receiver.see(|received| {
            (received.metrics.last().cloned().expect("a push"), received.headers.last().cloned())
        });
        assert_eq!(sent.expect("headers")["x-api-key"], "k y");
        let points = points(&last);
        assert_eq!(points.len() as i32, SERIES + 1 + 3 + 2 + 1);
        for (name, value) in [
            ("+t_events_total kind=0 ", 2.0),
            ("+t_events_total kind=2499 ", 2.0),
            ("t_depth ", -7.0),
            ("+t_seconds_bucket le=1 who=a ", 1.0),
            ("+t_seconds_bucket le=2.5 who=a ", 2.0),
            ("+t_seconds_bucket le=+Inf who=a ", 3.0),
            ("+t_seconds_sum who=a ", 11.5),
            ("+t_seconds_count who=a ", 3.0),
            ("t_late ", 3.0),
        ] {
            assert_eq!(points.get(name), Some(&value), "{name}");
        }
        let resource = last.resource.expect("a resource");
        let found = attributes(&resource.attributes);
        let of = |key: &str| found[key].as_str();
        assert_eq!((of("service.name"), of("host.name")), ("trigon", "node-1"));
        assert_eq!(of("service.instance.id"), "0123456789abcdef0123456789abcdef");
    }
}

#[tokio::test]
async fn it_is_encrypted_as_the_rest_is() {
    for protocol in PROTOCOLS {
        let directory = tempfile::tempdir().expect("a directory");
        let (receiver, closed) = (Receiver::default(), Closed::new());
        let mut config = config(protocol, &closed);
        config.endpoint = format!("https://{}", closed.address);
        config.tls.ca_file = tls::certificate(directory.path());
        tls::serve(protocol, directory.path(), &receiver, closed);
        let (health, stop) = (Health::default(), CancellationToken::new());
        let running = push(config.clone())
            .start(registry(), 10_000, &sample::node(), health.clone(), stop.clone())
            .unwrap();
        until(|| receiver.see(|received| !received.metrics.is_empty())).await;
        // A broken file leaves the connection as it was, and is told of.
        let certificate = std::fs::read(&config.tls.ca_file).expect("a file");
        std::fs::write(&config.tls.ca_file, "").expect("a file");
        until(|| health.state().failing).await;
        assert!(health.state().last_failure.expect("a failure").why.contains("no certificate"));
        let before = receiver.see(|received| received.metrics.len());
        until(|| receiver.see(|received| received.metrics.len() > before + 1)).await;
        std::fs::write(&config.tls.ca_file, certificate).expect("a file");
        until(|| !health.state().failing).await;
        stop.cancel();
        tokio::time::timeout(HANG, running).await.expect("no hang").expect("no panic");
        assert!(!health.state().failing);

        config.tls.ca_file = "/nowhere".into();
        let refused = push(config).start(registry(), 1, &sample::node(), health, CancellationToken::new());
        assert!(refused.expect_err("no file").to_string().contains("/nowhere"));
    }
}

#[tokio::test]
async fn a_receiver_that_refuses_is_told_of() {
    for protocol in PROTOCOLS {
        let (receiver, closed) = (Receiver::answering([Answer::Invalid]), Closed::new());
        let config = config(protocol, &closed);
        receiver.serve(protocol, closed);
        let (health, stop) = (Health::default(), CancellationToken::new());
        let running =
            push(config).start(registry(), 10_000, &sample::node(), health.clone(), stop.clone()).unwrap();
        until(|| health.state().last_success.is_some()).await;
        let why = health.state().last_failure.expect("a failure").why;
        let reason = if protocol == Protocol::Grpc { "InvalidArgument" } else { "400" };
        assert!(why.contains(reason), "{why}");
        stop.cancel();
        tokio::time::timeout(HANG, running).await.expect("no hang").expect("no panic");
    }
}

#[test]
fn where_to_push_is_found() {
    let base = OtlpConfig { endpoint: "http://c".to_owned(), ..OtlpConfig::default() };
    let find = |config: &SelfMetricsConfig, base: &OtlpConfig, environment: &[(&str, &str)], flag| {
        let get = |name: &str| {
            environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        let push = Push::new(config, std::slice::from_ref(base), &get, flag);
        push.map(|push| push.map(|push| push.settings.endpoint.to_string())).map_err(|error| error.name)
    };
    let own = SelfMetricsConfig { endpoint: "http://own/m".to_owned(), ..QUICK };
    let found = |url: &str| Ok(Some(url.to_owned()));
    let variable = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://env/x");
    assert_eq!(find(&SelfMetricsConfig::default(), &base, &[variable], None), Ok(None));
    assert_eq!(find(&QUICK, &base, &[], None), found("http://c/v1/metrics"));
    assert_eq!(find(&own, &base, &[], None), found("http://own/m"));
    assert_eq!(find(&own, &base, &[variable], None), found("http://env/x"));
    assert_eq!(find(&own, &base, &[], Some("http://flag")), found("http://flag/v1/metrics"));
    assert_eq!(find(&QUICK, &base, &[("OTEL_METRICS_EXPORTER", "none")], None), Ok(None));
    let nowhere = OtlpConfig::default();
    assert_eq!(find(&QUICK, &nowhere, &[], None), Err("self_metrics.endpoint".to_owned()));
    let never = SelfMetricsConfig { interval: Duration::ZERO, ..QUICK };
    assert_eq!(find(&never, &base, &[], None), Err("self_metrics.interval".to_owned()));
    let logs_off: OtlpConfig =
        toml::from_str("endpoint = \"http://c\"\nlogs.enabled = false").expect("a table");
    assert_eq!(find(&QUICK, &logs_off, &[], None), found("http://c/v1/metrics"));
}
