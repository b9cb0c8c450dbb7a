//! Watching one kind of policy.

use std::pin::pin;

use futures_util::StreamExt as _;
use kube::{
    Api, Client,
    core::DynamicObject,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use tokio::{sync::mpsc, time::sleep};
use tracing::info;
use trigon_exporters::metrics::KubernetesMetrics;

use super::{
    Source,
    object::{Object, ObjectKey},
};
use crate::kubernetes::watch::{Complaint, PATIENCE, code};

/// What became of the objects of a kind.
#[derive(Debug)]
pub(super) enum Change {
    /// These are all that there are.
    All(Vec<Object>),
    /// This one is new, or another than it was.
    One(Object),
    /// This one is gone.
    Gone(ObjectKey),
}

/// Objects of one answer.
const PAGE: u32 = 500;

/// So many times in a row a kind is missing before its policies are taken to be gone: an API server that starts, or one of
/// several that doesn't know of the kind yet, is no reason to let go of them.
const MISSING: u32 = 2;

/// Watches a kind and tells of its changes, until nobody listens.
pub(super) async fn follow(
    client: Client,
    source: Source,
    changes: mpsc::Sender<(Source, Change)>,
    metrics: KubernetesMetrics,
) {
    let resource = source.1.resource(source.0);
    let what = format!("{}.{}", resource.plural, resource.group);
    let api = Api::<DynamicObject>::all_with(client, &resource);
    // From the API server's cache: a thousand nodes that ask at once shall not all ask its database.
    let config = watcher::Config::default().any_semantic().page_size(PAGE);
    let mut events = pin!(watcher(api, config).default_backoff());
    let mut complaint = Complaint::new(what.clone(), metrics.clone());
    let mut missing = 0;
    let mut found = Vec::new();
    while let Some(event) = events.next().await {
        // Each attempt to list begins with an Init; it says nothing of the API server.
        if !matches!(event, Ok(Event::Init) | Err(_)) {
            metrics.watch_event(&what);
            complaint.over();
        }
        let change = match event {
            Ok(Event::Init) => {
                found.clear();
                continue;
            }
            Ok(Event::InitApply(object)) => {
                found.extend(Object::of(source, object));
                continue;
            }
            Ok(Event::InitDone) => {
                if missing > 0 {
                    info!("the API server has {what} now");
                }
                missing = 0;
                metrics.synced(&what, true);
                Some(Change::All(std::mem::take(&mut found)))
            }
            Ok(Event::Apply(object)) => Object::of(source, object).map(Change::One),
            Ok(Event::Delete(object)) => Object::of(source, object).map(|object| Change::Gone(object.key)),
            Err(error) => {
                let code = code(&error);
                if code == Some(404) {
                    missing += 1;
                    if missing == 1 {
                        info!(
                            "the API server has no {what}: its definition isn't installed; asked again each minute"
                        );
                    }
                    metrics.watch_error(&what, "missing");
                } else {
                    complaint.say(&error);
                }
                let gone = code == Some(404) && missing == MISSING;
                if gone && changes.send((source, Change::All(Vec::new()))).await.is_err() {
                    return;
                }
                if matches!(code, Some(401 | 403 | 404)) {
                    sleep(PATIENCE.mul_f64(fastrand::f64() / 2.0 + 0.5)).await;
                }
                continue;
            }
        };
        if let Some(change) = change
            && changes.send((source, change)).await.is_err()
        {
            return;
        }
    }
}
