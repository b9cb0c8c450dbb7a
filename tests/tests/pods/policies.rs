//! Policies from the API server that select pods: what does not match never leaves the kernel.

use std::path::Path;

use serde_json::{Value, json};
use trigon_tests::{
    apiserver::ApiServer,
    kubelet::{Driver, NodeContainer, NodePod},
    suite::Suite,
};

use crate::{
    KERNEL,
    scene::{LONG, Scene, assert_placed, definitions, pod},
};

/// Calls of each kind by everybody.
const TIMES: usize = 5;

pub fn tests(suite: &mut Suite) {
    suite.test("only_what_policies_select_leaves_the_kernel", KERNEL, selected);
}

/// One policy selects pods by a label, in all namespaces; one is a namespace's.
fn selected() {
    let server = ApiServer::start();
    definitions("trigon.io").into_iter().for_each(|definition| drop(server.put(definition)));
    let scene = Scene::with(server, LONG, "");
    let nodes = [("web", "shop"), ("db", "shop"), ("web", "bank"), ("db", "bank")];
    let pods: Vec<_> = nodes
        .into_iter()
        .map(|(app, namespace)| {
            let node_pod = NodePod::new(Driver::Systemd);
            let container = node_pod.container();
            let name = format!("{app}-1");
            let mut object = pod(&node_pod, &name, &[("nginx", &container)]);
            object["metadata"]["namespace"] = namespace.into();
            object["metadata"]["labels"]["app"] = app.into();
            scene.server.put(object);
            // In the order in which they go: a pod's cgroup is removed after those in it.
            (app, namespace, container, node_pod)
        })
        .collect();
    scene.agent.until_metrics("the pods", |metrics| {
        (metrics.sum("trigon_pods", &[("state", "present")]) == 4.0).then_some(())
    });
    scene.server.put(policy(
        "TracingPolicy",
        &json!({ "name": "made" }),
        "sys_mkdir",
        &json!({ "matchLabels": { "app": "web" } }),
    ));
    let of_shop = json!({ "name": "removed", "namespace": "shop" });
    scene.server.put(policy("TracingPolicyNamespaced", &of_shop, "sys_rmdir", &json!({})));
    scene.agent.until_metrics("the policies", |metrics| {
        (metrics.sum("trigon_policies", &[("state", "enabled")]) == 2.0).then_some(())
    });

    let folder = tempfile::tempdir().expect("make a folder");
    for time in 0..TIMES {
        for (app, namespace, container, _) in &pods {
            let path = folder.path().join(format!("{app}-{namespace}-{time}"));
            in_container(container, "mkdir", &path);
            in_container(container, "rmdir", &path);
        }
        let path = folder.path().join(format!("host-{time}"));
        std::fs::create_dir(&path).expect("make a folder");
        std::fs::remove_dir(&path).expect("remove a folder");
    }
    let expected = [
        ("made", "web-shop", 0),
        ("made", "web-bank", 2),
        ("removed", "web-shop", 0),
        ("removed", "db-shop", 1),
    ];
    for (policy, who, index) in expected {
        let text = format!("{}/{who}-", folder.path().display());
        let of_policy = || {
            let lines = scene.agent.lines_with(&text);
            let lines =
                lines.into_iter().filter(|line| line.at("/policy_name") == policy).collect::<Vec<_>>();
            (lines.len() == TIMES).then_some(lines)
        };
        let lines = trigon_tests::wait::until("the events", of_policy, || scene.agent.log());
        let (app, namespace, container, _) = &pods[index];
        assert_eq!(lines[0].text("/process/pod/namespace"), *namespace);
        if *namespace == "shop" {
            assert_placed(&lines[0], &format!("{app}-1"), container);
        }
        let labels = [("policy", policy), ("namespace", namespace), ("pod", &*format!("{app}-1"))];
        assert_eq!(scene.agent.metrics().sum("trigon_policy_events_total", &labels), TIMES as f64);
    }
    // The kernel handed over these and no others.
    let handed = scene.agent.metrics().sum("trigon_records_received_total", &[("type", "HOOK")]);
    assert_eq!(handed, (expected.len() * TIMES) as f64, "{}", scene.agent.metrics());
}

fn in_container(container: &NodeContainer, program: &str, path: &Path) {
    let status = container.enter(Path::new(program), [path]).status().expect("run a program");
    assert!(status.success(), "{program} {}: {status}", path.display());
}

fn policy(kind: &str, metadata: &Value, call: &str, pods: &Value) -> Value {
    json!({
        "apiVersion": "trigon.io/v1alpha1", "kind": kind, "metadata": metadata,
        "spec": {
            "podSelector": pods,
            "kprobes": [{ "call": call, "syscall": true, "args": [{ "index": 0, "type": "string" }] }],
        },
    })
}
