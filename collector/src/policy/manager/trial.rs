//! Policies that are tried for a while: `trigon policy try`.

use std::time::Instant;

use tracing::info;
use trigon_probes::{
    hooks::{Mechanism, Target},
    programs::{At, Cost, Place, RunTimes},
};

use super::{Manager, Refusal};
use crate::policy::{Rules, engine::TrialHook};

/// Policies that are being tried. Whoever has it must give it back ([`Manager::end_try`]).
#[derive(Debug)]
pub struct Trial {
    policies: Vec<Tried>,
    since: Instant,
    /// Has the kernel measure programs meanwhile; where it refuses, what it said.
    run_times: Result<RunTimes, String>,
}

/// A policy that is being tried.
#[derive(Debug)]
struct Tried {
    /// What the engine knows it by.
    key: String,
    /// What its file calls it.
    name: String,
    /// What the programs at its hooks had cost before.
    before: Vec<(Place, Cost)>,
}

/// What a policy that was tried would have done.
#[derive(Debug)]
pub struct Outcome {
    /// What it is known by.
    pub name: String,
    /// How long it was tried.
    pub seconds: f64,
    /// Its hooks, and what the programs there cost meanwhile, all policies' together; none where that is not known.
    pub hooks: Vec<(TrialHook, Option<Cost>)>,
    /// Why costs are not known.
    pub unmeasured: Option<String>,
}

// === impl Manager ===

impl Manager {
    /// Loads the policies in a text to be tried; all or none.
    ///
    /// # Errors
    /// The text is wrong, or the kernel can't do it.
    pub fn begin_try(&mut self, text: &[u8]) -> Result<Trial, Refusal> {
        // One that is tried calls nobody.
        let checked = Rules::ALL.check_bytes(text);
        if checked.errors > 0 {
            return Err(Refusal::Faults { faults: checked.faults, hidden: checked.hidden });
        }
        let run_times = RunTimes::measure().map_err(|error| error.to_string());
        let mut trial = Trial { policies: Vec::new(), since: Instant::now(), run_times };
        for policy in checked.policies {
            let name = policy.key();
            match self.engine(|engine, types| engine.begin_try(policy, types)) {
                Ok(key) => trial.policies.push(Tried { key, name, before: Vec::new() }),
                Err(error) => {
                    let error = error.to_string();
                    let _ = self.end_try(trial);
                    return Err(Refusal::Failed { name, error });
                }
            }
        }
        for tried in &mut trial.policies {
            tried.before = self.costs(&tried.key);
            info!(policy = tried.name, "policy is tried: nothing of it is told or done");
        }
        trial.since = Instant::now();
        Ok(trial)
    }

    /// Takes them out of the kernel; what they would have done.
    ///
    /// # Errors
    /// The kernel refuses, or the agent is stopping. The others are out of it all the same.
    pub fn end_try(&mut self, trial: Trial) -> Result<Vec<Outcome>, Refusal> {
        let seconds = trial.since.elapsed().as_secs_f64();
        let after: Vec<_> = trial.policies.iter().map(|tried| self.costs(&tried.key)).collect();
        let mut outcomes = Vec::new();
        let mut refusal = None;
        for (tried, after) in trial.policies.into_iter().zip(after) {
            let ended = self.engine(|engine, types| engine.end_try(&tried.key, types));
            let hooks = match ended {
                Ok(hooks) => {
                    info!(policy = tried.name, "policy is tried no longer");
                    hooks
                }
                Err(error) => {
                    refusal = Some(Refusal::Failed { name: tried.name, error: error.to_string() });
                    continue;
                }
            };
            let cost = |hook: &TrialHook| {
                let place = place(&hook.target, hook.mechanism?);
                let of =
                    |all: &[(Place, Cost)]| all.iter().find(|(at, _)| *at == place).map(|(_, cost)| *cost);
                trial.run_times.as_ref().ok()?;
                Some(of(&after)? - of(&tried.before).unwrap_or_default())
            };
            let hooks = hooks.into_iter().map(|hook| {
                let cost = cost(&hook);
                (hook, cost)
            });
            outcomes.push(Outcome {
                name: tried.name,
                seconds,
                hooks: hooks.collect(),
                unmeasured: trial.run_times.as_ref().err().cloned(),
            });
        }
        refusal.map_or(Ok(outcomes), Err)
    }

    /// What the programs at a policy's hooks have cost so far.
    fn costs(&self, key: &str) -> Vec<(Place, Cost)> {
        let Some(engine) = &self.engine else { return Vec::new() };
        let all = self.parts.shared.costs();
        let places = engine.targets_of(key).into_iter();
        let places = places.filter_map(|(target, mechanism)| Some(place(&target, mechanism?)));
        places.map(|place| (place.clone(), all.get(&place).copied().unwrap_or_default())).collect()
    }
}

fn place(target: &Target, mechanism: Mechanism) -> Place {
    Place { at: At::Hook(target.clone()), mechanism: mechanism.as_str() }
}
