//! What an object must look like to be stored, by its type or by its definition's schema; and what the server itself writes into it.

use serde_json::{Map, Value, json};

use super::{
    definition,
    objects::{now, uid},
    resource::{Resource, Shape, Version},
    status::Status,
    store::Key,
};

/// Removes what the version doesn't know, and tells its paths.
pub(super) fn unknown(version: &Version, object: &mut Value) -> Vec<String> {
    match &version.shape {
        Shape::Defined(schema) => schema.prune(object),
        Shape::Typed(through) => {
            let mut unknown = Vec::new();
            if let Ok(known) = through(object) {
                missing(object, &known, "", &mut unknown);
            }
            unknown
        }
    }
}

/// The refusal of fields that aren't known.
pub(super) fn strict(unknown: &[String]) -> Status {
    let list: Vec<_> = unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
    Status::bad_request(format!("strict decoding error: {}", list.join(", ")))
}

/// Takes an object in: what isn't known is removed or refused, what isn't given is filled in, what is wrong is refused.
pub(super) fn admit(
    resource: &Resource,
    version: &Version,
    object: &mut Value,
    strictness: &str,
) -> Result<Vec<String>, Status> {
    if let Shape::Typed(through) = version.shape {
        through(object).map_err(|error| {
            Status::bad_request(format!(
                "{} in version {:?} cannot be handled: {error}",
                resource.kind, version.name
            ))
        })?;
    }
    let unknown = unknown(version, object);
    if strictness == "Strict" && !unknown.is_empty() {
        return Err(strict(&unknown));
    }
    let name = Key::of(object).name;
    let invalid = |causes: &[_]| Err(Status::invalid(&resource.id.group, &resource.kind, &name, causes));
    if let Shape::Defined(schema) = &version.shape {
        schema.complete(object);
        let faults = schema.faults(object);
        if !faults.is_empty() {
            return invalid(&faults);
        }
    }
    if resource.id == definition::id()
        && let Err(faults) = definition::resource(object)
    {
        return invalid(&faults);
    }
    let warn = strictness != "Ignore";
    Ok(unknown.into_iter().filter(|_| warn).map(|path| format!("unknown field {path:?}")).collect())
}

/// Removes what isn't in `known`, which has all that isn't empty.
fn missing(given: &mut Value, known: &Value, path: &str, removed: &mut Vec<String>) {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    match (given, known) {
        (Value::Object(fields), Value::Object(known)) => fields.retain(|name, value| {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let Some(known) = known.get(name) else {
                if !is_empty(value) {
                    removed.push(path);
                }
                return false;
            };
            missing(value, known, &path, removed);
            true
        }),
        (Value::Array(items), Value::Array(known)) => {
            for (at, (item, known)) in items.iter_mut().zip(known).enumerate() {
                missing(item, known, &format!("{path}[{at}]"), removed);
            }
        }
        _ => {}
    }
}

/// What the server itself sets, and what stays as it was.
pub(super) fn inherit(resource: &Resource, before: Option<&Value>, object: &mut Value) {
    if resource.id == definition::id() {
        object["status"] = definition::status(object, &now());
    }
    if (resource.id.group.as_str(), resource.id.plural.as_str()) == ("", "namespaces")
        && object["status"]["phase"].is_null()
    {
        object["status"]["phase"] = "Active".into();
    }
    if let Some(Value::Object(plain)) = object.get_mut("stringData").map(Value::take)
        && let Value::Object(fields) = &mut *object
    {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        fields.remove("stringData");
        let data = fields.entry("data").or_insert_with(|| json!({}));
        for (name, value) in plain {
            data[name] = STANDARD.encode(value.as_str().unwrap_or_default()).into();
        }
    }
    let generation = match before {
        Some(before) => {
            let generation = before["metadata"]["generation"].as_u64().unwrap_or(1);
            generation + u64::from(body(before) != body(object))
        }
        None => 1,
    };
    // Objects of a definition always have a generation, with a status of their own or without.
    let counts = |version: &Version| version.status || matches!(version.shape, Shape::Defined(_));
    let has_generation = resource.versions.iter().any(counts);
    let Value::Object(metadata) = &mut object["metadata"] else { return };
    for name in ["uid", "creationTimestamp", "resourceVersion", "deletionTimestamp"] {
        match before.and_then(|before| before["metadata"].get(name)) {
            Some(value) => metadata.insert(name.into(), value.clone()),
            None if name == "uid" => Some(metadata.entry(name).or_insert_with(|| uid().into()).clone()),
            None if name == "creationTimestamp" => {
                metadata
                    .get(name)
                    .is_none_or(Value::is_null)
                    .then(|| metadata.insert(name.into(), now().into()));
                None
            }
            // Who puts an object may say that it is about to end.
            None if name == "deletionTimestamp" => None,
            None => metadata.remove(name),
        };
    }
    if has_generation {
        metadata.insert("generation".into(), generation.into());
    }
}

/// All but what isn't the user's wish.
fn body(object: &Value) -> Map<String, Value> {
    let apart = ["metadata", "status", "apiVersion", "kind"];
    let fields = object.as_object().into_iter().flatten();
    fields
        .filter(|(name, _)| !apart.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
