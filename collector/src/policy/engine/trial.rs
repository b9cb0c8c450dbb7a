//! Policies that are tried: the kernel counts what their selectors match, and nothing is told or done.

use trigon_probes::hooks::{Mechanism, Target, Tried};

use super::{Engine, LoadError, Types};
use crate::policy::model::{Policy, actions::Action};

/// A hook of a policy that was tried, on one target.
#[derive(Clone, Debug)]
pub struct TrialHook {
    /// Where.
    pub target: Target,
    /// How it was entered; none where the kernel doesn't have it.
    pub mechanism: Option<Mechanism>,
    /// Its selectors; one of all calls where it has none.
    pub selectors: Vec<TrialSelector>,
}

/// A selector that was tried.
#[derive(Clone, Debug)]
pub struct TrialSelector {
    /// `label`
    pub label: Option<String>,
    /// What it would have done beside posting.
    pub actions: Vec<Action>,
    /// What it matched, by who made the calls.
    pub tried: Vec<Tried>,
}

/// What stands before the name of a policy that is tried: no policy of a file can be called so.
const PREFIX: &str = "try:";

// === impl Engine ===

impl Engine {
    /// Loads a policy to be tried, beside the one that has its name, if there is one; what it is known by from then on.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn begin_try(&mut self, mut policy: Policy, types: &mut Types) -> Result<String, LoadError> {
        policy.name.insert_str(0, PREFIX);
        let key = policy.key();
        if self.policies.contains_key(&key) {
            return Err(LoadError::Exists(key));
        }
        self.load(policy, None, true, types)?;
        Ok(key)
    }

    /// What a policy's hooks are on, and how each is entered.
    pub fn targets_of(&self, name: &str) -> Vec<(Target, Option<Mechanism>)> {
        let loaded = self.policies.get(name);
        let seats = loaded.iter().flat_map(|loaded| &loaded.seats);
        seats.map(|seat| (seat.target.clone(), self.hooks.mechanism(&seat.target))).collect()
    }

    /// Takes a policy that was tried out of the kernel; what it would have done.
    ///
    /// # Errors
    /// There is none of that name; or the kernel refuses the tables of those that stay, or doesn't tell.
    pub fn end_try(&mut self, name: &str, types: &mut Types) -> Result<Vec<TrialHook>, LoadError> {
        let loaded = self.policies.get(name).filter(|loaded| loaded.trial).cloned();
        let loaded = loaded.ok_or_else(|| LoadError::Unknown(name.to_owned()))?;
        let mechanisms: Vec<_> = loaded.seats.iter().map(|seat| self.hooks.mechanism(&seat.target)).collect();
        let numbers: Vec<u32> = loaded.seats.iter().map(|seat| seat.source).collect();
        let deleted = self.delete(name, types);
        let tried = self.hooks.take_tried(&numbers)?;
        deleted?;
        let hook = |(seat, mechanism): (&super::Seat, Option<Mechanism>)| {
            let hook = loaded.policy.hooks.get(seat.hook)?;
            let of = |number: u16| {
                let of = |tried: &&Tried| tried.policy_hook == seat.source && tried.selector == number;
                tried.iter().filter(of).cloned().collect()
            };
            let selectors = match hook.selectors.as_slice() {
                [] => vec![TrialSelector { label: None, actions: Vec::new(), tried: of(0) }],
                selectors => selectors
                    .iter()
                    .zip(0..)
                    .map(|(selector, number)| TrialSelector {
                        label: selector.label.clone(),
                        actions: selector.all_actions().cloned().collect(),
                        tried: of(number),
                    })
                    .collect(),
            };
            Some(TrialHook { target: seat.target.clone(), mechanism, selectors })
        };
        Ok(loaded.seats.iter().zip(mechanisms).filter_map(hook).collect())
    }
}
