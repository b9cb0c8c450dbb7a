//! The rights that the chart gives: all that the agent asks for, and nothing else.

use std::{collections::BTreeSet, path::Path};

use serde_json::{Value, json};
use trigon_tests::{
    apiserver::{ApiServer, pods},
    suite::Suite,
};

use crate::{
    KERNEL,
    scene::{LONG, NODE, Scene, definitions},
};

/// Verb, group, resource.
type Right = [String; 3];

pub fn tests(suite: &mut Suite) {
    suite.test("the_charts_rights_are_the_agents_calls", KERNEL, rights);
}

/// With a token that may do what the chart says and no more, everything works; and everything that it may do, it does.
fn rights() {
    let role = role();
    let server = ApiServer::start();
    definitions("trigon.io").into_iter().chain(definitions("cilium.io")).for_each(|definition| {
        server.put(definition);
    });
    server.put(pods::node(NODE));
    server.put(json!({
        "apiVersion": "cilium.io/v1alpha1", "kind": "TracingPolicy", "metadata": { "name": "made" },
        "spec": { "kprobes": [{ "call": "sys_mkdir", "syscall": true }] },
    }));
    server.admit("agent-token", "agent");
    server.limit("agent-token", std::slice::from_ref(&role));
    let kubeconfig = server.kubeconfig_of("agent-token");
    let scene = Scene::by(server, &kubeconfig, LONG, "report_interval = '1s'");
    scene.synced();
    scene.server.until(("trigon.io", "tracingpolicyreports", "", NODE), |report| {
        (report["policies"][0]["state"] == "enabled").then_some(())
    });
    let calls = || scene.server.calls().into_iter().filter(|call| call.user == "agent");
    let refused: Vec<_> = calls().filter(|call| call.code == 403).map(|call| call.asked).collect();
    assert!(refused.is_empty(), "{refused:?}");
    let used = || -> BTreeSet<Right> {
        calls().map(|call| [call.asked.verb, call.asked.group, call.asked.resource]).collect()
    };
    // Server-side apply is a patch that may create.
    let create: Right = ["create", "trigon.io", "tracingpolicyreports"].map(str::to_owned);
    let given = given(&role);
    let given: BTreeSet<_> = given.difference(&[create].into()).cloned().collect();
    let all = || (used() == given).then_some(());
    trigon_tests::wait::until("all watches", all, || format!("given {given:?}, used {:?}", used()));
}

/// The ClusterRole of the manifests that are rendered from the chart.
fn role() -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/manifests/trigon.yaml");
    let text = std::fs::read_to_string(file).expect("the manifests are there");
    let documents = text.split("\n---\n").map(serde_saphyr::from_str::<Value>);
    let mut documents = documents.map(|document| document.expect("a manifest is YAML"));
    documents.find(|document| document["kind"] == "ClusterRole").expect("there is a ClusterRole")
}

fn given(role: &Value) -> BTreeSet<Right> {
    let texts = |list: &Value| -> Vec<String> {
        let items = list.as_array().into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        for verb in texts(&rule["verbs"]) {
            for group in texts(&rule["apiGroups"]) {
                for resource in texts(&rule["resources"]) {
                    rights.insert([verb.clone(), group.clone(), resource]);
                }
            }
        }
    }
    rights
}
