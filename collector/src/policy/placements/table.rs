//! Pods, cgroups and scopes, and the bits that follow from them.

use std::{collections::HashSet, fmt, sync::Arc};

use rustc_hash::FxHashMap;
use tracing::warn;
use trigon_probes::{
    hooks::plan::SCOPES,
    placements::{HOST, ScopeBits},
};

use super::{super::model::scope::Scope, Store};
use crate::{
    enrich::container::{self, Belongs, PodRef},
    kubernetes::pod::PodEntry,
};

/// What is known.
pub(super) struct Table {
    store: Box<dyn Store>,
    /// By bit.
    scopes: Vec<Option<Held>>,
    /// By the uid in the names of their cgroups.
    pods: FxHashMap<String, Arc<PodEntry>>,
    /// Those below the cgroup of all pods, by id.
    cgroups: FxHashMap<u64, Known>,
    host: ScopeBits,
    /// Walks that were begun.
    walks: u64,
    /// Writes that the store refused; the first was said.
    refused: u64,
}

/// A scope that has a bit.
#[derive(Debug)]
struct Held {
    scope: Scope,
    users: usize,
}

/// A cgroup.
#[derive(Debug)]
struct Known {
    /// The uid of its pod, if it is below one's.
    pod: Option<String>,
    /// The id of its container, if it is in one.
    container: Option<String>,
    /// What is written of it. None: it could not be.
    written: Option<ScopeBits>,
    /// Walks that were begun before it was seen.
    since: u64,
}

// === impl Table ===

impl Table {
    pub(super) fn new(store: Box<dyn Store>) -> Self {
        Self {
            store,
            scopes: Vec::new(),
            pods: FxHashMap::default(),
            cgroups: FxHashMap::default(),
            host: ScopeBits::default(),
            walks: 0,
            refused: 0,
        }
    }

    // --- pods ---

    pub(super) fn pod(&mut self, pod: &Arc<PodEntry>) {
        self.pods.insert(pod.cgroup_uid.clone(), Arc::clone(pod));
        self.follow(&pod.cgroup_uid);
    }

    pub(super) fn pod_gone(&mut self, cgroup_uid: &str) {
        if self.pods.remove(cgroup_uid).is_some() {
            self.follow(cgroup_uid);
        }
    }

    /// Writes what has changed in the cgroups of a pod.
    fn follow(&mut self, cgroup_uid: &str) {
        self.rewrite(|known| known.pod.as_deref() == Some(cgroup_uid));
    }

    // --- cgroups ---

    pub(super) fn cgroup(&mut self, id: u64, path: &str) {
        if !container::is_of_pods(path) {
            return;
        }
        let (pod, container) = match Belongs::of_path(path).pod {
            Some(PodRef { uid, container }) => (Some(uid), container),
            None => (None, None),
        };
        self.cgroups.insert(id, Known { pod, container, written: None, since: self.walks });
        self.rewrite_one(id);
    }

    /// A cgroup that is in another, too deep for a walk to find it.
    pub(super) fn nested(&mut self, id: u64, parent: u64) {
        let Some(Known { pod, container, .. }) = self.cgroups.get(&parent) else { return };
        let (pod, container) = (pod.clone(), container.clone());
        self.cgroups.insert(id, Known { pod, container, written: None, since: u64::MAX });
        self.rewrite_one(id);
    }

    pub(super) fn cgroup_gone(&mut self, id: u64) {
        if self.cgroups.remove(&id).is_some()
            && let Err(error) = self.store.remove(id)
        {
            warn!(cgroup = id, %error, "a cgroup that is gone keeps its place");
        }
    }

    pub(super) fn begin_walk(&mut self) -> u64 {
        self.walks += 1;
        self.walks
    }

    /// Takes what a walk found: cgroups that are not known, and that there are no longer some that are. Those that were
    /// made meanwhile the walk may have missed.
    pub(super) fn end_walk(&mut self, turn: u64, found: &[(u64, String)]) {
        for (id, path) in found {
            if self.cgroups.get(id).is_none_or(|known| known.written.is_none()) {
                self.cgroup(*id, path);
            }
        }
        let found: HashSet<u64> = found.iter().map(|(id, _)| *id).collect();
        let gone = |(id, known): (&u64, &Known)| (known.since < turn && !found.contains(id)).then_some(*id);
        let gone: Vec<u64> = self.cgroups.iter().filter_map(gone).collect();
        gone.into_iter().for_each(|id| self.cgroup_gone(id));
    }

    pub(super) fn len(&self) -> usize {
        self.cgroups.values().filter(|known| known.written.is_some()).count()
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    // --- scopes ---

    /// A scope's bit, in all cgroups; none where all bits are given.
    pub(super) fn hold(&mut self, scope: &Scope) -> Option<u8> {
        let same = |held: &Option<Held>| held.as_ref().is_some_and(|held| held.scope == *scope);
        if let Some(index) = self.scopes.iter().position(same) {
            if let Some(held) = &mut self.scopes[index] {
                held.users += 1;
            }
            return u8::try_from(index).ok();
        }
        let free = self.scopes.iter().position(Option::is_none);
        let index = free.unwrap_or(self.scopes.len());
        let bit = u8::try_from(index).ok().filter(|_| index < SCOPES)?;
        let held = Some(Held { scope: scope.clone(), users: 1 });
        match self.scopes.get_mut(index) {
            Some(place) => *place = held,
            None => self.scopes.push(held),
        }
        self.rewrite_all();
        Some(bit)
    }

    pub(super) fn release(&mut self, bit: u8) {
        let Some(place) = self.scopes.get_mut(usize::from(bit)) else { return };
        match place {
            Some(held) if held.users > 1 => held.users -= 1,
            place => {
                *place = None;
                self.rewrite_all();
            }
        }
    }

    // --- bits ---

    fn bits_of(&self, known: &Known) -> ScopeBits {
        let pod = known.pod.as_ref().and_then(|uid| self.pods.get(uid));
        let Some(pod) = pod else { return ScopeBits::default() };
        let container = known.container.as_deref().and_then(|id| pod.container(id));
        let container = container.map(|container| &**container);
        self.bits(|scope| scope.has(&pod.pod.namespace, pod.labels(), container))
    }

    fn bits(&self, has: impl Fn(&Scope) -> bool) -> ScopeBits {
        let mut bits = ScopeBits::default();
        for (index, held) in self.scopes.iter().enumerate() {
            if held.as_ref().is_some_and(|held| has(&held.scope)) {
                bits[index / 64] |= 1 << (index % 64);
            }
        }
        bits
    }

    fn rewrite_all(&mut self) {
        let host = self.bits(|scope| scope.host);
        if host != self.host {
            self.host = host;
            self.write(HOST, host);
        }
        self.rewrite(|_| true);
    }

    fn rewrite(&mut self, which: impl Fn(&Known) -> bool) {
        let chosen = self.cgroups.iter().filter(|(_, known)| which(known)).map(|(id, _)| *id);
        let mut chosen: Vec<u64> = chosen.collect();
        // A cgroup has a greater id than the one that it is in: what is made meanwhile inherits the new bits.
        chosen.sort_unstable();
        chosen.into_iter().for_each(|id| self.rewrite_one(id));
    }

    fn rewrite_one(&mut self, id: u64) {
        let Some(known) = self.cgroups.get(&id) else { return };
        let bits = self.bits_of(known);
        if known.written == Some(bits) {
            return;
        }
        let written = self.write(id, bits);
        if let Some(known) = self.cgroups.get_mut(&id) {
            known.written = written.then_some(bits);
        }
    }

    fn write(&mut self, id: u64, bits: ScopeBits) -> bool {
        match self.store.set(id, bits) {
            Ok(()) => true,
            Err(error) => {
                if self.refused == 0 {
                    warn!(cgroup = id, %error, "policies with selectors of pods do not see some of them");
                }
                self.refused += 1;
                false
            }
        }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scopes, pods, cgroups, .. } = self;
        let mut fields = formatter.debug_struct("Table");
        fields.field("scopes", scopes).field("pods", pods).field("cgroups", cgroups).finish_non_exhaustive()
    }
}
