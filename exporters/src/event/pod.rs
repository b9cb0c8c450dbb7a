//! Pods: what Kubernetes says of the cgroup that a process is in.

use std::{collections::BTreeMap, fmt, sync::Arc};

use arc_swap::{ArcSwapOption, Guard};

use super::{Image, Timestamp};

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
    /// Those of its labels that the configuration selects, by key: what is exported.
    pub labels: Vec<(String, String)>,
    /// All of its labels: what filters see.
    pub all_labels: Arc<BTreeMap<String, String>>,
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
    /// Further resource attributes, each key once.
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
    /// The commands of its exec probes.
    pub probes: Vec<Vec<String>>,
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

// === impl PodContainer ===

impl PodContainer {
    /// Whether this may be one of the container's exec probes: it executes what a probe's command names, with the
    /// arguments of the command. What is named by a whole path must have that path, else the name alone tells; and
    /// since the kernel tells where links lead to (`/bin/busybox`), the name by which it was called counts, too.
    ///
    /// It is a guess, as Tetragon's `maybe_exec_probe`: whoever may execute files in the container can look like one.
    pub fn may_be_probe(&self, image: &Image) -> bool {
        self.probes.iter().any(|command| is_run_by(image, command))
    }
}

fn is_run_by(image: &Image, command: &[String]) -> bool {
    let Some((program, arguments)) = command.split_first() else { return false };
    let is_program = |path: &str| match program.starts_with('/') {
        true => path == program,
        false => base(path) == base(program),
    };
    let mut args = image.args();
    let called = args.next();
    match image.script() {
        // The interpreter is given the script's path, and before that perhaps an argument of its own.
        Some(script) => is_program(script) && args.any(|arg| arg == script) && args.eq(arguments),
        None => (is_program(image.binary()) || called == Some(program.as_str())) && args.eq(arguments),
    }
}

/// The last component of a path.
fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

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
