//! The kinds of patches.

use serde_json::{Map, Value};

use super::status::Status;

/// Lists of Kubernetes' own that are merged by a key, by the name of the field. A field's name means the same list wherever
/// it is, but for those of [`merge_keys`].
const KEYED: [(&str, &[&str]); 20] = [
    ("conditions", &["type"]),
    ("containerStatuses", &["name"]),
    ("containers", &["name"]),
    ("env", &["name"]),
    ("ephemeralContainers", &["name"]),
    ("hostAliases", &["ip"]),
    ("imagePullSecrets", &["name"]),
    ("initContainers", &["name"]),
    ("ownerReferences", &["uid"]),
    ("podIPs", &["ip"]),
    ("readinessGates", &["conditionType"]),
    ("resourceClaims", &["name"]),
    ("schedulingGates", &["name"]),
    ("secrets", &["name"]),
    ("subjects", &[]),
    ("topologySpreadConstraints", &["topologyKey", "whenUnsatisfiable"]),
    ("volumeClaimTemplates", &[]),
    ("volumeDevices", &["devicePath"]),
    ("volumeMounts", &["mountPath"]),
    ("volumes", &["name"]),
];

/// By which fields the items of a list of Kubernetes' own are told apart; empty where the list is replaced as a whole.
pub fn merge_keys(field: &str, items: &[Value]) -> &'static [&'static str] {
    if field == "ports" {
        let of_container = items.iter().any(|item| item.get("containerPort").is_some());
        return if of_container { &["containerPort", "protocol"] } else { &["port", "protocol"] };
    }
    KEYED.iter().find(|(name, _)| *name == field).map_or(&[], |(_, keys)| keys)
}

/// A list of Kubernetes' own that is a set of words.
pub fn is_set(field: &str) -> bool {
    field == "finalizers"
}

/// Applies a patch of this media type.
pub fn patched(object: &Value, media: &str, patch: &Value) -> Result<Value, Status> {
    let mut object = object.clone();
    match media {
        "application/merge-patch+json" => json_patch::merge(&mut object, patch),
        "application/strategic-merge-patch+json" => strategic(&mut object, patch),
        "application/json-patch+json" => {
            let operations: json_patch::Patch = serde_json::from_value(patch.clone())
                .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?;
            json_patch::patch(&mut object, &operations).map_err(|error| {
                Status::new(422, "Invalid", format!("the server rejected our request: {error}"))
            })?;
        }
        _ => {
            let why = format!("the body of the request was in an unknown format: {media:?}");
            return Err(Status::new(415, "UnsupportedMediaType", why));
        }
    }
    Ok(object)
}

/// A merge that knows lists with keys, and the directives `$patch`, `$retainKeys`, `$setElementOrder/…` (whose order isn't
/// kept: it is only ever asked for along with the items) and `$deleteFromPrimitiveList/…`.
fn strategic(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    if patch.get("$patch").is_some_and(|directive| directive == "replace") {
        *object = plain(patch);
        return;
    }
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let Value::Object(fields) = object else { return };
    if let Some(Value::Array(kept)) = patch.get("$retainKeys") {
        fields.retain(|name, _| kept.iter().any(|one| one == name));
    }
    for (name, value) in patch {
        if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/") {
            if let (Some(Value::Array(items)), Value::Array(gone)) = (fields.get_mut(list), value) {
                items.retain(|item| !gone.contains(item));
            }
        } else if name.starts_with('$') {
        } else if value.is_null() {
            fields.remove(name);
        } else if let Value::Array(changes) = value {
            let list = fields.entry(name.clone()).or_insert_with(|| Value::Array(Vec::new()));
            strategic_list(name, list, changes);
        } else {
            strategic(fields.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

fn strategic_list(field: &str, list: &mut Value, changes: &[Value]) {
    if let (true, Value::Array(items)) = (is_set(field), &mut *list) {
        let new: Vec<_> = changes.iter().filter(|change| !items.contains(change)).cloned().collect();
        items.extend(new);
        return;
    }
    let replaces = changes.iter().any(|change| change["$patch"] == "replace");
    // A patch names a list's items by the first key alone.
    let key = merge_keys(field, changes).first().filter(|_| !replaces);
    let (Some(key), Value::Array(items)) = (key, &mut *list) else {
        let whole = changes.iter().filter(|change| change["$patch"] != "replace");
        *list = whole.cloned().collect();
        return;
    };
    for change in changes {
        let at = items.iter().position(|item| item[key] == change[key]);
        match (at, change["$patch"] == "delete") {
            (Some(at), true) => drop(items.remove(at)),
            (Some(at), false) => strategic(&mut items[at], change),
            (None, true) => {}
            (None, false) => {
                let mut item = Value::Null;
                strategic(&mut item, change);
                items.push(item);
            }
        }
    }
}

/// A patch without its directives.
fn plain(patch: &Map<String, Value>) -> Value {
    patch
        .iter()
        .filter(|(name, _)| !name.starts_with('$'))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_strategic_patch_merges_by_keys() {
        let object = json!({
            "metadata": {"labels": {"a": "1", "b": "2"}, "finalizers": ["x", "y"]},
            "spec": {
                "containers": [{"name": "one", "image": "i"}, {"name": "two"}],
                "strategy": {"type": "R", "rolling": {}}, "args": [1, 2],
            },
        });
        let patch = json!({
            "metadata": {"labels": {"a": null}, "$deleteFromPrimitiveList/finalizers": ["x"]},
            "spec": {
                "$setElementOrder/containers": [{"name": "one"}],
                "containers": [
                    {"name": "one", "env": [{"name": "E", "value": "1"}]}, {"name": "two", "$patch": "delete"},
                    {"name": "new"},
                ],
                "strategy": {"$retainKeys": ["type"], "type": "On"}, "args": [3],
            },
        });
        let media = "application/strategic-merge-patch+json";
        let container = json!({"name": "one", "image": "i", "env": [{"name": "E", "value": "1"}]});
        let expected = json!({
            "metadata": {"labels": {"b": "2"}, "finalizers": ["y"]},
            "spec": {"containers": [container, {"name": "new"}], "strategy": {"type": "On"}, "args": [3]},
        });
        assert_eq!(patched(&object, media, &patch).unwrap(), expected);
    }
}
