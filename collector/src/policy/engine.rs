//! Loaded policies: what of them is in the kernel, and how it stands with each.
//!
//! A policy is loaded whole or not at all, and none touches another: tables of the hooks that they share are compiled
//! anew and put in place in one store.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use trigon_exporters::event::Policy as PolicyName;
use trigon_probes::{
    ProbeError,
    hooks::{Hooks, Mechanism, TablePlan, Target},
    lifecycle::Kernel,
};

use super::{
    compile::{self, CompileError, Host, Part, lineage::Lineages},
    matches::Sources,
    model::{
        Policy,
        hooks::{Hook, Point},
    },
};

mod targets;
use targets::{source_of, targets};

/// All policies of this agent.
pub struct Engine {
    hooks: Hooks,
    host: Host,
    lineages: Lineages,
    sources: Sources,
    policies: BTreeMap<String, Loaded>,
    next_policy: u32,
    next_source: u32,
}

/// A policy, and what of it is in the kernel.
#[derive(Debug)]
struct Loaded {
    id: u32,
    policy: Policy,
    seats: Vec<Seat>,
    enabled: bool,
}

/// A hook of a policy on one target.
#[derive(Clone, Debug)]
struct Seat {
    hook: usize,
    target: Target,
    source: u32,
    mechanism: Option<Mechanism>,
}

/// How it stands with a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// It is in force.
    pub enabled: bool,
    /// Each hook, and how it is entered.
    pub hooks: Vec<(String, Option<Mechanism>)>,
}

/// A policy could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is one of that name.
    #[error("a policy named {0} is loaded; delete it first")]
    Exists(String),
    /// There is none of that name.
    #[error("no policy named {0} is loaded")]
    Unknown(String),
    /// The kernel, or the agent, can't do what it asks for.
    #[error("hook {hook}: {source}")]
    Compile {
        /// The hook.
        hook: String,
        /// What can't be done.
        source: CompileError,
    },
    /// The kernel refuses it.
    #[error(transparent)]
    Kernel(#[from] ProbeError),
}

// === impl Engine ===

impl Engine {
    /// No policies yet. `sources` is what the reader looks records up in.
    pub fn new(hooks: Hooks, host: Host, sources: Sources) -> Self {
        Self {
            hooks,
            host,
            lineages: Lineages::default(),
            sources,
            policies: BTreeMap::new(),
            next_policy: 1,
            next_source: 1,
        }
    }

    /// Loads a policy; it is in force when this returns.
    ///
    /// # Errors
    /// Says what the kernel or the agent can't do; nothing of it is in force then.
    pub fn add(&mut self, policy: Policy, kernel: &Kernel) -> Result<(), LoadError> {
        if self.policies.contains_key(&policy.name) {
            return Err(LoadError::Exists(policy.name));
        }
        if policy.options.disable_kprobe_multi {
            let source = CompileError::Unsupported("the option disable-kprobe-multi");
            return Err(LoadError::Compile { hook: "options".to_owned(), source });
        }
        let name = policy.name.clone();
        let id = self.next_policy;
        self.next_policy += 1;
        let seats = self.seats(&policy)?;
        self.policies.insert(name.clone(), Loaded { id, policy, seats, enabled: true });
        self.put_in_force(&name, kernel).inspect_err(|_| {
            let _ = self.delete(&name);
        })
    }

    /// Takes a policy out of the kernel and forgets it.
    ///
    /// # Errors
    /// There is none of that name; or the kernel refuses the tables of those that stay.
    pub fn delete(&mut self, name: &str) -> Result<(), LoadError> {
        let loaded = self.policies.remove(name).ok_or_else(|| LoadError::Unknown(name.to_owned()))?;
        let result = self.withdraw(&loaded.seats);
        loaded.seats.iter().for_each(|seat| self.sources.forget(seat.source));
        result
    }

    /// Puts a policy in force, or out of it.
    ///
    /// # Errors
    /// There is none of that name; or the kernel refuses it.
    pub fn set_enabled(&mut self, name: &str, enabled: bool, kernel: &Kernel) -> Result<(), LoadError> {
        let loaded = self.policies.get_mut(name).ok_or_else(|| LoadError::Unknown(name.to_owned()))?;
        if std::mem::replace(&mut loaded.enabled, enabled) == enabled {
            return Ok(());
        }
        if enabled {
            return self.put_in_force(name, kernel).inspect_err(|_| {
                if let Some(loaded) = self.policies.get_mut(name) {
                    loaded.enabled = false;
                }
            });
        }
        let seats = loaded.seats.clone();
        self.withdraw(&seats)
    }

    /// How it stands with each policy.
    pub fn list(&self) -> Vec<Status> {
        let status = |(name, loaded): (&String, &Loaded)| Status {
            name: name.clone(),
            enabled: loaded.enabled,
            hooks: loaded.seats.iter().map(|seat| (seat.target.symbol(), seat.mechanism)).collect(),
        };
        self.policies.iter().map(status).collect()
    }

    fn seats(&mut self, policy: &Policy) -> Result<Vec<Seat>, LoadError> {
        let name = Arc::new(PolicyName {
            name: policy.name.as_str().into(),
            namespace: policy.namespace.as_deref().map(Into::into),
        });
        let mut seats = Vec::new();
        for (index, hook) in policy.hooks.iter().enumerate() {
            for target in targets(hook)? {
                let source = self.next_source;
                self.next_source += 1;
                self.sources.learn(source, source_of(&name, hook, &target));
                seats.push(Seat { hook: index, target, source, mechanism: None });
            }
        }
        Ok(seats)
    }

    fn put_in_force(&mut self, name: &str, kernel: &Kernel) -> Result<(), LoadError> {
        let Some(loaded) = self.policies.get(name) else { return Ok(()) };
        let targets: BTreeSet<(usize, Target)> =
            loaded.seats.iter().enumerate().map(|(index, seat)| (index, seat.target.clone())).collect();
        let lineages = self.lineages.clone();
        let mut tables = Vec::new();
        for (index, target) in targets {
            let returns = self.parts(&target).iter().any(|part| is_late(part.hook));
            let attached = self.hooks.attach(kernel, &target, returns, None);
            let mechanism = match attached {
                Ok((_, mechanism)) => mechanism,
                Err(_) if self.may_be_missing(name, index) => continue,
                Err(error) => return Err(error.into()),
            };
            if let Some(seat) = self.policies.get_mut(name).and_then(|loaded| loaded.seats.get_mut(index)) {
                seat.mechanism = Some(mechanism);
            }
            tables.push((target.clone(), self.table(&target)?));
        }
        if self.lineages != lineages {
            self.hooks.set_lineage(kernel, &self.lineages.plan())?;
        }
        // Now that nothing can fail but for want of memory.
        for (target, table) in &tables {
            self.hooks.set_table(target, table)?;
        }
        Ok(())
    }

    fn withdraw(&mut self, seats: &[Seat]) -> Result<(), LoadError> {
        for seat in seats {
            if self.parts(&seat.target).is_empty() {
                self.hooks.detach(&seat.target);
            } else {
                let table = self.table(&seat.target)?;
                self.hooks.set_table(&seat.target, &table)?;
            }
        }
        Ok(())
    }

    fn table(&mut self, target: &Target) -> Result<TablePlan, LoadError> {
        let mut lineages = std::mem::take(&mut self.lineages);
        let table = compile::table(&self.parts(target), self.host, &mut lineages);
        self.lineages = lineages;
        table.map_err(|source| LoadError::Compile { hook: target.symbol(), source })
    }

    /// What all policies in force have on a target.
    fn parts(&self, target: &Target) -> Vec<Part<'_>> {
        self.policies
            .values()
            .filter(|loaded| loaded.enabled)
            .flat_map(|loaded| {
                let seats = loaded.seats.iter().filter(|seat| seat.target == *target);
                seats.filter_map(|seat| part(loaded, seat))
            })
            .collect()
    }

    /// `ignore.callNotFound`
    fn may_be_missing(&self, name: &str, seat: usize) -> bool {
        let Some(loaded) = self.policies.get(name) else { return false };
        let hook = loaded.seats.get(seat).and_then(|seat| loaded.policy.hooks.get(seat.hook));
        hook.is_some_and(
            |hook| matches!(&hook.point, Point::Functions(functions) if functions.ignore_missing),
        )
    }
}

fn part<'a>(loaded: &'a Loaded, seat: &Seat) -> Option<Part<'a>> {
    let hook = loaded.policy.hooks.get(seat.hook)?;
    Some(Part { policy: loaded.id, policy_hook: seat.source, follows: loaded.policy.follows(), hook })
}

/// Whether a hook has anything to do when its function returns.
fn is_late(hook: &Hook) -> bool {
    hook.at_return() || hook.selectors.iter().any(|selector| !selector.return_values.is_empty())
}
