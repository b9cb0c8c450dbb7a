//! Objects as the cluster's components report them: pods in the stages of their life, nodes, what owns pods.

use serde_json::{Value, json};

/// A pod that is built up.
#[derive(Clone, Debug)]
pub struct Pod(Value);

/// How a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Running,
    /// It has ended, with this exit code.
    Terminated(i32),
}

// === impl Pod ===

impl Pod {
    /// A pod as the scheduler leaves it: it has a node and containers, and no status but `Pending`.
    pub fn scheduled(namespace: &str, name: &str, node: &str, containers: &[&str]) -> Self {
        let containers: Vec<_> = containers
            .iter()
            .map(|name| json!({"name": name, "image": format!("registry.example/{name}:1")}))
            .collect();
        Self(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": namespace, "name": name, "labels": {"app": name}},
            "spec": {"nodeName": node, "containers": containers},
            "status": {"phase": "Pending", "qosClass": "BestEffort"},
        }))
    }

    /// With this uid, which else the server gives.
    #[must_use]
    pub fn uid(mut self, uid: &str) -> Self {
        self.0["metadata"]["uid"] = uid.into();
        self
    }

    /// With this label.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.0["metadata"]["labels"][name] = value.into();
        self
    }

    /// With this annotation.
    #[must_use]
    pub fn annotation(mut self, name: &str, value: &str) -> Self {
        self.0["metadata"]["annotations"][name] = value.into();
        self
    }

    /// Owned by this controller: `ReplicaSet`, `DaemonSet`, `StatefulSet`, `Job`.
    #[must_use]
    pub fn owner(mut self, kind: &str, name: &str) -> Self {
        let api = if kind == "Job" { "batch/v1" } else { "apps/v1" };
        self.0["metadata"]["ownerReferences"] = json!([{
            "apiVersion": api, "kind": kind, "name": name, "controller": true, "blockOwnerDeletion": true,
            "uid": format!("00000000-0000-4000-8000-{:012x}", name.bytes().fold(7_u64, |hash, byte| {
                hash.wrapping_mul(31).wrapping_add(byte.into()) & 0xffff_ffff_ffff
            })),
        }]);
        self
    }

    /// As kubelet reports it once a container of it has an id (64 hexadecimal digits, as containerd gives them).
    #[must_use]
    pub fn container(self, name: &str, id: &str, state: State) -> Self {
        self.status_of("containerStatuses", name, id, state)
    }

    /// The same for an init container, which is added where there is none of that name.
    #[must_use]
    pub fn init_container(self, name: &str, id: &str, state: State) -> Self {
        self.added("initContainers", name).status_of("initContainerStatuses", name, id, state)
    }

    /// The same for a container that `kubectl debug` added.
    #[must_use]
    pub fn ephemeral_container(self, name: &str, id: &str, state: State) -> Self {
        self.added("ephemeralContainers", name).status_of("ephemeralContainerStatuses", name, id, state)
    }

    /// As it is while kubelet ends it.
    #[must_use]
    pub fn terminating(mut self) -> Self {
        self.0["metadata"]["deletionTimestamp"] = super::objects::now().into();
        self.0["metadata"]["deletionGracePeriodSeconds"] = 30.into();
        self
    }

    /// The object.
    pub fn object(&self) -> Value {
        self.0.clone()
    }

    fn added(mut self, list: &str, name: &str) -> Self {
        let spec = &mut self.0["spec"][list];
        if spec.is_null() {
            *spec = json!([]);
        }
        if let Value::Array(list) = spec
            && !list.iter().any(|container| container["name"] == name)
        {
            list.push(json!({"name": name, "image": format!("registry.example/{name}:1")}));
        }
        self
    }

    fn status_of(mut self, list: &str, name: &str, id: &str, state: State) -> Self {
        let (time, id) = (super::objects::now(), format!("containerd://{id}"));
        let (running, state) = match state {
            State::Running => (true, json!({"running": {"startedAt": time}})),
            State::Terminated(code) => {
                let reason = if code == 0 { "Completed" } else { "Error" };
                let ended = json!({
                    "exitCode": code, "reason": reason, "startedAt": time, "finishedAt": time, "containerID": id,
                });
                (false, json!({"terminated": ended}))
            }
        };
        let status = json!({
            "name": name, "containerID": id, "image": format!("registry.example/{name}:1"),
            "imageID": format!("registry.example/{name}@sha256:{}", "ab".repeat(32)),
            "ready": running, "started": running, "restartCount": 0, "state": state,
        });
        let pod = &mut self.0["status"];
        if list == "containerStatuses" {
            pod["phase"] = "Running".into();
            pod["podIP"] = "10.0.0.7".into();
            pod["hostIP"] = "192.0.2.7".into();
            pod["startTime"] = time.into();
        }
        if pod[list].is_null() {
            pod[list] = json!([]);
        }
        if let Value::Array(list) = &mut pod[list] {
            list.retain(|status| status["name"] != name);
            list.push(status);
        }
        self
    }
}

/// A node that is ready.
pub fn node(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
        "spec": {},
        "status": {
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
            "addresses": [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": "192.0.2.7"}],
            "nodeInfo": {
                "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "containerd://2.1.0",
                "kernelVersion": "6.12.0", "kubeProxyVersion": "", "kubeletVersion": "v1.37.0", "machineID": "",
                "operatingSystem": "linux", "osImage": "", "systemUUID": "",
            },
        },
    })
}

/// A namespace with labels.
pub fn namespace(name: &str, labels: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

/// The ReplicaSet of a Deployment, which is what a Deployment's pods are owned by.
pub fn replica_set(namespace: &str, name: &str, deployment: &str) -> Value {
    let selector = json!({"matchLabels": {"app": deployment}});
    let owner = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "name": deployment, "controller": true,
        "uid": "00000000-0000-4000-8000-000000000001",
    });
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"namespace": namespace, "name": name, "ownerReferences": [owner]},
        "spec": {"replicas": 1, "selector": selector},
    })
}
