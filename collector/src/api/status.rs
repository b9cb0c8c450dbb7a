//! `GET /v1/status`: how the agent does, and why that is not well.

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json,
    extract::State as Shared,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, interval};
use trigon_exporters::{
    health,
    metrics::{Loss, Lost},
};

use super::{
    HookStatus, PolicyStatus, State, VERSION,
    server::{Agent, problem},
};

/// How the agent does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Nothing is wrong.
    pub healthy: bool,
    /// What is wrong, each on a line.
    pub problems: Vec<String>,
    /// Its version.
    pub version: String,
    /// Its node.
    pub node: String,
    /// Its process id.
    pub pid: u32,
    /// When it began.
    pub start: Timestamp,
    /// When this was true.
    pub now: Timestamp,
    /// Its configuration.
    pub config: ConfigStatus,
    /// How starts and ends of processes are seen.
    pub lifecycle: Vec<HookStatus>,
    /// The process table.
    pub processes: TableStatus,
    /// All policies.
    pub policies: Vec<PolicyStatus>,
    /// The ways out.
    pub exports: Vec<ExportStatus>,
    /// What was lost since the agent began, the most first.
    pub lost: Vec<LossStatus>,
}

/// The configuration in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// Its file; none where defaults apply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Since when it is in force.
    pub loaded: Timestamp,
    /// Why what the file says now is not in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Keys whose change is in force only after a restart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs_restart: Vec<String>,
}

/// The process table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableStatus {
    /// Executions that live.
    pub living: usize,
    /// Those that ended and are remembered included.
    pub known: usize,
    /// How many there may be.
    pub capacity: usize,
}

/// A way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportStatus {
    /// Its name in metrics.
    pub name: String,
    /// What kind it is.
    pub kind: String,
    /// Where it leads.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// Events that wait for it.
    pub queued: usize,
    /// How it does.
    #[serde(flatten)]
    pub health: health::State,
}

/// Events that one stage lost for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossStatus {
    /// The stage.
    pub stage: String,
    /// The reason.
    pub reason: String,
    /// The exporter that did not get them; empty where none did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub exporter: String,
    /// How many, since the agent began.
    pub events: u64,
    /// How many of them in the last minute.
    pub last_minute: u64,
}

/// The losses of the last minute: samples of the counters.
#[derive(Clone, Debug)]
pub struct LossWatch {
    loss: Loss,
    samples: Arc<Mutex<VecDeque<(Instant, Losses)>>>,
}

/// By stage, reason and exporter.
type Losses = BTreeMap<[String; 3], u64>;

const MINUTE: Duration = Duration::from_secs(60);
const SAMPLE_EVERY: Duration = Duration::from_secs(10);

pub(super) async fn get(Shared(agent): Shared<Agent>) -> Response {
    let sizes = agent.pipeline.call(|pipeline| {
        let table = pipeline.tracker.table();
        TableStatus { living: table.living().count(), known: table.len(), capacity: table.capacity() }
    });
    let policies = agent.policies.call(|manager| manager.list());
    let (processes, policies) = match (sizes.await, policies.await) {
        (Ok(processes), Ok(policies)) => (processes, policies),
        (Err(stopping), _) | (_, Err(stopping)) => return problem(StatusCode::SERVICE_UNAVAILABLE, stopping),
    };
    let exports = agent.ways_out.list().into_iter().map(|export| ExportStatus {
        name: export.name.to_string(),
        kind: export.kind.to_owned(),
        queued: export.waiting(),
        target: export.target,
        health: export.health.state(),
    });
    let mut status = Status {
        healthy: true,
        problems: Vec::new(),
        version: VERSION.to_owned(),
        node: agent.node.name.clone(),
        pid: std::process::id(),
        start: agent.start,
        now: Timestamp::now(),
        config: agent.config.get(),
        lifecycle: agent.lifecycle.to_vec(),
        processes,
        policies,
        exports: exports.collect(),
        lost: agent.losses.now(),
    };
    status.problems = status.find_problems();
    status.healthy = status.problems.is_empty();
    Json(status).into_response()
}

// === impl Status ===

impl Status {
    fn find_problems(&self) -> Vec<String> {
        let config =
            self.config.error.iter().map(|error| format!("the configuration of before is in force: {error}"));
        let exports = self.exports.iter().filter(|export| export.health.failing).map(|export| {
            let why = export.health.last_failure.as_ref().map_or("", |failure| &failure.why);
            format!("{} fails: {why}", export.name)
        });
        let policies =
            self.policies.iter().filter(|policy| matches!(policy.state, State::Error | State::LoadError));
        let policies = policies.map(|policy| {
            let name = policy.key().unwrap_or_else(|| policy.from.to_string());
            format!("policy {name}: {}", policy.error.as_deref().unwrap_or(policy.state.as_str()))
        });
        // What a rate limit drops is dropped on purpose.
        let lost = self.lost.iter().filter(|loss| loss.last_minute > 0 && loss.reason != "rate_limit");
        let lost =
            lost.map(|loss| format!("{} events lost in the last minute, {}", loss.last_minute, loss.place()));
        config.chain(exports).chain(policies).chain(lost).collect()
    }
}

// === impl LossStatus ===

impl LossStatus {
    /// Where and why, for people.
    pub fn place(&self) -> String {
        let Self { stage, reason, exporter, .. } = self;
        if exporter.is_empty() {
            format!("{stage}: {reason}")
        } else {
            format!("{stage} of {exporter}: {reason}")
        }
    }
}

// === impl LossWatch ===

impl LossWatch {
    /// Of these counters. Samples are taken while [`Self::run`] runs.
    pub fn new(loss: Loss) -> Self {
        Self { loss, samples: Arc::default() }
    }

    /// Takes samples, without end.
    pub async fn run(self) {
        let mut period = interval(SAMPLE_EVERY);
        loop {
            let now = period.tick().await;
            let sample = (now, self.read());
            let mut samples = self.lock();
            samples.push_back(sample);
            // The first is the last one that is at least a minute old.
            while samples.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= MINUTE) {
                samples.pop_front();
            }
        }
    }

    fn now(&self) -> Vec<LossStatus> {
        let before = self.lock().front().map(|(_, losses)| losses.clone()).unwrap_or_default();
        let lost = self.read().into_iter().filter(|(_, events)| *events > 0).map(|(key, events)| {
            let last_minute = events.saturating_sub(before.get(&key).copied().unwrap_or(0));
            let [stage, reason, exporter] = key;
            LossStatus { stage, reason, exporter, events, last_minute }
        });
        let mut lost: Vec<_> = lost.collect();
        lost.sort_by_key(|loss| std::cmp::Reverse(loss.events));
        lost
    }

    fn read(&self) -> Losses {
        let mut losses = Losses::new();
        for Lost { stage, reason, exporter, events } in self.loss.read() {
            *losses.entry([stage, reason, exporter]).or_default() += events;
        }
        losses
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(Instant, Losses)>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
