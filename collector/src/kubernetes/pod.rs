//! What the agent keeps of a pod of this node.

use std::{collections::BTreeMap, sync::Arc};

use trigon_exporters::event::{Place, Pod, PodContainer};

/// A pod of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodEntry {
    /// What events tell of it.
    pub pod: Arc<Pod>,
    /// The uid in the names of its cgroups: its own, or of a static pod the hash of its manifest.
    pub cgroup_uid: String,
    /// Its containers: init and ephemeral ones too, and of one that was started again those before it.
    pub containers: Vec<Arc<PodContainer>>,
    /// Ids of its sandboxes, as far as the container runtime has told: they have cgroups, and are no containers.
    pub sandboxes: Vec<String>,
}

// === impl PodEntry ===

impl PodEntry {
    /// All of its labels, for selectors.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.pod.all_labels
    }

    /// The container of that id.
    pub fn container(&self, id: &str) -> Option<&Arc<PodContainer>> {
        self.containers.iter().find(|container| container.id == id)
    }

    /// The place of a cgroup of this pod, by the id of its container.
    pub fn place(&self, container: Option<&str>) -> Place {
        let container = container.and_then(|id| self.container(id)).cloned();
        Place { pod: Arc::clone(&self.pod), container }
    }

    /// Keeps those containers of what was known `before` that aren't there any more, as far as `most` in all allow.
    pub fn remember(&mut self, before: &Self, most: usize) {
        let former = before.containers.iter().filter(|container| self.container(&container.id).is_none());
        let former: Vec<_> = former.cloned().collect();
        self.containers.extend(former);
        self.containers.truncate(most);
        let former = before.sandboxes.iter().filter(|id| !self.sandboxes.contains(id));
        let former: Vec<_> = former.cloned().collect();
        self.sandboxes.extend(former);
        self.sandboxes.truncate(most);
    }
}
