//! Hooks: kernel functions, system calls, tracepoints and places in programs that policies ask for.
//!
//! A hook takes the best mechanism that this kernel really loads: each is tried in turn, none is inferred from the
//! kernel's version or configuration. All policies that name a hook share its program; what it does is in its table
//! ([`plan`]), which is put in place in one store, so that no call sees half of a change.

use std::{collections::HashMap, fmt};

use aya_obj::btf::BtfKind;

use crate::{
    ProbeError,
    lifecycle::{Kernel, Shared},
    object::{Maps, Object},
    programs::{Footprint, Part, Programs},
};
use attach::{Attachment, tracepoint::Fields};
use maps::{HookMaps, Raws};
use plan::selector_flags;
use releases::Releases;

mod attach;
mod denial;
pub mod equivalents;
pub(crate) mod lsm;
mod maps;
mod marks;
mod mechanism;
mod pending;
pub mod plan;
mod processes;
mod releases;
mod sets;
mod sockets;
mod tries;

mod executions;
mod requests;

pub(crate) use attach::event_type;
pub use attach::{
    tracepoint::FIELDS,
    user::{UserCode, UserPlace},
};
pub use denial::{Changes, Needs};
pub use maps::{FieldUse, TablePlan};
pub use mechanism::{Choice, Mechanism};
pub use processes::Lineage;
pub use releases::SWEEP_PERIOD;
pub use requests::Requests;
pub use sets::{Address, Entries, STATE_FOUND};
pub use tries::Tried;

/// What a hook is on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// A function of the kernel, by its symbol.
    Function(String),
    /// A system call by its name without a prefix: `openat`.
    Syscall(String),
    /// A system call as 32-bit programs make it, where the machine runs such.
    CompatSyscall(String),
    /// A tracepoint.
    Tracepoint {
        /// Its folder under events/.
        subsystem: String,
        /// Its name.
        event: String,
    },
    /// A tracepoint, as the kernel passes it to its own handlers.
    RawTracepoint {
        /// Its folder under events/: how policies name it, the kernel doesn't.
        subsystem: String,
        /// Its name.
        event: String,
    },
    /// A hook of the security modules, by its name in the kernel: `file_open`.
    Lsm(String),
    /// A place in the code of a program or a library.
    User(UserPlace),
    /// The executions of processes themselves: its table decides which are told.
    Execution,
}

/// A hook's number: its place in the programs' array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HookId(pub u32);

/// A hook that has a program.
struct Attached {
    id: HookId,
    mechanism: Mechanism,
    returns: bool,
    denies: bool,
    hashes: bool,
    changes: Changes,
    table: u32,
    attachment: Attachment,
}

/// What a hook takes of the kernel's memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Its table, with all that the table is looked up in.
    pub table: u64,
    /// Its programs, or its share of those that hooks share.
    pub programs: u64,
}

/// All hooks of this kernel.
pub struct Hooks {
    maps: Maps,
    typed: HookMaps,
    objects: HashMap<&'static str, Object>,
    hooks: HashMap<Target, Attached>,
    free: Vec<u32>,
    next_hook: u32,
    next_table: u32,
    /// Programs and links that keep what selectors ask of processes.
    processes: Option<Attachment>,
    /// Programs that see followed files closed.
    releases: Option<Releases>,
    /// What sees tracked sockets end.
    sockets: Option<sockets::Watch>,
    /// Programs and links that every system call passes.
    syscalls: Option<Attachment>,
    /// Mechanisms that this kernel refuses whatever the target is, with what it said.
    hopeless: HashMap<Mechanism, String>,
    /// Programs that are security modules are known to be asked.
    lsm_is_asked: bool,
    programs: Programs,
    footprint: Footprint,
    filters_execs: bool,
    /// The map of requests that is in use, by its number.
    requests: Option<u32>,
}

// === impl Hooks ===

impl Hooks {
    /// No hooks yet; their records will come through the lifecycle's ring buffer.
    ///
    /// # Errors
    /// The kernel refuses the maps.
    pub fn new(shared: Shared, kernel: &Kernel) -> Result<Self, ProbeError> {
        let Shared { mut maps, hooks: programs, footprint, filters_execs, .. } = shared;
        let processes = Object::load("processes", kernel, &mut maps)?;
        footprint.add(Part::Hooks, &maps);
        let typed = HookMaps::new(&maps)?;
        Ok(Self {
            maps,
            typed,
            objects: HashMap::from([("processes", processes)]),
            hooks: HashMap::new(),
            free: Vec::new(),
            next_hook: 1,
            next_table: 1,
            processes: None,
            releases: None,
            sockets: None,
            syscalls: None,
            hopeless: HashMap::new(),
            lsm_is_asked: false,
            programs,
            footprint,
            filters_execs,
            requests: None,
        })
    }

    /// Attaches to a target, or uses the program that is there; `returns` says whether its return is of interest.
    /// The hook does nothing until it has a table.
    ///
    /// # Errors
    /// No mechanism can do it: the message has what each said.
    pub fn attach(
        &mut self,
        kernel: &Kernel,
        target: &Target,
        returns: bool,
        choice: Choice,
    ) -> Result<(HookId, Mechanism), ProbeError> {
        self.attach_for(kernel, target, Needs::seeing(returns), choice)
    }

    /// The same, where programs need not only see.
    ///
    /// # Errors
    /// As [`Self::attach`]; a hook that has to deny is attached by what can, or not at all.
    pub fn attach_for(
        &mut self,
        kernel: &Kernel,
        target: &Target,
        needs: Needs,
        choice: Choice,
    ) -> Result<(HookId, Mechanism), ProbeError> {
        if let Some(hook) = self.hooks.get(target)
            && self.serves(target, needs, choice)
        {
            return Ok((hook.id, hook.mechanism));
        }
        self.track_processes(kernel)?;
        self.track_releases(kernel)?;
        let id = match self.hooks.get(target) {
            Some(hook) => hook.id,
            None => self.new_id()?,
        };
        let mut tried = Vec::new();
        let mut refused = false;
        let ladder = if needs.denies { Mechanism::denials(target).to_vec() } else { choice.ladder(target) };
        let wanted = |one: &Mechanism| {
            choice.allows(*one)
                && (!needs.hashes || *one == Mechanism::Lsm)
                && (!needs.denies || needs.method.is_none_or(|method| method == *one))
        };
        for mechanism in ladder.into_iter().filter(wanted) {
            if let Some(said) = self.hopeless.get(&mechanism) {
                tried.push(format!("{}: {said}", mechanism.as_str()));
                continue;
            }
            match self.try_attach(kernel, id, target, needs, mechanism) {
                Ok(attachment) => {
                    // What was attached before, without returns, goes when this takes its place.
                    let table = self.hooks.get(target).map_or(0, |hook| hook.table);
                    let returns = needs.returns || mechanism.sees_returns();
                    let denies = needs.denies || mechanism.denies();
                    let Needs { hashes, changes, .. } = needs;
                    let hook =
                        Attached { id, mechanism, returns, denies, hashes, changes, table, attachment };
                    self.hooks.insert(target.clone(), hook);
                    return Ok((id, mechanism));
                }
                Err(error) => {
                    if mechanism.is_refused_by(&error) {
                        self.hopeless.insert(mechanism, error.to_string());
                    }
                    refused |= matches!(error, ProbeError::Refused { .. });
                    tried.push(format!("{}: {error}", mechanism.as_str()));
                }
            }
        }
        if !self.hooks.contains_key(target) {
            self.free.push(id.0);
        }
        let (hook, tried) = (target.to_string(), tried.join("; "));
        // Where it is the place that can't be hooked, changes have no part in that.
        if refused && needs.changes.any() {
            return Err(ProbeError::Change { hook, what: needs.changes.as_str(), tried });
        }
        if !needs.denies {
            return Err(ProbeError::Hook { hook, tried });
        }
        let native = match target {
            Target::CompatSyscall(name) => Some(format!("{}{name}", syscall_prefix())),
            _ => None,
        };
        Err(ProbeError::Denial { hook, tried, native })
    }

    /// How a target is entered; none where it isn't attached.
    pub fn mechanism(&self, target: &Target) -> Option<Mechanism> {
        self.hooks.get(target).map(|hook| hook.mechanism)
    }

    /// Whether a target is attached as it has to be, by what can do all that is needed: then [`Self::attach_for`] has nothing to do.
    pub fn serves(&self, target: &Target, needs: Needs, choice: Choice) -> bool {
        self.hooks.get(target).is_some_and(|hook| {
            let by_method = needs.method.is_none_or(|method| method == hook.mechanism);
            choice.allows(hook.mechanism)
                && (hook.returns || !needs.returns)
                && (hook.hashes || !needs.hashes)
                && hook.changes.cover(needs.changes)
                && (!needs.denies || hook.denies && by_method)
        })
    }

    /// Whether the kernel has a system call or function at all, as far as its types tell.
    pub fn is_there(&self, kernel: &Kernel, target: &Target) -> bool {
        attach::symbols_of(target).iter().any(|symbol| function_type(kernel, symbol) != 0)
    }

    /// Has a policy, by the `group` of its selectors, only watch, or do what it says. All its hooks turn at once.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn set_monitored(&mut self, group: u32, monitored: bool) -> Result<(), ProbeError> {
        self.typed.set_monitored(group, monitored)
    }

    /// Puts a table in place.
    ///
    /// # Errors
    /// The kernel has no room for it; the table that was there stays.
    pub fn set_table(&mut self, target: &Target, table: &TablePlan) -> Result<(), ProbeError> {
        if table.selectors.iter().any(|selector| selector.flags & selector_flags::FOLLOW != 0) {
            self.watch_releases()?;
        }
        let Some(hook) = self.hooks.get_mut(target) else { return Ok(()) };
        let (id, before) = (self.next_table, hook.table);
        self.next_table = self.next_table.wrapping_add(1).max(1);
        let raws = match target {
            Target::User(place) => Raws::Operands(place.operands(&table.fields)?),
            _ => Raws::Fields(Fields::of_table(&hook.attachment.fields, &table.fields, target)?),
        };
        self.typed.write(id, table, &raws)?;
        self.typed.point(hook.id, id)?;
        hook.table = id;
        self.typed.erase(before);
        Ok(())
    }

    /// Lets go of the files that a policy follows, by the `group` of its selectors, which are gone.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn unfollow(&self, group: u32) -> Result<(), ProbeError> {
        self.releases.as_ref().map_or(Ok(()), |releases| releases.unfollow(group))
    }

    /// What selectors that are tried ([`selector_flags::TRY`]) would have done, by the numbers of their policies' hooks.
    /// It is forgotten then.
    ///
    /// # Errors
    /// The kernel doesn't tell.
    pub fn take_tried(&mut self, policy_hooks: &[u32]) -> Result<Vec<Tried>, ProbeError> {
        self.typed.tries.take(policy_hooks)
    }

    /// Detaches from a target.
    pub fn detach(&mut self, target: &Target) {
        if let Some(hook) = self.hooks.remove(target) {
            // Without a table it does nothing more, whatever becomes of its program.
            let _ = self.typed.point(hook.id, 0);
            self.typed.erase(hook.table);
            self.free.push(hook.id.0);
        }
    }

    /// What a hook takes of the kernel's memory; nothing where it isn't attached.
    pub fn memory(&self, target: &Target) -> Memory {
        let Some(hook) = self.hooks.get(target) else { return Memory::default() };
        let own = hook.attachment.bytes();
        let shared = if hook.mechanism.is_seen() {
            let sharing = self.hooks.values().filter(|hook| hook.mechanism.is_seen()).count() as u64;
            self.syscalls.as_ref().map_or(0, Attachment::bytes) / sharing.max(1)
        } else {
            0
        };
        Memory { table: self.typed.bytes(hook.table), programs: own + shared }
    }

    fn new_id(&mut self) -> Result<HookId, ProbeError> {
        const HOOKS: u32 = 4096;
        if let Some(id) = self.free.pop() {
            return Ok(HookId(id));
        }
        let id = self.next_hook;
        if id >= HOOKS {
            return Err(ProbeError::Full("hooks: policies name 4095 at most"));
        }
        self.next_hook += 1;
        Ok(HookId(id))
    }

    /// One of the objects, loaded when it is first needed.
    fn object(&mut self, name: &'static str, kernel: &Kernel) -> Result<&Object, ProbeError> {
        if !self.objects.contains_key(name) {
            let object = Object::load(name, kernel, &mut self.maps)?;
            self.objects.insert(name, object);
            self.footprint.add(Part::Hooks, &self.maps);
            self.typed.learn(&self.maps)?;
        }
        self.objects.get(name).ok_or(ProbeError::Missing(name))
    }
}

/// The id of a function's type in the kernel's BTF; 0 where there is none.
fn function_type(kernel: &Kernel, name: &str) -> u32 {
    kernel.types.targets.id_by_type_name_kind(name, BtfKind::Func).unwrap_or(0)
}

// === impl Target ===

impl Target {
    /// The kernel's symbol for it, as events name it.
    pub fn symbol(&self) -> String {
        match self {
            Self::Function(name) => name.clone(),
            Self::Syscall(name) => format!("{}{name}", syscall_prefix()),
            Self::CompatSyscall(name) => format!("__ia32_sys_{name}"),
            Self::Tracepoint { subsystem, event } | Self::RawTracepoint { subsystem, event } => {
                format!("{subsystem}/{event}")
            }
            Self::Execution => "process".to_owned(),
            Self::Lsm(hook) => hook.clone(),
            Self::User(place) => place.to_string(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.symbol())
    }
}

/// What the kernel's symbols for system calls begin with.
pub fn syscall_prefix() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "__x64_sys_",
        "aarch64" => "__arm64_sys_",
        _ => "sys_",
    }
}
