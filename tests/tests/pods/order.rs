//! The API server tells of a pod before its processes, after them, in parts, or never.

use trigon_tests::{
    kubelet::{Driver, NodePod},
    otlp::Attributes as _,
    suite::Suite,
};

use crate::{
    KERNEL,
    scene::{LONG, Scene, assert_placed, assert_unplaced, pod},
};

pub fn tests(suite: &mut Suite) {
    suite.test("a_pod_told_before_its_processes", KERNEL, before);
    suite.test("a_pod_told_after_its_processes", KERNEL, after);
    suite.test("a_pod_told_before_its_container", KERNEL, in_parts);
    suite.test("a_pod_never_told", KERNEL, never);
    suite.test("a_pod_told_and_deleted_at_once", KERNEL, short_lived);
    suite.test("a_pod_deleted_while_its_last_events_come", KERNEL, deleted);
    suite.test("who_enters_a_container_is_in_its_pod", KERNEL, entered);
    suite.test("the_host_waits_for_nobody", KERNEL, host);
}

/// By all ways out, for each way in which cgroups are named.
fn before() {
    let scene = Scene::start(LONG, "");
    for (number, driver) in Driver::ALL.into_iter().enumerate() {
        let (node_pod, name) = (NodePod::new(driver), format!("web-{number}"));
        let container = node_pod.container();
        scene.server.put(pod(&node_pod, &name, &[("nginx", &container)]));
        scene.run(&container);
        let lines = scene.lines(2 * (number + 1));
        for line in &lines[2 * number..] {
            assert_placed(line, &name, &container);
            let pod = line.at("/process/pod");
            assert_eq!((&pod["workload"], &pod["workload_kind"]), (&"web".into(), &"Deployment".into()));
            assert_eq!(pod["pod_labels"]["app"], "web");
        }
        let events = |kind| {
            let labels = [("type", kind), ("namespace", "shop"), ("workload", "web"), ("pod", name.as_str())];
            scene.agent.metrics().sum("trigon_events_total", &labels)
        };
        assert!(events("PROCESS_EXEC") >= 1.0 && events("PROCESS_EXIT") >= 1.0, "{}", scene.agent.metrics());
        let tag = scene.workload.tag();
        let span = scene.receiver.until("the span", |received| {
            received
                .spans_of(tag)
                .into_iter()
                .find(|span| span.origin.text("k8s.pod.name") == Some(&name))
                .cloned()
        });
        for (key, value) in [
            ("service.name", "web"),
            ("service.namespace", "shop"),
            ("service.version", "1.27"),
            ("k8s.namespace.name", "shop"),
            ("k8s.pod.uid", node_pod.uid.as_str()),
            ("k8s.container.name", "nginx"),
            ("k8s.deployment.name", "web"),
            ("k8s.node.name", "node-1"),
            ("container.id", container.id.as_str()),
            ("container.image.name", "docker.io/library/nginx"),
        ] {
            assert_eq!(span.origin.text(key), Some(value), "{key}: {span:?}");
        }
    }
}

/// The events wait, in their order.
fn after() {
    let scene = Scene::start(LONG, "");
    scene.synced();
    let node_pod = NodePod::new(Driver::Systemd);
    let container = node_pod.container();
    scene.run(&container);
    // Of the shell that enters only the end, of `unshare` and the workload both.
    scene.until_waiting(4.0);
    assert!(scene.agent.lines_of(scene.workload.tag()).is_empty());
    scene.server.put(pod(&node_pod, "web-1", &[("nginx", &container)]));
    let lines = scene.lines(2);
    assert_eq!([&*lines[0].kind, &*lines[1].kind], ["process_exec", "process_exit"]);
    lines.iter().for_each(|line| assert_placed(line, "web-1", &container));
    scene.agent.until_metrics("the count", |_| (scene.waited("found") >= 4.0).then_some(()));
}

fn in_parts() {
    let scene = Scene::start(LONG, "");
    let node_pod = NodePod::new(Driver::Systemd);
    let container = node_pod.container();
    scene.server.put(pod(&node_pod, "web-1", &[]));
    scene.synced();
    scene.run(&container);
    scene.until_waiting(4.0);
    assert!(scene.agent.lines_of(scene.workload.tag()).is_empty());
    scene.server.put(pod(&node_pod, "web-1", &[("nginx", &container)]));
    scene.lines(2).iter().for_each(|line| assert_placed(line, "web-1", &container));
}

/// They wait for their time, and are counted; of the same container no others wait then.
fn never() {
    let scene = Scene::start("500ms", "");
    scene.synced();
    let node_pod = NodePod::new(Driver::Systemd);
    let container = node_pod.container();
    scene.run(&container);
    let lines = scene.lines(2);
    lines.iter().for_each(assert_unplaced);
    assert_eq!(lines[0].text("/process/docker"), &container.id[..31]);
    let waited =
        scene.agent.until_metrics("the count", |_| Some(scene.waited("without_pod")).filter(|n| *n >= 4.0));
    scene.run(&container);
    scene.lines(4).iter().for_each(assert_unplaced);
    assert_eq!(scene.waited("without_pod"), waited);
    // Told late, it is known from then on.
    scene.server.put(pod(&node_pod, "web-1", &[("nginx", &container)]));
    scene.present(1);
    scene.run(&container);
    scene.lines(6)[4..].iter().for_each(|line| assert_placed(line, "web-1", &container));
}

fn short_lived() {
    let scene = Scene::start(LONG, "");
    scene.synced();
    let node_pod = NodePod::new(Driver::Cgroupfs);
    let container = node_pod.container();
    scene.run(&container);
    scene.until_waiting(4.0);
    let object = pod(&node_pod, "web-1", &[("nginx", &container)]);
    scene.server.put(object.clone());
    scene.server.delete(&object);
    scene.lines(2).iter().for_each(|line| assert_placed(line, "web-1", &container));
}

fn deleted() {
    let scene = Scene::start(LONG, "");
    let node_pod = NodePod::new(Driver::Systemd);
    let container = node_pod.container();
    let object = pod(&node_pod, "web-1", &[("nginx", &container)]);
    scene.server.put(object.clone());
    scene.synced();
    let mut command = container.start(scene.workload.program(), ["live"]);
    let mut living = command.stdin(std::process::Stdio::piped()).spawn().expect("start the workload");
    scene.lines(1);
    scene.server.delete(&object);
    scene.agent.until_metrics("the deletion", |metrics| {
        (metrics.sum("trigon_pods", &[("state", "deleted")]) > 0.0).then_some(())
    });
    drop(living.stdin.take());
    living.wait().expect("wait for the workload");
    scene.lines(2).iter().for_each(|line| assert_placed(line, "web-1", &container));
}

/// As `kubectl exec` does: the runtime puts a process of its own into the container's cgroup.
fn entered() {
    let scene = Scene::start(LONG, "");
    let node_pod = NodePod::new(Driver::Systemd);
    let container = node_pod.container();
    scene.server.put(pod(&node_pod, "web-1", &[("nginx", &container)]));
    scene.synced();
    let output = container.enter(scene.workload.program(), ["exit", "0", "main"]).output();
    assert!(output.expect("run the workload").status.success());
    let lines = scene.lines(2);
    lines.iter().for_each(|line| assert_placed(line, "web-1", &container));
    // What it was before it entered is the host's.
    assert_unplaced_parent(&lines[0]);
}

fn assert_unplaced_parent(line: &trigon_tests::json::Line) {
    assert!(line.at("/parent/pod").is_null(), "{}", line.whole);
}

fn host() {
    let scene = Scene::start(LONG, "");
    scene.workload.run("exit 0 main");
    scene.lines(2).iter().for_each(assert_unplaced);
    assert_eq!(scene.waited("found") + scene.waited("without_pod"), 0.0);
}
