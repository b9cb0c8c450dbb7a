//! Policies that come from the API server, from object to event, and what the node reports of them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use trigon_tests::{
    agent::{Agent, Running},
    apiserver::{ApiServer, Fault, On, pods},
    suite::{self, Need},
    wait,
};

const KERNEL: &[Need] = &[Need::Kernel];

const NODE: &str = "node-1";
const REPORTS: &str = "tracingpolicyreports";

fn main() -> ExitCode {
    suite::run(|suite| {
        suite.test(
            "an_object_is_loaded_changed_and_deleted",
            KERNEL,
            an_object_is_loaded_changed_and_deleted,
        );
        suite.test("what_is_refused_is_told", KERNEL, what_is_refused_is_told);
        suite.test(
            "a_node_selector_follows_the_nodes_labels",
            KERNEL,
            a_node_selector_follows_the_nodes_labels,
        );
        suite.test("the_report_says_how_it_stands", KERNEL, the_report_says_how_it_stands);
        suite.test(
            "a_report_that_is_refused_is_written_later",
            KERNEL,
            a_report_that_is_refused_is_written_later,
        );
        suite.test("while_the_server_is_away_policies_stay", KERNEL, while_the_server_is_away_policies_stay);
        suite.test("definitions_may_come_later", KERNEL, definitions_may_come_later);
        suite.test("one_name_has_one_policy", KERNEL, one_name_has_one_policy);
        suite.test("a_local_policy_gives_way_to_an_object_once_it_goes", KERNEL, a_local_policy_goes);
        suite.test("what_is_the_clusters_is_deleted_there", KERNEL, what_is_the_clusters_is_deleted_there);
    })
}

/// An API server with a node, and a folder with files to open.
struct Cluster {
    server: ApiServer,
    folder: TempDir,
}

// === impl Cluster ===

impl Cluster {
    /// With the definitions that are shipped.
    fn new() -> Self {
        let cluster = Self::bare();
        cluster.define();
        cluster
    }

    /// Without any.
    fn bare() -> Self {
        let server = ApiServer::start();
        server.put(pods::node(NODE));
        let folder = tempfile::Builder::new().prefix("trigon-cluster-").tempdir().expect("make a folder");
        for name in ["wanted", "other"] {
            fs::write(folder.path().join(name), "0123456789").expect("write a file");
        }
        Self { server, folder }
    }

    fn define(&self) {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds");
        for group in ["cilium.io", "trigon.io"] {
            for file in shipped.join(group).read_dir().expect("read the shipped definitions") {
                let text =
                    fs::read_to_string(file.expect("read an entry").path()).expect("read a definition");
                let definition: Value = serde_saphyr::from_str(&text).expect("a definition is YAML");
                self.server.put(definition);
            }
        }
    }

    fn agent(&self) -> Agent {
        let kubeconfig = self.server.kubeconfig();
        Agent::new().environment("NODE_NAME", NODE).config(&format!(
            "[kubernetes]\nenabled = \"always\"\nkubeconfig = {kubeconfig:?}\nreport_interval = \"1s\"\n"
        ))
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// A policy about opens of a file.
    fn policy(&self, group: &str, name: &str, file: &str) -> Value {
        json!({
            "apiVersion": format!("{group}/v1alpha1"),
            "kind": "TracingPolicy",
            "metadata": {"name": name},
            "spec": {"kprobes": [{
                "call": "sys_openat",
                "syscall": true,
                "args": [{"index": 1, "type": "string"}],
                "selectors": [{"matchArgs": [{"index": 1, "operator": "Equal", "values": [self.path(file)]}]}],
            }]},
        })
    }

    fn report<T>(&self, mut probe: impl FnMut(&Value) -> Option<T>) -> T {
        self.server.until(("trigon.io", REPORTS, "", NODE), |report| probe(report))
    }

    /// Waits until the report has a policy of this group that `probe` likes.
    fn reported<T>(&self, group: &str, name: &str, mut probe: impl FnMut(&Value) -> Option<T>) -> T {
        self.report(|report| {
            let mut policies = report["policies"].as_array()?.iter();
            probe(policies.find(|policy| policy["name"] == name && policy["group"] == group)?)
        })
    }
}

/// Every policy that the agent lists.
fn listed(agent: &Running) -> Vec<Value> {
    let output = agent.command(&["policy", "list", "-o", "json"]).output().expect("run trigon policy list");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let list: Value = serde_json::from_slice(&output.stdout).expect("the list is JSON");
    list["policies"].as_array().expect("a list of policies").clone()
}

/// Waits until `probe` likes one of the policies of that name.
fn until_listed<T>(agent: &Running, name: &str, probe: impl Fn(&Value) -> Option<T>) -> T {
    let find = || listed(agent).iter().filter(|policy| policy["name"] == name).find_map(&probe);
    wait::until(&format!("policy {name}"), find, || format!("{:#?}\n{}", listed(agent), agent.log()))
}

fn until_state(agent: &Running, name: &str, state: &str) -> Value {
    until_listed(agent, name, |policy| (policy["state"] == state).then(|| policy.clone()))
}

fn until_gone(agent: &Running, name: &str) {
    let gone = || listed(agent).iter().all(|policy| policy["name"] != name).then_some(());
    wait::until(&format!("the end of policy {name}"), gone, || {
        format!("{:#?}\n{}", listed(agent), agent.log())
    });
}

/// Opens a file until the agent tells of it. A policy that is loaded sees the first time.
fn opens(agent: &Running, path: &Path, policy: &str) {
    fs::File::open(path).expect("open a file");
    let path = path.to_str().expect("a plain path");
    let told = || agent.lines_with(path).iter().any(|line| line.text("/policy_name") == policy).then_some(());
    wait::until(&format!("an event of {policy}"), told, || agent.log());
}

/// Events so far of a file.
fn events(agent: &Running, path: &Path) -> usize {
    let lines = agent.lines_with(path.to_str().expect("a plain path"));
    lines.iter().filter(|line| !line.text("/policy_name").is_empty()).count()
}

fn an_object_is_loaded_changed_and_deleted() {
    let cluster = Cluster::new();
    let agent = cluster.agent().start();
    let mut object = cluster.server.put(cluster.policy("cilium.io", "opens", "wanted"));
    let policy = until_state(&agent, "opens", "enabled");
    assert_eq!(policy["from"], json!({"kind": "kubernetes", "path": "cilium.io"}));
    opens(&agent, &cluster.path("wanted"), "opens");
    let before = events(&agent, &cluster.path("wanted"));

    object["spec"] = cluster.policy("cilium.io", "opens", "other")["spec"].clone();
    let object = cluster.server.put(object);
    let generation = object["metadata"]["generation"].clone();
    assert_eq!(generation, 2);
    cluster.reported("cilium.io", "opens", |policy| (policy["generation"] == generation).then_some(()));
    fs::File::open(cluster.path("wanted")).expect("open a file");
    // Events come in order: had the first open been told, it would be there by now.
    opens(&agent, &cluster.path("other"), "opens");
    assert_eq!(events(&agent, &cluster.path("wanted")), before);

    cluster.server.delete(&object);
    until_gone(&agent, "opens");
    cluster.report(|report| (report["summary"]["policies"] == 0).then_some(()));
    agent.stop();
}

fn what_is_refused_is_told() {
    let cluster = Cluster::new();
    let agent = cluster.agent().start();
    let sound = cluster.policy("cilium.io", "broken", "wanted");
    let mut broken = sound.clone();
    broken["spec"]["kprobes"][0]["cal"] = json!("sys_openat");
    cluster.server.put(broken.clone());
    let policy = until_state(&agent, "broken", "load_error");
    let error = policy["error"].as_str().expect("an error");
    assert!(error.starts_with("spec.kprobes[0].cal: no such key: did you mean call?"), "{error}");
    cluster.reported("cilium.io", "broken", |policy| (policy["error"] == error).then_some(()));
    cluster.report(|report| (report["summary"]["failed"] == 1).then_some(()));

    cluster.server.put(sound.clone());
    until_state(&agent, "broken", "enabled");
    opens(&agent, &cluster.path("wanted"), "broken");
    cluster.report(|report| (report["summary"]["loaded"] == 1).then_some(()));

    // What was in force stays, with what is wrong with what was to follow.
    cluster.server.put(broken);
    let policy = until_state(&agent, "broken", "error");
    assert!(!policy["hooks"].as_array().expect("hooks").is_empty());
    opens(&agent, &cluster.path("wanted"), "broken");
    // The same again as it was.
    cluster.server.put(sound);
    let policy = until_state(&agent, "broken", "enabled");
    assert!(policy["error"].is_null());

    // What only the kernel can refuse.
    let mut missing = cluster.policy("cilium.io", "missing", "wanted");
    missing["spec"]["kprobes"][0]["call"] = json!("no_such_function");
    missing["spec"]["kprobes"][0]["syscall"] = json!(false);
    cluster.server.put(missing);
    let policy = until_state(&agent, "missing", "load_error");
    let error = policy["error"].as_str().expect("an error");
    assert!(error.contains("no_such_function"), "{error}");
    agent.stop();
}

fn a_node_selector_follows_the_nodes_labels() {
    let cluster = Cluster::new();
    let agent = cluster.agent().start();
    let mut policy = cluster.policy("cilium.io", "zoned", "wanted");
    policy["spec"]["nodeSelector"] =
        json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]});
    cluster.server.put(policy.clone());
    until_state(&agent, "zoned", "skipped");
    cluster.reported("cilium.io", "zoned", |policy| (policy["state"] == "skipped").then_some(()));
    let mut node = pods::node(NODE);
    node["metadata"]["labels"]["zone"] = json!("b");
    cluster.server.put(node.clone());
    until_state(&agent, "zoned", "enabled");
    opens(&agent, &cluster.path("wanted"), "zoned");
    node["metadata"]["labels"]["zone"] = json!("c");
    cluster.server.put(node);
    until_state(&agent, "zoned", "skipped");
    policy["spec"]["nodeSelector"] = json!({});
    cluster.server.put(policy.clone());
    until_state(&agent, "zoned", "enabled");
    policy["spec"]["nodeSelector"] = json!({"matchExpressions": [{"key": "zone", "operator": "Near"}]});
    cluster.server.put(policy);
    let policy = until_state(&agent, "zoned", "load_error");
    let error = policy["error"].as_str().expect("an error");
    assert!(error.starts_with("spec.nodeSelector: "), "{error}");
    agent.stop();
}

fn the_report_says_how_it_stands() {
    let cluster = Cluster::new();
    let agent = cluster.agent().start();
    let object = cluster.server.put(cluster.policy("cilium.io", "opens", "wanted"));
    let loaded = |policy: &Value| (policy["state"] == "enabled").then(|| policy.clone());
    let policy = cluster.reported("cilium.io", "opens", loaded);
    assert_eq!(policy["generation"], object["metadata"]["generation"]);
    let hooks = policy["hooks"].as_array().expect("hooks");
    assert!(hooks.iter().any(|hook| hook["mechanism"].is_string()), "{policy:#}");
    assert!(policy["kernelMemoryBytes"].as_u64().is_some_and(|bytes| bytes > 0), "{policy:#}");
    let node = cluster.server.get("", "nodes", "", NODE).expect("the node");
    cluster.report(|report| {
        let owner = &report["metadata"]["ownerReferences"][0];
        let owns =
            owner["kind"] == "Node" && owner["name"] == NODE && owner["uid"] == node["metadata"]["uid"];
        owns.then_some(())
    });
    let report = cluster.server.get("trigon.io", REPORTS, "", NODE).expect("the report");
    assert_eq!(report["metadata"]["managedFields"][0]["manager"], "trigon");
    assert!(report["agentVersion"].is_string());

    // The agent goes, and what it said stays.
    agent.stop();
    assert!(cluster.server.get("trigon.io", REPORTS, "", NODE).is_some());
    // Another one says the same again, and then nothing more than it has to: nothing is in the way of the object's change.
    cluster.server.forget_calls();
    let agent = cluster.agent().start();
    until_state(&agent, "opens", "enabled");
    let writes = || {
        let calls = cluster.server.calls();
        calls.iter().filter(|call| call.is_write() && call.asked.resource == REPORTS).count()
    };
    wait::until("a report of the second agent", || (writes() > 0).then_some(()), || agent.log());
    cluster.server.delete(&object);
    cluster.report(|report| (report["summary"]["policies"] == 0).then_some(()));
    // Gathered: at the start, with the policy, with the node's uid, and without the policy; fewer where two fell together.
    assert!(writes() <= 4, "{} writes", writes());
    agent.stop();
}

fn a_report_that_is_refused_is_written_later() {
    let cluster = Cluster::new();
    cluster.server.fault(On::ALL.resource(REPORTS).times(2), Fault::TooMany(1));
    let agent = cluster.agent().start();
    cluster.server.put(cluster.policy("cilium.io", "opens", "wanted"));
    // Policies don't wait for it.
    until_state(&agent, "opens", "enabled");
    cluster.report(|report| (report["summary"]["loaded"] == 1).then_some(()));
    let calls = cluster.server.calls();
    let mut answers = calls.iter().filter(|call| call.asked.resource == REPORTS).map(|call| call.code);
    assert!(answers.any(|code| code == 429), "{calls:#?}");
    agent.stop();
}

fn while_the_server_is_away_policies_stay() {
    let cluster = Cluster::new();
    let agent = cluster.agent().start();
    let first = cluster.server.put(cluster.policy("cilium.io", "first", "wanted"));
    until_state(&agent, "first", "enabled");
    cluster.server.leave();
    agent.until_metrics("a watch that fails", |metrics| {
        (metrics.sum("trigon_watch_errors_total", &[]) > 0.0).then_some(())
    });
    until_state(&agent, "first", "enabled");
    opens(&agent, &cluster.path("wanted"), "first");
    cluster.server.delete(&first);
    cluster.server.put(cluster.policy("cilium.io", "second", "other"));
    // It knows nothing of what the agent saw last: everything is listed anew.
    cluster.server.compact();
    cluster.server.come_back();
    until_state(&agent, "second", "enabled");
    until_gone(&agent, "first");
    opens(&agent, &cluster.path("other"), "second");
    agent.stop();
}

fn definitions_may_come_later() {
    let cluster = Cluster::bare();
    let agent = cluster.agent().start();
    wait::until(
        "the agent to look for policies",
        || agent.log().contains("the API server has no tracingpolicies.cilium.io").then_some(()),
        || agent.log(),
    );
    cluster.define();
    cluster.server.put(cluster.policy("cilium.io", "late", "wanted"));
    until_state(&agent, "late", "enabled");
    opens(&agent, &cluster.path("wanted"), "late");
    let said = agent.log().matches("the API server has no tracingpolicies.cilium.io").count();
    assert_eq!(said, 1, "{}", agent.log());
    agent.stop();
}

fn one_name_has_one_policy() {
    let cluster = Cluster::new();
    let agent = cluster.agent().start();
    let mut older = cluster.policy("cilium.io", "same", "wanted");
    older["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    let older = cluster.server.put(older);
    until_state(&agent, "same", "enabled");
    let mut younger = cluster.policy("trigon.io", "same", "other");
    younger["metadata"]["creationTimestamp"] = json!("2026-01-02T00:00:00Z");
    cluster.server.put(younger);
    let waits = |policy: &Value| (policy["from"]["path"] == "trigon.io").then(|| policy["error"].clone());
    let error = until_listed(&agent, "same", waits);
    assert_eq!(error, "a policy named same is there, from kubernetes (cilium.io)");
    until_state(&agent, "same", "enabled");
    cluster.reported("trigon.io", "same", |policy| (policy["state"] == "load_error").then_some(()));
    cluster.reported("cilium.io", "same", |policy| (policy["state"] == "enabled").then_some(()));
    cluster.server.delete(&older);
    let has_it = |policy: &Value| {
        (policy["from"]["path"] == "trigon.io" && policy["state"] == "enabled").then_some(())
    };
    until_listed(&agent, "same", has_it);
    agent.stop();
}

fn a_local_policy_goes() {
    let cluster = Cluster::new();
    let agent = cluster.agent().start();
    let file = cluster.path("policy.yaml");
    fs::write(&file, cluster.policy("cilium.io", "same", "other").to_string()).expect("write a policy");
    let file = file.to_str().expect("a plain path");
    let added = agent.command(&["policy", "add", file]).status().expect("run trigon policy add");
    assert!(added.success());
    cluster.server.put(cluster.policy("cilium.io", "same", "wanted"));
    let policy = until_state(&agent, "same", "load_error");
    assert_eq!(policy["error"], "a policy named same is there, from api");
    until_state(&agent, "same", "enabled");
    let deleted = agent.command(&["policy", "delete", "same"]).status().expect("run trigon policy delete");
    assert!(deleted.success());
    until_listed(&agent, "same", |policy| {
        (policy["state"] == "enabled" && policy["from"]["kind"] == "kubernetes").then_some(())
    });
    opens(&agent, &cluster.path("wanted"), "same");
    assert_eq!(listed(&agent).len(), 1);
    agent.stop();
}

fn what_is_the_clusters_is_deleted_there() {
    let cluster = Cluster::new();
    let agent = cluster.agent().start();
    cluster.server.put(cluster.policy("cilium.io", "opens", "wanted"));
    until_state(&agent, "opens", "enabled");
    let refused = agent.command(&["policy", "delete", "opens"]).output().expect("run trigon policy delete");
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("an object of the cluster (cilium.io)"), "{said}");
    let disabled =
        agent.command(&["policy", "disable", "opens"]).status().expect("run trigon policy disable");
    assert!(disabled.success());
    until_state(&agent, "opens", "disabled");
    cluster.reported("cilium.io", "opens", |policy| (policy["state"] == "disabled").then_some(()));
    agent.stop();
}
