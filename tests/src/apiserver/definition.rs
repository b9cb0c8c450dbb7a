//! CustomResourceDefinitions: what they make the server serve.

use serde_json::{Value, json};

use super::{
    resource::{Id, Resource, Shape, Version},
    schema::Schema,
};

/// The group and plural of definitions themselves.
pub fn id() -> Id {
    Id::new("apiextensions.k8s.io", "customresourcedefinitions")
}

/// What a definition makes the server serve; else each field that is wrong, and why.
pub fn resource(definition: &Value) -> Result<Resource, Vec<(String, String)>> {
    let spec = &definition["spec"];
    let names = &spec["names"];
    let mut faults = Vec::new();
    let mut fault = |field: &str, why: String| faults.push((field.to_owned(), why));
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let words = |value: &Value| value.as_array().into_iter().flatten().map(word).collect();
    let (group, plural, kind) = (word(&spec["group"]), word(&names["plural"]), word(&names["kind"]));
    for (field, value) in [("spec.group", &group), ("spec.names.plural", &plural), ("spec.names.kind", &kind)]
    {
        if value.is_empty() {
            fault(field, "Required value".into());
        }
    }
    let name = format!("{plural}.{group}");
    if definition["metadata"]["name"] != *name {
        fault("metadata.name", format!("Invalid value: must be spec.names.plural+\".\"+spec.group: {name}"));
    }
    let mut versions = Vec::new();
    let mut stored = 0;
    for (at, version) in spec["versions"].as_array().into_iter().flatten().enumerate() {
        stored += usize::from(version["storage"] == true);
        let given = version["schema"]["openAPIV3Schema"].clone();
        let field = format!("spec.versions[{at}].schema.openAPIV3Schema");
        let schema = match Schema::new(given) {
            Ok(schema) if schema.given.is_object() => schema,
            Ok(_) => {
                fault(&field, "Required value: schemas are required".into());
                continue;
            }
            Err(why) => {
                fault(&field, format!("Invalid value: {why}"));
                continue;
            }
        };
        let mut columns: Vec<_> = version["additionalPrinterColumns"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|column| (column_of(column), word(&column["jsonPath"])))
            .collect();
        if columns.is_empty() {
            let age = json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"});
            columns.push((column_of(&age), ".metadata.creationTimestamp".into()));
        }
        if version["served"] == true {
            versions.push(Version {
                name: word(&version["name"]),
                status: version["subresources"]["status"].is_object(),
                shape: Shape::Defined(Box::new(schema)),
                columns,
            });
        }
    }
    if stored != 1 {
        let why = "Invalid value: must have exactly one version marked as storage version";
        fault("spec.versions", why.into());
    }
    versions.sort_by_key(|version| std::cmp::Reverse(rank(&version.name)));
    let singular = word(&names["singular"]);
    let resource = Resource {
        id: Id { group, plural },
        singular: if singular.is_empty() { kind.to_lowercase() } else { singular },
        kind,
        short: words(&names["shortNames"]),
        categories: words(&names["categories"]),
        namespaced: spec["scope"] == "Namespaced",
        versions,
    };
    if faults.is_empty() { Ok(resource) } else { Err(faults) }
}

/// The status of a definition that is in force at once.
pub fn status(definition: &Value, time: &str) -> Value {
    let mut names = definition["spec"]["names"].clone();
    if let (Value::Object(names), Some(kind)) = (&mut names, definition["spec"]["names"]["kind"].as_str()) {
        names.entry("singular").or_insert_with(|| kind.to_lowercase().into());
        names.entry("listKind").or_insert_with(|| format!("{kind}List").into());
    }
    let versions = definition["spec"]["versions"].as_array().into_iter().flatten();
    let stored: Vec<_> = versions
        .filter(|version| version["storage"] == true)
        .map(|version| version["name"].clone())
        .collect();
    let condition = |kind: &str, reason: &str| json!({"type": kind, "status": "True", "reason": reason, "message": "", "lastTransitionTime": time});
    json!({
        "acceptedNames": names, "storedVersions": stored,
        "conditions": [condition("NamesAccepted", "NoConflicts"), condition("Established", "InitialNamesAccepted")],
    })
}

fn column_of(column: &Value) -> Value {
    json!({
        "name": column["name"], "type": column["type"], "format": column["format"].as_str().unwrap_or_default(),
        "description": column["description"].as_str().unwrap_or_default(),
        "priority": column["priority"].as_u64().unwrap_or_default(),
    })
}

/// `v2` before `v1` before `v1beta2` before `v1alpha1`: whether it is stable, the number, and the one after the word.
fn rank(version: &str) -> (u8, u32, u32) {
    let rest = version.trim_start_matches('v');
    let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    let (major, rest) = rest.split_at(digits);
    let number = |text: &str| text.parse().unwrap_or_default();
    let (stage, minor) = match rest {
        "" => (3, ""),
        rest if rest.starts_with("beta") => (2, &rest[4..]),
        rest if rest.starts_with("alpha") => (1, &rest[5..]),
        _ => (0, ""),
    };
    (stage, number(major), number(minor))
}
