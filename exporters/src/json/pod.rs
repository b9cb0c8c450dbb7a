//! `tetragon.Pod`.

use serde::{Serialize, Serializer};

use super::{is_default, scalar::Time};
use crate::event::{self, Place, PlaceNow};

/// Where a process is, as it was known when the line was begun.
pub(super) struct PodOf<'a> {
    process: &'a event::Process,
    place: PlaceNow,
}

#[derive(Serialize)]
struct Pod<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    uid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<Container<'a>>,
    #[serde(skip_serializing_if = "Pairs::is_empty")]
    pod_labels: Pairs<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    workload: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    workload_kind: &'a str,
    #[serde(skip_serializing_if = "Pairs::is_empty")]
    pod_annotations: Pairs<'a>,
}

/// A map's members, in their order.
struct Pairs<'a>(&'a [(String, String)]);

#[derive(Serialize)]
struct Container<'a> {
    #[serde(skip_serializing_if = "ContainerId::is_empty")]
    id: ContainerId<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "is_default")]
    image: Image<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<Time>,
    /// In the process's own PID namespace.
    #[serde(skip_serializing_if = "is_default")]
    pid: u32,
    #[serde(skip_serializing_if = "is_default")]
    maybe_exec_probe: bool,
    #[serde(skip_serializing_if = "is_default")]
    security_context: SecurityContext,
}

/// The id with its runtime, as Kubernetes has it: `containerd://0123…`.
struct ContainerId<'a> {
    runtime: &'a str,
    id: &'a str,
}

#[derive(Default, PartialEq, Serialize)]
struct Image<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
}

#[derive(Default, PartialEq, Serialize)]
struct SecurityContext {
    privileged: bool,
}

// === impl PodOf ===

impl<'a> PodOf<'a> {
    pub(super) fn new(process: &'a event::Process) -> Self {
        Self { process, place: process.place() }
    }

    pub(super) fn is_none(&self) -> bool {
        self.place.is_none()
    }
}

impl Serialize for PodOf<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.place.as_deref().map(|place| Pod::new(place, self.process)).serialize(serializer)
    }
}

// === impl Pod ===

impl<'a> Pod<'a> {
    fn new(Place { pod, container }: &'a Place, process: &event::Process) -> Self {
        let (kind, workload) = pod.workload.as_ref().map_or(("", ""), |made| (&made.kind, &made.name));
        Self {
            namespace: &pod.namespace,
            name: &pod.name,
            uid: &pod.uid,
            container: container.as_deref().map(|container| Container::new(container, process)),
            pod_labels: Pairs(&pod.labels),
            workload,
            workload_kind: kind,
            pod_annotations: Pairs(&pod.annotations),
        }
    }
}

// === impl Container ===

impl<'a> Container<'a> {
    fn new(of: &'a event::PodContainer, process: &event::Process) -> Self {
        Self {
            id: ContainerId { runtime: &of.runtime, id: &of.id },
            name: &of.name,
            image: Image { id: &of.image_id, name: &of.image },
            start_time: of.start.map(Time),
            pid: process.vpid,
            maybe_exec_probe: of.may_be_probe(&process.image),
            security_context: SecurityContext { privileged: of.privileged },
        }
    }
}

// === impl Pairs ===

impl Pairs<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

// === impl ContainerId ===

impl ContainerId<'_> {
    fn is_empty(&self) -> bool {
        self.id.is_empty()
    }
}

impl Serialize for ContainerId<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.runtime {
            "" => serializer.serialize_str(self.id),
            runtime => serializer.collect_str(&format_args!("{runtime}://{}", self.id)),
        }
    }
}
