//! Custom resource definitions: those of the chart, and those that a cluster has from others.

use std::{collections::BTreeMap, fs, net::Ipv4Addr, sync::Arc};

use axum::{
    Json, Router,
    http::{StatusCode, Uri},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpListener, runtime::Runtime};
use trigon_tests::kubectl::Kubectl;

use super::{Chart, documents};

/// A definition of policies, of a group.
fn definition(group: &str) -> String {
    format!(
        "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: tracingpolicies.{group}, annotations: {{kept: \"yes\"}}}}
spec:
  group: {group}
  names: {{kind: TracingPolicy, plural: tracingpolicies}}
  scope: Cluster
  versions:
    - name: v1alpha1
      served: true
      storage: true
      schema: {{openAPIV3Schema: {{type: object, properties: {{a: {{type: integer, maximum: 4294967295}}}}}}}}
"
    )
}

pub(super) fn stay_and_are_nobody_elses() {
    let chart = chart();
    let groups = |options: &[&str]| {
        let rendered = chart.rendered(options);
        let groups =
            rendered.of("CustomResourceDefinition").into_iter().map(|one| one["spec"]["group"].clone());
        groups.collect::<Vec<_>>()
    };
    assert_eq!(groups(&[]), ["trigon.io"]);
    assert_eq!(groups(&["--set", "crds.cilium=true"]), ["trigon.io", "cilium.io"]);
    let there = ["--set", "crds.cilium=true", "--api-versions", "cilium.io/v1alpha1/TracingPolicy"];
    assert_eq!(groups(&there), ["trigon.io"]);
    assert_eq!(groups(&["--api-versions", "trigon.io/v1alpha1/TracingPolicy"]), ["trigon.io"]);
    assert!(groups(&["--set", "crds.install=false"]).is_empty());

    let rendered = chart.rendered(&[]);
    let ours = rendered.one("CustomResourceDefinition");
    let annotations = json!({"helm.sh/resource-policy": "keep", "kept": "yes"});
    assert_eq!(ours["metadata"]["annotations"], annotations);
    assert_eq!(ours["spec"], documents(&definition("trigon.io"))[0]["spec"]);
}

/// The chart with a definition of each group.
fn chart() -> Chart {
    let (ours, others) = (definition("trigon.io"), definition("cilium.io"));
    Chart::with(&[("crds/trigon.io/a.yaml", &ours), ("crds/cilium.io/a.yaml", &others)])
}

/// As much of an API server as Helm asks before it installs: what there is, and one object.
struct Cluster {
    _runtime: Runtime,
    folder: TempDir,
}

// === impl Cluster ===

impl Cluster {
    /// One that has this definition.
    fn start(definition: &Value) -> Self {
        let group = |group: &str, version: &str| {
            let version = json!({"groupVersion": format!("{group}/{version}"), "version": version});
            json!({"name": group, "versions": [version], "preferredVersion": version})
        };
        let kinds = |version: &str, kinds: &[(&str, &str, bool)]| {
            let resource = |(name, kind, namespaced): &(&str, &str, bool)| json!({"name": name, "singularName": "", "kind": kind, "namespaced": namespaced, "verbs": ["get"]});
            let resources: Vec<_> = kinds.iter().map(resource).collect();
            json!({"kind": "APIResourceList", "groupVersion": version, "resources": resources})
        };
        let core = [("serviceaccounts", "ServiceAccount", true), ("configmaps", "ConfigMap", true)];
        let roles =
            [("clusterroles", "ClusterRole", false), ("clusterrolebindings", "ClusterRoleBinding", false)];
        let definitions = [("customresourcedefinitions", "CustomResourceDefinition", false)];
        let groups = json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [
            group("apps", "v1"), group("rbac.authorization.k8s.io", "v1"), group("apiextensions.k8s.io", "v1"),
            group("cilium.io", "v1alpha1"),
        ]});
        let name = definition["metadata"]["name"].as_str().expect("a name");
        let answers = BTreeMap::from([
            ("/version".to_owned(), json!({"major": "1", "minor": "37", "gitVersion": "v1.37.0"})),
            ("/api".to_owned(), json!({"kind": "APIVersions", "versions": ["v1"]})),
            ("/api/v1".to_owned(), kinds("v1", &core)),
            ("/apis".to_owned(), groups),
            ("/apis/apps/v1".to_owned(), kinds("apps/v1", &[("daemonsets", "DaemonSet", true)])),
            ("/apis/rbac.authorization.k8s.io/v1".to_owned(), kinds("rbac.authorization.k8s.io/v1", &roles)),
            ("/apis/apiextensions.k8s.io/v1".to_owned(), kinds("apiextensions.k8s.io/v1", &definitions)),
            (
                "/apis/cilium.io/v1alpha1".to_owned(),
                kinds("cilium.io/v1alpha1", &[("tracingpolicies", "TracingPolicy", false)]),
            ),
            (format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"), definition.clone()),
        ]);
        let answers = Arc::new(answers);
        let answer = move |uri: Uri| {
            let answers = Arc::clone(&answers);
            async move { answers.get(uri.path()).map_or_else(not_found, |found| Json(found).into_response()) }
        };
        let runtime = Runtime::new().expect("start a runtime");
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("listen");
        let address = listener.local_addr().expect("its address");
        runtime.spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });

        let folder = tempfile::Builder::new().prefix("trigon-cluster-").tempdir().expect("make a folder");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": format!("http://{address}")}}],
            "users": [{"name": "test", "user": {}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        });
        fs::write(folder.path().join("config"), config.to_string()).expect("write a kubeconfig");
        Self { _runtime: runtime, folder }
    }

    /// The groups of what the chart would install here.
    fn would_get(&self) -> Vec<Value> {
        let chart = Chart { helm: Kubectl::new(self.folder.path().join("config")), ..chart() };
        let options = ["--dry-run=server", "--disable-openapi-validation", "--set", "crds.cilium=true"];
        let rendered = chart.rendered(&options);
        rendered.of("CustomResourceDefinition").into_iter().map(|one| one["spec"]["group"].clone()).collect()
    }
}

fn not_found() -> Response {
    let status =
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404});
    (StatusCode::NOT_FOUND, Json(status)).into_response()
}

/// What Tetragon installed stays Tetragon's; what this release installed is upgraded with it.
pub(super) fn in_a_cluster_that_has_some() {
    let mut there = documents(&definition("cilium.io")).remove(0);
    assert_eq!(Cluster::start(&there).would_get(), ["trigon.io"]);
    let of_release = |namespace: &str| {
        json!({
            "name": "tracingpolicies.cilium.io",
            "labels": {"app.kubernetes.io/managed-by": "Helm"},
            "annotations": {"meta.helm.sh/release-name": "trigon", "meta.helm.sh/release-namespace": namespace},
        })
    };
    there["metadata"] = of_release("elsewhere");
    assert_eq!(Cluster::start(&there).would_get(), ["trigon.io"]);
    there["metadata"] = of_release("monitoring");
    assert_eq!(Cluster::start(&there).would_get(), ["trigon.io", "cilium.io"]);
}
