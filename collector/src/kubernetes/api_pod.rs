//! A pod as the API server has it, as far as the agent looks at it: most of a pod is skipped while it is read.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::{
    NamespaceResourceScope,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time},
};
use serde::Deserialize;
use trigon_exporters::event::{Pod, PodContainer, Timestamp, Workload};

use super::{pod::PodEntry, select::Selection};

/// `Pod` of `v1`.
#[derive(Clone, Debug, Deserialize)]
pub struct ApiPod {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    containers: Vec<SpecContainer>,
    init_containers: Vec<SpecContainer>,
    ephemeral_containers: Vec<SpecContainer>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SpecContainer {
    name: String,
    image: String,
    security_context: Option<SecurityContext>,
    liveness_probe: Option<Probe>,
    readiness_probe: Option<Probe>,
    startup_probe: Option<Probe>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Probe {
    exec: Option<ExecAction>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ExecAction {
    command: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SecurityContext {
    privileged: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    start_time: Option<Time>,
    container_statuses: Vec<ContainerStatus>,
    init_container_statuses: Vec<ContainerStatus>,
    ephemeral_container_statuses: Vec<ContainerStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ContainerStatus {
    name: String,
    #[serde(rename = "containerID")]
    container_id: Option<String>,
    image: String,
    #[serde(rename = "imageID")]
    image_id: String,
    restart_count: u32,
    state: State,
    last_state: State,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct State {
    running: Option<Run>,
    terminated: Option<Run>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Run {
    started_at: Option<Time>,
    #[serde(rename = "containerID")]
    container_id: Option<String>,
}

/// The hash of a static pod's manifest: the uid by which the kubelet knows it.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// What the controller of Deployments gives to its ReplicaSets and their pods, and their names end in.
const TEMPLATE_HASH: &str = "pod-template-hash";

// === impl ApiPod ===

impl ApiPod {
    /// What the agent keeps of it; none where it has no uid or name.
    pub fn entry(&self, selection: &Selection) -> Option<PodEntry> {
        let meta = &self.metadata;
        let (uid, name) = (meta.uid.as_ref()?, meta.name.as_ref()?);
        let empty = BTreeMap::new();
        let labels = meta.labels.as_ref().unwrap_or(&empty);
        let annotations = meta.annotations.as_ref().unwrap_or(&empty);
        let pod = Pod {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: name.clone(),
            uid: uid.clone(),
            start: self.status.start_time.as_ref().and_then(timestamp),
            workload: workload(meta),
            labels: selection.labels(labels),
            all_labels: Arc::new(labels.clone()),
            annotations: selection.annotations(annotations),
            service: selection.service(labels, annotations),
        };
        Some(PodEntry {
            pod: Arc::new(pod),
            cgroup_uid: self.cgroup_uid()?.to_owned(),
            containers: self.containers(),
            sandboxes: Vec::new(),
        })
    }

    /// The uid that its cgroups have in their names.
    pub fn cgroup_uid(&self) -> Option<&str> {
        let annotations = self.metadata.annotations.as_ref();
        let mirror = annotations.and_then(|annotations| annotations.get(MIRROR));
        mirror.or(self.metadata.uid.as_ref()).map(String::as_str)
    }

    fn containers(&self) -> Vec<Arc<PodContainer>> {
        let Self { spec, status, .. } = self;
        let all = [
            (&spec.containers, &status.container_statuses),
            (&spec.init_containers, &status.init_container_statuses),
            (&spec.ephemeral_containers, &status.ephemeral_container_statuses),
        ];
        let pairs = all.into_iter().flat_map(|(specs, statuses)| {
            statuses.iter().map(move |status| (specs.iter().find(|spec| spec.name == status.name), status))
        });
        let mut seen = BTreeSet::new();
        let containers = pairs.flat_map(|(spec, status)| status.containers(spec));
        containers.filter(|container| seen.insert(container.id.clone())).map(Arc::new).collect()
    }
}

impl kube::Resource for ApiPod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Pod".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "pods".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

// === impl SpecContainer ===

impl SpecContainer {
    /// Commands that the kubelet runs in it to see how it is.
    fn probes(&self) -> Vec<Vec<String>> {
        let probes = [&self.liveness_probe, &self.readiness_probe, &self.startup_probe];
        let commands = probes.into_iter().flatten().filter_map(|probe| probe.exec.as_ref());
        commands.map(|exec| exec.command.clone()).filter(|command| !command.is_empty()).collect()
    }
}

// === impl ContainerStatus ===

impl ContainerStatus {
    /// The container that runs now, and the one before it.
    fn containers(&self, spec: Option<&SpecContainer>) -> impl Iterator<Item = PodContainer> {
        let image = match spec {
            // A runtime that knows several names of an image may tell none of them.
            Some(spec) if self.image.is_empty() || self.image.starts_with("sha256:") => &spec.image,
            _ => &self.image,
        };
        let privileged = spec.and_then(|spec| spec.security_context.as_ref()?.privileged).unwrap_or(false);
        let probes = spec.map(SpecContainer::probes).unwrap_or_default();
        let (now, before) = (self.state.run(), self.last_state.terminated.as_ref());
        let of = move |id: Option<&String>, run: Option<&Run>, restarts| {
            let (runtime, id) = id?.split_once("://")?;
            (!id.is_empty()).then(|| PodContainer {
                name: self.name.clone(),
                id: id.to_owned(),
                runtime: runtime.to_owned(),
                image: image.clone(),
                image_id: self.image_id.clone(),
                start: run.and_then(|run| run.started_at.as_ref()).and_then(timestamp),
                restarts,
                privileged,
                probes: probes.clone(),
            })
        };
        let current = of(self.container_id.as_ref(), now, self.restart_count);
        let former = of(
            before.and_then(|run| run.container_id.as_ref()),
            before,
            self.restart_count.saturating_sub(1),
        );
        current.into_iter().chain(former)
    }
}

impl State {
    fn run(&self) -> Option<&Run> {
        self.running.as_ref().or(self.terminated.as_ref())
    }
}

fn timestamp(time: &Time) -> Option<Timestamp> {
    u64::try_from(time.0.as_nanosecond()).ok().map(Timestamp)
}

/// The controller that a person knows a pod by. What is above the pod's own is told by names, as its controllers make
/// them: to ask the API server for each ReplicaSet and Job would cost every node a right and a request.
fn workload(meta: &ObjectMeta) -> Option<Workload> {
    let owner = controller(meta)?;
    let of = |kind: &str, name: &str| Workload { kind: kind.to_owned(), name: name.to_owned() };
    let hash = meta.labels.as_ref().and_then(|labels| labels.get(TEMPLATE_HASH));
    let above = match (owner.kind.as_str(), hash) {
        ("ReplicaSet", Some(hash)) => {
            let name = owner.name.strip_suffix(hash.as_str()).and_then(|name| name.strip_suffix('-'));
            name.map(|name| of("Deployment", name))
        }
        // A CronJob's Jobs end in the minute, since 1970, for which they were made.
        ("Job", _) => owner.name.rsplit_once('-').and_then(|(name, minute)| {
            let is_minute =
                (8..=10).contains(&minute.len()) && minute.bytes().all(|byte| byte.is_ascii_digit());
            (is_minute && !name.is_empty()).then(|| of("CronJob", name))
        }),
        // A static pod is owned by its node: it has no controller.
        ("Node", _) => return None,
        _ => None,
    };
    Some(above.unwrap_or_else(|| of(&owner.kind, &owner.name)))
}

fn controller(meta: &ObjectMeta) -> Option<&OwnerReference> {
    let owners = meta.owner_references.as_ref()?;
    owners.iter().find(|owner| owner.controller == Some(true)).or_else(|| owners.first())
}

#[cfg(test)]
mod tests;
