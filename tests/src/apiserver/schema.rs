//! A definition's schema: what a field may hold, which fields there are, what they are where they aren't given.
//!
//! Rules in CEL (`x-kubernetes-validations`) are not evaluated.

use std::sync::Arc;

use jsonschema::Validator;
use serde_json::{Map, Value, json};

/// A schema as a CustomResourceDefinition has it, and its compiled form.
#[derive(Clone, Debug)]
pub struct Schema {
    /// As it was given.
    pub given: Value,
    validator: Arc<Validator>,
}

// === impl Schema ===

impl Schema {
    /// Compiles it. The error says what is wrong with it.
    pub fn new(given: Value) -> Result<Self, String> {
        let mut plain = given.clone();
        standard(&mut plain);
        let options =
            jsonschema::options().with_draft(jsonschema::Draft::Draft4).should_validate_formats(true);
        let validator = options.build(&plain).map_err(|error| error.to_string())?;
        Ok(Self { given, validator: Arc::new(validator) })
    }

    /// What is wrong with an object: each field, and why.
    pub fn faults(&self, object: &Value) -> Vec<(String, String)> {
        let fault = |error: jsonschema::ValidationError<'_>| {
            let field = error.instance_path().as_str().trim_start_matches('/').replace('/', ".");
            let field = if field.is_empty() { "<nil>".to_owned() } else { field };
            (field, format!("Invalid value: {error}"))
        };
        self.validator.iter_errors(object).map(fault).collect()
    }

    /// Removes what the schema doesn't know, and returns its paths.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        let mut removed = Vec::new();
        prune(&self.given, object, "", true, &mut removed);
        removed
    }

    /// Puts in what isn't given and has a default.
    pub fn complete(&self, object: &mut Value) {
        complete(&self.given, object);
    }
}

/// Makes it a schema as JSON Schema knows it: there `nullable` and `int-or-string` are `anyOf`.
fn standard(schema: &mut Value) {
    let Value::Object(fields) = schema else { return };
    for (name, inner) in fields.iter_mut() {
        match (name.as_str(), inner) {
            ("properties" | "patternProperties" | "definitions", Value::Object(of)) => {
                of.values_mut().for_each(standard);
            }
            ("allOf" | "anyOf" | "oneOf", Value::Array(of)) => of.iter_mut().for_each(standard),
            ("items" | "additionalProperties" | "not", inner) => standard(inner),
            _ => {}
        }
    }
    let extended = |fields: &Map<String, Value>, name: &str| fields.get(name) == Some(&Value::Bool(true));
    if extended(fields, "x-kubernetes-int-or-string") {
        fields.insert("type".into(), json!(["integer", "string"]));
    }
    if extended(fields, "nullable") {
        let same = std::mem::take(fields);
        *schema = json!({"anyOf": [{"type": "null"}, same]});
    }
}

/// The top of an object, and of each one that is embedded, is known to everybody.
fn is_common(name: &str) -> bool {
    matches!(name, "apiVersion" | "kind" | "metadata")
}

fn prune(schema: &Value, object: &mut Value, path: &str, top: bool, removed: &mut Vec<String>) {
    match object {
        Value::Object(fields) => {
            let open = schema["x-kubernetes-preserve-unknown-fields"] == true;
            let embedded = top || schema["x-kubernetes-embedded-resource"] == true;
            let (known, others) = (&schema["properties"], &schema["additionalProperties"]);
            fields.retain(|name, value| {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                if embedded && is_common(name) {
                    return true;
                }
                match known.get(name) {
                    Some(schema) => prune(schema, value, &path, false, removed),
                    None if others.is_object() => prune(others, value, &path, false, removed),
                    None if open || others == &Value::Bool(true) => {}
                    None => {
                        removed.push(path);
                        return false;
                    }
                }
                true
            });
        }
        Value::Array(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                prune(&schema["items"], item, &format!("{path}[{at}]"), false, removed);
            }
        }
        _ => {}
    }
}

fn complete(schema: &Value, object: &mut Value) {
    match object {
        Value::Object(fields) => {
            for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
                let default = inner.get("default");
                // A null where null isn't allowed is as good as nothing.
                if let Some(default) = default
                    && fields.get(name).is_none_or(|value| value.is_null() && inner["nullable"] != true)
                {
                    fields.insert(name.clone(), default.clone());
                }
                if let Some(value) = fields.get_mut(name) {
                    complete(inner, value);
                }
            }
            let others = &schema["additionalProperties"];
            let known = &schema["properties"];
            fields
                .iter_mut()
                .filter(|(name, _)| others.is_object() && known.get(name).is_none())
                .for_each(|(_, value)| complete(others, value));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| complete(&schema["items"], item)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        let port = json!({"x-kubernetes-int-or-string": true});
        let spec = json!({
            "type": "object", "required": ["port"],
            "properties": {
                "port": port, "note": {"type": "string", "nullable": true},
                "mode": {"type": "string", "enum": ["a", "b"], "default": "a"},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "list": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "integer"}}}},
            },
        });
        Schema::new(json!({"type": "object", "properties": {"spec": spec}})).unwrap()
    }

    #[test]
    fn values_are_checked() {
        let faults = |spec: Value| schema().faults(&json!({"spec": spec}));
        for good in [json!({"port": 1}), json!({"port": "http"}), json!({"port": 1, "note": null})] {
            assert!(faults(good.clone()).is_empty(), "{good}");
        }
        for (bad, field) in [
            (json!({}), "spec"),
            (json!({"port": true}), "spec.port"),
            (json!({"port": 1, "mode": "c"}), "spec.mode"),
            (json!({"port": 1, "mode": null}), "spec.mode"),
            (json!({"port": 1, "list": [{"x": "1"}]}), "spec.list.0.x"),
        ] {
            assert_eq!(faults(bad.clone()).first().map(|fault| fault.0.as_str()), Some(field), "{bad}");
        }
    }

    #[test]
    fn unknown_fields_go_and_defaults_come() {
        let mut object = json!({
            "kind": "K", "metadata": {"name": "n"}, "more": 1,
            "spec": {"port": 1, "typo": 1, "free": {"any": 1}, "list": [{"x": 1, "y": 2}]},
        });
        let removed = schema().prune(&mut object);
        assert_eq!(removed, ["more", "spec.list[0].y", "spec.typo"]);
        schema().complete(&mut object);
        let spec = json!({"port": 1, "mode": "a", "free": {"any": 1}, "list": [{"x": 1}]});
        assert_eq!(object, json!({"kind": "K", "metadata": {"name": "n"}, "spec": spec}));
    }
}
