//! What the agent keeps of a pod of this node.

use std::{collections::BTreeMap, sync::Arc};

use trigon_exporters::event::{Place, Pod, PodContainer};

/// A pod of this node.
#[derive(Clone, Debug, Default)]
pub struct PodEntry {
    /// What events tell of it.
    pub pod: Arc<Pod>,
    /// The uid in the names of its cgroups: its own, or of a static pod the hash of its manifest.
    pub cgroup_uid: String,
    /// All of its labels, for selectors.
    pub labels: BTreeMap<String, String>,
    /// Its containers: init and ephemeral ones too, and of one that was started again those before it.
    pub containers: Vec<Arc<PodContainer>>,
}

// === impl PodEntry ===

impl PodEntry {
    /// The container of that id.
    pub fn container(&self, id: &str) -> Option<&Arc<PodContainer>> {
        self.containers.iter().find(|container| container.id == id)
    }

    /// The place of a cgroup of this pod, by the id of its container.
    pub fn place(&self, container: Option<&str>) -> Arc<Place> {
        let container = container.and_then(|id| self.container(id)).cloned();
        Arc::new(Place { pod: Arc::clone(&self.pod), container })
    }
}
