//! The cgroups that processes were seen in, each kept once, and the pods that they are of.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use trigon_exporters::event::{Cgroup, PlaceCell};

use super::container::{Belongs, PodRef};
use crate::kubernetes::pods::Pods;

/// As many cgroups are kept before those that no process uses any more are looked for.
const SWEEP_AT: usize = 1024;

/// Cgroups by id.
#[derive(Debug)]
pub struct Cgroups {
    known: FxHashMap<u64, Known>,
    sweep_at: usize,
    pods: Pods,
}

#[derive(Debug)]
struct Known {
    cgroup: Arc<Cgroup>,
    pod: Option<PodRef>,
}

// === impl Cgroups ===

impl Cgroups {
    /// The cgroup of that id. `path` is what a record said of it, empty where it said nothing.
    pub fn get(&mut self, id: u64, path: &str) -> Arc<Cgroup> {
        if let Some(known) = self.known.get(&id)
            && (path.is_empty() || known.cgroup.path == path)
        {
            return Arc::clone(&known.cgroup);
        }
        if self.known.len() >= self.sweep_at {
            self.known.retain(|_, known| Arc::strong_count(&known.cgroup) > 1);
            self.sweep_at = SWEEP_AT.max(2 * self.known.len());
        }
        let Belongs { container, pod } = Belongs::of_path(path);
        let place = PlaceCell::default();
        place.set(pod.as_ref().and_then(|pod| self.pods.place(pod)));
        let cgroup = Arc::new(Cgroup { id, path: path.to_owned(), container, place });
        self.known.insert(id, Known { cgroup: Arc::clone(&cgroup), pod });
        cgroup
    }

    /// The cgroup of that id, if a process was seen in it that is remembered.
    pub fn known(&self, id: u64) -> Option<&Arc<Cgroup>> {
        self.known.get(&id).map(|known| &known.cgroup)
    }

    /// Whether a cgroup is of a pod of which not everything is known that can be.
    pub fn lacks_place(&self, cgroup: &Cgroup) -> bool {
        // Most are of the host, or known.
        if cgroup.container.is_none()
            || cgroup.place.get().as_ref().is_some_and(|place| place.container.is_some())
        {
            return false;
        }
        self.pod_of(cgroup).is_some_and(|pod| match &*cgroup.place.get() {
            Some(place) => pod.container.is_some() && place.container.is_none() && !self.pods.is_sandbox(pod),
            None => true,
        })
    }

    /// The pod of a cgroup, as its path names it.
    pub fn pod_of(&self, cgroup: &Cgroup) -> Option<&PodRef> {
        self.known.get(&cgroup.id)?.pod.as_ref()
    }

    /// The pods of this node.
    pub fn pods(&self) -> &Pods {
        &self.pods
    }

    /// Changes the pods; all cgroups of those that changed have their places then.
    pub fn change_pods<T>(&mut self, change: impl FnOnce(&mut Pods) -> T) -> T {
        let result = change(&mut self.pods);
        for uid in self.pods.take_changed() {
            for Known { cgroup, pod } in self.known.values() {
                if let Some(pod) = pod
                    && *pod.uid == *uid
                    && let Some(place) = self.pods.place(pod)
                {
                    // One that is gone keeps the place that it had.
                    cgroup.place.set(Some(place));
                }
            }
        }
        result
    }
}

impl Default for Cgroups {
    fn default() -> Self {
        Self { known: FxHashMap::default(), sweep_at: SWEEP_AT, pods: Pods::default() }
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
