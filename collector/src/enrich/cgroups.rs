//! The cgroups that processes were seen in, each kept once.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use trigon_exporters::event::{Cgroup, PlaceCell};

use super::container;

/// As many cgroups are kept before those that no process uses any more are looked for.
const SWEEP_AT: usize = 1024;

/// Cgroups by id.
#[derive(Debug)]
pub struct Cgroups {
    known: FxHashMap<u64, Arc<Cgroup>>,
    sweep_at: usize,
}

// === impl Cgroups ===

impl Cgroups {
    /// The cgroup of that id. `path` is what a record said of it, empty where it said nothing.
    pub fn get(&mut self, id: u64, path: &str) -> Arc<Cgroup> {
        if let Some(known) = self.known.get(&id)
            && (path.is_empty() || known.path == path)
        {
            return Arc::clone(known);
        }
        if self.known.len() >= self.sweep_at {
            self.known.retain(|_, cgroup| Arc::strong_count(cgroup) > 1);
            self.sweep_at = SWEEP_AT.max(2 * self.known.len());
        }
        let cgroup = Arc::new(Cgroup { id, path: path.to_owned(), container: container::of_path(path), place: PlaceCell::default() });
        self.known.insert(id, Arc::clone(&cgroup));
        cgroup
    }
}

impl Default for Cgroups {
    fn default() -> Self {
        Self { known: FxHashMap::default(), sweep_at: SWEEP_AT }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_is_kept_once_and_forgotten_when_nobody_uses_it() {
        let mut cgroups = Cgroups::default();
        let held = cgroups.get(7, "a/b");
        assert!(Arc::ptr_eq(&held, &cgroups.get(7, "")));
        assert!(!Arc::ptr_eq(&held, &cgroups.get(7, "moved")));
        let held = cgroups.get(7, "");
        for id in 100..100_000 {
            cgroups.get(id, "gone");
        }
        assert!(cgroups.known.len() <= SWEEP_AT);
        assert!(Arc::ptr_eq(&held, &cgroups.get(7, "")));
    }
}
