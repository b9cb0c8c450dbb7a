//! `GET /v1/processes`: the process table.

use std::{fmt, sync::Arc};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use trigon_exporters::{
    display,
    event::{self, Place, Process, ProcessFlags},
    names,
};

use super::server::{Agent, problem};
use crate::tracker::table::{End, Entry};

/// The executions that live, and those that ended a moment ago or whose children live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessList {
    /// When this was true.
    pub now: Timestamp,
    /// In the order in which they began.
    pub processes: Vec<ProcessStatus>,
}

/// An execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// Its id.
    pub exec_id: String,
    /// The id of the execution that started it, which may have been forgotten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_exec_id: Option<String>,
    /// Its process id in the initial PID namespace.
    pub pid: u32,
    /// Effective user id.
    pub uid: u32,
    /// Executable and arguments on one line, cut where it is long.
    pub command: String,
    /// When it began.
    pub start: Timestamp,
    /// Its trace.
    pub trace_id: String,
    /// Its span.
    pub span_id: String,
    /// The id of its container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodStatus>,
    /// It is a thread of the kernel.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kernel_thread: bool,
    /// It was forked and executes its parent's image.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forked: bool,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<EndStatus>,
}

/// The pod of an execution. What could act on a terminal is escaped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodStatus {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The name of the execution's container in it, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
}

/// The end of an execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndStatus {
    /// When.
    pub at: Timestamp,
    /// How.
    pub how: How,
}

/// How an execution ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Its process ended with this status.
    ExitCode(u8),
    /// A signal ended its process.
    Signal(String),
    /// Another execution took over its process.
    Exec,
}

/// Digits of a container's id that people are shown.
const SHORT_ID: usize = 12;

pub(super) async fn list(State(agent): State<Agent>) -> Response {
    // Only references are taken where records wait.
    let taken = agent.pipeline.call(|pipeline| {
        let tracker = &pipeline.tracker;
        (tracker.clock(), tracker.table().entries().cloned().collect::<Vec<Entry>>())
    });
    let (clock, entries) = match taken.await {
        Ok(taken) => taken,
        Err(stopping) => return problem(StatusCode::SERVICE_UNAVAILABLE, stopping),
    };
    let node = Arc::clone(&agent.node);
    let status = move |entry: &Entry| {
        let end = entry.ended_at().zip(entry.end());
        let end = end.map(|(at, end)| EndStatus { at: moment(clock.at(at)), how: end.into() });
        ProcessStatus::new(&entry.process, &node.name, end)
    };
    let mut processes: Vec<_> = entries.iter().map(status).collect();
    processes.sort_by_key(|process| (process.start, process.pid));
    Json(ProcessList { now: Timestamp::now(), processes }).into_response()
}

pub(super) fn moment(time: event::Timestamp) -> Timestamp {
    // Every u64 is in range.
    Timestamp::from_nanosecond(i128::from(time.0)).unwrap_or_default()
}

// === impl ProcessStatus ===

impl ProcessStatus {
    pub(super) fn new(process: &Process, node: &str, end: Option<EndStatus>) -> Self {
        let mut command = String::new();
        display::command(&process.image, &mut command);
        Self {
            exec_id: process.exec_id.to_base64(node),
            parent_exec_id: process.parent_exec_id.map(|id| id.to_base64(node)),
            pid: process.pid(),
            uid: process.credentials.euid,
            command,
            start: moment(process.start),
            trace_id: process.trace.id.to_string(),
            span_id: process.exec_id.span_id(node).to_string(),
            container: process.container().map(|container| container.id.clone()),
            pod: process.place().as_deref().map(PodStatus::new),
            kernel_thread: process.flags.contains(ProcessFlags::KERNEL_THREAD),
            forked: process.flags.contains(ProcessFlags::CLONE),
            end,
        }
    }

    /// Where it runs, for people: its pod and the container in it, or the container's id. None on the host, and where
    /// the one above it is there, too.
    pub fn place(&self, above: Option<&Self>) -> Option<String> {
        if above.is_some_and(|above| (&above.container, &above.pod) == (&self.container, &self.pod)) {
            return None;
        }
        let container = || {
            let id = self.container.as_deref()?;
            Some(format!("container {}", id.get(..SHORT_ID).unwrap_or(id)))
        };
        self.pod.as_ref().map(PodStatus::to_string).or_else(container)
    }
}

// === impl PodStatus ===

impl PodStatus {
    pub(super) fn new(Place { pod, container }: &Place) -> Self {
        let harmless = |text: &str| {
            let mut out = String::new();
            display::harmless(&mut out, |out| out.push_str(text));
            out
        };
        Self {
            namespace: harmless(&pod.namespace),
            name: harmless(&pod.name),
            container: container.as_ref().map(|container| harmless(&container.name)),
        }
    }
}

impl fmt::Display for PodStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, name, container } = self;
        write!(f, "{namespace}/{name}")?;
        container.as_ref().map_or(Ok(()), |container| write!(f, " {container}"))
    }
}

// === impl How ===

impl From<End> for How {
    fn from(end: End) -> Self {
        match end {
            End::Exit { code, signal: 0 } => Self::ExitCode(code),
            End::Exit { signal, .. } => Self::Signal(names::signal(signal).into_owned()),
            End::Exec => Self::Exec,
        }
    }
}

#[cfg(test)]
mod tests {
    use trigon_exporters::event::{Cgroup, Pod, PodContainer};

    use super::*;

    #[test]
    fn a_process_tells_of_its_pod_in_harmless_words() {
        let process = Process { cgroup: Arc::new(Cgroup::default()), ..Process::default() };
        let status = || ProcessStatus::new(&process, "n", None);
        assert_eq!((status().pod, status().place(None)), (None, None));
        let pod =
            Pod { namespace: "shop".to_owned(), name: "web-\u{1b}[2J\u{202e}".to_owned(), ..Pod::default() };
        let container = PodContainer { name: "nginx".to_owned(), ..PodContainer::default() };
        for (container, expected) in
            [(None, "shop/web-\\u{1b}[2J\\u{202e}"), (Some(container), "shop/web-\\u{1b}[2J\\u{202e} nginx")]
        {
            let place = Place { pod: Arc::new(pod.clone()), container: container.map(Arc::new) };
            process.cgroup.place.set(Some(Arc::new(place)));
            assert_eq!(status().place(None).as_deref(), Some(expected));
        }
        let read: ProcessStatus = serde_json::from_str(&serde_json::to_string(&status()).unwrap()).unwrap();
        assert_eq!(read, status());
    }
}
