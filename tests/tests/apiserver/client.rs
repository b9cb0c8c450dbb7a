//! The `kube` crate's client: objects, definitions, rights.

use std::path::Path;

use k8s_openapi::{
    api::core::v1::{ConfigMap, Pod},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config,
    api::{
        ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
        PostParams,
    },
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;
use trigon_tests::apiserver::{ApiServer, pods};

use crate::{definition, thing};

/// Runs a client's code.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("make a runtime").block_on(future)
}

/// The client that a kubeconfig makes.
pub async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("a good kubeconfig");
    Client::try_from(config).expect("a client")
}

/// The HTTP status of a refusal.
fn code<T: std::fmt::Debug>(result: kube::Result<T>) -> u16 {
    match result {
        Err(kube::Error::Api(status)) => status.code,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn things(client: &Client, version: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("example.com", version, "Thing");
    Api::namespaced_with(client.clone(), "default", &ApiResource::from_gvk(&kind))
}

fn dynamic(object: serde_json::Value) -> DynamicObject {
    serde_json::from_value(object).expect("an object")
}

pub fn objects_live_and_end() {
    let server = ApiServer::start();
    block_on(async {
        let maps: Api<ConfigMap> = Api::namespaced(client(&server.kubeconfig()).await, "default");
        let map = |value: &str| -> ConfigMap {
            serde_json::from_value(json!({"metadata": {"name": "m"}, "data": {"a": value}})).expect("a map")
        };
        let post = PostParams::default();
        let dry = PostParams { dry_run: true, ..post.clone() };
        maps.create(&dry, &map("0")).await.expect("a dry run");
        assert_eq!(code(maps.get("m").await), 404);
        let made = maps.create(&post, &map("1")).await.expect("create");
        assert_eq!(code(maps.create(&post, &map("1")).await), 409);
        assert!(made.metadata.uid.is_some() && made.metadata.creation_timestamp.is_some());
        // An update of what has changed meanwhile is refused; of what hasn't, it isn't.
        let mut newer = made.clone();
        newer.data.get_or_insert_default().insert("a".into(), "2".into());
        let newer = maps.replace("m", &post, &newer).await.expect("replace");
        assert!(newer.metadata.resource_version > made.metadata.resource_version);
        assert_eq!(code(maps.replace("m", &post, &made).await), 409);
        let again = maps.replace("m", &post, &newer).await.expect("replace by the same");
        assert_eq!(again.metadata.resource_version, newer.metadata.resource_version);
        let patch =
            Patch::Merge(json!({"data": {"b": "3", "a": null}, "metadata": {"finalizers": ["x.io/y"]}}));
        let patched = maps.patch("m", &PatchParams::default(), &patch).await.expect("patch");
        assert_eq!(patched.data.expect("data").into_iter().collect::<Vec<_>>(), [("b".into(), "3".into())]);
        // A finalizer keeps it.
        maps.delete("m", &DeleteParams::default()).await.expect("delete");
        assert!(maps.get("m").await.expect("it waits").metadata.deletion_timestamp.is_some());
        let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        maps.patch("m", &PatchParams::default(), &patch).await.expect("patch");
        assert_eq!(code(maps.get("m").await), 404);
        let elsewhere: Api<ConfigMap> = Api::namespaced(maps.into_client(), "nowhere");
        assert_eq!(code(elsewhere.create(&post, &map("1")).await), 404);
    });
}

pub fn definitions_are_served_at_once() {
    let server = ApiServer::start();
    block_on(async {
        let client = client(&server.kubeconfig()).await;
        let post = PostParams::default();
        let things = things(&client, "v1");
        assert_eq!(code(things.list(&ListParams::default()).await), 404);
        let definitions: Api<CustomResourceDefinition> = Api::all(client);
        let typed = serde_json::from_value(definition()).expect("a definition");
        definitions.create(&post, &typed).await.expect("create");
        let made = things.create(&post, &dynamic(thing("a", 1))).await.expect("create");
        assert_eq!(made.data["spec"], json!({"size": 1, "mode": "plain"}));
        for (bad, field) in [
            (json!({"size": 0}), "spec.size"),
            (json!({"size": "1"}), "spec.size"),
            (json!({}), "spec"),
            (json!({"size": 1, "port": true}), "spec.port"),
        ] {
            let mut object = thing("bad", 1);
            object["spec"] = bad;
            match things.create(&post, &dynamic(object)).await {
                Err(kube::Error::Api(status)) => {
                    assert_eq!(status.code, 422);
                    let causes = status.details.expect("details").causes;
                    assert_eq!(causes[0].field, field);
                }
                other => panic!("{other:?}"),
            }
        }
        let mut object = thing("b", 1);
        object["spec"]["unknown"] = 1.into();
        let pruned = things.create(&post, &dynamic(object.clone())).await.expect("create");
        assert_eq!(pruned.data["spec"], json!({"size": 1, "mode": "plain"}));
        object["metadata"]["name"] = "c".into();
        let strict = PatchParams::apply("t").validation_strict();
        assert_eq!(code(things.patch("c", &strict, &Patch::Apply(object)).await), 400);
        definitions.delete("things.example.com", &DeleteParams::default()).await.expect("delete");
        assert_eq!(code(things.list(&ListParams::default()).await), 404);
    });
}

pub fn appliers_share_a_status() {
    let server = ApiServer::start();
    server.put(definition());
    server.put(thing("a", 1));
    block_on(async {
        let things = things(&client(&server.kubeconfig()).await, "v1");
        let status = |node: &str, state: &str| {
            let mut object = thing("a", 1);
            object.as_object_mut().expect("an object").remove("spec");
            object["status"]["nodes"] = json!([{"node": node, "state": state}]);
            Patch::Apply(object)
        };
        let apply = |manager: &str| PatchParams::apply(manager);
        let before = things.get("a").await.expect("get");
        things.patch_status("a", &apply("one"), &status("n1", "on")).await.expect("apply");
        things.patch_status("a", &apply("two"), &status("n2", "off")).await.expect("apply");
        assert_eq!(code(things.patch_status("a", &apply("two"), &status("n1", "off")).await), 409);
        let now = things.get("a").await.expect("get");
        let nodes = json!([{"node": "n1", "state": "on"}, {"node": "n2", "state": "off"}]);
        assert_eq!(now.data["status"]["nodes"], nodes);
        assert_eq!(now.metadata.generation, before.metadata.generation);
        // The same once more changes nothing; less takes away what was only this manager's.
        let same = things.patch_status("a", &apply("one"), &status("n1", "on")).await.expect("apply");
        assert_eq!(same.metadata.resource_version, now.metadata.resource_version);
        let mut nothing = thing("a", 1);
        nothing["status"] = json!({"nodes": []});
        let left = things.patch_status("a", &apply("one"), &Patch::Apply(nothing)).await.expect("apply");
        assert_eq!(left.data["status"]["nodes"], json!([{"node": "n2", "state": "off"}]));
        // What isn't the status is not written by way of the status, nor the other way round.
        let sly = Patch::Merge(json!({"spec": {"size": 9}, "status": {"ready": 1}}));
        let after = things.patch_status("a", &PatchParams::default(), &sly).await.expect("patch");
        assert_eq!((&after.data["spec"]["size"], &after.data["status"]["ready"]), (&json!(1), &json!(1)));
        let sly = Patch::Merge(json!({"spec": {"size": 9}, "status": {"ready": 2}}));
        let after = things.patch("a", &PatchParams::default(), &sly).await.expect("patch");
        assert_eq!((&after.data["spec"]["size"], &after.data["status"]["ready"]), (&json!(9), &json!(1)));
        assert_eq!(after.metadata.generation, before.metadata.generation.map(|generation| generation + 1));
    });
}

pub fn roles_limit_what_a_token_may_do() {
    let server = ApiServer::start();
    server.put(definition());
    server.put(thing("a", 1));
    server.admit("agents", "agent");
    let role = |rules| json!({"kind": "ClusterRole", "rules": rules});
    server.limit("agents", &[role(json!([
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
        {"apiGroups": ["example.com"], "resources": ["things/status"], "verbs": ["patch"], "resourceNames": ["a"]},
    ]))]);
    block_on(async {
        let client = client(&server.kubeconfig_of("agents")).await;
        let pods: Api<Pod> = Api::all(client.clone());
        pods.list(&ListParams::default()).await.expect("list");
        let here: Api<Pod> = Api::default_namespaced(client.clone());
        assert_eq!(code(here.get("x").await), 403);
        let things = things(&client, "v1");
        let patch = Patch::Merge(json!({"status": {"ready": 1}}));
        things.patch_status("a", &PatchParams::default(), &patch).await.expect("patch");
        assert_eq!(code(things.patch_status("b", &PatchParams::default(), &patch).await), 403);
        assert_eq!(code(things.patch("a", &PatchParams::default(), &patch).await), 403);
        client.apiserver_version().await.expect("everybody may ask that");
        let calls: Vec<_> =
            server.calls().iter().map(|call| (call.summary(), call.code, call.user.clone())).collect();
        let call = |summary: &str, code| (summary.to_owned(), code, "agent".to_owned());
        assert_eq!(
            calls,
            [
                call("list pods", 200),
                call("get pods", 403),
                call("patch things/status", 200),
                call("patch things/status", 403),
                call("patch things", 403),
                call("get /version", 200),
            ]
        );
        let sent = server.calls()[2].received;
        assert_eq!(sent, json!({"status": {"ready": 1}}).to_string().len() as u64);
        assert_eq!(server.most_writes_per_second(), 3);
        let other = crate::client::client(&server.kubeconfig_of("nobody")).await;
        assert_eq!(code(other.apiserver_version().await), 401);
    });
}

pub fn two_versions_are_the_same_objects() {
    let server = ApiServer::start();
    server.put(definition());
    server.put(pods::node("n"));
    server.put(thing("a", 1));
    block_on(async {
        let client = client(&server.kubeconfig()).await;
        let old = things(&client, "v1alpha1");
        let object = old.get("a").await.expect("get");
        assert_eq!(object.types.expect("types").api_version, "example.com/v1alpha1");
        let patch = Patch::Merge(json!({"spec": {"size": 2}}));
        old.patch("a", &PatchParams::default(), &patch).await.expect("patch");
        let object = things(&client, "v1").get("a").await.expect("get");
        assert_eq!(object.data["spec"]["size"], 2);
        assert_eq!(object.types.expect("types").api_version, "example.com/v1");
    });
}
