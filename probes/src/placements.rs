//! The kernel's map of placements: which scopes of policies match what runs in a cgroup. bpf/placement.h explains it.

use std::io::ErrorKind;

use aya::{
    Pod,
    maps::{HashMap, MapData, MapError},
};

use crate::{ProbeError, hooks::plan::SCOPE_WORDS, lifecycle::Shared, object::typed};

/// Scopes, a bit each.
pub type ScopeBits = [u64; SCOPE_WORDS];

/// The id under which the host has its bits: no cgroup has it, and what has no entry is of the host.
pub const HOST: u64 = 0;

/// The map.
#[derive(Debug)]
pub struct PlacementMap(HashMap<MapData, u64, Placement>);

/// `struct placement` of bpf/placement.h.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Placement {
    scopes: ScopeBits,
}

#[expect(unsafe_code, reason = "what aya asks of a map's value")]
// SAFETY: an array of integers: every bit pattern is a value.
unsafe impl Pod for Placement {}

// === impl PlacementMap ===

impl PlacementMap {
    /// The lifecycle's.
    ///
    /// # Errors
    /// The kernel refuses another handle on it.
    pub fn open(shared: &Shared) -> Result<Self, ProbeError> {
        typed(&shared.maps, "placements").map(Self)
    }

    /// Says which scopes match a cgroup, or [`HOST`].
    ///
    /// # Errors
    /// There is no room for it.
    pub fn set(&mut self, cgroup: u64, scopes: ScopeBits) -> Result<(), ProbeError> {
        self.0.insert(cgroup, Placement { scopes }, 0).map_err(failed)
    }

    /// Makes a cgroup one of the host's.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn remove(&mut self, cgroup: u64) -> Result<(), ProbeError> {
        match self.0.remove(&cgroup) {
            Ok(()) => Ok(()),
            // The kernel takes out what is removed by itself.
            Err(MapError::SyscallError(error)) if error.io_error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    /// What the kernel has of a cgroup.
    ///
    /// # Errors
    /// The kernel refuses to tell.
    pub fn get(&self, cgroup: u64) -> Result<Option<ScopeBits>, ProbeError> {
        match self.0.get(&cgroup, 0) {
            Ok(placement) => Ok(Some(placement.scopes)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }
}

fn failed(source: MapError) -> ProbeError {
    ProbeError::Map { map: "placements", source }
}
