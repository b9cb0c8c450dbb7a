//! What the agent keeps of a policy's object.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{DynamicObject, Selector};
use serde_json::{Value, json};

use super::Source;
use crate::kubernetes::{config::PolicyGroup, crd::VERSION};

/// Which object it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Its group.
    pub group: PolicyGroup,
    /// Its namespace; none for a TracingPolicy.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// A policy's object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Which it is.
    pub key: ObjectKey,
    /// When it was made: seconds since 1970.
    pub created: i64,
    /// `metadata.generation`: the version of its `spec`.
    pub generation: Option<i64>,
    /// The policy as the reader takes it: JSON, which is YAML. Without its `nodeSelector`, which is looked at before.
    pub text: String,
    /// `spec.nodeSelector`, or what is wrong with it. Nothing in it: every node.
    pub nodes: Result<Selector, String>,
}

// === impl ObjectKey ===

impl ObjectKey {
    /// The name that the agent knows the policy by.
    pub fn policy(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}/{}", self.name),
            None => self.name.clone(),
        }
    }
}

// === impl Object ===

impl Object {
    /// What is kept of an object. None where it has no name, which no API server does.
    pub(super) fn of((group, kind): Source, object: DynamicObject) -> Option<Self> {
        let DynamicObject { metadata, mut data, .. } = object;
        let key = ObjectKey { group, namespace: metadata.namespace, name: metadata.name? };
        let mut spec = data.get_mut("spec").map(Value::take).unwrap_or_default();
        let nodes = match spec.as_object_mut().and_then(|spec| spec.remove("nodeSelector")) {
            None | Some(Value::Null) => Ok(Selector::default()),
            Some(selector) => serde_json::from_value::<LabelSelector>(selector)
                .map_err(|error| error.to_string())
                .and_then(|selector| {
                    selector.try_into().map_err(|error: kube::core::ParseExpressionError| error.to_string())
                }),
        };
        let mut names = json!({ "name": key.name });
        if let Some(namespace) = &key.namespace {
            names["namespace"] = json!(namespace);
        }
        let policy = json!({
            "apiVersion": format!("{}/{VERSION}", group.as_str()),
            "kind": kind.as_str(),
            "metadata": names,
            "spec": spec,
        });
        Some(Self {
            key,
            created: metadata.creation_timestamp.map_or(i64::MAX, |time| time.0.as_second()),
            generation: metadata.generation,
            text: policy.to_string(),
            nodes,
        })
    }
}
