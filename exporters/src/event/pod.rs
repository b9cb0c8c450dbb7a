//! Pods: what Kubernetes says of the cgroup that a process is in.

use std::{fmt, sync::Arc};

use arc_swap::{ArcSwapOption, Guard};

use super::Timestamp;

/// A pod, as far as events tell of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid. Of a static pod the API server's, which isn't the one in the names of its cgroups.
    pub uid: String,
    /// When the kubelet took it up.
    pub start: Option<Timestamp>,
    /// What made it.
    pub workload: Option<Workload>,
    /// Those of its labels that the configuration selects, by key.
    pub labels: Vec<(String, String)>,
    /// Likewise of its annotations.
    pub annotations: Vec<(String, String)>,
    /// What its annotations and labels say of the service that it is part of.
    pub service: Service,
}

/// What made a pod: the controller that a person knows it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// `Deployment`, `StatefulSet`, `DaemonSet`, `CronJob`, …
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// `service.*` as a pod's own annotations (`resource.opentelemetry.io/…`) and labels (`app.kubernetes.io/…`, where the
/// configuration trusts them) say.
///
/// Source: OpenTelemetry semantic conventions, docs/non-normative/k8s-attributes.md.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// `service.name`
    pub name: Option<String>,
    /// `service.namespace`
    pub namespace: Option<String>,
    /// `service.version`
    pub version: Option<String>,
    /// `service.instance.id`
    pub instance: Option<String>,
    /// Further resource attributes, by key.
    pub attributes: Vec<(String, String)>,
}

/// A container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodContainer {
    /// Its name in the pod.
    pub name: String,
    /// Its id, without the runtime.
    pub id: String,
    /// The runtime, as the id says it (`containerd`).
    pub runtime: String,
    /// The image's name, as the pod asks for it.
    pub image: String,
    /// What that was resolved to: a digest as a rule.
    pub image_id: String,
    /// When it began to run.
    pub start: Option<Timestamp>,
    /// How often it was started before.
    pub restarts: u32,
    /// It may do what the node's root may.
    pub privileged: bool,
}

/// Where in Kubernetes a cgroup belongs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The pod.
    pub pod: Arc<Pod>,
    /// The container; none where it isn't known (yet), or the cgroup is that of the pod's sandbox.
    pub container: Option<Arc<PodContainer>>,
}

/// A cgroup's place, which is learnt later than the cgroup, and can change: all events of its processes that go out
/// from then on have it.
#[derive(Default)]
pub struct PlaceCell(ArcSwapOption<Place>);

/// What a [`PlaceCell`] holds at the moment.
pub type PlaceNow = Guard<Option<Arc<Place>>>;

// === impl PlaceCell ===

impl PlaceCell {
    /// The place, where it is known.
    pub fn get(&self) -> PlaceNow {
        self.0.load()
    }

    /// Sets it, or clears it.
    pub fn set(&self, place: Option<Arc<Place>>) {
        self.0.store(place);
    }
}

impl Clone for PlaceCell {
    fn clone(&self) -> Self {
        Self(ArcSwapOption::new(self.0.load_full()))
    }
}

impl PartialEq for PlaceCell {
    fn eq(&self, other: &Self) -> bool {
        *self.get() == *other.get()
    }
}

impl Eq for PlaceCell {}

impl fmt::Debug for PlaceCell {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(formatter)
    }
}
