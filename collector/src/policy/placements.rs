//! Where each cgroup is, told to the kernel: which scopes of policies match what runs there.
//!
//! A scope is a distinct condition on pods, containers and the host, and has a bit as long as a policy uses it. The
//! kernel's programs look up the bits of the cgroup in which a call is made, so that what no policy asks for never
//! leaves the kernel. Pods come and go by what the API server says, cgroups by what the kernel says, scopes with the
//! policies: whatever changes, the bits that change with it are written before the call returns.
//!
//! A cgroup that is made inherits its parent's bits in the kernel: the first program of a container is seen, whatever
//! the agent is doing at that moment. A pod that isn't known yet matches nothing, and is not of the host.

use std::{
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tracing::warn;
use trigon_probes::{
    ProbeError,
    hooks::plan::SCOPES,
    placements::{PlacementMap, ScopeBits},
    record::{Record, flags},
};

use super::model::scope::Scope;
use crate::{kubernetes::pod::PodEntry, text::push_escaped};
use table::Table;

mod table;
#[cfg(test)]
mod tests;
mod tree;

/// The table, shared by those who know of pods, of cgroups and of policies.
#[derive(Clone, Debug)]
pub struct Placements {
    table: Arc<Mutex<Table>>,
    /// Where the hierarchy of cgroups is mounted that containers are in.
    mount: Option<Arc<Path>>,
    /// It can't be read, and that was said.
    unreadable: Arc<AtomicBool>,
}

/// The kernel's id of a hierarchy's root.
const ROOT: u64 = 1;

/// Where bits are written to.
pub trait Store: Send {
    /// Says which scopes match a cgroup, or [`trigon_probes::placements::HOST`].
    ///
    /// # Errors
    /// There is no room for it.
    fn set(&mut self, cgroup: u64, scopes: ScopeBits) -> Result<(), ProbeError>;

    /// Forgets a cgroup.
    ///
    /// # Errors
    /// It can't be done.
    fn remove(&mut self, cgroup: u64) -> Result<(), ProbeError>;
}

/// A scope's bit. It is free again when this is dropped and nobody else has it.
#[derive(Debug)]
pub struct ScopeBit {
    bit: u8,
    placements: Placements,
}

/// All bits are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policies have {SCOPES} different selectors of pods, containers and the host; there can be no more")]
pub struct NoScopeFree;

// === impl Placements ===

impl Placements {
    /// No pods, no cgroups, no scopes yet. `mount` is where the cgroups are that [`Self::walk`] looks for.
    pub fn new(store: impl Store + 'static, mount: Option<PathBuf>) -> Self {
        let table = Arc::new(Mutex::new(Table::new(Box::new(store))));
        Self { table, mount: mount.map(Into::into), unreadable: Arc::default() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pod of this node is there, or is another than it was: labels, containers.
    pub fn pod(&self, pod: &Arc<PodEntry>) {
        self.table().pod(pod);
    }

    /// A pod is gone, by the uid in the names of its cgroups.
    pub fn pod_gone(&self, cgroup_uid: &str) {
        self.table().pod_gone(cgroup_uid);
    }

    /// A cgroup is there, by its path below the hierarchy's root. One of the host's is left to itself.
    pub fn cgroup(&self, id: u64, path: &str) {
        self.table().cgroup(id, path);
    }

    /// A cgroup is gone.
    pub fn cgroup_gone(&self, id: u64) {
        self.table().cgroup_gone(id);
    }

    /// What the kernel says of cgroups; of any other record there is nothing to do.
    pub fn take(&self, record: &Record<'_>) {
        match record {
            // So deep that not all of its path is told: it is where the one is that it is in.
            Record::CgroupMade(made) if made.fixed.header.flags & flags::TRUNC_CGROUP != 0 => {
                self.table().nested(made.fixed.cgroup_id, made.fixed.parent_id);
            }
            Record::CgroupMade(made) => {
                let (mut bytes, mut path) = (Vec::new(), String::new());
                made.cgroup.write(false, &mut bytes);
                push_escaped(&bytes, &mut path);
                self.cgroup(made.fixed.cgroup_id, &path);
            }
            Record::CgroupGone(gone) => self.cgroup_gone(gone.cgroup_id),
            _ => {}
        }
    }

    /// Gives a scope a bit, the one that it has if it has one. All cgroups have it when this returns.
    ///
    /// # Errors
    /// There are too many different scopes.
    pub fn hold(&self, scope: &Scope) -> Result<ScopeBit, NoScopeFree> {
        let bit = self.table().hold(scope).ok_or(NoScopeFree)?;
        Ok(ScopeBit { bit, placements: self.clone() })
    }

    /// Looks at the cgroups that there are: at the start, and to make good what the ring buffer lost.
    pub fn walk(&self) {
        if let Some(mount) = &self.mount
            && let Err(error) = self.walk_below(mount)
            && !self.unreadable.swap(true, Ordering::Relaxed)
        {
            warn!(mount = %mount.display(), %error, "cannot read the tree of cgroups: pods that run already are not matched");
        }
    }

    fn walk_below(&self, mount: &Path) -> io::Result<()> {
        // In a container that has no other mount there is a part of the hierarchy, and what is missing isn't gone.
        if mount.metadata()?.ino() != ROOT {
            return Err(io::Error::other("this is not all of it; mount the host's /sys/fs/cgroup"));
        }
        let turn = self.table().begin_walk();
        // Without the lock: reading takes its time.
        let found = tree::of_pods(mount)?;
        self.table().end_walk(turn, &found);
        Ok(())
    }

    /// How many cgroups have an entry in the kernel by what was written here.
    pub fn len(&self) -> usize {
        self.table().len()
    }

    /// How often the kernel had no room for where a cgroup is. It is tried again with each walk.
    pub fn refused(&self) -> u64 {
        self.table().refused()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

// === impl ScopeBit ===

impl ScopeBit {
    /// Its number: below [`SCOPES`].
    pub fn bit(&self) -> u8 {
        self.bit
    }
}

impl Drop for ScopeBit {
    fn drop(&mut self) {
        self.placements.table().release(self.bit);
    }
}

// === impl Store ===

impl Store for PlacementMap {
    fn set(&mut self, cgroup: u64, scopes: ScopeBits) -> Result<(), ProbeError> {
        Self::set(self, cgroup, scopes)
    }

    fn remove(&mut self, cgroup: u64) -> Result<(), ProbeError> {
        Self::remove(self, cgroup)
    }
}
