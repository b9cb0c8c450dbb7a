//! What the kernel's side lost, as it counts it.

use std::os::fd::AsFd as _;

use aya::maps::{MapData, PerCpuArray};

use crate::{
    ProbeError,
    programs::{Loaded, Programs},
    record::RecordType,
    sys,
};

/// What the kernel lost, counted there.
pub struct Lost {
    pub(super) ring_full: PerCpuArray<MapData, u64>,
    pub(super) programs: Vec<(RecordType, Loaded)>,
    pub(super) hooks: Programs,
}

/// Why the kernel lost a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostReason {
    /// The ring buffer had no room.
    RingFull,
    /// The program was already running on that CPU.
    Recursion,
    /// A hook's call came while all areas for calls on that CPU were in use.
    Busy,
    /// A file found no room among the followed ones.
    FollowedFull,
    /// A socket found no room among the tracked ones.
    TrackedFull,
    /// An argument in a program's memory could not be set.
    NotSet,
    /// A process found no room among the marked ones.
    MarkedFull,
    /// A policy's own rate limit held a post back.
    RateLimit,
    /// A call found no room to wait for its return.
    PendingFull,
    /// A call had more texts than there is room for; what it posts lacks one.
    Text,
    /// A cgroup found no room among the placements.
    PlacementsFull,
}

/// What hooks lose beside what finds the ring buffer full: `enum lost_kind` of bpf/maps.h.
const OF_HOOKS: [(u32, LostReason); 8] = [
    (9, LostReason::Busy),
    (10, LostReason::FollowedFull),
    (11, LostReason::RateLimit),
    (12, LostReason::PendingFull),
    (13, LostReason::Text),
    (15, LostReason::TrackedFull),
    (16, LostReason::NotSet),
    (17, LostReason::MarkedFull),
];

/// Beside the records that tell of it: `LOST_PLACEMENT`.
const PLACEMENT: u32 = 14;

// === impl Lost ===

impl Lost {
    /// Each record type's losses so far, by reason.
    ///
    /// # Errors
    /// Fails where the kernel's map can't be read.
    pub fn read(&self) -> Result<Vec<(RecordType, LostReason, u64)>, ProbeError> {
        let mut rows = Vec::with_capacity(2 * self.programs.len());
        for kind in RecordType::IN_RING {
            let counts = self
                .ring_full
                .get(&u32::from(kind.number()), 0)
                .map_err(|source| ProbeError::Map { map: "lost", source })?;
            rows.push((kind, LostReason::RingFull, counts.iter().sum()));
        }
        let of_hooks = OF_HOOKS.map(|(index, reason)| (index, RecordType::Hook, reason));
        let of_cgroups = (PLACEMENT, RecordType::CgroupMade, LostReason::PlacementsFull);
        for (index, kind, reason) in of_hooks.into_iter().chain([of_cgroups]) {
            let counts =
                self.ring_full.get(&index, 0).map_err(|source| ProbeError::Map { map: "lost", source })?;
            rows.push((kind, reason, counts.iter().sum()));
        }
        for (kind, program) in &self.programs {
            let missed = sys::cost(program.as_fd()).map_or(0, |cost| cost.missed);
            rows.push((*kind, LostReason::Recursion, missed));
        }
        rows.push((RecordType::Hook, LostReason::Recursion, self.hooks.missed()));
        Ok(rows)
    }
}

// === impl LostReason ===

impl LostReason {
    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::Recursion => "recursion",
            Self::Busy => "busy",
            Self::FollowedFull => "followed_full",
            Self::TrackedFull => "tracked_full",
            Self::NotSet => "not_set",
            Self::MarkedFull => "marked_full",
            Self::RateLimit => "rate_limit",
            Self::PendingFull => "pending_full",
            Self::Text => "text",
            Self::PlacementsFull => "placements_full",
        }
    }
}
