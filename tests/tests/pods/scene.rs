//! A node with an agent, an API server that it watches, and a receiver that it sends to.

use std::path::Path;

use serde_json::{Value, json};
use trigon_tests::{
    agent::Running,
    apiserver::ApiServer,
    json::Line,
    kubelet::{NodeContainer, NodePod},
    otlp::{Protocol, Receiver},
    rig::Rig,
    workload::Workload,
};

/// The node's name.
pub const NODE: &str = "node-1";

/// Long enough for anything to come, and short enough for a test that waits in vain to end.
pub const LONG: &str = "10m";

/// What the image of a container was resolved to.
const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// All of it.
pub struct Scene {
    pub server: ApiServer,
    pub receiver: Receiver,
    pub agent: Running,
    pub workload: Workload,
}

// === impl Scene ===

impl Scene {
    /// Events wait so long for their pods; `more` goes into `[kubernetes]`.
    pub fn start(wait: &str, more: &str) -> Self {
        Self::with(ApiServer::start(), wait, more)
    }

    /// Likewise, with this API server.
    pub fn with(server: ApiServer, wait: &str, more: &str) -> Self {
        let kubeconfig = server.kubeconfig();
        Self::by(server, &kubeconfig, wait, more)
    }

    /// Likewise, by these credentials.
    pub fn by(server: ApiServer, kubeconfig: &Path, wait: &str, more: &str) -> Self {
        let receiver = Receiver::open();
        let config = format!(
            "batch.max_age = '100ms'
            [node]
            name = '{NODE}'
            [kubernetes]
            enabled = 'always'
            kubeconfig = '{}'
            metadata_wait = '{wait}'
            {more}",
            kubeconfig.display()
        );
        let agent = Rig::agent(&receiver, Protocol::Http, &config).start();
        Self { server, receiver, agent, workload: Workload::new() }
    }

    /// Waits until the agent knows all pods that the API server has told of.
    pub fn synced(&self) {
        self.agent.until_metrics("the pods", |metrics| {
            (metrics.sum("trigon_watch_synced", &[("watch", "pods")]) > 0.0).then_some(())
        });
    }

    /// Waits until the agent knows so many pods.
    pub fn present(&self, count: usize) {
        self.agent.until_metrics("the pods", |metrics| {
            (metrics.sum("trigon_pods", &[("state", "present")]) == count as f64).then_some(())
        });
    }

    /// Runs the workload in a container until it has ended.
    pub fn run(&self, container: &NodeContainer) {
        let output = container.start(self.workload.program(), ["exit", "0", "main"]).output();
        assert!(output.expect("run the workload").status.success());
    }

    /// The JSON lines about the workload, once there are `count`.
    pub fn lines(&self, count: usize) -> Vec<Line> {
        self.agent.until_lines(self.workload.tag(), count)
    }

    /// Waits until so many events wait for their pods.
    pub fn until_waiting(&self, count: f64) {
        self.agent.until_metrics("events that wait", |metrics| {
            (metrics.sum("trigon_pod_waiting_events", &[]) >= count).then_some(())
        });
    }

    /// How many events waited for their pods, with this outcome.
    pub fn waited(&self, outcome: &str) -> f64 {
        self.agent.metrics().sum("trigon_pod_waits_total", &[("outcome", outcome)])
    }
}

/// A pod as the API server has it: `shop/NAME`, of a Deployment, with those of its containers that have ids.
pub fn pod(of: &NodePod, name: &str, containers: &[(&str, &NodeContainer)]) -> Value {
    let status = |(name, container): &(&str, &NodeContainer)| {
        json!({
            "name": name, "containerID": container.api_id, "image": "docker.io/library/nginx:1.27",
            "imageID": format!("docker.io/library/nginx@{DIGEST}"), "restartCount": 2, "ready": true,
            "state": { "running": { "startedAt": "2026-11-24T10:00:09Z" } },
        })
    };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "shop", "uid": of.uid,
            "labels": { "app": "web", "pod-template-hash": "5d9c7b6f4d" },
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d9c7b6f4d", "uid": "r", "controller": true,
            }],
        },
        "spec": { "nodeName": NODE, "containers": [{ "name": "nginx", "image": "nginx:1.27" }] },
        "status": {
            "phase": if containers.is_empty() { "Pending" } else { "Running" },
            "startTime": "2026-11-24T10:00:00Z",
            "containerStatuses": containers.iter().map(status).collect::<Vec<_>>(),
        },
    })
}

/// Asserts that a line tells of pod `shop/NAME` and its container `nginx`.
pub fn assert_placed(line: &Line, name: &str, container: &NodeContainer) {
    let pod = line.at("/process/pod");
    assert_eq!(pod["namespace"], "shop", "{}", line.whole);
    assert_eq!(pod["name"], name, "{}", line.whole);
    assert_eq!(pod["container"]["name"], "nginx", "{}", line.whole);
    assert_eq!(pod["container"]["id"], container.api_id, "{}", line.whole);
    assert_eq!(line.text("/process/docker"), &container.id[..31], "{}", line.whole);
}

/// Asserts that a line tells of no pod.
pub fn assert_unplaced(line: &Line) {
    assert!(line.at("/process/pod").is_null(), "{}", line.whole);
}

/// The definitions that are shipped of a group.
pub fn definitions(group: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds").join(group);
    let files = folder.read_dir().expect("definitions are shipped");
    let read = |file: std::io::Result<std::fs::DirEntry>| {
        let text =
            std::fs::read_to_string(file.expect("list the definitions").path()).expect("read a definition");
        serde_saphyr::from_str(&text).expect("a definition is YAML")
    };
    files.map(read).collect()
}
