//! A pod and its container as attributes of a resource.
//!
//! Which attribute comes from what: <https://opentelemetry.io/docs/specs/semconv/non-normative/k8s-attributes/>.

use rustc_hash::FxHashSet;

use super::{
    attributes::{Attributes, Scratch},
    declared,
    image::Reference,
};
use crate::event::{Container, Place, Pod, PodContainer, Service};

/// Keys under which the conventions have the name of what made a pod, by its kind.
const WORKLOADS: [(&str, &str); 6] = [
    ("Deployment", "k8s.deployment.name"),
    ("ReplicaSet", "k8s.replicaset.name"),
    ("StatefulSet", "k8s.statefulset.name"),
    ("DaemonSet", "k8s.daemonset.name"),
    ("CronJob", "k8s.cronjob.name"),
    ("Job", "k8s.job.name"),
];

/// What of a service is told in any case, and thus not once more by annotations.
const SERVICE: [&str; 4] = ["service.name", "service.namespace", "service.version", "service.instance.id"];

/// How keys begin that annotations may not set: they say where something runs, and not what it is.
const ELSEWHERE: [&str; 3] = ["host.", "k8s.", "os."];

/// Bytes of the attributes whose number is always the same, about.
const FIXED_SIZE: usize = 1024;

/// Appends all that is known of a place. `container` is what the cgroup's name tells, for where Kubernetes doesn't yet;
/// `taken` are keys that the resource has already.
pub(super) fn attributes(
    place: &Place,
    container: Option<&Container>,
    taken: &FxHashSet<String>,
    scratch: &mut Scratch,
    attributes: &mut Attributes<'_>,
) {
    let Place { pod, container: of_pod } = place;
    let of_pod = of_pod.as_deref();
    service(pod, of_pod, scratch, attributes);
    attributes.optional("k8s.namespace.name", Some(&pod.namespace));
    attributes.optional("k8s.pod.name", Some(&pod.name));
    attributes.optional("k8s.pod.uid", Some(&pod.uid));
    if let Some(start) = pod.start {
        attributes.time("k8s.pod.start_time", start, scratch);
    }
    if let Some(made) = &pod.workload
        && let Some((_, key)) = WORKLOADS.iter().find(|(kind, _)| *kind == made.kind)
    {
        attributes.optional(key, Some(&made.name));
    }
    for (kind, pairs) in [("k8s.pod.label.", &pod.labels), ("k8s.pod.annotation.", &pod.annotations)] {
        for (key, value) in pairs {
            scratch.text.clear();
            scratch.text.push_str(kind);
            scratch.text.push_str(key);
            attributes.string(&scratch.text, value);
        }
    }
    match of_pod {
        Some(of_pod) => pod_container(of_pod, attributes),
        None => {
            attributes.optional("container.id", container.map(|container| container.id.as_str()));
            attributes.optional("container.runtime.name", container.and_then(|container| container.runtime));
        }
    }
    // Whoever may write annotations says something of the service with them, and nothing of what the agent knows.
    let is_refused = |key: &str| {
        SERVICE.contains(&key)
            || declared::is_known(key)
            || ELSEWHERE.iter().any(|start| key.starts_with(start))
    };
    let is_free = |key: &str| !key.is_empty() && !taken.contains(key) && !is_refused(key);
    for (key, value) in pod.service.attributes.iter().filter(|(key, _)| is_free(key)) {
        attributes.string(key, value);
    }
}

/// About how many bytes they take.
pub(super) fn size(Place { pod, .. }: &Place) -> usize {
    let pairs = [&pod.labels, &pod.annotations, &pod.service.attributes].into_iter().flatten();
    FIXED_SIZE + pairs.map(|(key, value)| key.len() + value.len() + 40).sum::<usize>()
}

/// A workload's name is its service's, whatever its kind: the pod's own name ends in letters that nobody knows.
fn service(
    pod: &Pod,
    container: Option<&PodContainer>,
    scratch: &mut Scratch,
    attributes: &mut Attributes<'_>,
) {
    let Service { name, namespace, version, instance, .. } = &pod.service;
    let container_name = container.map_or("", |container| &container.name);
    let workload = pod.workload.as_ref().map(|made| &made.name);
    let names = [name.as_ref(), workload, Some(&pod.name)].into_iter().flatten().map(String::as_str);
    attributes.optional("service.name", names.chain([container_name]).find(|name| !name.is_empty()));
    attributes.optional("service.namespace", Some(namespace.as_ref().unwrap_or(&pod.namespace)));
    match instance {
        Some(instance) => attributes.optional("service.instance.id", Some(instance)),
        None => {
            scratch.text.clear();
            let parts = [pod.namespace.as_str(), pod.name.as_str(), container_name];
            for part in parts.into_iter().filter(|part| !part.is_empty()) {
                scratch.text.push_str(if scratch.text.is_empty() { "" } else { "." });
                scratch.text.push_str(part);
            }
            attributes.optional("service.instance.id", Some(&scratch.text));
        }
    }
    let of_image = || Reference::parse(&container?.image).version();
    attributes.optional("service.version", version.clone().or_else(of_image).as_deref());
}

fn pod_container(container: &PodContainer, attributes: &mut Attributes<'_>) {
    attributes.optional("k8s.container.name", Some(&container.name));
    attributes.integer("k8s.container.restart_count", container.restarts);
    attributes.optional("container.id", Some(&container.id));
    attributes.optional("container.name", Some(&container.name));
    attributes.optional("container.runtime.name", Some(&container.runtime));
    let (image, resolved) = (Reference::parse(&container.image), Reference::parse(&container.image_id));
    attributes.optional("container.image.name", Some(image.name));
    attributes.optional("container.image.id", Some(&container.image_id));
    if let Some(tag) = image.tag {
        attributes.strings("container.image.tags", [tag].into_iter());
    }
    if let Some(digest) = resolved.repo_digest().or_else(|| image.repo_digest()) {
        attributes.strings("container.image.repo_digests", [digest.as_str()].into_iter());
    }
}
