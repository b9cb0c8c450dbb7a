//! Watches: streams of changes, one JSON object a line.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::body::{Body, Bytes};
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};

use super::{
    Shared,
    reading::Wanted,
    record::{Entry, Open},
    request::Asked,
    status::Status,
    store::Change,
};

/// How long a watch lasts that doesn't say it.
const LONG: Duration = Duration::from_secs(3600);
/// How often a watch that wants bookmarks gets one.
const BOOKMARKS: Duration = Duration::from_secs(60);

struct Stream {
    shared: Arc<Shared>,
    wanted: Wanted,
    /// Changes up to this revision are told.
    told: u64,
    lines: VecDeque<Bytes>,
    ended: bool,
    marks: bool,
    deadline: Instant,
    latest: watch::Receiver<u64>,
    bookmark: watch::Receiver<u64>,
    expire: watch::Receiver<u64>,
    hang: watch::Receiver<bool>,
    entry: Arc<Entry>,
    _open: Open,
}

/// Opens a watch.
pub(super) fn open(
    shared: &Arc<Shared>,
    asked: &Asked,
    wanted: Wanted,
    entry: &Arc<Entry>,
) -> Result<Body, Status> {
    let from = asked.number("resourceVersion")?;
    let initial = asked.query.contains_key("sendInitialEvents");
    if initial && asked.parameter("resourceVersionMatch") != "NotOlderThan" {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        return Err(Status::new(422, "Invalid", why));
    }
    let seconds = asked.number("timeoutSeconds")?.filter(|seconds| *seconds > 0);
    let marks = asked.is("allowWatchBookmarks");
    let mut stream = Stream {
        latest: shared.store.follow(&wanted.resource.id)?,
        bookmark: shared.bookmark.subscribe(),
        expire: shared.expire.subscribe(),
        hang: shared.hang.subscribe(),
        shared: Arc::clone(shared),
        told: from.unwrap_or_default(),
        lines: VecDeque::new(),
        ended: false,
        marks,
        deadline: Instant::now() + seconds.map_or(LONG, Duration::from_secs),
        entry: Arc::clone(entry),
        _open: shared.record.opens(),
        wanted,
    };
    let now = shared.store.list(&stream.wanted.resource.id, None)?;
    if asked.is("sendInitialEvents") || (!initial && stream.told == 0) {
        for (key, object) in &now.1 {
            if stream.wanted.takes(key, object) {
                stream.push("ADDED", object);
            }
        }
        stream.told = now.0;
        if asked.is("sendInitialEvents") && marks {
            stream.mark(&json!({"k8s.io/initial-events-end": "true"}));
        }
    } else if stream.told == 0 {
        stream.told = now.0;
    }
    let lines = futures_util::stream::unfold(stream, |mut stream| async move {
        let line = stream.next().await?;
        Some((Ok::<_, std::io::Error>(line), stream))
    });
    Ok(Body::from_stream(lines))
}

// === impl Stream ===

impl Stream {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.hang.wait_for(|hangs| !hangs).await.is_err() {
                return None;
            }
            if let Some(line) = self.lines.pop_front() {
                self.entry.sent.fetch_add(line.len() as u64, Ordering::Relaxed);
                return Some(line);
            }
            if self.ended {
                return None;
            }
            self.latest.mark_unchanged();
            match self.shared.store.changes(&self.wanted.resource.id, self.told) {
                Ok((revision, changes)) => {
                    changes.iter().for_each(|change| self.tell(change));
                    self.told = revision;
                }
                Err(status) => self.fail(&status),
            }
            if self.lines.is_empty() {
                self.wait().await;
            }
        }
    }

    /// Until there may be something to tell.
    async fn wait(&mut self) {
        let (deadline, told) = (self.deadline, self.told);
        tokio::select! {
            changed = self.latest.changed() => self.ended |= changed.is_err(),
            _ = self.bookmark.changed() => self.mark(&json!({})),
            _ = self.expire.changed() => self.fail(&Status::expired(told, told)),
            () = tokio::time::sleep(BOOKMARKS) => self.mark(&json!({})),
            () = tokio::time::sleep_until(deadline) => {
                self.mark(&json!({}));
                self.ended = true;
            }
        }
    }

    /// What a change is to those who see only some of the objects.
    fn tell(&mut self, change: &Change) {
        let takes = |object: &Option<Arc<Value>>| {
            object.as_ref().is_some_and(|object| self.wanted.takes(&change.key, object))
        };
        let kind = match (takes(&change.before), takes(&change.after)) {
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
            (false, false) => return,
        };
        self.push(kind, &change.last);
    }

    fn push(&mut self, kind: &str, object: &Value) {
        let object = self.wanted.shown(object);
        self.line(&json!({"type": kind, "object": object}));
    }

    fn mark(&mut self, annotations: &Value) {
        if !self.marks {
            return;
        }
        let (resource, version) = (&self.wanted.resource, &self.wanted.version.name);
        let object = json!({
            "kind": resource.kind, "apiVersion": resource.api_version(version),
            "metadata": {
                "resourceVersion": self.told.to_string(), "creationTimestamp": null, "annotations": annotations,
            },
        });
        self.line(&json!({"type": "BOOKMARK", "object": object}));
    }

    fn fail(&mut self, status: &Status) {
        self.line(&json!({"type": "ERROR", "object": status.object()}));
        self.ended = true;
    }

    fn line(&mut self, event: &Value) {
        self.lines.push_back(format!("{event}\n").into());
    }
}
