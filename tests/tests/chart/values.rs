//! The chart's values: what values.yaml says of them, and values.schema.json.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Chart, read};

pub(super) fn wrong_ones_are_refused() {
    // What is given, and where the refusal says that it is wrong.
    let wrong = [
        ("--set=imagePullPolicy=Always", "imagePullPolicy"),
        ("--set=image.digest=sha256:123", "digest"),
        ("--set=image.pullPolicy=Sometimes", "pullPolicy"),
        ("--set=image.repository=", "repository"),
        ("--set=output=xml", "output"),
        ("--set=config.otpl.endpoint=http://a", "otpl"),
        ("--set=config.metrics.addr=127.0.0.1:2112", "addr"),
        ("--set=config.metrics.addr=null", "addr"),
        ("--set=config.kubernetes.enabled=yes", "enabled"),
        ("--set=config.kubernetes.policies={example.com}", "policies"),
        ("--set=env[0].name=NODE_NAME", "env"),
        ("--set=securityContext.privileged=true", "securityContext"),
        ("--set=terminationGracePeriodSeconds=0", "terminationGracePeriodSeconds"),
        ("--set=updateStrategy.type=Recreate", "updateStrategy"),
        ("--set=runDirectory=run/trigon", "runDirectory"),
        ("--set=tolerations.a=b", "tolerations"),
        ("--set=serviceMonitor.interval=often", "interval"),
        ("--set=networkPolicy.ingress={}", "networkPolicy"),
        ("--set=crds.install=maybe", "crds"),
    ];
    for (given, place) in wrong {
        let said = Chart::new().helm(&["template"], &[given]);
        assert_ne!(said.code, Some(0), "{given} was taken");
        assert!(said.err.contains("don't meet the specifications"), "{given}: {}", said.err);
        assert!(said.err.contains(place), "{given}: {}", said.err);
    }
}

pub(super) fn every_one_is_explained_and_checked() {
    let text = read("deploy/helm/trigon/values.yaml");
    let schema: Value = serde_json::from_str(&read("deploy/helm/trigon/values.schema.json")).expect("JSON");
    // Keys of values.yaml that the chart gives a meaning to, with whether there is a comment above.
    let mut seen = BTreeSet::new();
    let mut within: Vec<(usize, &str)> = Vec::new();
    let mut explained = false;
    for line in text.lines() {
        let content = line.trim_start();
        let indent = line.len() - content.len();
        let key = content.split_once(':').map(|(key, _)| key).filter(|key| !key.starts_with(['#', '-']));
        if let Some(key) = key {
            within.retain(|(outer, _)| *outer < indent);
            within.push((indent, key));
            let path: Vec<_> = within.iter().map(|(_, key)| *key).collect();
            if let Some(node) = lookup(&schema, &path) {
                // Keys of Kubernetes, beneath one of the chart's, need no words; the agent's have theirs in config.toml.
                let foreign = path.len() > 1 && (!node.1 || path[0] == "config") || path.len() > 2;
                assert!(explained || foreign, "values.yaml explains {}", path.join("."));
                seen.insert(path.join("."));
            }
        }
        explained = content.starts_with('#');
    }
    let mut known = BTreeSet::new();
    names(&schema, &schema, "", &mut known);
    // Helm's own; and what values.yaml leaves to the agent's defaults, and to Kubernetes'.
    known.retain(|path| path != "global" && !path.starts_with("config."));
    known.retain(|path| !path.starts_with("probes.") || path.matches('.').count() == 1);
    let missing: Vec<_> = known.difference(&seen).collect();
    assert!(missing.is_empty(), "values.yaml lacks {missing:?}");

    // And `config` knows the agent's tables.
    let of_agent: BTreeSet<_> = read("config.toml")
        .lines()
        .filter_map(|line| line.strip_prefix('[')?.trim_start_matches('[').split([']', '.']).next())
        .map(str::to_owned)
        .collect();
    let of_chart = schema["properties"]["config"]["properties"].as_object().expect("properties");
    assert_eq!(of_chart.keys().cloned().collect::<BTreeSet<_>>(), of_agent);
}

/// What a schema says of the value at a path, and whether its keys are the chart's own; none where it says nothing.
///
/// # Panics
/// It would refuse it.
fn lookup<'a>(schema: &'a Value, path: &[&str]) -> Option<(&'a Value, bool)> {
    let mut node = (schema, true);
    for key in path {
        let at = resolve(schema, node.0);
        let closed = at["additionalProperties"] == json!(false);
        match at["properties"].get(*key) {
            Some(next) => node = (next, closed),
            None => {
                assert!(!closed, "values.schema.json doesn't know {}", path.join("."));
                return None;
            }
        }
    }
    Some(node)
}

/// The paths of all properties of a schema.
fn names(schema: &Value, node: &Value, prefix: &str, into: &mut BTreeSet<String>) {
    let node = resolve(schema, node);
    if node["additionalProperties"] != json!(false) {
        return;
    }
    for (name, property) in node["properties"].as_object().into_iter().flatten() {
        into.insert(format!("{prefix}{name}"));
        names(schema, property, &format!("{prefix}{name}."), into);
    }
}

fn resolve<'a>(schema: &'a Value, node: &'a Value) -> &'a Value {
    match node["$ref"].as_str() {
        Some(reference) => schema.pointer(reference.trim_start_matches('#')).expect("a definition"),
        None => node,
    }
}
