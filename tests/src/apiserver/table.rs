//! Objects as rows of a table, which is how `kubectl get` asks for them, and objects without all but their metadata.

use jiff::Timestamp;
use jsonpath_rust::JsonPath as _;
use serde_json::{Value, json};

use super::resource::{Resource, Version};

/// How a client wants objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// As they are.
    Whole,
    /// `PartialObjectMetadata`.
    Metadata,
    /// `Table`, each row with its object's metadata.
    Table,
}

/// Of Kubernetes' own: the plural, and a column's name, type, priority and path.
type Columns = &'static [(&'static str, &'static str, u8, &'static str)];

const OWN: [(&str, Columns); 6] = [
    (
        "nodes",
        &[
            ("Version", "string", 0, ".status.nodeInfo.kubeletVersion"),
            ("Internal-IP", "string", 1, ".status.addresses[?(@.type=='InternalIP')].address"),
            ("Kernel-Version", "string", 1, ".status.nodeInfo.kernelVersion"),
        ],
    ),
    (
        "pods",
        &[
            ("Status", "string", 0, ".status.phase"),
            ("IP", "string", 1, ".status.podIP"),
            ("Node", "string", 1, ".spec.nodeName"),
        ],
    ),
    ("namespaces", &[("Status", "string", 0, ".status.phase")]),
    (
        "daemonsets",
        &[
            ("Desired", "integer", 0, ".status.desiredNumberScheduled"),
            ("Ready", "integer", 0, ".status.numberReady"),
        ],
    ),
    ("deployments", &[("Ready", "integer", 0, ".status.readyReplicas")]),
    ("secrets", &[("Type", "string", 0, ".type")]),
];

// === impl Look ===

impl Look {
    /// What a client accepts first of what there is.
    pub fn read(accept: &str) -> Self {
        let mut wanted = accept.split(',').map(|one| {
            let mut terms = one.trim().split(';').map(str::trim);
            let media = terms.next().unwrap_or_default();
            let of = |name: &str| terms.clone().find_map(|term| term.strip_prefix(name));
            match (media, of("as="), of("v=")) {
                ("application/json", Some("Table"), Some("v1")) => Some(Self::Table),
                (
                    "application/json",
                    Some("PartialObjectMetadata" | "PartialObjectMetadataList"),
                    Some("v1"),
                ) => Some(Self::Metadata),
                ("application/json" | "*/*" | "application/*", None, _) => Some(Self::Whole),
                _ => None,
            }
        });
        wanted.find_map(|look| look).unwrap_or(Self::Whole)
    }

    /// One object.
    pub fn one(self, resource: &Resource, version: &Version, object: Value) -> Value {
        match self {
            Self::Whole => object,
            Self::Metadata => metadata(&object),
            Self::Table => {
                let meta = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
                table(resource, version, &[object], &meta)
            }
        }
    }

    /// A list with these metadata.
    pub fn list(self, resource: &Resource, version: &Version, objects: &[Value], meta: &Value) -> Value {
        match self {
            Self::Whole => json!({
                "kind": format!("{}List", resource.kind), "apiVersion": resource.api_version(&version.name),
                "metadata": meta, "items": objects,
            }),
            Self::Metadata => json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": meta,
                "items": objects.iter().map(metadata).collect::<Vec<_>>(),
            }),
            Self::Table => table(resource, version, objects, meta),
        }
    }
}

fn metadata(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

fn table(resource: &Resource, version: &Version, objects: &[Value], meta: &Value) -> Value {
    let column = |name: &str, kind: &str, priority: u8| {
        let format = if name == "Name" { "name" } else { "" };
        json!({"name": name, "type": kind, "format": format, "description": name, "priority": priority})
    };
    let mut columns = vec![(column("Name", "string", 0), ".metadata.name".to_owned())];
    let own = OWN.iter().find(|(plural, _)| *plural == resource.id.plural).map_or(&[][..], |(_, own)| own);
    columns
        .extend(own.iter().map(|&(name, kind, priority, path)| (column(name, kind, priority), path.into())));
    if version.columns.is_empty() {
        columns.push((column("Age", "date", 0), ".metadata.creationTimestamp".into()));
    }
    columns.extend(version.columns.iter().cloned());
    let row = |object: &Value| {
        let cells: Vec<_> = columns.iter().map(|(column, path)| cell(column, path, object)).collect();
        json!({"cells": cells, "object": metadata(object)})
    };
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta,
        "columnDefinitions": columns.iter().map(|(column, _)| column).collect::<Vec<_>>(),
        "rows": objects.iter().map(row).collect::<Vec<_>>(),
    })
}

fn cell(column: &Value, path: &str, object: &Value) -> Value {
    // A path that nobody can read, or that leads to nothing, is an empty cell.
    let found = object.query(&format!("${path}")).unwrap_or_default();
    let Some(&value) = found.first() else { return Value::Null };
    match (column["type"].as_str(), value) {
        (Some("date"), Value::String(time)) => {
            let then: Result<Timestamp, _> = time.parse();
            then.map_or(Value::Null, |then| age(Timestamp::now().as_second() - then.as_second()).into())
        }
        (Some("string"), Value::String(_)) | (Some("integer" | "number" | "boolean"), _) => value.clone(),
        (_, Value::String(_)) => value.clone(),
        (_, value) => value.to_string().into(),
    }
}

/// A time in the way of `kubectl`, roughly.
fn age(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7200 => format!("{}m", seconds / 60),
        seconds @ 7200..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}
