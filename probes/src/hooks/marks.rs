//! Marks that policies left on processes.

use aya::maps::{HashMap, MapData};

use super::Hooks;
use crate::{ProbeError, object::open};

/// `struct mark_key` of bpf/hook/mark.h in words, of which the last is the group.
type Key = [u32; 4];

// === impl Hooks ===

impl Hooks {
    /// Forgets what a policy left on processes, by the `group` of its selectors, which are gone.
    ///
    /// # Errors
    /// The map can't be read.
    pub fn forget_marks(&self, group: u32) -> Result<(), ProbeError> {
        let failed = |source| ProbeError::Map { map: "marks", source };
        let mut marks: HashMap<MapData, Key, u64> = open(&self.maps, "marks")?.try_into().map_err(failed)?;
        for key in marks.keys().flatten().filter(|key| key[3] == group).collect::<Vec<_>>() {
            // What made room meanwhile isn't there.
            let _ = marks.remove(&key);
        }
        Ok(())
    }
}
