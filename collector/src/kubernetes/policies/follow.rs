//! Watching one kind of policy.

use std::{pin::pin, time::Duration};

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
use tracing::{debug, info};

use super::{
    Complaint, Source,
    object::{Object, ObjectKey},
};

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

/// How long a kind that the API server doesn't have, or doesn't show, is let be, at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// So many times in a row a kind is missing before its policies are taken to be gone: an API server that starts, or one of
/// several that doesn't know of the kind yet, is no reason to let go of them.
const MISSING: u32 = 2;

/// Watches a kind and tells of its changes, until nobody listens.
pub(super) async fn follow(client: Client, source: Source, changes: mpsc::Sender<(Source, Change)>) {
    let resource = source.1.resource(source.0);
    let what = format!("{}.{}", resource.plural, resource.group);
    let api = Api::<DynamicObject>::all_with(client, &resource);
    // From the API server's cache: a thousand nodes that ask at once shall not all ask its database.
    let config = watcher::Config::default().any_semantic().page_size(PAGE);
    let mut events = pin!(watcher(api, config).default_backoff());
    let mut complaint = Complaint::new(what.clone());
    let mut missing = 0;
    let mut found = Vec::new();
    while let Some(event) = events.next().await {
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
                complaint.over();
                Some(Change::All(std::mem::take(&mut found)))
            }
            Ok(Event::Apply(object)) => {
                complaint.over();
                Object::of(source, object).map(Change::One)
            }
            Ok(Event::Delete(object)) => Object::of(source, object).map(|object| Change::Gone(object.key)),
            Err(error) => {
                let code = code(&error);
                if code == Some(404) {
                    missing += 1;
                    if missing == 1 {
                        info!("the API server has no {what}: its definition isn't installed; asked again each minute");
                    }
                } else {
                    complaint.say(said(&error));
                }
                debug!(%error, "watching {what}");
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

/// The status of the API server's answer, where it was one.
pub(in crate::kubernetes) fn code(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}

/// What is said of an error: of the API server's own, its words.
pub(in crate::kubernetes) fn said(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => format!("{} ({})", status.message, status.code),
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => error.to_string(),
        other => other.to_string(),
    }
}
