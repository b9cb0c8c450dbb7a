//! The container runtime tells of which pod a container is where the API server doesn't.

use std::collections::HashMap;

use trigon::kubernetes::cri::messages::{Container, ContainerMetadata, ImageSpec, Sandbox, SandboxMetadata};
use trigon_tests::{
    cri::Cri,
    kubelet::{Driver, NodePod},
    suite::Suite,
};

use crate::{
    KERNEL,
    scene::{LONG, Scene, assert_placed, pod},
};

pub fn tests(suite: &mut Suite) {
    suite.test("the_container_runtime_knows_it", KERNEL, known);
    suite.test("a_sandbox_waits_for_no_container", KERNEL, sandbox);
}

fn of(node_pod: &NodePod, id: &str) -> Sandbox {
    let labels = [("app", "web"), ("io.kubernetes.pod.uid", "-")];
    Sandbox {
        id: id.to_owned(),
        metadata: Some(SandboxMetadata {
            name: "web-1".into(),
            uid: node_pod.uid.clone(),
            namespace: "shop".into(),
        }),
        labels: labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        annotations: HashMap::new(),
    }
}

fn known() {
    let cri = Cri::start();
    let scene = Scene::start(LONG, &format!("cri_socket = '{}'", cri.socket().display()));
    let node_pod = NodePod::new(Driver::Systemd);
    let container = node_pod.container();
    let nginx = Container {
        id: container.id.clone(),
        sandbox: "s1".into(),
        metadata: Some(ContainerMetadata { name: "nginx".into(), attempt: 0 }),
        image: Some(ImageSpec { image: "nginx:1.27".into(), ..ImageSpec::default() }),
        ..Container::default()
    };
    cri.knows(of(&node_pod, "s1"), [nginx]);
    scene.run(&container);
    for line in scene.lines(2) {
        let pod = line.at("/process/pod");
        assert_eq!((&pod["name"], &pod["container"]["name"]), (&"web-1".into(), &"nginx".into()));
        assert_eq!(pod["pod_labels"], serde_json::json!({ "app": "web" }));
    }
    // What the API server tells is more, and counts from then on.
    scene.server.put(pod(&node_pod, "web-1", &[("nginx", &container)]));
    scene.agent.until_metrics("the pod", |metrics| {
        (metrics.sum("trigon_watch_events_total", &[("watch", "pods")]) >= 2.0).then_some(())
    });
    scene.run(&container);
    scene.lines(4)[2..].iter().for_each(|line| assert_placed(line, "web-1", &container));
    assert!(cri.asked() > 0);
}

fn sandbox() {
    let cri = Cri::start();
    let scene = Scene::start(LONG, &format!("cri_socket = '{}'", cri.socket().display()));
    let node_pod = NodePod::new(Driver::Systemd);
    let pause = node_pod.container();
    scene.server.put(pod(&node_pod, "web-1", &[]));
    scene.synced();
    cri.knows(of(&node_pod, &pause.id), []);
    scene.run(&pause);
    for line in scene.lines(2) {
        assert_eq!(line.text("/process/pod/name"), "web-1");
        assert!(line.at("/process/pod/container/name").is_null(), "{}", line.whole);
    }
}
