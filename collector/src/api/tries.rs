//! `POST /v1/tries`: what policies would do, counted for a while, and nothing of it told or done.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Json,
    body::Bytes,
    extract::{Query, State, rejection::BytesRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use trigon_exporters::{display, names};
use trigon_probes::hooks::Tried;

use super::{
    policies::refused,
    server::{Agent, problem},
};
use crate::{
    pipeline::Pipeline,
    policy::{
        engine::{TrialHook, TrialSelector},
        manager::{Handle, Outcome, Trial},
        model::actions::Action,
    },
    text::push_escaped,
};

/// The longest time. A connection is held meanwhile, and is closed by force after a minute more.
pub const LONGEST: Duration = Duration::from_secs(240);

/// For how long.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct TryQuery {
    /// Milliseconds, 1 to 240 000.
    milliseconds: u64,
}

/// What policies would have done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TryReport {
    /// Each of them.
    pub policies: Vec<TriedPolicy>,
}

/// What a policy would have done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TriedPolicy {
    /// What it is known by.
    pub name: String,
    /// How long it was tried.
    pub seconds: f64,
    /// Events that it would have posted.
    pub posted: u64,
    /// Calls whose process it would have killed (SIGKILL).
    pub killed: u64,
    /// Calls whose process it would have sent another signal.
    pub signalled: u64,
    /// Calls that it would have denied.
    pub denied: u64,
    /// Its hooks, in the order of the file.
    pub hooks: Vec<TriedHook>,
    /// Who made the calls that it matched: most first.
    pub by: Vec<Caller>,
    /// What these numbers don't say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A hook of a policy, in one place of the kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TriedHook {
    /// The kernel's name for it.
    pub name: String,
    /// How it was entered; none where this kernel doesn't have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mechanism: Option<String>,
    /// How often the programs there ran, whether a selector matched or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs: Option<u64>,
    /// How long that took, with what other policies have there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nanoseconds: Option<u64>,
    /// Its selectors; one where it has none.
    pub selectors: Vec<TriedSelector>,
}

/// A selector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriedSelector {
    /// `label`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What it would have done beside posting: `kill`, `deny`, `signal SIGTERM`, `follow`, `call out`, `track`.
    pub actions: Vec<String>,
    /// Calls that it matched.
    pub matched: u64,
    /// Of these, those that would have been posted: within the rate limit, if there is one.
    pub posted: u64,
}

/// Calls of one program in one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The path of what the processes executed; a name in brackets where the path is not known; none for those for whom
    /// there was no room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binary: Option<String>,
    /// `NAMESPACE/POD CONTAINER`; none on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Calls that were matched.
    pub matched: u64,
    /// Of these, those that would have been posted.
    pub posted: u64,
}

/// Ends a trial also where whoever asked for it has gone.
struct Running {
    manager: Handle,
    trial: Option<Trial>,
}

pub(super) async fn run(
    State(agent): State<Agent>,
    Query(query): Query<TryQuery>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let text = match body {
        Ok(text) => text,
        Err(error) => return problem(error.status(), error),
    };
    let time = Duration::from_millis(query.milliseconds);
    if time.is_zero() || time > LONGEST {
        let error =
            format_args!("a policy is tried for a millisecond at least, and {} s at most", LONGEST.as_secs());
        return problem(StatusCode::BAD_REQUEST, error);
    }
    let manager = agent.policies.clone();
    let trial = match manager.call(move |manager| manager.begin_try(&text)).await {
        Ok(Ok(trial)) => trial,
        Ok(Err(refusal)) => return refused(&refusal),
        Err(stopping) => return problem(StatusCode::SERVICE_UNAVAILABLE, stopping),
    };
    let mut running = Running { manager, trial: Some(trial) };
    tokio::time::sleep(time).await;
    let outcomes = match running.end().await {
        Ok(Ok(outcomes)) => outcomes,
        Ok(Err(refusal)) => return refused(&refusal),
        Err(stopping) => return problem(StatusCode::SERVICE_UNAVAILABLE, stopping),
    };
    let told = agent.pipeline.call(move |pipeline| {
        let policies = outcomes.into_iter().map(|outcome| TriedPolicy::new(outcome, pipeline));
        TryReport { policies: policies.collect() }
    });
    match told.await {
        Ok(report) => Json(report).into_response(),
        Err(stopping) => problem(StatusCode::SERVICE_UNAVAILABLE, stopping),
    }
}

// === impl Running ===

impl Running {
    async fn end(
        &mut self,
    ) -> Result<Result<Vec<Outcome>, crate::policy::manager::Refusal>, crate::jobs::Stopping> {
        let trial = self.trial.take();
        self.manager.call(|manager| trial.map_or(Ok(Vec::new()), |trial| manager.end_try(trial))).await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(trial) = self.trial.take() {
            let manager = self.manager.clone();
            tokio::spawn(async move { manager.call(|manager| manager.end_try(trial)).await });
        }
    }
}

// === impl TriedPolicy ===

impl TriedPolicy {
    fn new(outcome: Outcome, pipeline: &Pipeline) -> Self {
        let Outcome { name, seconds, hooks, unmeasured } = outcome;
        let selectors = || hooks.iter().flat_map(|(hook, _)| &hook.selectors);
        let matched = |is: fn(&Action) -> bool| {
            let of = selectors().filter(|selector| selector.actions.iter().any(is));
            of.flat_map(|selector| &selector.tried).map(|tried| tried.matched).sum()
        };
        let mut notes: Vec<String> = unmeasured.into_iter().collect();
        if selectors().any(|selector| selector.actions.iter().any(Action::follows)) {
            notes.push(
                "nothing was followed: what depends on followed descriptors matched nothing".to_owned(),
            );
        }
        if selectors().any(|selector| selector.actions.iter().any(|action| action.calls_out().is_some())) {
            notes.push("nobody was called; each action would call at most 10 times a minute".to_owned());
        }
        let mut policy = Self {
            name,
            seconds,
            posted: selectors().flat_map(|selector| &selector.tried).map(|tried| tried.posted).sum(),
            killed: matched(|action| effect(action) == Some(Effect::Kill)),
            signalled: matched(|action| matches!(effect(action), Some(Effect::Signal(_)))),
            denied: matched(|action| effect(action) == Some(Effect::Deny)),
            by: Caller::all(selectors().flat_map(|selector| &selector.tried), pipeline),
            hooks: Vec::new(),
            notes,
        };
        policy.hooks = hooks.iter().map(|(hook, cost)| TriedHook::new(hook, *cost)).collect();
        policy
    }
}

// === impl TriedHook ===

impl TriedHook {
    fn new(hook: &TrialHook, cost: Option<trigon_probes::programs::Cost>) -> Self {
        let TrialHook { target, mechanism, selectors } = hook;
        Self {
            name: target.symbol(),
            mechanism: mechanism.map(|mechanism| mechanism.as_str().to_owned()),
            runs: cost.map(|cost| cost.runs),
            nanoseconds: cost.map(|cost| cost.nanoseconds),
            selectors: selectors.iter().map(TriedSelector::from).collect(),
        }
    }
}

impl From<&TrialSelector> for TriedSelector {
    fn from(selector: &TrialSelector) -> Self {
        let TrialSelector { label, actions, tried } = selector;
        Self {
            label: label.clone(),
            actions: actions.iter().filter_map(effect).map(|effect| effect.to_string()).collect(),
            matched: tried.iter().map(|tried| tried.matched).sum(),
            posted: tried.iter().map(|tried| tried.posted).sum(),
        }
    }
}

// === impl Caller ===

impl Caller {
    fn all<'t>(tried: impl Iterator<Item = &'t Tried>, pipeline: &Pipeline) -> Vec<Self> {
        let mut all: BTreeMap<(u64, &[u8]), (u64, u64)> = BTreeMap::new();
        for tried in tried {
            let (matched, posted) = all.entry((tried.cgroup, &tried.binary)).or_default();
            *matched += tried.matched;
            *posted += tried.posted;
        }
        let cgroups = pipeline.tracker.cgroups();
        let place = |id: u64| {
            let place = cgroups.known(id)?.place.get();
            let super::processes::PodStatus { namespace, name, container } =
                super::processes::PodStatus::new(place.as_deref()?);
            Some(
                container
                    .map_or_else(|| format!("{namespace}/{name}"), |one| format!("{namespace}/{name} {one}")),
            )
        };
        // Cgroups of one container, and those of the host, are one to people.
        let mut callers: BTreeMap<(Option<String>, Option<String>), (u64, u64)> = BTreeMap::new();
        for ((cgroup, binary), (matched, posted)) in all {
            let binary = (!binary.is_empty()).then(|| harmless(binary));
            let caller = callers.entry((binary, place(cgroup))).or_default();
            caller.0 += matched;
            caller.1 += posted;
        }
        let caller = |((binary, pod), (matched, posted))| Self { binary, pod, matched, posted };
        let mut callers: Vec<_> = callers.into_iter().map(caller).collect();
        callers.sort_by_key(|caller| std::cmp::Reverse(caller.matched));
        callers
    }
}

/// What could act on a terminal is escaped.
fn harmless(bytes: &[u8]) -> String {
    let (mut text, mut out) = (String::new(), String::new());
    push_escaped(bytes, &mut text);
    display::harmless(&mut out, |out| out.push_str(&text));
    out
}

/// What an action does to the process, or to the agent's own state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Kill,
    Signal(u8),
    Deny,
    Follow,
    CallOut,
    Track,
    Mark,
    Set,
}

fn effect(action: &Action) -> Option<Effect> {
    match action {
        Action::Post(_) | Action::NoPost | Action::ImaHash | Action::CleanupEnforcerNotification => None,
        Action::Override { .. } | Action::NotifyEnforcer { .. } | Action::Enforce => Some(Effect::Deny),
        Action::Sigkill => Some(Effect::Kill),
        Action::Signal(9) => Some(Effect::Kill),
        Action::Signal(signal) => Some(Effect::Signal(*signal)),
        Action::FollowFd { .. } | Action::UnfollowFd { .. } | Action::CopyFd { .. } => Some(Effect::Follow),
        Action::CallOut(_) => Some(Effect::CallOut),
        Action::Set { .. } => Some(Effect::Set),
        Action::TrackSock { .. } | Action::UntrackSock { .. } => Some(Effect::Track),
        Action::Mark { .. } | Action::Unmark { .. } => Some(Effect::Mark),
    }
}

// === impl Effect ===

impl std::fmt::Display for Effect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kill => f.write_str("kill"),
            Self::Signal(signal) => write!(f, "signal {}", names::signal(*signal)),
            Self::Deny => f.write_str("deny"),
            Self::Follow => f.write_str("follow"),
            Self::CallOut => f.write_str("call out"),
            Self::Set => f.write_str("set"),
            Self::Track => f.write_str("track"),
            Self::Mark => f.write_str("mark"),
        }
    }
}
