//! Marks that policies leave on processes.

use std::sync::Arc;

use tracing::warn;
use trigon_probes::hooks::plan::MARKS;

use super::{Engine, LoadError, Loaded};
use crate::policy::model::Policy;

/// The marks of a policy, each in the place of its bit. Those that processes have of the one before it keep theirs.
pub(super) fn of(policy: &Policy, before: Option<&Loaded>) -> Result<Vec<Arc<str>>, LoadError> {
    let mut marks = before.map(|before| before.marks.clone()).unwrap_or_default();
    for mark in policy.marks() {
        if !marks.contains(&mark) {
            marks.push(mark);
        }
    }
    if marks.len() > MARKS { Err(LoadError::Marks(MARKS)) } else { Ok(marks) }
}

// === impl Engine ===

impl Engine {
    /// Takes from processes what policies left on them that are in force no longer.
    pub(super) fn forget_marks(&self, gone: &[Arc<Loaded>]) {
        for loaded in gone.iter().filter(|loaded| loaded.enabled && !loaded.marks.is_empty()) {
            let stays = |other: &Arc<Loaded>| other.id == loaded.id && other.enabled;
            if self.policies.values().any(stays) {
                continue;
            }
            if let Err(error) = self.hooks.forget_marks(loaded.id) {
                warn!(policy = loaded.policy.key(), %error, "marks that a policy left on processes stay there unused");
            }
        }
    }
}
