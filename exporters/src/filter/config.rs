//! A filter as the configuration has it.

use serde::{Deserialize, Serialize};

use super::Rate;

/// `[filter]`, `[otlp.filter]`, `[stdout.filter]`: by default everything passes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilterConfig {
    /// Where there are any, only what one of these rules matches passes.
    pub allow: Vec<Rule>,
    /// What one of these rules matches doesn't pass.
    pub deny: Vec<Rule>,
    /// What of an event is shown; each for some types of event.
    pub fields: Vec<FieldRule>,
    /// How many events pass in a time. What is dropped for it is lost, and counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<Rate>,
}

/// All keys that are given must match, each by one of its values. Keys whose names end in `_regex`, and
/// `container_id`, are regular expressions that may match anywhere in the text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// Types of event: `PROCESS_EXEC`, `PROCESS_EXIT` and so on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub event_set: Vec<String>,
    /// Path of what the process executes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub binary_regex: Vec<String>,
    /// Its arguments as one text, without `argv[0]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arguments_regex: Vec<String>,
    /// Process ids in the initial PID namespace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pid: Vec<u32>,
    /// The same, descendants included.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pid_set: Vec<u32>,
    /// Path of what the parent executes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parent_binary_regex: Vec<String>,
    /// The parent's arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parent_arguments_regex: Vec<String>,
    /// Path of what an ancestor above the parent executes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ancestor_binary_regex: Vec<String>,
    /// Names of policies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policy_names: Vec<String>,
    /// What the process's capabilities are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// Whether the process is in no container and no pod. Tetragon has no such key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<bool>,
    /// The container's id, all 64 digits of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub container_id: Vec<String>,
    /// The container's name in its pod.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub container_name_regex: Vec<String>,
    /// Whether the process descends from the first one of its container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_init_tree: Option<bool>,
    /// Namespaces of pods; an empty one for processes in no pod.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespace: Vec<String>,
    /// The same by expressions, which match no process that is in no pod.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespace_regex: Vec<String>,
    /// Names of pods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pod_regex: Vec<String>,
    /// Selectors of pods by their labels, as Kubernetes writes them: `app=web,tier in (front, back),!canary`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Whether the process, or its parent, may be an exec probe of Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_check: Option<bool>,
    /// Expressions of CEL, which are refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cel_expression: Vec<String>,
}

/// Conditions on a process's sets of capabilities, all of which must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Capabilities {
    /// On the permitted set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permitted: Option<CapabilityCondition>,
    /// On the effective set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective: Option<CapabilityCondition>,
    /// On the inheritable set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inheritable: Option<CapabilityCondition>,
}

/// Conditions on a set, all of which must hold. Capabilities are named as in capabilities(7).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CapabilityCondition {
    /// It holds at least one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub any: Vec<String>,
    /// It holds all of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub all: Vec<String>,
    /// It holds these and no others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exactly: Option<Vec<String>>,
    /// It holds none of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub none: Vec<String>,
}

/// Fields that are shown alone, or not shown (Tetragon's `FieldFilter`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FieldRule {
    /// Types of event that it is for; none for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub event_set: Vec<String>,
    /// It is for all types but these.
    pub invert_event_set: bool,
    /// Paths in an event's own object of JSON, such as `process.arguments`: what they lead to, and all below.
    pub fields: Paths,
    /// What is done with them.
    pub action: FieldAction,
}

/// A list, or a text with commas.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "ListOrText")]
pub struct Paths(pub Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum ListOrText {
    List(Vec<String>),
    Text(String),
}

/// What is done with fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum FieldAction {
    /// Only what such rules name is shown.
    #[default]
    Include,
    /// What they name is not shown, even if it is included.
    Exclude,
}

// === impl Paths ===

impl From<ListOrText> for Paths {
    fn from(from: ListOrText) -> Self {
        match from {
            ListOrText::List(list) => Self(list),
            ListOrText::Text(text) => Self(text.split(',').map(|path| path.trim().to_owned()).collect()),
        }
    }
}
