//! The kernel's side of an agent: hooks, the lifecycle, and the table of where each cgroup is.

use std::path::Path;

use trigon::policy::{
    compile::Host,
    engine::{Engine, Types},
    matches::Sources,
    model::Policy,
    placements::Placements,
};
use trigon_probes::{
    hooks::Hooks,
    lifecycle::{self, Kernel, Lifecycle, Options},
    placements::{PlacementMap, ScopeBits},
    record::{Record, decode},
    ring::Ring,
};

use crate::chdir;

/// The kernel's side of an agent, and the policies.
pub struct Rig {
    pub engine: Engine,
    pub types: Types,
    pub sources: Sources,
    pub placements: Placements,
    pub map: PlacementMap,
    /// A policy applies to the host: whoever runs there is told of.
    pub of_host: bool,
    pub ring: Ring,
    _lifecycle: Lifecycle,
}

/// A record that policies, or the table, are interested in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A policy's hook matched: who called, which policy, which selector.
    Match(u32, String, u16),
    /// A cgroup was made: its id, that of the one that it is in, its path.
    Made(u64, u64, String),
    /// A cgroup is gone.
    Gone(u64),
}

// === impl Rig ===

impl Rig {
    pub fn new() -> Self {
        Self::with(lifecycle::Mechanism::Best, true)
    }

    pub fn with(mechanism: lifecycle::Mechanism, cgroups: bool) -> Self {
        let kernel = Kernel::read().expect("read the kernel's types");
        let options = Options {
            ring_bytes: 1 << 22,
            args_bytes: 1024,
            join_env: false,
            variables: Vec::new(),
            cgroups,
            mechanism,
        };
        let (lifecycle, ring) = Lifecycle::attach(&options, &kernel).expect("attach to the lifecycle");
        let shared = lifecycle.shared();
        let open = || PlacementMap::open(&shared).expect("open the map");
        let mount = kernel.cgroups().mount.clone().filter(|_| cgroups);
        let placements = Placements::new(open(), mount);
        placements.walk();
        let hooks = Hooks::new(shared.clone(), &kernel).expect("make the hooks' maps");
        let sources = Sources::default();
        let engine = Engine::new(hooks, Host::default(), sources.clone(), placements.clone(), None, None);
        let (map, types) = (open(), Types::from(kernel));
        Self { engine, types, sources, placements, map, of_host: false, ring, _lifecycle: lifecycle }
    }

    /// Loads a policy, which is in force then.
    pub fn load(&mut self, policy: Policy) {
        self.of_host |= policy.scope.as_ref().is_none_or(|scope| scope.host);
        self.engine.add(policy, &mut self.types).expect("load the policy");
    }

    /// The records since the last call. The table is told of them, as in the agent.
    pub fn seen(&mut self) -> Vec<Seen> {
        let placements = self.placements.clone();
        self.seen_by(|record| placements.take(record))
    }

    pub fn seen_by(&mut self, mut each: impl FnMut(&Record<'_>)) -> Vec<Seen> {
        let mut seen = Vec::new();
        self.ring.drain(usize::MAX, |bytes| {
            let record = decode(bytes).expect("a record");
            match &record {
                Record::Hook(hook) => {
                    let source = self.sources.get(hook.fixed.policy_hook).expect("a policy's hook");
                    let name = source.hook.policy.name.to_string();
                    seen.push(Seen::Match(hook.fixed.key.pid, name, hook.fixed.selector));
                }
                Record::CgroupMade(made) => {
                    let mut path = Vec::new();
                    made.cgroup.write(false, &mut path);
                    let path = String::from_utf8(path).expect("a plain path");
                    seen.push(Seen::Made(made.fixed.cgroup_id, made.fixed.parent_id, path));
                }
                Record::CgroupGone(gone) => seen.push(Seen::Gone(gone.cgroup_id)),
                _ => {}
            }
            each(&record);
        });
        seen
    }

    /// All that hooks told since the last call, of whomever.
    pub fn matches(&mut self) -> Vec<(u32, String, u16)> {
        let of_hook = |seen| match seen {
            Seen::Match(pid, policy, selector) => Some((pid, policy, selector)),
            _ => None,
        };
        self.seen().into_iter().filter_map(of_hook).collect()
    }

    /// How many policies tell of a process in a cgroup, or on the host. Where all are for pods, they tell of nobody else.
    pub fn matched(&mut self, cgroup: Option<&Path>) -> usize {
        self.matches();
        let pid = chdir(cgroup);
        let matches = self.matches();
        let own = matches.iter().filter(|(of, ..)| *of == pid).count();
        assert!(self.of_host || own == matches.len(), "somebody else was told of: {matches:?}");
        own
    }

    pub fn placement(&self, cgroup: u64) -> Option<ScopeBits> {
        self.map.get(cgroup).expect("read the map")
    }
}
