//! The agent's own metrics, pushed over real sockets.

use std::time::Duration;

use opentelemetry_proto::tonic::metrics::v1::ResourceMetrics;
use tokio_util::sync::CancellationToken;

use super::{
    delivery::{HANG, PROTOCOLS, config},
    encoding::attributes,
    prometheus,
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

/// A registry with more series than an instrument has by default, of each kind.
pub(super) fn registry() -> Registry {
    let registry = Registry::new();
    let events = registry.counters("t_events_total", "Events.", &["kind"]).unwrap();
    let depths = registry.gauges("t_depth_bytes", "How deep.", &["kind"]).unwrap();
    let took = registry.histograms("t_seconds", "How long.", &["who", "kind"], &[1.0, 2.5]).unwrap();
    for n in 0..SERIES {
        let kind = n.to_string();
        events.with_label_values(&[&kind]).inc_by(2);
        depths.with_label_values(&[&kind]).set((-n).into());
        [0.5, 2.0, 9.1]
            .into_iter()
            .for_each(|seconds| took.with_label_values(&["a", &kind]).observe(seconds));
    }
    registry.counter("t_bytes_total", "None yet.").unwrap();
    let hostile = registry.counters("t_cpu_seconds_total", "Time,\nof \"CPUs\".", &["z", "le", "a"]).unwrap();
    hostile.with_label_values(&["\u{0}\"\\\n", "", "ü{}=,"]).inc_by(7);
    registry.float_gauge("t_fill_ratio", "How full.").unwrap().set(0.25);
    registry
}

pub(super) async fn until(mut is: impl FnMut() -> bool) {
    let reached = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(HANG, reached).await.expect("it becomes so");
}

pub(super) fn push(config: OtlpConfig) -> Push {
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
        let running = push(config).start(registry.clone(), &node, health.clone(), stop.clone()).unwrap();
        // First nobody is there.
        until(|| health.state().failing).await;
        let why = health.state().last_failure.expect("a failure").why;
        assert!(why.contains("refused"), "{why}");
        receiver.serve(protocol, closed);
        until(|| receiver.see(|received| received.metrics.len() > 1)).await;
        late.set(3);
        stop.cancel();
        tokio::time::timeout(HANG, running).await.expect("no hang").expect("no panic");
        assert!(!health.state().failing);

        let pushed = receiver.see(|received| {
            assert!(received.headers.iter().all(|headers| headers["x-api-key"] == "k y"));
            received.metrics.clone()
        });
        // A push is two requests.
        let last = &pushed[pushed.len() - 2..];
        assert_eq!(prometheus::of_pushed(last), prometheus::of_registry(&registry));
        let resource = |of: &ResourceMetrics| of.resource.clone().expect("a resource").attributes;
        let [found, other] = [&last[0], &last[1]].map(resource);
        let found = attributes(&found);
        assert_eq!(found, attributes(&other));
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
        let running =
            push(config.clone()).start(registry(), &sample::node(), health.clone(), stop.clone()).unwrap();
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
        let refused = push(config).start(registry(), &sample::node(), health, CancellationToken::new());
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
        let running = push(config).start(registry(), &sample::node(), health.clone(), stop.clone()).unwrap();
        until(|| health.state().last_success.is_some()).await;
        let why = health.state().last_failure.expect("a failure").why;
        let reason = if protocol == Protocol::Grpc { "invalid argument: not mine" } else { "400" };
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
