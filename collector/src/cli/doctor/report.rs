//! What was found, in the form that `-o json` shows.

use serde::Serialize;
use trigon_probes::{
    kernel::{Examination, Ladder, Need, Outcome, Trial},
    lifecycle::Attached,
};

/// All that was found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Version of Trigon.
    pub version: &'static str,
    pub kernel: Kernel,
    /// Whether the agent would run.
    pub verdict: Verdict,
    /// What it would use.
    pub uses: Uses,
    /// What was tried and looked at.
    pub sections: Vec<Section>,
}

#[derive(Debug, Serialize)]
pub(super) struct Kernel {
    pub release: String,
    pub machine: String,
}

/// Whether the agent would run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// All that it needs is here.
    Ok,
    /// Something that it needs is missing.
    Missing,
    /// Nothing is known to be missing, but not all could be tried.
    NotPermitted,
}

#[derive(Debug, Serialize)]
pub(super) struct Uses {
    pub lifecycle: Vec<Lifecycle>,
    pub hooks: Vec<Hook>,
}

/// How a lifecycle event is seen.
#[derive(Debug, Serialize)]
pub(super) struct Lifecycle {
    pub hook: &'static str,
    pub mechanism: &'static str,
}

/// How a kind of hook is served.
#[derive(Debug, Serialize)]
pub(super) struct Hook {
    pub kind: &'static str,
    /// What was hooked to find out.
    pub target: String,
    /// The best that works.
    pub mechanism: Option<&'static str>,
    /// All that could serve, best first.
    pub tried: Vec<Tried>,
}

#[derive(Debug, Serialize)]
pub(super) struct Tried {
    pub mechanism: &'static str,
    pub state: State,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Section {
    pub name: &'static str,
    pub checks: Vec<Check>,
}

/// Something that was tried or looked at.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    pub name: String,
    pub state: State,
    pub need: Importance,
    /// What it is, or why it isn't.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// What its lack costs.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub cost: &'static str,
    /// What to do about it.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub mend: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Ok,
    Missing,
    NotPermitted,
    Untried,
    /// A fact, neither good nor bad.
    Info,
}

/// How much depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Importance {
    Required,
    Useful,
    /// Not used by this version.
    Unused,
    /// For people.
    Info,
}

/// What gives the rights that are missing.
pub(super) const AS_ROOT: &str = "run it as root (sudo trigon doctor), or with CAP_BPF and CAP_PERFMON";

// === impl Report ===

impl Report {
    pub fn new(found: &Examination, surroundings: Vec<Section>) -> Self {
        let serving = &found.serving;
        let own = |name: &str, outcome: &Outcome, need, cost, mend| {
            Check::new(name.to_owned(), outcome, need, cost, mend)
        };
        let services = vec![
            own(
                "processes",
                &serving.lifecycle,
                Importance::Required,
                "the agent does not start",
                "see what is missing below",
            ),
            own(
                "what runs already",
                &serving.tasks,
                Importance::Useful,
                "it is read from /proc, less exactly",
                "a kernel with CONFIG_DEBUG_INFO_BTF=y",
            ),
            own("policies", &serving.hooks, Importance::Useful, "no policies", "see what is missing below"),
        ];
        let all = |trials: &[Trial]| trials.iter().map(Check::from).collect();
        let kernel = vec![Check::from(&found.access), Check::from(&found.btf)];
        let mut sections = vec![
            Section { name: "trigon's own programs", checks: services },
            Section { name: "kernel", checks: kernel },
            Section { name: "program types", checks: all(&found.programs) },
            Section { name: "map types", checks: all(&found.maps) },
            Section { name: "helpers", checks: all(&found.helpers) },
        ];
        sections.extend(surroundings);
        let attached = serving.attached.iter();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            kernel: Kernel { release: found.release.clone(), machine: found.machine.clone() },
            verdict: Verdict::of(&sections),
            uses: Uses {
                lifecycle: attached
                    .map(|Attached { hook, mechanism }| Lifecycle { hook, mechanism })
                    .collect(),
                hooks: serving.ladders.iter().map(Hook::from).collect(),
            },
            sections,
        }
    }
}

// === impl Verdict ===

impl Verdict {
    fn of(sections: &[Section]) -> Self {
        let required = || {
            let checks = sections.iter().flat_map(|section| &section.checks);
            checks.filter(|check| check.need == Importance::Required).map(|check| check.state)
        };
        if required().any(|state| state == State::Missing) {
            Self::Missing
        } else if required().any(|state| state == State::NotPermitted) {
            Self::NotPermitted
        } else {
            Self::Ok
        }
    }
}

// === impl Hook ===

impl From<&Ladder> for Hook {
    fn from(ladder: &Ladder) -> Self {
        let tried = ladder.steps.iter().map(|step| Tried {
            mechanism: step.mechanism.as_str(),
            state: State::from(&step.outcome),
            reason: step.outcome.reason().to_owned(),
        });
        Self {
            kind: ladder.kind,
            target: ladder.target.clone(),
            mechanism: ladder.chosen().map(|mechanism| mechanism.as_str()),
            tried: tried.collect(),
        }
    }
}

// === impl Check ===

impl Check {
    pub fn new(
        name: String,
        outcome: &Outcome,
        need: Importance,
        cost: &'static str,
        mend: &'static str,
    ) -> Self {
        let state = State::from(outcome);
        let (cost, mend) = match state {
            State::Ok | State::Info => ("", ""),
            State::NotPermitted => (cost, AS_ROOT),
            // What it waits for has a mend of its own.
            State::Untried => ("", ""),
            State::Missing => (cost, mend),
        };
        Self { name, state, need, detail: outcome.reason().to_owned(), cost, mend }
    }

    /// A fact.
    pub fn info(name: &str, detail: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            state: State::Info,
            need: Importance::Info,
            detail: detail.into(),
            cost: "",
            mend: "",
        }
    }
}

impl From<&Trial> for Check {
    fn from(trial: &Trial) -> Self {
        // What may not be tried isn't known to be missing.
        let cost = if matches!(trial.outcome, Outcome::NotPermitted(_)) { "" } else { trial.cost };
        Self::new(trial.name.to_owned(), &trial.outcome, trial.need.into(), cost, trial.mend)
    }
}

// === impl State, Importance ===

impl From<&Outcome> for State {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Works => Self::Ok,
            Outcome::Missing(_) => Self::Missing,
            Outcome::NotPermitted(_) => Self::NotPermitted,
            Outcome::Untried(_) => Self::Untried,
        }
    }
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::NotPermitted => "not permitted",
            Self::Untried => "not tried",
            Self::Info => "",
        }
    }
}

impl From<Need> for Importance {
    fn from(need: Need) -> Self {
        match need {
            Need::Required => Self::Required,
            Need::Useful => Self::Useful,
            Need::Unused => Self::Unused,
        }
    }
}
