//! What the reader's thread owns, and others ask it for or have it change.

use crate::{jobs, policy::placements::Placements, router::Router, tracker::Tracker};

/// The stages behind the decoder.
pub struct Pipeline {
    /// The process table.
    pub tracker: Tracker,
    /// Where each cgroup is, for policies.
    pub placements: Placements,
    /// The ways out, and the recent past.
    pub router: Router,
}

/// Gives the reader's thread jobs. It looks for them at least every 100 ms, between two chunks of records: what a job
/// does must be quick, since records wait meanwhile.
pub type Handle = jobs::Handle<Pipeline>;
