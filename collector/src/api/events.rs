//! `GET /v1/events`: events as they come, one JSON line each, until the client goes or the agent stops.

use std::{convert::Infallible, sync::Arc};

use axum::{
    body::{Body, Bytes},
    extract::{Query, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use trigon_exporters::{
    filter::{self, About, Filter, FilterConfig, Gate},
    json::JsonWriter,
    lines,
    serve::Endless,
    sink::{self, Chunk, QueueReceiver},
};

use super::server::{Agent, problem};

/// Events that wait for one client. What finds the queue full is lost for it, and it is told how many.
const WAITING: usize = 16_384;

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventsQuery {
    /// First what the agent still has of the past.
    pub since_start: bool,
    /// Which events: a [`FilterConfig`] in JSON. Empty: all.
    pub filter: String,
}

/// A line that is no event: the client was too slow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostLine {
    /// What was lost.
    pub trigon_lost: LostEvents,
    /// The agent's node.
    pub node_name: String,
    /// When this was said.
    pub time: Timestamp,
}

/// How much was lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostEvents {
    /// Events, since the last such line.
    pub events: u64,
}

/// Writes a client's lines.
struct Lines {
    writer: JsonWriter,
    filter: Filter,
    node: String,
    told: u64,
    out: mpsc::Sender<Bytes>,
    _place: OwnedSemaphorePermit,
}

pub(super) async fn follow(State(agent): State<Agent>, query: Query<EventsQuery>) -> Response {
    let filter = match filter(&query.filter) {
        Ok(filter) => filter,
        Err(error) => return problem(StatusCode::UNPROCESSABLE_ENTITY, error),
    };
    let Ok(place) = Arc::clone(&agent.followers).try_acquire_owned() else {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "as many clients follow as may at a time");
    };
    let gate = Gate::new(&filter, "api", &agent.loss);
    let lost = agent.loss.counter("queue", "full", "api");
    let (sender, events) = sink::gated(WAITING, lost, lines::has_line, gate);
    let since_start = query.since_start;
    let past = agent.pipeline.call(move |pipeline| {
        let past = if since_start { pipeline.router.recent().chunks() } else { Vec::new() };
        pipeline.router.follow(sender);
        past
    });
    let past = match past.await {
        Ok(past) => past,
        Err(stopping) => return problem(StatusCode::SERVICE_UNAVAILABLE, stopping),
    };
    // One piece on its way to the client, one in the making: the rest waits in the queue.
    let (out, mut pieces) = mpsc::channel::<Bytes>(1);
    let node = agent.node.name.clone();
    let writer = JsonWriter::new(node.clone(), agent.host_namespaces).showing(events.fields());
    tokio::spawn(Lines { writer, filter, node, told: 0, out, _place: place }.run(past, events));
    let pieces = futures_util::stream::poll_fn(move |context| {
        pieces.poll_recv(context).map(|piece| piece.map(Ok::<_, Infallible>))
    });
    let mut response = ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(pieces)).into_response();
    response.extensions_mut().insert(Endless);
    response
}

/// The filter that a client asks for.
fn filter(text: &str) -> Result<Filter, String> {
    let config = match text {
        "" => FilterConfig::default(),
        text => serde_json::from_str(text).map_err(|error| format!("the filter can't be read: {error}"))?,
    };
    Filter::new("filter", &config, filter::Source::Agent).map_err(|error| error.to_string())
}

// === impl Lines ===

impl Lines {
    async fn run(mut self, past: Vec<Chunk>, mut events: QueueReceiver) {
        for chunk in past {
            let chunk =
                chunk.iter().filter(|event| self.filter.passes(&About::event(event))).cloned().collect();
            if self.send(&chunk, 0).await.is_none() {
                return;
            }
        }
        loop {
            let chunk = tokio::select! {
                chunk = events.recv() => chunk,
                () = self.out.closed() => None,
            };
            let Some(chunk) = chunk else { return };
            if self.send(&chunk, events.lost()).await.is_none() {
                return;
            }
        }
    }

    /// Sends a chunk; nothing once the client is gone.
    async fn send(&mut self, chunk: &Chunk, lost: u64) -> Option<()> {
        let mut lines = Vec::new();
        let untold = lost.saturating_sub(self.told);
        if untold > 0 {
            self.told = lost;
            let line = LostLine {
                trigon_lost: LostEvents { events: untold },
                node_name: self.node.clone(),
                time: Timestamp::now(),
            };
            // These types can't fail.
            let _ = serde_json::to_writer(&mut lines, &line);
            lines.push(b'\n');
        }
        chunk.iter().for_each(|event| self.writer.write(event, &mut lines));
        if lines.is_empty() {
            return Some(());
        }
        self.out.send(lines.into()).await.ok()
    }
}
