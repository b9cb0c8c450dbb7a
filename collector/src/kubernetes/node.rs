//! This node's object: its labels, by which policies select it, and its uid, by which what it owns goes with it.

use std::{collections::BTreeMap, pin::pin};

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client,
    core::{PartialObjectMeta, Selector, SelectorExt as _},
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use tokio::{sync::watch, time::sleep};
use trigon_exporters::metrics::KubernetesMetrics;

use super::watch::{Complaint, PATIENCE, code};

/// What is kept of a node's object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeMeta {
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.labels`
    pub labels: BTreeMap<String, String>,
}

/// What the watch of it is called in metrics.
const WATCH: &str = "node";

/// Watches the object of a node, and keeps what was last known of it.
pub async fn follow(
    client: Client,
    name: String,
    meta: watch::Sender<Option<NodeMeta>>,
    metrics: KubernetesMetrics,
) {
    let api = Api::<PartialObjectMeta<Node>>::all(client);
    let config = watcher::Config::default().any_semantic().fields(&format!("metadata.name={name}"));
    let mut events = pin!(watcher(api, config).default_backoff());
    let mut complaint = Complaint::new(WATCH.to_owned(), metrics.clone());
    while let Some(event) = events.next().await {
        // Each attempt to list begins with an Init; it says nothing of the API server.
        if !matches!(event, Ok(Event::Init) | Err(_)) {
            metrics.watch_event(WATCH);
            complaint.over();
        }
        match event {
            Ok(Event::Apply(node) | Event::InitApply(node)) => {
                let next = NodeMeta {
                    uid: node.metadata.uid.unwrap_or_default(),
                    labels: node.metadata.labels.unwrap_or_default(),
                };
                meta.send_if_modified(|known| {
                    let changed = known.as_ref() != Some(&next);
                    *known = Some(next);
                    changed
                });
            }
            Ok(Event::InitDone) => metrics.synced(WATCH, true),
            // A node that is gone for the API server still runs this agent.
            Ok(Event::Init | Event::Delete(_)) => {}
            Err(error) => {
                complaint.say(&error);
                if matches!(code(&error), Some(401 | 403 | 404)) {
                    sleep(PATIENCE.mul_f64(fastrand::f64() / 2.0 + 0.5)).await;
                }
            }
        }
    }
}

// === impl NodeMeta ===

impl NodeMeta {
    /// Whether the selector takes this node.
    pub fn is_selected(&self, selector: &Selector) -> bool {
        selector.matches(&self.labels)
    }
}
