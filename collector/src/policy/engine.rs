//! Loaded policies: what of them is in the kernel, and how it stands with each.
//!
//! A policy is loaded whole or not at all, and none touches another: each change is prepared beside what is in force
//! (programs attached, tables of the hooks that policies share compiled anew), and put in place only when nothing can
//! fail any more but for want of memory. A table is put in place in one store.

use std::{collections::BTreeSet, mem, path::Path, sync::Arc};

use tracing::warn;
use trigon_exporters::{event::Policy as PolicyName, outbound::Outbound};
use trigon_probes::{
    ProbeError,
    hooks::{Choice, Hooks, Mechanism, Requests, TablePlan, Target},
};

use super::{
    compile::{self, Host, Part, lineage::Lineages},
    matches::Sources,
    model::{
        Mode, Policy,
        hooks::{Hook, Point},
        selectors::Selector,
    },
    outbound::CallsOut,
    placements::{NoScopeFree, Placements},
    resolve,
};
use crate::loader;

mod error;
mod loaded;
mod marks;
mod targets;
mod trial;
mod types;

pub use error::LoadError;
use loaded::{Loaded, Policies, Scopes, Seat, part, sources_of, unlike};
pub use targets::kind_of;
pub(super) use targets::{changes, is_late, may_be_missing, targets};
use targets::{needs, source_of};
pub use trial::{TrialHook, TrialSelector};
pub use types::Types;

/// All policies of this agent.
pub struct Engine {
    hooks: Hooks,
    host: Host,
    lineages: Lineages,
    sources: Sources,
    placements: Placements,
    loader: Option<loader::Source>,
    outbound: Option<Outbound>,
    /// There while a policy in force asks for what processes map.
    listening: Option<loader::Listening>,
    policies: Policies,
    next_policy: u32,
}

/// A hook on more functions than these is attached by what takes no program for each, where there is such.
const MANY: usize = 64;

/// How it stands with a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// It is in force.
    pub enabled: bool,
    /// Whether it does what it says; none where it only tells.
    pub mode: Option<Mode>,
    /// Each hook, and how it is entered; none where the kernel doesn't have it, or the policy isn't in force.
    pub hooks: Vec<(String, Option<Mechanism>)>,
    /// Bytes of the kernel's memory that it takes, at most; of what policies share, its share.
    pub kernel_memory: u64,
}

// === impl Engine ===

impl Engine {
    /// No policies yet. `sources` is what the reader looks records up in; without `loader`, policies can't ask for what
    /// processes map, and without `outbound` they can't call out.
    pub fn new(
        hooks: Hooks,
        host: Host,
        sources: Sources,
        placements: Placements,
        loader: Option<loader::Source>,
        outbound: Option<Outbound>,
    ) -> Self {
        Self {
            hooks,
            host,
            lineages: Lineages::default(),
            sources,
            placements,
            loader,
            outbound,
            listening: None,
            policies: Policies::new(),
            next_policy: 1,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// What a policy says. Policies are named by their keys.
    pub fn policy(&self, name: &str) -> Option<&Policy> {
        self.policies.get(name).map(|loaded| &loaded.policy)
    }

    /// Loads a policy; it is in force when this returns.
    ///
    /// # Errors
    /// Says what the kernel or the agent can't do; nothing of it is in force then.
    pub fn add(&mut self, policy: Policy, types: &mut Types) -> Result<(), LoadError> {
        if self.policies.contains_key(&policy.key()) {
            return Err(LoadError::Exists(policy.key()));
        }
        self.replace(policy, None, types)
    }

    /// Loads a policy in the place of the one that has its name, if there is one: what follows that one's
    /// descriptors goes on, and where it is disabled so is this. `mode` goes before what the policy says, as does one
    /// that was set for that other.
    ///
    /// # Errors
    /// As [`Self::add`]; the other one is still in force then.
    pub fn replace(
        &mut self,
        policy: Policy,
        mode: Option<Mode>,
        types: &mut Types,
    ) -> Result<(), LoadError> {
        self.load(policy, mode, false, types)
    }

    fn load(
        &mut self,
        policy: Policy,
        mode: Option<Mode>,
        trial: bool,
        types: &mut Types,
    ) -> Result<(), LoadError> {
        let policy = resolve::here(policy)?;
        let name = policy.key();
        let before = self.policies.get(&name);
        let (id, enabled) = before.map_or((self.next_policy, true), |before| (before.id, before.enabled));
        self.next_policy = self.next_policy.max(id + 1);
        let marks = marks::of(&policy, before.map(|before| &**before))?;
        // Cgroups have the bits before a table asks for them.
        let scopes = Arc::new(self.scopes(&policy)?);
        let seats = self.seats(&policy, trial)?;
        let sources: Vec<u32> = seats.iter().map(|seat| seat.source).collect();
        let mut next = self.policies.clone();
        let earlier = before.map(|before| before.is_monitored());
        let mode = mode.or_else(|| before?.mode);
        let loaded = Loaded { id, policy, seats, scopes, marks, enabled, mode, trial };
        // Its mode is there before a call is looked at for it.
        self.hooks.set_monitored(id, loaded.is_monitored())?;
        next.insert(name, Arc::new(loaded));
        let turned = self.turn_to(next, types).inspect_err(|_| self.sources.retire(sources));
        if turned.is_err() {
            self.hooks.set_monitored(id, earlier.unwrap_or(false))?;
        }
        turned
    }

    /// Has a policy do what it says, or only tell what it would have done. All of its hooks turn at once.
    ///
    /// # Errors
    /// There is none of that name, or nothing that it could do; or the kernel refuses.
    pub fn set_mode(&mut self, name: &str, mode: Mode) -> Result<(), LoadError> {
        let loaded = self.policies.get_mut(name).ok_or_else(|| LoadError::Unknown(name.to_owned()))?;
        if !loaded.policy.enforces() {
            return Err(LoadError::OnlyTells);
        }
        self.hooks.set_monitored(loaded.id, mode == Mode::Monitor)?;
        Arc::make_mut(loaded).mode = Some(mode);
        Ok(())
    }

    /// Takes a policy out of the kernel and forgets it.
    ///
    /// # Errors
    /// There is none of that name; or the kernel refuses the tables of those that stay.
    pub fn delete(&mut self, name: &str, types: &mut Types) -> Result<(), LoadError> {
        let mut next = self.policies.clone();
        let gone = next.remove(name).ok_or_else(|| LoadError::Unknown(name.to_owned()))?;
        self.turn_to(next, types)?;
        Ok(self.hooks.set_monitored(gone.id, false)?)
    }

    /// Puts a policy in force, or out of it.
    ///
    /// # Errors
    /// There is none of that name; or the kernel refuses it.
    pub fn set_enabled(&mut self, name: &str, enabled: bool, types: &mut Types) -> Result<(), LoadError> {
        let mut next = self.policies.clone();
        let loaded = next.get_mut(name).ok_or_else(|| LoadError::Unknown(name.to_owned()))?;
        if loaded.enabled == enabled {
            return Ok(());
        }
        Arc::make_mut(loaded).enabled = enabled;
        self.turn_to(next, types)
    }

    /// How it stands with a policy.
    pub fn status(&self, name: &str) -> Option<Status> {
        let loaded = self.policies.get(name)?;
        let served =
            |seat: &Seat| loaded.enabled && loaded.policy.hooks.get(seat.hook).is_some_and(Hook::is_resolved);
        let mechanism = |seat: &Seat| self.hooks.mechanism(&seat.target).filter(|_| served(seat));
        // Of 32-bit system calls that came along only those that are there.
        let shown =
            |seat: &&Seat| !matches!(seat.target, Target::CompatSyscall(_)) || mechanism(seat).is_some();
        let seats = loaded.seats.iter().filter(shown);
        let hooks = seats.map(|seat| (seat.target.symbol(), mechanism(seat))).collect();
        let mode = loaded.policy.enforces().then(|| loaded.mode());
        Some(Status { enabled: loaded.enabled, mode, hooks, kernel_memory: self.memory(loaded) })
    }

    /// The hooks of the policies in force that the kernel has, with what events call them.
    pub fn attached(&self) -> impl Iterator<Item = (&Policy, String, Mechanism)> {
        let seats = self
            .policies
            .values()
            .filter(|loaded| loaded.enabled && !loaded.trial)
            .flat_map(|loaded| loaded.seats.iter().map(|seat| (&loaded.policy, &seat.target)));
        seats.filter_map(|(policy, target)| {
            let mechanism = self.hooks.mechanism(target)?;
            Some((policy, kind_of(target).name(), mechanism))
        })
    }

    /// Takes out of the kernel what policies that stay don't need any more.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn keep_house(&self) -> Result<(), LoadError> {
        Ok(self.hooks.forget_ended().map(|_| ())?)
    }

    /// Looks for the map that says which requests threads are serving.
    ///
    /// # Errors
    /// There is one that can't be used.
    pub fn find_requests(&mut self, path: &Path) -> Result<Requests, ProbeError> {
        self.hooks.find_requests(path)
    }

    /// Puts other policies in force than those that are; where it fails, nothing has changed.
    fn turn_to(&mut self, next: Policies, types: &mut Types) -> Result<(), LoadError> {
        let before = mem::replace(&mut self.policies, next);
        let gone = unlike(&before, &self.policies);
        let targets: BTreeSet<Target> = gone
            .iter()
            .chain(&unlike(&self.policies, &before))
            .flat_map(|loaded| loaded.seats.iter().map(|seat| seat.target.clone()))
            .collect();
        let lineages = self.lineages.clone();
        let tables = match self.prepare(&targets, types) {
            Ok(tables) => tables,
            Err(error) => {
                self.policies = before;
                self.lineages = lineages;
                self.detach_idle(&targets);
                return Err(error);
            }
        };
        let listens = self.policies.values().any(|loaded| loaded.enabled && loaded.policy.loader);
        if listens && self.listening.is_none() {
            let loader = self.loader.as_ref().ok_or(ProbeError::Missing("loader"));
            match loader.and_then(loader::Source::listen) {
                Ok(listening) => self.listening = Some(listening),
                Err(error) => {
                    self.policies = before;
                    self.lineages = lineages;
                    self.detach_idle(&targets);
                    return Err(error.into());
                }
            }
        }
        if let Err(error) = self.put_in_place(&tables, self.lineages != lineages, types) {
            self.policies = before;
            self.fall_back(&targets);
            return Err(error);
        }
        if !listens {
            self.listening = None;
        }
        self.detach_idle(&targets);
        self.unfollow(&gone);
        self.forget_marks(&gone);
        let mut sources: BTreeSet<u32> = gone.iter().flat_map(|loaded| sources_of(loaded)).collect();
        for loaded in self.policies.values() {
            sources_of(loaded).for_each(|source| {
                sources.remove(&source);
            });
        }
        self.sources.retire(sources.into_iter().collect());
        Ok(())
    }

    /// Attaches to targets and compiles their tables. What is in force does not notice.
    fn prepare(
        &mut self,
        targets: &BTreeSet<Target>,
        types: &mut Types,
    ) -> Result<Vec<(Target, TablePlan)>, LoadError> {
        let mut tables = Vec::new();
        if self.tracks() && !self.hooks.watches_sockets() {
            self.hooks.watch_sockets(types.get()?)?;
        }
        for target in targets {
            let parts = self.parts(target);
            let needs = needs(target, &parts)?;
            let may_be_missing = parts.iter().all(|part| may_be_missing(part.hook, target));
            // One policy that will have no kprobe.multi, or uprobe.multi, is enough: the program is everybody's.
            let alone = parts.iter().any(|part| part.alone);
            let sees_registers = |part: &Part<'_>| part.hook.sees_registers();
            let of_many = |part: &Part<'_>| part.hook.point.count() > MANY;
            let choice = match (parts.iter().any(sees_registers), alone) {
                (true, true) => Choice::Only(Mechanism::Kprobe),
                (true, false) => Choice::Registers,
                (false, true) => Choice::NotMulti,
                (false, false) if parts.iter().any(of_many) => Choice::Many,
                (false, false) => Choice::Best,
            };
            if parts.is_empty() {
                continue;
            }
            if !self.hooks.serves(target, needs, choice) {
                let kernel = types.get()?;
                // What a program could make in another way must be denied there, too.
                let may_be_missing = may_be_missing && !(needs.denies && self.hooks.is_there(kernel, target));
                match self.hooks.attach_for(kernel, target, needs, choice) {
                    Ok(_) => {}
                    Err(_) if may_be_missing => continue,
                    Err(error) => return Err(error.into()),
                }
            }
            tables.push((target.clone(), self.table(target)?));
        }
        Ok(tables)
    }

    fn put_in_place(
        &mut self,
        tables: &[(Target, TablePlan)],
        new_lineages: bool,
        types: &mut Types,
    ) -> Result<(), LoadError> {
        if new_lineages {
            self.hooks.set_lineage(types.get()?, &self.lineages.plan())?;
        }
        for (target, table) in tables {
            self.hooks.set_table(target, table)?;
        }
        Ok(())
    }

    /// Puts the tables back in place of which some were replaced.
    fn fall_back(&mut self, targets: &BTreeSet<Target>) {
        self.detach_idle(targets);
        for target in targets {
            let table = self.table(target);
            if let Err(error) = table.and_then(|table| Ok(self.hooks.set_table(target, &table)?)) {
                warn!(hook = %target, %error, "a hook has what a policy would have had that could not be loaded");
            }
        }
    }

    /// Lets go of what policies follow that are in force no longer.
    fn unfollow(&mut self, gone: &[Arc<Loaded>]) {
        for loaded in gone.iter().filter(|loaded| loaded.enabled && loaded.policy.follows()) {
            let stays =
                |other: &Arc<Loaded>| other.id == loaded.id && other.enabled && other.policy.follows();
            if self.policies.values().any(stays) {
                continue;
            }
            if let Err(error) = self.hooks.unfollow(loaded.id) {
                warn!(policy = loaded.policy.key(), %error, "files that a policy followed are followed by nobody");
            }
        }
    }

    fn detach_idle(&mut self, targets: &BTreeSet<Target>) {
        for target in targets {
            if self.parts(target).is_empty() {
                self.hooks.detach(target);
            }
        }
        if !self.tracks()
            && let Err(error) = self.hooks.forget_sockets()
        {
            warn!(%error, "sockets that policies tracked are told of their owners still");
        }
    }

    /// Whether a policy in force tracks sockets.
    fn tracks(&self) -> bool {
        self.policies.values().any(|loaded| loaded.enabled && !loaded.trial && loaded.policy.tracks())
    }

    fn seats(&self, policy: &Policy, trial: bool) -> Result<Vec<Seat>, LoadError> {
        let name = Arc::new(PolicyName {
            name: policy.name.as_str().into(),
            namespace: policy.namespace.as_deref().map(Into::into),
        });
        let targets: Vec<_> = policy.hooks.iter().map(targets).collect::<Result<_, _>>()?;
        let calls_out = |hook: &Hook| match trial {
            true => Ok(None),
            false => CallsOut::of(hook, &name, self.outbound.as_ref()),
        };
        let calls_out: Vec<_> = policy.hooks.iter().map(calls_out).collect::<Result<_, _>>()?;
        let mut seats = Vec::new();
        for (index, ((hook, targets), calls)) in policy.hooks.iter().zip(targets).zip(calls_out).enumerate() {
            for target in targets {
                let source = self.sources.learn(source_of(&name, hook, &target), calls.clone());
                seats.push(Seat { hook: index, target, source });
            }
        }
        Ok(seats)
    }

    fn scopes(&self, policy: &Policy) -> Result<Scopes, NoScopeFree> {
        let hold = |selector: Option<&Selector>| {
            policy.scope_of(selector).map(|scope| self.placements.hold(&scope)).transpose()
        };
        let of_hook = |hook: &Hook| match hook.selectors.as_slice() {
            [] => Ok(vec![hold(None)?]),
            selectors => {
                // Executions have one more, for those that no selector takes.
                let rest = (hook.point == Point::Process).then(|| hold(None));
                selectors.iter().map(|selector| hold(Some(selector))).chain(rest).collect()
            }
        };
        policy.hooks.iter().map(of_hook).collect()
    }

    fn table(&mut self, target: &Target) -> Result<TablePlan, LoadError> {
        let mut lineages = mem::take(&mut self.lineages);
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
                seats.filter_map(|seat| part(loaded, seat)).filter(|part| part.hook.is_resolved())
            })
            .collect()
    }

    /// A policy's share: of a table by selectors, of programs by heads.
    fn memory(&self, loaded: &Loaded) -> u64 {
        if !loaded.enabled {
            return 0;
        }
        let targets: BTreeSet<&Target> = loaded.seats.iter().map(|seat| &seat.target).collect();
        let share = |target: &Target| {
            let memory = self.hooks.memory(target);
            let parts = self.parts(target);
            let selectors = |part: &Part<'_>| part.hook.selectors.len().max(1) as u64;
            let all: u64 = parts.iter().map(selectors).sum();
            let own: u64 = parts.iter().filter(|part| part.policy == loaded.id).map(selectors).sum();
            let policies = parts.iter().map(|part| part.policy).collect::<BTreeSet<_>>().len() as u64;
            memory.table * own / all.max(1) + memory.programs / policies.max(1)
        };
        targets.into_iter().map(share).sum()
    }
}
