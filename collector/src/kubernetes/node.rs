//! This node's object: its labels, by which policies select it, and its uid, by which what it owns goes with it.

use std::{collections::BTreeMap, pin::pin, time::Duration};

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
use tracing::{debug, info, warn};

use super::policies::{code, said};

/// What is kept of a node's object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeMeta {
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.labels`
    pub labels: BTreeMap<String, String>,
}

/// How long one waits for what the API server doesn't show.
const PATIENCE: Duration = Duration::from_secs(60);

/// Watches the object of a node, and keeps what was last known of it.
pub async fn follow(client: Client, name: String, meta: watch::Sender<Option<NodeMeta>>) {
    let api = Api::<PartialObjectMeta<Node>>::all(client);
    let config = watcher::Config::default().any_semantic().fields(&format!("metadata.name={name}"));
    let mut events = pin!(watcher(api, config).default_backoff());
    let mut complained = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(node) | Event::InitApply(node)) => {
                if std::mem::take(&mut complained) {
                    info!(node = name, "the node's object can be watched again");
                }
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
            Ok(_) => {}
            Err(error) => {
                if !std::mem::replace(&mut complained, true) {
                    warn!(
                        node = name,
                        "the node's object can't be watched: {}; nodeSelectors see its labels as they were last known",
                        said(&error)
                    );
                }
                debug!(%error, "watching the node");
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
