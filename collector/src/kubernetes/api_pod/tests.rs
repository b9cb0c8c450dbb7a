use serde_json::{Value, json};

use super::*;
use crate::kubernetes::KubernetesConfig;

fn entry(pod: Value) -> PodEntry {
    let selection = Selection::new(&KubernetesConfig::default());
    let pod: ApiPod = serde_json::from_value(pod).expect("a pod");
    pod.entry(&selection).expect("an entry")
}

fn pod(owner: &Value, labels: &Value) -> Value {
    json!({ "metadata": { "uid": "u", "name": "web-1", "namespace": "shop", "ownerReferences": [owner], "labels": labels } })
}

fn owner(kind: &str, name: &str) -> Value {
    json!({ "apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "o", "controller": true })
}

#[test]
fn a_pod_that_was_just_scheduled() {
    let found = entry(json!({ "metadata": { "uid": "u", "name": "web-1", "namespace": "shop" } }));
    assert_eq!(
        (found.pod.namespace.as_str(), found.pod.name.as_str(), found.cgroup_uid.as_str()),
        ("shop", "web-1", "u")
    );
    assert!(found.containers.is_empty());
}

#[test]
fn all_of_its_containers() {
    let found = entry(json!({
        "metadata": { "uid": "u", "name": "web-1", "namespace": "shop" },
        "spec": {
            "containers": [{ "name": "nginx", "image": "nginx:1.27", "securityContext": { "privileged": true },
                "livenessProbe": { "exec": { "command": ["cat", "/ready"] } }, "readinessProbe": { "httpGet": { "port": 80 } } }],
            "initContainers": [{ "name": "setup", "image": "busybox" }],
            "ephemeralContainers": [{ "name": "debugger", "image": "busybox", "targetContainerName": "nginx" }],
        },
        "status": {
            "startTime": "2026-11-24T10:00:00Z",
            "containerStatuses": [{
                "name": "nginx", "containerID": "containerd://n2", "image": "docker.io/library/nginx:1.27",
                "imageID": "docker.io/library/nginx@sha256:0a", "restartCount": 1,
                "state": { "running": { "startedAt": "2026-11-24T10:00:09Z" } },
                "lastState": { "terminated": { "containerID": "containerd://n1", "startedAt": "2026-11-24T10:00:01Z", "exitCode": 1 } },
            }],
            "initContainerStatuses": [{
                "name": "setup", "containerID": "containerd://s", "image": "sha256:0b", "imageID": "", "restartCount": 0,
                "state": { "terminated": { "containerID": "containerd://s", "startedAt": "2026-11-24T10:00:00Z", "exitCode": 0 } },
            }],
            "ephemeralContainerStatuses": [{
                "name": "debugger", "containerID": "cri-o://d", "image": "busybox", "imageID": "", "restartCount": 0,
                "state": { "waiting": { "reason": "ContainerCreating" } },
            }],
        },
    }));
    assert_eq!(found.pod.start, Some(Timestamp(1_795_514_400_000_000_000)));
    assert_eq!(found.containers[0].probes, [["cat", "/ready"]]);
    let told: Vec<_> = found
        .containers
        .iter()
        .map(|container| {
            let PodContainer { name, id, runtime, image, restarts, privileged, .. } = &**container;
            (
                name.as_str(),
                id.as_str(),
                runtime.as_str(),
                image.as_str(),
                *restarts,
                *privileged,
                container.start.is_some(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("nginx", "n2", "containerd", "docker.io/library/nginx:1.27", 1, true, true),
            ("nginx", "n1", "containerd", "docker.io/library/nginx:1.27", 0, true, true),
            ("setup", "s", "containerd", "busybox", 0, false, true),
            ("debugger", "d", "cri-o", "busybox", 0, false, false),
        ]
    );
}

#[test]
fn a_static_pod_s_cgroups_have_another_uid() {
    let found = entry(json!({ "metadata": {
        "uid": "u", "name": "etcd-node-1", "namespace": "kube-system",
        "annotations": { "kubernetes.io/config.mirror": "d7a7a1a2b3b4c5c6d7d8e9e0f1f2a3a4" },
        "ownerReferences": [{ "apiVersion": "v1", "kind": "Node", "name": "node-1", "uid": "n", "controller": true }],
    } }));
    assert_eq!(
        (found.cgroup_uid.as_str(), found.pod.uid.as_str()),
        ("d7a7a1a2b3b4c5c6d7d8e9e0f1f2a3a4", "u")
    );
    assert_eq!(found.pod.workload, None);
}

#[test]
fn workloads() {
    let hash = json!({ "pod-template-hash": "5d9c7b6f4d" });
    let table = [
        (owner("ReplicaSet", "web-5d9c7b6f4d"), hash.clone(), "Deployment", "web"),
        (owner("ReplicaSet", "web-5d9c7b6f4d"), json!({}), "ReplicaSet", "web-5d9c7b6f4d"),
        (owner("ReplicaSet", "other"), hash, "ReplicaSet", "other"),
        (owner("StatefulSet", "db"), json!({}), "StatefulSet", "db"),
        (owner("DaemonSet", "agent"), json!({}), "DaemonSet", "agent"),
        (owner("Job", "backup-29401230"), json!({}), "CronJob", "backup"),
        (owner("Job", "import"), json!({}), "Job", "import"),
        (owner("Job", "import-7"), json!({}), "Job", "import-7"),
        (owner("Rollout", "shop"), json!({}), "Rollout", "shop"),
    ];
    for (owner, labels, kind, name) in table {
        let found = entry(pod(&owner, &labels)).pod.workload.clone().expect("a workload");
        assert_eq!((found.kind.as_str(), found.name.as_str()), (kind, name));
    }
}

#[test]
fn what_is_not_expected_is_no_pod_and_no_harm() {
    for odd in [
        json!({ "metadata": {} }),
        json!({ "metadata": { "uid": "u" } }),
        json!({ "metadata": { "name": "n" } }),
    ] {
        let pod: ApiPod = serde_json::from_value(odd).expect("a pod");
        assert!(pod.entry(&Selection::new(&KubernetesConfig::default())).is_none());
    }
    for id in ["", "n1", "containerd://", "://n1"] {
        let found = entry(json!({
            "metadata": { "uid": "u", "name": "n" },
            "status": { "containerStatuses": [{ "name": "c", "containerID": id }] },
        }));
        assert_eq!(found.containers.len(), usize::from(id == "://n1"), "{id}");
    }
}
