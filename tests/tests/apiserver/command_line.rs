//! `kubectl` and `helm`.

use std::{
    fs,
    io::{BufRead as _, BufReader},
};

use serde_json::{Value, json};
use trigon_tests::{
    apiserver::{
        ApiServer,
        pods::{self, State},
    },
    kubectl::Kubectl,
};

use crate::{definition, thing};

fn start() -> (ApiServer, Kubectl) {
    let server = ApiServer::start();
    let kubectl = Kubectl::new(server.kubeconfig());
    (server, kubectl)
}

/// The columns of each line.
fn rows(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split_whitespace().collect()).collect()
}

pub fn gets() {
    let (server, kubectl) = start();
    server.put(pods::node("n1"));
    let pod = pods::Pod::scheduled("default", "web", "n1", &["main"]).owner("ReplicaSet", "web-1");
    server.put(pod.container("main", &"0a".repeat(32), State::Running).object());
    server.put(pods::Pod::scheduled("kube-system", "dns", "n1", &["main"]).object());
    let table = kubectl.prints(&["get", "pods", "-A"]);
    let table = rows(&table);
    assert_eq!(table[0], ["NAMESPACE", "NAME", "STATUS", "AGE"]);
    assert_eq!(table[1][..3], ["default", "web", "Running"]);
    assert_eq!(table[2][..3], ["kube-system", "dns", "Pending"]);
    assert!(kubectl.prints(&["get", "po", "-o", "wide", "-l", "app=web"]).contains("10.0.0.7"));
    let yaml = kubectl.prints(&["get", "pod", "web", "-o", "yaml"]);
    assert!(yaml.contains(&format!("containerID: containerd://{}", "0a".repeat(32))), "{yaml}");
    let path = "jsonpath={.items[*].metadata.name}";
    let names = kubectl.prints(&["get", "pods", "-A", "--field-selector", "spec.nodeName=n1", "-o", path]);
    assert_eq!(names, "web dns");
    assert!(kubectl.prints(&["get", "nodes"]).contains("v1.37.0"));
    let resources = kubectl.prints(&["api-resources", "--api-group=apps", "-o", "name"]);
    assert!(resources.contains("daemonsets.apps"), "{resources}");
    let said = kubectl.said(&["get", "pod", "gone"], "");
    assert_eq!((said.code, said.err.contains("pods \"gone\" not found")), (Some(1), true), "{said:?}");
    let described = kubectl.prints(&["describe", "pod", "web"]);
    assert!(described.contains("Controlled By:  ReplicaSet/web-1"), "{described}");

    // A watch, as people watch.
    let mut watching = kubectl.start(&["get", "pods", "--watch-only", "-o", "name"]);
    server.until_watches(1);
    server.put(pods::Pod::scheduled("default", "new", "n1", &["main"]).object());
    let mut line = String::new();
    BufReader::new(watching.stdout.take().expect("a pipe")).read_line(&mut line).expect("read a line");
    assert_eq!(line.trim(), "pod/new");
    watching.kill().expect("end kubectl");
    watching.wait().expect("it ends");
}

pub fn applies_edits_and_deletes() {
    let (server, kubectl) = start();
    let service = |port: u16, label: &str| {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "labels": {label: "yes"}},
            "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": port}]},
        })
        .to_string()
    };
    let apply = |text: &str| kubectl.takes(&["apply", "-f", "-"], text);
    assert_eq!(apply(&service(80, "a")).trim(), "service/web created");
    assert_eq!(apply(&service(80, "a")).trim(), "service/web unchanged");
    assert!(kubectl.said(&["diff", "-f", "-"], &service(81, "b")).out.contains("+    b: \"yes\""));
    assert_eq!(apply(&service(81, "b")).trim(), "service/web configured");
    let web = server.get("", "services", "default", "web").expect("the service");
    assert_eq!(web["metadata"]["labels"], json!({"b": "yes"}));
    assert_eq!(web["spec"]["ports"], json!([{"name": "http", "port": 81}]));
    kubectl.prints(&["label", "service", "web", "c=d", "b-"]);
    kubectl.prints(&["annotate", "service", "web", "note=it is so"]);
    let patch = r#"[{"op": "replace", "path": "/spec/ports/0/port", "value": 82}]"#;
    kubectl.prints(&["patch", "service", "web", "--type=json", "-p", patch]);
    kubectl.prints(&[
        "patch",
        "service",
        "web",
        "-p",
        r#"{"spec": {"ports": [{"port": 90, "name": "more"}]}}"#,
    ]);
    let web = server.get("", "services", "default", "web").expect("the service");
    assert_eq!(web["metadata"]["labels"], json!({"c": "d"}));
    assert_eq!(web["metadata"]["annotations"]["note"], "it is so");
    let ports: Vec<_> =
        web["spec"]["ports"].as_array().expect("ports").iter().map(|at| &at["port"]).collect();
    assert_eq!(ports, [&json!(82), &json!(90)]);
    assert_eq!(
        kubectl.prints(&["create", "configmap", "m", "--from-literal=a=b"]).trim(),
        "configmap/m created"
    );
    kubectl.prints(&["create", "secret", "generic", "s", "--from-literal=a=b"]);
    assert_eq!(server.get("", "secrets", "default", "s").expect("the secret")["data"], json!({"a": "Yg=="}));
    let dry = ["create", "configmap", "dry", "--dry-run=server"];
    assert_eq!(kubectl.prints(&dry).trim(), "configmap/dry created (server dry run)");
    assert_eq!(server.get("", "configmaps", "default", "dry"), None);
    // `delete` waits until it is gone.
    kubectl.prints(&["delete", "service/web", "configmap/m"]);
    assert_eq!(server.get("", "services", "default", "web"), None);
    kubectl.prints(&["create", "namespace", "short"]);
    kubectl.prints(&["create", "configmap", "m", "-n", "short"]);
    kubectl.prints(&["delete", "namespace", "short"]);
    assert_eq!(server.get("", "configmaps", "short", "m"), None);
}

pub fn applies_on_the_server() {
    let (server, kubectl) = start();
    let workload = |image: &str, more: Value| {
        let mut containers =
            vec![json!({"name": "main", "image": image, "env": [{"name": "A", "value": "1"}]})];
        containers.extend(more.as_array().cloned().unwrap_or_default());
        json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"},
            "spec": {
                "selector": {"matchLabels": {"app": "agent"}},
                "template": {"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": containers}},
            },
        })
        .to_string()
    };
    let apply = |text: &str, arguments: &[&str]| {
        kubectl.said(&[&["apply", "--server-side", "-f", "-"], arguments].concat(), text)
    };
    let done = |said: trigon_tests::command::Said| {
        assert_eq!(said.code, Some(0), "{said:?}");
        said.out
    };
    assert_eq!(
        done(apply(&workload("i:1", json!([{"name": "side"}])), &[])).trim(),
        "daemonset.apps/agent serverside-applied"
    );
    let containers = || {
        let object = server.get("apps", "daemonsets", "default", "agent").expect("the workload");
        object["spec"]["template"]["spec"]["containers"].clone()
    };
    assert_eq!(containers().as_array().map(Vec::len), Some(2));
    // Somebody else changes the image: the first one is told, unless forced.
    kubectl.prints(&["set", "image", "daemonset/agent", "main=i:other"]);
    let said = apply(&workload("i:2", json!([])), &[]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("kubectl-set") && said.err.contains(".image"), "{}", said.err);
    done(apply(&workload("i:2", json!([])), &["--force-conflicts"]));
    assert_eq!(containers(), json!([{"name": "main", "image": "i:2", "env": [{"name": "A", "value": "1"}]}]));
    // Applied by the client first, it changes hands.
    let map = |value: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"a": value}})
            .to_string()
    };
    kubectl.takes(&["apply", "-f", "-"], &map("1"));
    done(apply(&map("2"), &[]));
    assert_eq!(server.get("", "configmaps", "default", "m").expect("the map")["data"], json!({"a": "2"}));
}

pub fn deals_with_definitions() {
    let (server, kubectl) = start();
    kubectl.takes(&["apply", "-f", "-"], &definition().to_string());
    kubectl.prints(&["wait", "--for=condition=Established", "crd/things.example.com", "--timeout=60s"]);
    assert!(kubectl.prints(&["get", "crd"]).contains("things.example.com"));
    kubectl.takes(&["apply", "-f", "-"], &thing("a", 3).to_string());
    let status = r#"{"status": {"nodes": [{"node": "x", "state": "off"}, {"node": "y", "state": "on"}]}}"#;
    kubectl.prints(&["patch", "thing", "a", "--subresource=status", "--type=merge", "-p", status]);
    let table = kubectl.prints(&["get", "things"]);
    assert_eq!(rows(&table), [["NAME", "SIZE", "FIRST"], ["a", "3", "y"]]);
    let whole: Value =
        serde_json::from_str(&kubectl.prints(&["get", "th", "a", "-o", "json"])).expect("JSON");
    assert_eq!(whole["spec"], json!({"size": 3, "mode": "plain"}));
    assert_eq!(whole["apiVersion"], "example.com/v1");
    let state = "--for=jsonpath={.status.nodes[1].state}=on";
    kubectl.prints(&["wait", state, "thing/a", "--timeout=60s"]);
    kubectl.takes(&["apply", "-f", "-"], &thing("a", 4).to_string());
    let changed = server.get("example.com", "things", "default", "a").expect("the thing");
    assert_eq!((&changed["spec"]["size"], &changed["metadata"]["generation"]), (&json!(4), &json!(2)));
    let explained = kubectl.prints(&["explain", "thing.spec.size"]);
    assert!(explained.contains("<integer>"), "{explained}");
    kubectl.prints(&["delete", "thing", "--all"]);
    kubectl.prints(&["delete", "crd", "things.example.com"]);
    let said = kubectl.said(&["get", "things"], "");
    assert_eq!(said.code, Some(1), "{said:?}");
}

pub fn is_told_of_mistakes() {
    let (server, kubectl) = start();
    server.put(definition());
    let refused = |arguments: &[&str], object: &Value, why: &str| {
        let said = kubectl.said(arguments, &object.to_string());
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.err.contains(why), "{why}: {}", said.err);
    };
    let mut typo = thing("a", 1);
    typo["spec"]["szie"] = 1.into();
    refused(&["apply", "-f", "-"], &typo, r#"unknown field "spec.szie""#);
    refused(&["apply", "--server-side", "-f", "-"], &typo, r#"unknown field "spec.szie""#);
    refused(&["apply", "-f", "-"], &thing("a", 0), "spec.size");
    let mut map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "dta": {"a": "b"}});
    refused(&["apply", "-f", "-"], &map, r#"unknown field "dta""#);
    let said = kubectl.said(&["apply", "--validate=warn", "-f", "-"], &map.to_string());
    assert_eq!((said.code, said.err.contains(r#"unknown field "dta""#)), (Some(0), true), "{said:?}");
    map["data"] = json!({"a": 1});
    refused(&["create", "-f", "-"], &map, "invalid type");
    let mut broken = definition();
    broken["spec"]["versions"][1]["storage"] = false.into();
    refused(&["apply", "-f", "-"], &broken, "exactly one version");
    server.admit("weak", "weak");
    server.limit("weak", &[]);
    let weak = Kubectl::new(server.kubeconfig_of("weak"));
    let said = weak.said(&["get", "pods"], "");
    assert!(said.err.contains("User \"weak\" cannot list resource \"pods\""), "{said:?}");
    let nobody = Kubectl::new(server.kubeconfig_of("nobody"));
    assert!(nobody.said(&["get", "pods"], "").err.contains("must be logged in"), "401");
}

pub fn helm_installs() {
    let (server, kubectl) = start();
    let chart = tempfile::tempdir().expect("make a folder");
    let write = |path: &str, text: &str| {
        let path = chart.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("make a folder");
        fs::write(path, text).expect("write a file");
    };
    write("Chart.yaml", "apiVersion: v2\nname: small\nversion: 0.1.0\n");
    write("values.yaml", "value: first\n");
    write("crds/thing.yaml", &definition().to_string());
    write(
        "templates/map.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\ndata:\n  value: {{ .Values.value }}\n",
    );
    write(
        "templates/thing.yaml",
        "apiVersion: example.com/v1\nkind: Thing\nmetadata:\n  name: {{ .Release.Name }}\nspec:\n  size: 2\n",
    );
    let chart = chart.path().to_str().expect("a plain path");
    kubectl.helm(&["install", "it", chart, "--namespace", "shop", "--create-namespace"]);
    let value = || server.get("", "configmaps", "shop", "it").map(|map| map["data"]["value"].clone());
    assert_eq!(value(), Some(json!("first")));
    assert_eq!(server.get("example.com", "things", "shop", "it").expect("the thing")["spec"]["size"], 2);
    assert!(kubectl.helm(&["list", "-n", "shop"]).contains("deployed"));
    kubectl.helm(&["upgrade", "it", chart, "-n", "shop", "--set", "value=second"]);
    assert_eq!(value(), Some(json!("second")));
    kubectl.helm(&["rollback", "it", "1", "-n", "shop"]);
    assert_eq!(value(), Some(json!("first")));
    kubectl.helm(&["uninstall", "it", "-n", "shop"]);
    assert_eq!(value(), None);
}
