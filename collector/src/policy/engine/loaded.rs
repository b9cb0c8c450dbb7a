//! Policies that are loaded, and what of each is in the kernel.

use std::{collections::BTreeMap, sync::Arc};

use trigon_probes::hooks::Target;

use crate::policy::{
    compile::Part,
    model::{Mode, Policy},
    placements::ScopeBit,
};

/// All of them, by their keys.
pub(super) type Policies = BTreeMap<String, Arc<Loaded>>;

/// A policy, and what of it is in the kernel.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub(super) id: u32,
    pub(super) policy: Policy,
    pub(super) seats: Vec<Seat>,
    pub(super) scopes: Arc<Scopes>,
    /// Its marks, and those that others had under its name before it: each in the place of its bit.
    pub(super) marks: Vec<Arc<str>>,
    pub(super) enabled: bool,
    /// Set from outside: it goes before what the policy says.
    pub(super) mode: Option<Mode>,
    /// It only counts what it would do.
    pub(super) trial: bool,
}

/// Where each hook of a policy applies: each selector of it, or without selectors it as a whole.
pub(super) type Scopes = Vec<Vec<Option<ScopeBit>>>;

/// A hook of a policy on one target.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) hook: usize,
    pub(super) target: Target,
    pub(super) source: u32,
}

// === impl Loaded ===

impl Loaded {
    pub(super) fn mode(&self) -> Mode {
        self.mode.or(self.policy.options.mode).unwrap_or_default()
    }

    pub(super) fn is_monitored(&self) -> bool {
        self.mode() == Mode::Monitor
    }
}

/// The policies of `one` that `other` doesn't have just so.
pub(super) fn unlike(one: &Policies, other: &Policies) -> Vec<Arc<Loaded>> {
    let same = |name, loaded| other.get(name).is_some_and(|other| Arc::ptr_eq(other, loaded));
    one.iter().filter(|(name, loaded)| !same(*name, loaded)).map(|(_, loaded)| Arc::clone(loaded)).collect()
}

pub(super) fn sources_of(loaded: &Loaded) -> impl Iterator<Item = u32> + '_ {
    loaded.seats.iter().map(|seat| seat.source)
}

pub(super) fn part<'a>(loaded: &'a Loaded, seat: &Seat) -> Option<Part<'a>> {
    let hook = loaded.policy.hooks.get(seat.hook)?;
    let scopes = loaded.scopes.get(seat.hook)?;
    Some(Part {
        policy: loaded.id,
        policy_hook: seat.source,
        follows: loaded.policy.follows(),
        alone: match hook.point.is_in_program() {
            true => loaded.policy.options.disable_uprobe_multi,
            false => loaded.policy.options.disable_kprobe_multi,
        },
        denies: loaded.policy.denies(hook),
        method: loaded.policy.options.override_method,
        hook,
        marks: &loaded.marks,
        scopes,
        trial: loaded.trial,
    })
}
