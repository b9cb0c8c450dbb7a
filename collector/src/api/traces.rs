//! `GET /v1/traces/ID`: a trace, as far as the agent still knows it.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use trigon_exporters::{
    display,
    event::{Event, Hook, Kind, Process},
    identity::{ExecId, TraceId},
    names,
    sink::Chunk,
};

use super::{
    processes::{EndStatus, How, ProcessStatus, moment},
    server::{Agent, problem},
};
use crate::{recent, tracker::table::Entry};

/// A trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceStatus {
    /// Its id.
    pub trace_id: String,
    /// When this was true.
    pub now: Timestamp,
    /// What ended before this moment may be missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Its spans, in the order in which they began.
    pub spans: Vec<SpanStatus>,
}

/// A span: an execution, or a file that a policy followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanStatus {
    /// Its id.
    pub span_id: String,
    /// The id of the span that it is a child of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_span_id: Option<String>,
    /// The file; none for an execution.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<FileStatus>,
    /// The execution, or the one that had the file open.
    pub process: ProcessStatus,
    /// What policies saw of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
}

/// A followed file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStatus {
    /// Its path.
    pub path: String,
    /// When it was opened.
    pub opened: Timestamp,
    /// When it was closed.
    pub closed: Timestamp,
    /// Bytes that were read.
    pub bytes_read: u64,
    /// Bytes that were written.
    pub bytes_written: u64,
}

/// What a policy saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// When.
    pub time: Timestamp,
    /// What, on one line.
    pub text: String,
    /// The policy.
    pub policy: String,
}

/// What a trace is looked up by.
enum Wanted {
    Trace(TraceId),
    Execution(String),
    Process(u32),
}

/// All that is known of a trace while it is put together.
struct Gathered {
    node: Arc<str>,
    executions: BTreeMap<ExecId, SpanStatus>,
    files: Vec<SpanStatus>,
}

pub(super) async fn get(State(agent): State<Agent>, Path(id): Path<String>) -> Response {
    let taken = agent.pipeline.call(|pipeline| {
        let tracker = &pipeline.tracker;
        let entries: Vec<Entry> = tracker.table().entries().cloned().collect();
        (tracker.clock(), entries, pipeline.router.recent().chunks())
    });
    let (clock, entries, chunks) = match taken.await {
        Ok(taken) => taken,
        Err(stopping) => return problem(StatusCode::SERVICE_UNAVAILABLE, stopping),
    };
    let node: Arc<str> = agent.node.name.as_str().into();
    let Some(trace) = Wanted::parse(&id).find(&node, &entries, &chunks) else {
        let why =
            "no such execution, process or trace among what lives and the recent past (recent.max_bytes)";
        return problem(StatusCode::NOT_FOUND, why);
    };
    let mut gathered = Gathered { node, executions: BTreeMap::new(), files: Vec::new() };
    for entry in entries.iter().filter(|entry| entry.process.trace.id == trace) {
        let end = entry.ended_at().zip(entry.end());
        let end = end.map(|(at, end)| EndStatus { at: moment(clock.at(at)), how: end.into() });
        gathered.execution(&entry.process, end);
    }
    for event in chunks.iter().flat_map(|chunk| chunk.iter()).filter(|event| event.process.trace.id == trace)
    {
        gathered.event(event);
    }
    let mut spans: Vec<_> = gathered.executions.into_values().chain(gathered.files).collect();
    if spans.is_empty() {
        return problem(StatusCode::NOT_FOUND, "nothing is known of that trace any more");
    }
    spans.sort_by_key(|span| (span.start(), span.process.pid));
    let since = recent::oldest(&chunks).map(moment);
    let now = Timestamp::now();
    Json(TraceStatus { trace_id: trace.to_string(), now, since, spans }).into_response()
}

// === impl Wanted ===

impl Wanted {
    fn parse(id: &str) -> Self {
        if let Ok(pid) = id.parse() {
            return Self::Process(pid);
        }
        TraceId::parse(id).map_or_else(|| Self::Execution(id.to_owned()), Self::Trace)
    }

    /// The trace that is meant: that of the newest execution, where a process has had several.
    fn find(&self, node: &str, entries: &[Entry], chunks: &[Chunk]) -> Option<TraceId> {
        if let Self::Trace(id) = self {
            return Some(*id);
        }
        let is_meant = |process: &Process| match self {
            Self::Process(pid) => process.pid() == *pid,
            Self::Execution(id) => process.exec_id.to_base64(node) == *id,
            Self::Trace(_) => false,
        };
        let known = entries.iter().map(|entry| &*entry.process);
        let past = chunks.iter().flat_map(|chunk| chunk.iter()).map(|event| &*event.process);
        known
            .chain(past)
            .filter(|process| is_meant(process))
            .max_by_key(|process| process.exec_id.ktime)
            .map(|process| process.trace.id)
    }
}

// === impl Gathered ===

impl Gathered {
    fn execution(&mut self, process: &Process, end: Option<EndStatus>) -> &mut SpanStatus {
        let node = &self.node;
        let span = self.executions.entry(process.exec_id).or_insert_with(|| {
            let process_status = ProcessStatus::new(process, node, None);
            SpanStatus {
                span_id: process_status.span_id.clone(),
                parent_span_id: process.trace.parent.map(|parent| parent.to_string()),
                file: None,
                process: process_status,
                marks: Vec::new(),
            }
        });
        if end.is_some() {
            span.process.end = end;
        }
        span
    }

    fn event(&mut self, event: &Event) {
        let at = moment(event.time);
        match &event.kind {
            Kind::Exec(exec) => {
                if let Some(replaced) = &exec.replaced
                    && replaced.process.trace.id == event.process.trace.id
                {
                    self.execution(&replaced.process, Some(EndStatus { at, how: How::Exec }));
                }
                self.execution(&event.process, None);
            }
            Kind::Exit(exit) => {
                let how = match exit.signal {
                    0 => How::ExitCode(exit.code),
                    signal => How::Signal(names::signal(signal).into_owned()),
                };
                self.execution(&event.process, Some(EndStatus { at, how }));
            }
            Kind::Replaced => {
                self.execution(&event.process, Some(EndStatus { at, how: How::Exec }));
            }
            Kind::Hook(hook) => {
                let mark = Mark::new(at, hook);
                self.execution(&event.process, None).marks.push(mark);
            }
            // Of each process there are dozens: they are for lists of events.
            Kind::Loader(_) => {}
            Kind::Descriptor(descriptor) => {
                let mut path = String::new();
                display::harmless(&mut path, |path| path.push_str(&descriptor.file.path));
                let owner = self.execution(&event.process, None);
                let file = SpanStatus {
                    span_id: descriptor.span.to_string(),
                    parent_span_id: Some(owner.span_id.clone()),
                    file: Some(FileStatus {
                        path,
                        opened: moment(descriptor.opened),
                        closed: moment(descriptor.closed),
                        bytes_read: descriptor.bytes_read,
                        bytes_written: descriptor.bytes_written,
                    }),
                    process: owner.process.clone(),
                    marks: Vec::new(),
                };
                self.files.push(file);
            }
            // It is about a way out, and never among what was read.
            Kind::RateLimit(_) => {}
        }
    }
}

// === impl SpanStatus ===

impl SpanStatus {
    /// When it began.
    pub fn start(&self) -> Timestamp {
        self.file.as_ref().map_or(self.process.start, |file| file.opened)
    }

    /// When it ended; none while it lasts.
    pub fn end(&self) -> Option<Timestamp> {
        match &self.file {
            Some(file) => Some(file.closed),
            None => self.process.end.as_ref().map(|end| end.at),
        }
    }
}

// === impl Mark ===

impl Mark {
    fn new(time: Timestamp, hook: &Hook) -> Self {
        let mut text = String::new();
        display::harmless(&mut text, |text| display::describe(hook, text));
        Self { time, text, policy: hook.source.policy.name.to_string() }
    }
}
