//! Delivery over real sockets. Nothing here measures time: limits on waiting only keep a failure from hanging.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    receiver::{Answer, Closed, Receiver},
    sample,
};
use crate::{
    compression::Compression,
    event::{Event, Process},
    health::{Health, State},
    metrics::{Loss, Registry},
    otlp::{
        Destination, ExportMetrics, OtlpConfig, Signal,
        config::{BatchConfig, Headers, Protocol, QueueConfig, RetryConfig},
    },
    sink::{Chunk, QueueSender},
};

pub(super) const PROTOCOLS: [Protocol; 2] = [Protocol::Grpc, Protocol::HttpProtobuf];
const SIGNALS: [Signal; 2] = [Signal::Logs, Signal::Spans];

/// Far longer than anything here takes.
pub(super) const HANG: Duration = Duration::from_secs(120);

/// Longer than a test lives: what waits this long never comes.
const NEVER: Duration = Duration::from_secs(86_400);

/// A running exporter.
pub(super) struct Exporter {
    router: QueueSender,
    task: JoinHandle<()>,
    registry: Registry,
    pub(super) give_up: CancellationToken,
    pub(super) health: Health,
}

pub(super) fn config(protocol: Protocol, receiver: &Closed) -> OtlpConfig {
    OtlpConfig {
        endpoint: format!("http://{}", receiver.address),
        protocol,
        timeout: HANG,
        batch: BatchConfig { max_records: 10, max_age: Duration::from_millis(20), ..BatchConfig::default() },
        retry: RetryConfig {
            initial: Duration::from_millis(5),
            max: Duration::from_millis(20),
            ..RetryConfig::default()
        },
        ..OtlpConfig::default()
    }
}

impl Exporter {
    pub(super) fn start(signal: Signal, config: &OtlpConfig) -> Self {
        let all = Destination::all(std::slice::from_ref(config), &|_| None, None).expect("usable");
        let destination = all.into_iter().find(|one| one.signal == signal).expect("an endpoint");
        let registry = Registry::new();
        let loss = Loss::register(&registry).expect("a family");
        let metrics = ExportMetrics::register(&registry).expect("families");
        let (router, events) = destination.queue(&loss);
        let give_up = CancellationToken::new();
        let node = Arc::new(sample::node());
        let health = Health::default();
        let task = destination
            .start(node, events, &loss, &metrics, health.clone(), give_up.clone())
            .expect("a connection");
        Self { router, task, registry, give_up, health }
    }

    pub(super) fn send(&self, events: Vec<Event>) {
        self.router.send(&Chunk::from(events));
    }

    /// Ends the router's side and waits for the rest.
    pub(super) async fn finish(self) -> Registry {
        drop(self.router);
        tokio::time::timeout(HANG, self.task).await.expect("no hang").expect("no panic");
        self.registry
    }

    /// Waits until a metric has at least this value.
    pub(super) async fn reaches(&self, family: &str, value: f64) {
        let reached = async {
            while sum(&self.registry, family, "") < value {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(HANG, reached)
            .await
            .unwrap_or_else(|_| panic!("{family} never reached {value}"));
    }
}

impl Exporter {
    /// Waits until the exporter's health is this.
    pub(super) async fn becomes(&self, is: impl Fn(&State) -> bool) {
        let reached = async {
            while !is(&self.health.state()) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(HANG, reached).await.expect("it becomes so");
    }
}

/// The sum of a family's series whose labels have each of these values, separated by spaces.
fn sum(registry: &Registry, family: &str, values: &str) -> f64 {
    let families = registry.gather();
    let series = families.iter().filter(|found| found.name() == family).flat_map(|found| found.get_metric());
    series
        .filter(|series| {
            values.split_whitespace().all(|value| series.get_label().iter().any(|pair| pair.value() == value))
        })
        .map(|series| series.get_counter().get_value() + series.get_gauge().get_value())
        .sum()
}

pub(super) fn lost(registry: &Registry, values: &str) -> f64 {
    sum(registry, "trigon_lost_events_total", values)
}

fn acknowledged(registry: &Registry) -> f64 {
    sum(registry, "trigon_export_records_total", "")
}

/// The pids of the records or spans that arrived, each as often as it did.
fn pids(receiver: &Receiver, signal: Signal) -> Vec<String> {
    let key = |attributes: &[opentelemetry_proto::tonic::common::v1::KeyValue]| {
        let exec_id = attributes.iter().find(|pair| pair.key == "trigon.exec_id");
        format!("{:?}", exec_id.expect("an exec id").value)
    };
    receiver.see(|received| match signal {
        Signal::Logs => {
            received.logs.iter().map(|record| record.event_name.clone() + &key(&record.attributes)).collect()
        }
        Signal::Spans => received.spans.iter().map(|span| key(&span.attributes)).collect(),
    })
}

fn distinct(all: &[String]) -> usize {
    all.iter().collect::<BTreeSet<_>>().len()
}

/// Runs a case for each signal and protocol: `lifecycles` are sent, and the receiver answers as told.
async fn case(
    answers: &[Answer],
    lifecycles: u32,
    retry: RetryConfig,
    check: impl Fn(Signal, &Receiver, &Registry),
) {
    for (signal, protocol) in
        SIGNALS.into_iter().flat_map(|signal| PROTOCOLS.map(|protocol| (signal, protocol)))
    {
        let (receiver, closed) = (Receiver::answering(answers.iter().cloned()), Closed::new());
        let exporter = Exporter::start(signal, &OtlpConfig { retry, ..config(protocol, &closed) });
        receiver.serve(protocol, closed);
        exporter.send(sample::lifecycles(lifecycles));
        let registry = exporter.finish().await;
        check(signal, &receiver, &registry);
        let records = sent(signal, lifecycles);
        assert_eq!(
            acknowledged(&registry) + lost(&registry, ""),
            records,
            "{signal:?} over {protocol:?} balances"
        );
        assert_eq!(sum(&registry, "trigon_export_queue_bytes", ""), 0.0);
        assert_eq!(sum(&registry, "trigon_export_queue_events", ""), 0.0);
    }
}

/// Records that a signal has of this many lifecycles.
fn sent(signal: Signal, lifecycles: u32) -> f64 {
    f64::from(if signal == Signal::Logs { 2 * lifecycles } else { lifecycles })
}

/// Tries again in a moment.
const SOON: RetryConfig = RetryConfig {
    initial: Duration::from_millis(5),
    max: Duration::from_millis(20),
    max_elapsed: Duration::ZERO,
};

#[tokio::test]
async fn everything_arrives_intact_over_both_protocols_compressed_or_not() {
    for (signal, protocol) in
        SIGNALS.into_iter().flat_map(|signal| PROTOCOLS.map(|protocol| (signal, protocol)))
    {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let (receiver, closed) = (Receiver::default(), Closed::new());
            let headers = Headers([("X-Api-Key".to_owned(), "k y".to_owned())].into());
            let config = OtlpConfig { compression, headers, ..config(protocol, &closed) };
            let exporter = Exporter::start(signal, &config);
            receiver.serve(protocol, closed);
            // One larger than any buffer on the way.
            let large = "x\0".repeat(2_000) + &"y".repeat(300_000) + "\0";
            let image = crate::event::Image::new("/bin/x", "", "/", &large, None);
            let large = Process { image: Arc::new(image), ..sample::process(5_000) };
            exporter.send(sample::lifecycles(250));
            exporter.send(vec![sample::exec(large.clone()), sample::exit(large, 0, 0)]);
            let registry = exporter.finish().await;

            let arrived = pids(&receiver, signal);
            assert_eq!(arrived.len() as f64, sent(signal, 251), "{signal:?} {protocol:?} {compression:?}");
            assert_eq!(distinct(&arrived), arrived.len());
            assert_eq!((acknowledged(&registry), lost(&registry, "")), (sent(signal, 251), 0.0));
            receiver.see(|received| {
                let encoding = if protocol == Protocol::Grpc { "grpc-encoding" } else { "content-encoding" };
                let expected = match compression {
                    Compression::None => None,
                    Compression::Gzip => Some("gzip"),
                    Compression::Zstd => Some("zstd"),
                };
                for headers in &received.headers {
                    assert_eq!(headers["x-api-key"], "k y");
                    assert!(headers["user-agent"].to_str().expect("text").starts_with("Trigon/"));
                    assert_eq!(headers.get(encoding).map(|value| value.to_str().expect("text")), expected);
                }
                assert!(received.headers.len() > 25);
                if signal == Signal::Spans {
                    assert_eq!(received.spans.last().expect("a span").attributes.len(), 26);
                }
            });
        }
    }
}

#[tokio::test]
async fn a_batch_is_sent_when_it_is_old_enough() {
    let (receiver, closed) = (Receiver::default(), Closed::new());
    let exporter = Exporter::start(Signal::Logs, &config(Protocol::HttpProtobuf, &closed));
    receiver.serve(Protocol::HttpProtobuf, closed);
    exporter.send(sample::lifecycles(1));
    exporter.reaches("trigon_export_records_total", 2.0).await;
    assert_eq!(lost(&exporter.finish().await, ""), 0.0);
    assert_eq!(receiver.see(|received| (received.requests, received.logs.len())), (1, 2));
}

#[tokio::test]
async fn an_endpoint_that_does_not_speak_tls_is_not_spoken_to_in_plain() {
    for protocol in PROTOCOLS {
        let (receiver, closed) = (Receiver::default(), Closed::new());
        let endpoint = format!("https://{}", closed.address);
        let exporter = Exporter::start(Signal::Logs, &OtlpConfig { endpoint, ..config(protocol, &closed) });
        receiver.serve(protocol, closed);
        exporter.send(sample::lifecycles(5));
        exporter.reaches("trigon_export_retries_total", 2.0).await;
        exporter.give_up.cancel();
        let registry = exporter.finish().await;
        assert_eq!(
            (lost(&registry, "spool shutdown otlp_logs"), receiver.see(|received| received.requests)),
            (10.0, 0)
        );
    }
}

#[tokio::test]
async fn what_is_queued_arrives_when_a_refusing_endpoint_is_back() {
    for (signal, protocol) in
        SIGNALS.into_iter().flat_map(|signal| PROTOCOLS.map(|protocol| (signal, protocol)))
    {
        let (receiver, closed) = (Receiver::default(), Closed::new());
        let exporter = Exporter::start(signal, &config(protocol, &closed));
        exporter.send(sample::lifecycles(100));
        exporter.reaches("trigon_export_retries_total", 2.0).await;
        receiver.serve(protocol, closed);
        let registry = exporter.finish().await;
        assert_eq!(distinct(&pids(&receiver, signal)) as f64, sent(signal, 100));
        assert_eq!((acknowledged(&registry), lost(&registry, "")), (sent(signal, 100), 0.0));
        assert!(sum(&registry, "trigon_export_requests_total", "connect") >= 2.0);
    }
}

#[tokio::test]
async fn an_unavailable_endpoint_is_tried_again() {
    let answers = [Answer::Unavailable, Answer::Unavailable, Answer::Accept, Answer::Unavailable];
    case(&answers, 30, SOON, |signal, receiver, registry| {
        assert_eq!(receiver.see(|received| received.answers.len()), 0);
        assert_eq!(distinct(&pids(receiver, signal)) as f64, sent(signal, 30));
        assert_eq!((lost(registry, ""), sum(registry, "trigon_export_retries_total", "")), (0.0, 3.0));
    })
    .await;
}

#[tokio::test]
async fn the_endpoints_own_delay_is_kept() {
    // Without it the next try would be tomorrow.
    let retry = RetryConfig { initial: NEVER, max: NEVER, max_elapsed: Duration::ZERO };
    let answers = [Answer::Later("0"), Answer::Later("1"), Answer::Later("Sun, 06 Nov 1994 08:49:37 GMT")];
    case(&answers, 5, retry, |signal, receiver, registry| {
        assert_eq!(distinct(&pids(receiver, signal)) as f64, sent(signal, 5));
        assert_eq!((lost(registry, ""), sum(registry, "trigon_export_retries_total", "")), (0.0, 3.0));
    })
    .await;
}

#[tokio::test]
async fn rejected_records_are_lost_and_not_sent_again() {
    // The last says more than it was given, and an answer below nothing is no answer.
    case(
        &[Answer::Reject(3), Answer::Reject(-1), Answer::Reject(i64::MAX)],
        15,
        SOON,
        |signal, receiver, registry| {
            let requests = (sent(signal, 15) / 10.0).ceil();
            assert_eq!(receiver.see(|received| received.requests) as f64, requests);
            let expected = if signal == Signal::Logs { 13.0 } else { 3.0 };
            assert_eq!(lost(registry, &format!("export rejected {}", signal.exporter())), expected);
            assert_eq!(lost(registry, "export"), expected);
            if signal == Signal::Logs {
                assert_eq!((lost(registry, "PROCESS_EXEC"), lost(registry, "PROCESS_EXIT")), (6.0, 7.0));
            }
        },
    )
    .await;
}

#[tokio::test]
async fn what_the_endpoint_never_takes_is_lost_and_the_next_goes_on() {
    for refusal in [Answer::Invalid, Answer::TooLarge, Answer::Elsewhere] {
        case(&[refusal, Answer::Accept], 20, SOON, |signal, receiver, registry| {
            assert_eq!(lost(registry, &format!("export permanent {}", signal.exporter())), 10.0);
            assert_eq!(pids(receiver, signal).len() as f64, sent(signal, 20) - 10.0);
            assert_eq!(sum(registry, "trigon_export_retries_total", ""), 0.0);
        })
        .await;
    }
}

#[tokio::test]
async fn a_reply_without_end_is_not_read_to_the_end() {
    case(&[Answer::Endless], 5, SOON, |_, _, registry| assert_eq!(lost(registry, ""), 0.0)).await;
}

#[tokio::test]
async fn a_batch_is_given_up_after_its_time() {
    let retry = RetryConfig { max_elapsed: Duration::from_nanos(1), ..SOON };
    case(&[Answer::Unavailable], 20, retry, |signal, receiver, registry| {
        assert_eq!(lost(registry, &format!("spool expired {}", signal.exporter())), 10.0);
        assert_eq!(pids(receiver, signal).len() as f64, sent(signal, 20) - 10.0);
    })
    .await;
}

#[tokio::test]
async fn a_request_without_reply_times_out_and_is_sent_again() {
    for protocol in PROTOCOLS {
        let (receiver, closed) = (Receiver::answering([Answer::Hold]), Closed::new());
        let config = OtlpConfig { timeout: Duration::from_millis(500), ..config(protocol, &closed) };
        let exporter = Exporter::start(Signal::Logs, &config);
        receiver.serve(protocol, closed);
        exporter.send(sample::lifecycles(5));
        let registry = exporter.finish().await;
        assert!(sum(&registry, "trigon_export_requests_total", "timeout") >= 1.0);
        assert_eq!((distinct(&pids(&receiver, Signal::Logs)), lost(&registry, "")), (10, 0.0));
    }
}

#[tokio::test]
async fn a_slow_endpoint_costs_what_the_queue_cannot_hold_and_no_more() {
    for (signal, protocol) in
        SIGNALS.into_iter().flat_map(|signal| PROTOCOLS.map(|protocol| (signal, protocol)))
    {
        let (receiver, closed) = (Receiver::answering([Answer::Hold, Answer::Hold]), Closed::new());
        let queue = QueueConfig { max_events: 10_000, max_bytes: 60_000 };
        let exporter = Exporter::start(signal, &OtlpConfig { queue, ..config(protocol, &closed) });
        receiver.serve(protocol, closed);
        exporter.send(sample::lifecycles(1_000));
        exporter.reaches("trigon_lost_events_total", 1.0).await;
        assert!(sum(&exporter.registry, "trigon_export_queue_bytes", "") <= 60_000.0);
        receiver.release();
        let registry = exporter.finish().await;
        let (arrived, lost) =
            (pids(&receiver, signal), lost(&registry, &format!("spool full {}", signal.exporter())));
        assert_eq!(distinct(&arrived), arrived.len());
        assert!(arrived.len() >= 10 && lost >= 10.0);
        assert_eq!(arrived.len() as f64 + lost, sent(signal, 1_000), "{signal:?} over {protocol:?}");
        assert_eq!(acknowledged(&registry), arrived.len() as f64);
    }
}

#[tokio::test]
async fn what_finds_the_routers_queue_full_is_counted_too() {
    let (receiver, closed) = (Receiver::default(), Closed::new());
    let queue = QueueConfig { max_events: 100, ..QueueConfig::default() };
    let exporter = Exporter::start(Signal::Logs, &OtlpConfig { queue, ..config(Protocol::Grpc, &closed) });
    receiver.serve(Protocol::Grpc, closed);
    // On this single-threaded runtime nobody takes anything before the next await.
    (0..4).for_each(|_| exporter.send(sample::lifecycles(20)));
    let registry = exporter.finish().await;
    assert_eq!(lost(&registry, "queue full otlp_logs"), 80.0);
    assert_eq!(acknowledged(&registry), 80.0);
}

#[tokio::test]
async fn giving_up_counts_all_that_is_left() {
    for (signal, protocol) in
        SIGNALS.into_iter().flat_map(|signal| PROTOCOLS.map(|protocol| (signal, protocol)))
    {
        let answers = [Answer::Accept, Answer::Hold];
        let (receiver, closed) = (Receiver::answering(answers), Closed::new());
        let exporter = Exporter::start(signal, &config(protocol, &closed));
        receiver.serve(protocol, closed);
        exporter.send(sample::lifecycles(100));
        exporter.reaches("trigon_export_records_total", 10.0).await;
        // The router has not ended, and some events were not even looked at.
        exporter.give_up.cancel();
        exporter.send(sample::lifecycles(10));
        let Exporter { router, task, registry, .. } = exporter;
        tokio::time::timeout(HANG, task).await.expect("no hang").expect("no panic");
        assert_eq!(acknowledged(&registry), 10.0);
        assert_eq!(
            lost(&registry, &format!("spool shutdown {}", signal.exporter())),
            sent(signal, 110) - 10.0
        );
        router.send(&Chunk::from(sample::lifecycles(1)));
        assert_eq!(lost(&registry, "queue"), sent(signal, 1), "what comes later is the router's loss");
    }
}
