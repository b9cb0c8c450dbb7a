//! The tests' own server of Kubernetes' API, as real clients see it: the `kube` crate's, `kubectl` and `helm`. And the `kube`
//! crate's client against a server that somebody else wrote, which shows that it isn't our server alone that pleases it.

mod client;
mod command_line;
mod watcher;

use std::process::ExitCode;

use trigon_tests::suite::{
    self,
    Need::{Helm, Kmock, Kubectl},
};

fn main() -> ExitCode {
    suite::run(|suite| {
        suite.test("objects_live_and_end", &[], client::objects_live_and_end);
        suite.test("definitions_are_served_at_once", &[], client::definitions_are_served_at_once);
        suite.test("appliers_share_a_status", &[], client::appliers_share_a_status);
        suite.test("roles_limit_what_a_token_may_do", &[], client::roles_limit_what_a_token_may_do);
        suite.test("two_versions_are_the_same_objects", &[], client::two_versions_are_the_same_objects);

        suite.test("watcher_follows", &[], || watcher::follows(&watcher::Server::ours()));
        suite.test("watcher_follows_without_tls", &[], || watcher::follows(&watcher::Server::plain()));
        suite.test("watcher_follows_kmock", &[Kmock], || watcher::follows(&watcher::Server::kmock()));
        suite.test("watcher_reads_pages", &[], watcher::reads_pages);
        suite.test("watcher_takes_a_streamed_list", &[], watcher::takes_a_streamed_list);
        suite.test("watcher_sees_what_it_selects", &[], watcher::sees_what_it_selects);
        suite.test("watcher_goes_on_from_a_bookmark", &[], watcher::goes_on_from_a_bookmark);
        suite.test("watcher_survives_gone", &[], watcher::survives_gone);
        suite.test("watcher_survives_faults", &[], watcher::survives_faults);
        suite.test("watcher_survives_an_absence", &[], watcher::survives_an_absence);
        suite.test("watcher_takes_a_new_token", &[], watcher::takes_a_new_token);

        suite.test("kubectl_gets", &[Kubectl], command_line::gets);
        suite.test("kubectl_applies_edits_and_deletes", &[Kubectl], command_line::applies_edits_and_deletes);
        suite.test("kubectl_applies_on_the_server", &[Kubectl], command_line::applies_on_the_server);
        suite.test("kubectl_deals_with_definitions", &[Kubectl], command_line::deals_with_definitions);
        suite.test("kubectl_is_told_of_mistakes", &[Kubectl], command_line::is_told_of_mistakes);
        suite.test("helm_installs", &[Helm, Kubectl], command_line::helm_installs);
    })
}

/// The definition of a resource in two versions.
fn definition() -> serde_json::Value {
    let nodes = serde_json::json!({
        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["node"],
        "items": {"type": "object", "required": ["node"], "properties": {
            "node": {"type": "string"}, "state": {"type": "string"},
        }},
    });
    let schema = serde_json::json!({"openAPIV3Schema": {"type": "object", "properties": {
        "spec": {"type": "object", "required": ["size"], "properties": {
            "size": {"type": "integer", "minimum": 1}, "port": {"x-kubernetes-int-or-string": true},
            "mode": {"type": "string", "default": "plain"}, "note": {"type": "string", "nullable": true},
        }},
        "status": {"type": "object", "properties": {"nodes": nodes, "ready": {"type": "integer"}}},
    }}});
    let columns = serde_json::json!([
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
        {"name": "First", "type": "string", "jsonPath": ".status.nodes[?(@.state==\"on\")].node"},
    ]);
    let version = |name: &str, storage: bool| {
        serde_json::json!({
            "name": name, "served": true, "storage": storage, "schema": schema, "subresources": {"status": {}},
            "additionalPrinterColumns": columns,
        })
    };
    serde_json::json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing", "shortNames": ["th"]},
            "versions": [version("v1alpha1", false), version("v1", true)],
        },
    })
}

fn thing(name: &str, size: i64) -> serde_json::Value {
    serde_json::json!({
        "apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": name, "namespace": "default"},
        "spec": {"size": size},
    })
}
