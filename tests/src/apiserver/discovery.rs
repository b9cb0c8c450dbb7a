//! What clients ask first: which versions, groups and resources there are, and what they look like (OpenAPI, as far as
//! `kubectl` and `helm` need it to leave the checks to the server).

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value, json};

use super::resource::{Resource, Shape, Version};

const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// The answer for a path that is about no resource; none where there is none.
pub fn answer(resources: &[Arc<Resource>], path: &str) -> Option<Value> {
    let segments: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    match segments[..] {
        ["version"] => Some(json!({
            "major": "1", "minor": "37", "gitVersion": "v1.37.0", "gitCommit": "", "gitTreeState": "clean",
            "buildDate": "2026-01-01T00:00:00Z", "goVersion": "", "compiler": "", "platform": "linux/amd64",
        })),
        ["healthz" | "livez" | "readyz"] => Some(json!("ok")),
        ["api"] => Some(json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})),
        ["apis"] => {
            let groups: Vec<_> = groups(resources).into_iter().map(|(name, of)| group(&name, &of)).collect();
            Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        ["apis", name] => {
            let versions = groups(resources).remove(name)?;
            let mut group = group(name, &versions);
            group["kind"] = "APIGroup".into();
            group["apiVersion"] = "v1".into();
            Some(group)
        }
        ["api", version] => list(resources, "", version),
        ["apis", group, version] => list(resources, group, version),
        ["openapi", "v2"] => Some(json!({
            "swagger": "2.0", "info": {"title": "Kubernetes", "version": "v1.37.0"}, "paths": {}, "definitions": {},
        })),
        ["openapi", "v3"] => {
            let paths: Map<_, _> = group_versions(resources)
                .into_iter()
                .map(|at| {
                    let url = json!({"serverRelativeURL": format!("/openapi/v3/{at}")});
                    (at, url)
                })
                .collect();
            Some(json!({"paths": paths}))
        }
        ["openapi", "v3", "api", version] => open_api(resources, "", version),
        ["openapi", "v3", "apis", group, version] => open_api(resources, group, version),
        _ => None,
    }
}

/// Each group but the core, with its versions, the preferred one first.
fn groups(resources: &[Arc<Resource>]) -> BTreeMap<String, Vec<String>> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for resource in resources.iter().filter(|resource| !resource.id.group.is_empty()) {
        let versions = groups.entry(resource.id.group.clone()).or_default();
        for version in &resource.versions {
            if !versions.contains(&version.name) {
                versions.push(version.name.clone());
            }
        }
    }
    groups
}

fn group(name: &str, versions: &[String]) -> Value {
    let of = |version: &String| json!({"groupVersion": format!("{name}/{version}"), "version": version});
    let versions: Vec<_> = versions.iter().map(of).collect();
    json!({"name": name, "preferredVersion": versions.first(), "versions": versions})
}

fn group_versions(resources: &[Arc<Resource>]) -> Vec<String> {
    let of_groups = groups(resources).into_iter().flat_map(|(group, versions)| {
        versions.into_iter().map(move |version| format!("apis/{group}/{version}"))
    });
    std::iter::once("api/v1".to_owned()).chain(of_groups).collect()
}

fn of<'a>(
    resources: &'a [Arc<Resource>],
    group: &'a str,
    version: &'a str,
) -> impl Iterator<Item = (&'a Resource, &'a Version)> {
    let of_group = resources.iter().filter(move |resource| resource.id.group == group);
    of_group.filter_map(move |resource| Some((&**resource, resource.version(version)?)))
}

fn list(resources: &[Arc<Resource>], group: &str, version: &str) -> Option<Value> {
    let mut list = Vec::new();
    for (resource, version) in of(resources, group, version) {
        let entry = |name: &str, verbs: &[&str]| {
            json!({
                "name": name, "singularName": resource.singular, "namespaced": resource.namespaced,
                "kind": resource.kind, "verbs": verbs,
            })
        };
        let mut whole = entry(&resource.id.plural, &VERBS);
        whole["shortNames"] = json!(resource.short);
        whole["categories"] = json!(resource.categories);
        list.push(whole);
        if version.status {
            list.push(entry(&format!("{}/status", resource.id.plural), &["get", "patch", "update"]));
        }
    }
    let api = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let list = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api, "resources": list});
    (list["resources"] != json!([])).then_some(list)
}

/// That a patch of a kind takes `fieldValidation` is how a client learns that the server checks fields.
fn open_api(resources: &[Arc<Resource>], group: &str, version: &str) -> Option<Value> {
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for (resource, of_version) in of(resources, group, version) {
        let kind = json!({"group": group, "version": version, "kind": resource.kind});
        let api = resource.api_version(version);
        let base = if group.is_empty() { "/api" } else { "/apis" };
        let namespaces = if resource.namespaced { "/namespaces/{namespace}" } else { "" };
        let path = format!("{base}/{api}{namespaces}/{}/{{name}}", resource.id.plural);
        let parameter = |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string"}});
        let patch = json!({
            "parameters": [parameter("dryRun"), parameter("fieldManager"), parameter("fieldValidation")],
            "responses": {}, "x-kubernetes-action": "patch", "x-kubernetes-group-version-kind": kind,
        });
        paths.insert(path, json!({"patch": patch}));
        let mut schema = match &of_version.shape {
            Shape::Defined(schema) => schema.given.clone(),
            Shape::Typed(_) => json!({"type": "object"}),
        };
        schema["x-kubernetes-group-version-kind"] = json!([kind]);
        let name = format!("{}.{version}.{}", if group.is_empty() { "core" } else { group }, resource.kind);
        schemas.insert(name, schema);
    }
    (!paths.is_empty()).then(|| {
        json!({
            "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.37.0"},
            "paths": paths, "components": {"schemas": schemas},
        })
    })
}
