//! Watching the API server: what is watched comes as changes, whatever happens to the connection.

use std::time::Duration;

use futures_util::{StreamExt as _, pin_mut};
use kube::{
    Api, Client,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use tracing::{debug, info, warn};
use trigon_exporters::metrics::KubernetesMetrics;

use super::{api_pod::ApiPod, pods::Change, select::Selection};
use crate::pipeline;

/// Objects that are asked for at a time.
pub const PAGE: u32 = 100;
/// Changes that are handed on together, at most.
const TOGETHER: usize = 256;
/// What the watch of pods is called in metrics.
const PODS: &str = "pods";

/// Hands all that the API server tells of the pods of this node on to the reader's thread, until the agent stops.
pub async fn pods(
    client: Client,
    node: String,
    selection: Selection,
    pipeline: pipeline::Handle,
    metrics: KubernetesMetrics,
) {
    // From the API server's own memory: when many agents start, the store behind it isn't asked by each.
    let config =
        watcher::Config::default().fields(&format!("spec.nodeName={node}")).page_size(PAGE).any_semantic();
    let changes = watcher(Api::<ApiPod>::all(client), config).default_backoff();
    let mut complaint = Complaint::new(PODS.to_owned(), metrics.clone());
    let changes = changes.filter_map(|event| {
        let change = match event {
            Ok(event) => {
                // Each attempt to list begins with an Init; it says nothing of the API server.
                if !matches!(event, Event::Init) {
                    metrics.watch_event(PODS);
                    complaint.over();
                }
                change(event, &selection, &metrics)
            }
            Err(error) => {
                complaint.say(&error);
                None
            }
        };
        std::future::ready(change)
    });
    let chunks = changes.ready_chunks(TOGETHER);
    pin_mut!(chunks);
    while let Some(chunk) = chunks.next().await {
        if pipeline.call(move |pipeline| pipeline.change_pods(chunk)).await.is_err() {
            return;
        }
    }
}

fn change(event: Event<ApiPod>, selection: &Selection, metrics: &KubernetesMetrics) -> Option<Change> {
    Some(match event {
        Event::Init => Change::Begin,
        Event::InitApply(pod) | Event::Apply(pod) => Change::Is(Box::new(pod.entry(selection)?)),
        Event::Delete(pod) => Change::Gone(pod.cgroup_uid()?.to_owned()),
        Event::InitDone => {
            metrics.synced(PODS, true);
            debug!("the pods of this node are known");
            Change::End
        }
    })
}

/// How long what the API server doesn't have, or doesn't show, is let be, at most.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Counts each failure of a watch, and says the first of a row, and when the row is over.
#[derive(Debug)]
pub struct Complaint {
    watch: String,
    metrics: KubernetesMetrics,
    said: bool,
}

/// The status that the API server answered a watch with.
pub fn code(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::WatchError(status) => Some(status.code),
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => Some(status.code),
        _ => None,
    }
}

/// An error with what is behind it.
fn text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = inner.source();
    }
    text
}

// === impl Complaint ===

impl Complaint {
    /// Nothing was wrong yet.
    pub fn new(watch: String, metrics: KubernetesMetrics) -> Self {
        Self { watch, metrics, said: false }
    }

    /// It failed, and is tried again.
    pub fn say(&mut self, error: &watcher::Error) {
        let reason = match (code(error), error) {
            // The ordinary end of a long watch.
            (Some(410), _) => return self.metrics.watch_error(&self.watch, "expired"),
            (_, watcher::Error::InitialListFailed(_)) => "list",
            _ => "watch",
        };
        self.metrics.watch_error(&self.watch, reason);
        if !std::mem::replace(&mut self.said, true) {
            let said = text(error);
            warn!(
                watch = self.watch,
                "watching at the Kubernetes API server fails and is tried again; what is known stays: {said}"
            );
        }
    }

    /// It goes on.
    pub fn over(&mut self) {
        if std::mem::take(&mut self.said) {
            info!(watch = self.watch, "watching at the Kubernetes API server goes on");
        }
    }
}
