//! The Helm chart, and what is made of it: what it renders is what Kubernetes and the agent take, and no more rights
//! than the agent needs.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::{Command, ExitCode},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use trigon_tests::{
    command::{Said, said},
    kubectl::Kubectl,
    place, schemas,
    suite::{self, Need},
};

mod definitions;
mod values;

const HELM: &[Need] = &[Need::Helm];

/// Files of values for tests, in the chart's `ci/`.
const VALUES: [&str; 4] = ["default", "minimal", "privileged", "full"];
/// The oldest Kubernetes that the chart is for, those around a change that it knows of, and the newest with schemas.
const KUBERNETES: [&str; 4] = ["1.26", "1.29", "1.30", "1.37"];

fn main() -> ExitCode {
    suite::run(|suite| {
        suite.test("lint_finds_nothing", HELM, lint_finds_nothing);
        suite.test(
            "kubernetes_knows_every_field",
            &[Need::Helm, Need::Schemas],
            kubernetes_knows_every_field,
        );
        suite.test("wrong_values_are_refused", HELM, values::wrong_ones_are_refused);
        suite.test("every_value_is_explained_and_checked", &[], values::every_one_is_explained_and_checked);
        suite.test("the_agent_takes_its_configuration", HELM, the_agent_takes_its_configuration);
        suite.test("the_pod_has_the_rights_of_the_unit", HELM, the_pod_has_the_rights_of_the_unit);
        suite.test("an_older_kubernetes_is_told_of_apparmor", HELM, an_older_kubernetes);
        suite.test("rights_follow_the_configuration", HELM, rights_follow_the_configuration);
        suite.test("the_end_is_waited_for", HELM, the_end_is_waited_for);
        suite.test("a_changed_configuration_starts_anew", HELM, a_changed_configuration_starts_anew);
        suite.test("definitions_stay_and_are_nobody_elses", HELM, definitions::stay_and_are_nobody_elses);
        suite.test("definitions_in_a_cluster_that_has_some", HELM, definitions::in_a_cluster_that_has_some);
        suite.test("dashboards_and_alerts_are_taken_as_they_are", HELM, dashboards_and_alerts);
        suite.test("the_projects_alerts_arrive", HELM, the_projects_alerts_arrive);
        suite.test("monitors_find_the_agents", HELM, monitors_find_the_agents);
        suite.test("the_plain_manifests_are_current", HELM, the_plain_manifests_are_current);
        suite.test("the_chart_is_of_this_release", &[], the_chart_is_of_this_release);
    })
}

/// The chart, and who renders it.
struct Chart {
    helm: Kubectl,
    path: PathBuf,
    /// Where a copy is.
    _folder: Option<TempDir>,
}

// === impl Chart ===

impl Chart {
    fn new() -> Self {
        Self { helm: Kubectl::new("/nowhere"), path: place::workspace("deploy/helm/trigon"), _folder: None }
    }

    /// A copy with these files instead of definitions, dashboards and alerts.
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::Builder::new().prefix("trigon-chart-").tempdir().expect("make a folder");
        let path = folder.path().join("trigon");
        let copied = Command::new("cp").arg("-RL").arg(Self::new().path).arg(&path).status();
        assert!(copied.expect("run cp").success());
        fs::remove_dir_all(path.join("files")).expect("remove what is there");
        for (name, content) in files {
            let file = path.join("files").join(name);
            fs::create_dir_all(file.parent().expect("a folder")).expect("make a folder");
            fs::write(file, content).expect("write a file");
        }
        Self { path, _folder: Some(folder), ..Self::new() }
    }

    fn helm(&self, verb: &[&str], options: &[&str]) -> Said {
        let path = self.path.to_str().expect("a plain path");
        self.helm.helm_said(&[verb, &[path], options].concat())
    }

    fn text(&self, options: &[&str]) -> String {
        let said = self.helm(&["template", "trigon", "--namespace", "monitoring"], options);
        assert_eq!(said.code, Some(0), "{options:?}: {said:?}");
        said.out
    }

    fn rendered(&self, options: &[&str]) -> Rendered {
        Rendered(documents(&self.text(options)))
    }
}

/// Objects.
struct Rendered(Vec<Value>);

// === impl Rendered ===

impl Rendered {
    fn of(&self, kind: &str) -> Vec<&Value> {
        self.0.iter().filter(|object| object["kind"] == kind).collect()
    }

    /// The only one of a kind.
    fn one(&self, kind: &str) -> &Value {
        let [one] = self.of(kind)[..] else { panic!("{} objects of {kind}", self.of(kind).len()) };
        one
    }

    fn pod(&self) -> &Value {
        &self.one("DaemonSet")["spec"]["template"]
    }

    fn container(&self) -> &Value {
        &self.pod()["spec"]["containers"][0]
    }
}

fn documents(yaml: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap_or_else(|error| panic!("{error}"));
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

/// The path of a file of values.
fn given(name: &str) -> String {
    let path = place::workspace(&format!("deploy/helm/trigon/ci/{name}-values.yaml"));
    path.to_str().expect("a plain path").to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(place::workspace(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn lint_finds_nothing() {
    for name in VALUES {
        let said = Chart::new().helm(&["lint", "--strict", "--values", &given(name)], &[]);
        assert_eq!(said.code, Some(0), "{name}: {said:?}");
    }
}

fn kubernetes_knows_every_field() {
    for name in VALUES {
        for version in KUBERNETES {
            let options = ["--values", &given(name), "--kube-version", &format!("{version}.0")];
            let text = Chart::new().text(&options);
            // Those of others' definitions are not in the schemas.
            let own = text.split("\n---\n").filter(|object| !object.contains("monitoring.coreos.com"));
            let own: Vec<_> = own.collect();
            assert!(own.iter().any(|object| object.contains("kind: DaemonSet")), "{text}");
            let said = schemas::faults(version, &own.join("\n---\n"));
            assert_eq!(said.code, Some(0), "{name}, Kubernetes {version}: {said:?}");
        }
    }
    let wrong = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\nautomount: true\n";
    assert_ne!(schemas::faults("1.37", wrong).code, Some(0), "the schemas find a fault");
}

/// The configuration file of what is rendered, as the agent understands it.
fn understood(rendered: &Rendered) -> Value {
    let maps = rendered.of("ConfigMap");
    let config = maps.iter().find_map(|map| map["data"]["config.toml"].as_str()).expect("a file");
    let file = tempfile::Builder::new().suffix(".toml").tempfile().expect("make a file");
    fs::write(file.path(), config).expect("write the configuration");
    let agent = |verb: &[&str]| said(Command::new(place::agent()).args(verb).arg(file.path()).env_clear());
    let checked = agent(&["config", "check"]);
    assert_eq!(checked.code, Some(0), "{config}\n{checked:?}");
    let shown = agent(&["config", "show", "-o", "json"]);
    serde_json::from_str(&shown.out).unwrap_or_else(|error| panic!("{error}: {shown:?}"))
}

/// Settings that don't have their default, by key.
fn set(shown: &Value) -> Vec<(&str, &Value)> {
    let settings = shown["settings"].as_array().expect("settings").iter();
    let given = settings.filter(|setting| setting["source"] != "default");
    given.map(|setting| (setting["key"].as_str().expect("a key"), &setting["value"])).collect()
}

fn the_agent_takes_its_configuration() {
    let chart = Chart::new();
    let shown = understood(&chart.rendered(&[]));
    assert_eq!(set(&shown), [("metrics.addr", &json!("0.0.0.0:2112"))]);
    understood(&chart.rendered(&["--values", &given("minimal")]));

    let shown = understood(&chart.rendered(&["--values", &given("full")]));
    let set = set(&shown);
    for (key, value) in [
        ("process_table.capacity", json!(131_072)),
        ("recent.max_bytes", json!(0)),
        ("trace.max_age", json!("12h")),
        ("limits.ring_buffer_bytes", json!(16_777_216)),
        ("kubernetes.policies", json!(["trigon.io"])),
        ("kubernetes.report", json!(false)),
    ] {
        assert!(set.contains(&(key, &value)), "{key} is not in {set:?}");
    }
    // Numbers in a list of tables.
    let files = ["--set-json", r#"config.file=[{"path": "/run/trigon/events.json", "max_files": 3}]"#];
    let shown = understood(&chart.rendered(&files));
    assert!(shown.to_string().contains("/run/trigon/events.json"), "{shown}");
}

fn the_pod_has_the_rights_of_the_unit() {
    let unit = read("deploy/systemd/trigon.service");
    let set = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).expect("a set");
    let of_unit: BTreeSet<_> = set.split_whitespace().map(|name| name.trim_start_matches("CAP_")).collect();

    let rendered = Chart::new().rendered(&[]);
    let security = &rendered.container()["securityContext"];
    let added = security["capabilities"]["add"].as_array().expect("capabilities");
    assert_eq!(added.iter().filter_map(Value::as_str).collect::<BTreeSet<_>>(), of_unit);
    assert_eq!(security["capabilities"]["drop"], json!(["ALL"]));
    assert_eq!(security["allowPrivilegeEscalation"], json!(false));
    assert_eq!(security["readOnlyRootFilesystem"], json!(true));
    assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault");
    assert!(security.get("privileged").is_none(), "{security}");
    // What of the node is seen, and what may be written there.
    let pod = &rendered.pod()["spec"];
    assert_eq!(pod["hostPID"], json!(true));
    assert!(pod.get("hostNetwork").is_none() && pod.get("hostIPC").is_none(), "{pod}");
    let volumes = pod["volumes"].as_array().expect("volumes");
    let of_node: Vec<_> = volumes.iter().filter_map(|volume| volume["hostPath"]["path"].as_str()).collect();
    assert_eq!(of_node, ["/run/trigon", "/sys/kernel/tracing"]);
    let mounts = rendered.container()["volumeMounts"].as_array().expect("mounts");
    let written: Vec<_> = mounts.iter().filter(|mount| mount["readOnly"] != true).collect();
    assert_eq!(written, [&json!({"name": "run", "mountPath": "/run/trigon"})]);

    let rendered = Chart::new().rendered(&["--set", "privileged=true"]);
    let security = &rendered.container()["securityContext"];
    assert_eq!(security, &json!({"privileged": true, "readOnlyRootFilesystem": true, "runAsUser": 0}));
}

fn an_older_kubernetes() {
    const ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/trigon";
    let of = |version: &str| {
        let rendered = Chart::new().rendered(&["--kube-version", version]);
        let field = rendered.container()["securityContext"]["appArmorProfile"]["type"].clone();
        (rendered.pod()["metadata"]["annotations"][ANNOTATION].clone(), field)
    };
    assert_eq!(of("1.29.9"), (json!("unconfined"), Value::Null));
    assert_eq!(of("1.30.0"), (Value::Null, json!("Unconfined")));
}

fn rights_follow_the_configuration() {
    let rules = |options: &[&str]| Chart::new().rendered(options).one("ClusterRole")["rules"].clone();
    let rule = |groups: &[&str], resources: &[&str], verbs: &[&str]| json!({"apiGroups": groups, "resources": resources, "verbs": verbs});
    let watch = ["list", "watch"];
    let policies = ["tracingpolicies", "tracingpoliciesnamespaced"];
    let seen = rule(&[""], &["pods", "nodes"], &watch);
    let report = rule(&["trigon.io"], &["tracingpolicyreports"], &["create", "patch"]);
    let both = rule(&["trigon.io", "cilium.io"], &policies, &watch);
    assert_eq!(rules(&[]), json!([seen, both, report]));
    let ours = rule(&["trigon.io"], &policies, &watch);
    let options = ["--set=config.kubernetes.policies={trigon.io}", "--set=config.kubernetes.report=false"];
    assert_eq!(rules(&options), json!([seen, ours]));
    assert_eq!(rules(&["--set-json=config.kubernetes.policies=[]"]), json!([seen, report]));

    let rendered = Chart::new().rendered(&["--set", "config.kubernetes.enabled=never"]);
    assert!(rendered.of("ClusterRole").is_empty() && rendered.of("ClusterRoleBinding").is_empty());
    assert_eq!(rendered.pod()["spec"]["automountServiceAccountToken"], json!(false));
    // The role is given to whom the pods are.
    let rendered = Chart::new().rendered(&["--set", "serviceAccount.name=sensor"]);
    let subject = json!([{"kind": "ServiceAccount", "name": "sensor", "namespace": "monitoring"}]);
    assert_eq!(rendered.one("ClusterRoleBinding")["subjects"], subject);
    assert_eq!(rendered.one("ServiceAccount")["metadata"]["name"], "sensor");
    assert_eq!(rendered.pod()["spec"]["serviceAccountName"], "sensor");
}

fn the_end_is_waited_for() {
    let said = Chart::new().helm(&["template"], &["--set", "config.limits.shutdown_timeout=30s"]);
    assert!(said.code != Some(0) && said.err.contains("limits.shutdown_timeout"), "{said:?}");
    let shown = understood(&Chart::new().rendered(&[]));
    let settings = shown["settings"].as_array().expect("settings");
    let timeout = settings.iter().find(|setting| setting["key"] == "limits.shutdown_timeout");
    let timeout = timeout.and_then(|setting| setting["value"].as_str()).expect("a duration");
    assert_eq!(timeout, "10s", "what daemonset.yaml takes for the agent's default");
}

fn a_changed_configuration_starts_anew() {
    let annotations = |options: &[&str]| {
        Chart::new().rendered(options).pod()["metadata"]["annotations"]["checksum/config"].clone()
    };
    let (before, after) = (annotations(&[]), annotations(&["--set", "config.recent.max_bytes=0"]));
    assert!(before.is_string() && after.is_string() && before != after, "{before} {after}");
    assert_eq!(annotations(&["--set", "rolloutOnConfigChange=false"]), Value::Null);
}

fn dashboards_and_alerts() {
    const DASHBOARD: &str = r#"{"title": "{{ not Helm's }}", "id": null}"#;
    const ALERTS: &str = "groups:\n  - name: a\n    rules:\n      - alert: Down\n        expr: up == 0\n        \
                          annotations: {summary: \"{{ $labels.pod }} is down\"}\n";
    let none = Chart::with(&[]).rendered(&["--values", &given("full")]);
    assert_eq!((none.of("ConfigMap").len(), none.of("PrometheusRule").len()), (1, 0));

    let chart = Chart::with(&[
        ("dashboards/the_first.json", DASHBOARD),
        ("dashboards/alerts/agent.yaml", ALERTS),
        ("dashboards/alerts/tests/agent.yaml", "rule_files: [../agent.yaml]\ntests: []\n"),
    ]);
    let off = chart.rendered(&[]);
    assert_eq!((off.of("ConfigMap").len(), off.of("PrometheusRule").len()), (1, 0));
    let on = chart.rendered(&["--values", &given("full")]);
    let dashboard = on.of("ConfigMap").into_iter().find(|map| map["data"]["the_first.json"].is_string());
    let dashboard = dashboard.expect("a dashboard");
    assert_eq!(dashboard["metadata"]["name"], "trigon-sensor-the-first");
    assert_eq!(dashboard["metadata"]["labels"]["grafana_dashboard"], "2");
    assert_eq!(dashboard["data"]["the_first.json"].as_str().map(str::trim), Some(DASHBOARD));
    assert_eq!(on.one("PrometheusRule")["spec"], documents(ALERTS)[0]);
}

/// Each file as it stands: its `{{ $labels.node }}` are Prometheus's, and not Helm's.
fn the_projects_alerts_arrive() {
    let rendered = Chart::new().rendered(&["--values", &given("full")]);
    let rules = rendered.of("PrometheusRule");
    let mut names = BTreeSet::new();
    for file in fs::read_dir(place::workspace("dashboards/alerts")).expect("read the alerts") {
        let path = file.expect("read a folder").path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".yaml")) else {
            continue;
        };
        let object = format!("trigon-sensor-{name}");
        let rule = rules.iter().find(|rule| rule["metadata"]["name"] == object);
        let rule = rule.unwrap_or_else(|| panic!("no PrometheusRule {object}"));
        assert_eq!(rule["spec"], documents(&read(&format!("dashboards/alerts/{name}.yaml")))[0], "{name}");
        names.insert(object);
    }
    assert_eq!(rules.len(), names.len());
    assert!(rendered.of("PrometheusRule").iter().any(|rule| rule.to_string().contains("{{ or $labels.node")));
}

fn monitors_find_the_agents() {
    let none = Chart::new().rendered(&[]);
    for kind in ["Service", "ServiceMonitor", "PodMonitor", "NetworkPolicy"] {
        assert!(none.of(kind).is_empty(), "{kind}");
    }
    let rendered = Chart::new().rendered(&["--values", &given("full")]);
    let port = &rendered.container()["ports"][0];
    assert_eq!(port, &json!({"name": "metrics", "containerPort": 9090}));
    let service = rendered.one("Service");
    let expected = json!([{"name": "metrics", "port": 9090, "targetPort": "metrics"}]);
    assert_eq!(service["spec"]["ports"], expected);
    let endpoints = [
        &rendered.one("ServiceMonitor")["spec"]["endpoints"][0],
        &rendered.one("PodMonitor")["spec"]["podMetricsEndpoints"][0],
    ];
    for endpoint in endpoints {
        assert_eq!((&endpoint["port"], &endpoint["honorLabels"]), (&json!("metrics"), &json!(true)));
        assert_eq!(endpoint["relabelings"][0]["targetLabel"], "node");
    }
    // Each selector holds for what it is to find.
    let pod = &rendered.pod()["metadata"]["labels"];
    for (selector, labels) in [
        (&service["spec"]["selector"], pod),
        (&rendered.one("DaemonSet")["spec"]["selector"]["matchLabels"], pod),
        (&rendered.one("PodMonitor")["spec"]["selector"]["matchLabels"], pod),
        (&rendered.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"], pod),
        (&rendered.one("ServiceMonitor")["spec"]["selector"]["matchLabels"], &service["metadata"]["labels"]),
    ] {
        let selector = selector.as_object().expect("a selector");
        assert!(
            !selector.is_empty() && selector.iter().all(|(name, value)| labels[name] == *value),
            "{labels}"
        );
    }
}

fn the_plain_manifests_are_current() {
    let file = tempfile::NamedTempFile::new().expect("make a file");
    let said = said(Command::new(place::workspace("scripts/manifests")).arg(file.path()));
    assert_eq!(said.code, Some(0), "{said:?}");
    let now = fs::read_to_string(file.path()).expect("read what was rendered");
    assert!(
        now == read("deploy/manifests/trigon.yaml"),
        "deploy/manifests is of another chart: `make generate`"
    );
}

fn the_chart_is_of_this_release() {
    let chart = documents(&read("deploy/helm/trigon/Chart.yaml"));
    for version in ["version", "appVersion"] {
        assert_eq!(chart[0][version], env!("CARGO_PKG_VERSION"));
    }
}
