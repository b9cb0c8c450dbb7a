//! Events through the real exporters, over a socket, to a real receiver.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use trigon_exporters::{
    event::Event,
    health::Health,
    metrics::{Loss, Registry},
    node::Node,
    otlp::{Destination, ExportMetrics, OtlpConfig, config::Protocol},
};
use trigon_tests::otlp::{Received, Receiver};

use crate::{replay::NODE, text};

/// What a receiver gets of these events, as text; the same by both protocols.
pub fn exported(events: &[Event]) -> String {
    let [grpc, http] =
        [Protocol::Grpc, Protocol::HttpProtobuf].map(|protocol| text::of(&export(events, protocol)));
    assert_eq!(grpc, http, "both protocols carry the same");
    grpc
}

fn export(events: &[Event], protocol: Protocol) -> Received {
    let receiver = Receiver::open();
    let config = OtlpConfig { endpoint: receiver.endpoint(), protocol, ..OtlpConfig::default() };
    let registry = Registry::new();
    let loss = Loss::register(&registry).expect("register a family");
    let metrics = ExportMetrics::register(&registry).expect("register families");
    let node = Arc::new(node());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("make a runtime");
    runtime.block_on(async {
        let all = Destination::all(&[config], &|_| None, None).expect("the settings can be used");
        let exporters: Vec<_> = all
            .iter()
            .map(|destination| {
                let (sender, queue) = destination.queue(&loss);
                sender.send(&Arc::from(events));
                let (health, token) = (Health::default(), CancellationToken::new());
                destination
                    .start(Arc::clone(&node), queue, &loss, &metrics, health, token)
                    .expect("start an exporter")
            })
            .collect();
        // The router's ends of the queues are gone: each exporter ends when all is acknowledged.
        for exporter in exporters {
            exporter.await.expect("an exporter ends");
        }
    });
    let lost = registry.gather().into_iter().filter(|family| family.name() == "trigon_lost_events_total");
    let rows = lost.flat_map(|family| family.get_metric().to_vec());
    let lost: f64 = rows.map(|row| row.get_counter().get_value()).sum();
    assert_eq!(lost, 0.0);
    receiver.received()
}

/// The facts of a node that no machine has.
fn node() -> Node {
    let text = |text: &str| Some(text.to_owned());
    Node {
        name: NODE.to_owned(),
        kubernetes: false,
        host_id: text("0123456789abcdef0123456789abcdef"),
        arch: text("amd64"),
        os_name: text("Test Linux"),
        os_version: text("1"),
        os_description: text("Test Linux 1 (Linux 6.0)"),
        ..Node::default()
    }
}
