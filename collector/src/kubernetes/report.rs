//! What a node tells the API server of its policies: one [`TracingPolicyReport`], named after the node.

#![allow(
    clippy::duplicated_attributes,
    reason = "each printed column is an attribute of its own, of the same type"
)]

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config::PolicyGroup;
use crate::api::{Origin, PolicyStatus, State};

pub mod schedule;
mod write;

pub use write::run;

/// How it stands with every policy on one node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[expect(clippy::duplicated_attributes, reason = "columns may be of the same type")]
#[kube(
    group = "trigon.io",
    version = "v1alpha1",
    kind = "TracingPolicyReport",
    plural = "tracingpolicyreports",
    shortname = "tpr",
    no_spec,
    derive = "PartialEq",
    doc = "How it stands with every tracing policy on one node. Its agent writes it.",
    printcolumn(name = "Policies", type_ = "integer", json_path = ".summary.policies"),
    printcolumn(name = "Loaded", type_ = "integer", json_path = ".summary.loaded"),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".summary.failed"),
    printcolumn(name = "Skipped", type_ = "integer", json_path = ".summary.skipped"),
    printcolumn(name = "Agent", type_ = "string", json_path = ".agentVersion", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ReportFields {
    /// The version of the agent that wrote it.
    pub agent_version: String,
    /// How many there are of each sort.
    pub summary: Summary,
    /// Each policy, by name.
    pub policies: Vec<PolicyReport>,
}

/// How many policies there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// All.
    pub policies: i32,
    /// In the kernel, disabled ones too.
    pub loaded: i32,
    /// Those with something wrong.
    pub failed: i32,
    /// Those that aren't for this node, or give way to another of their name.
    pub skipped: i32,
}

/// How it stands with a policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyReport {
    /// Its name; none for a file that can't be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its namespace, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The API group that it is of; none where it doesn't come from the API server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Where else it comes from: a file of the node, or `api`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// `metadata.generation` of the object that this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// `enabled`, `partially_enabled`, `disabled`, `error`, `load_error` or `skipped`.
    pub state: String,
    /// `enforce`, `monitor` or `monitor_only`; none where it isn't loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Since when (RFC 3339).
    pub since: String,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its hooks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<HookReport>,
    /// Hooks beside these.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hooks_left_out: i32,
    /// Bytes of the kernel's memory that it takes.
    pub kernel_memory_bytes: i64,
}

/// A hook of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HookReport {
    /// The kernel's name for it.
    pub name: String,
    /// How it is entered; none where it isn't.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mechanism: Option<String>,
}

/// How it stands with a policy, and which version of its object that is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// How it stands.
    pub status: PolicyStatus,
    /// `metadata.generation`, of an object of the API server.
    pub generation: Option<i64>,
}

/// Policies of one report; more are only counted. With the limits below, an object stays below 1 MiB: etcd takes 1.5.
const POLICIES: usize = 1024;
/// Characters of an error.
const ERROR_CHARS: usize = 512;
/// Hooks of one policy.
const HOOKS: usize = 32;
/// Hooks of all policies.
const ALL_HOOKS: usize = 4096;

fn is_zero(number: &i32) -> bool {
    *number == 0
}

// === impl ReportFields ===

impl ReportFields {
    /// The report on these policies.
    pub fn of(all: &[Told]) -> Self {
        let mut summary = Summary::default();
        for Told { status, .. } in all {
            summary.policies += 1;
            match status.state {
                State::Enabled | State::PartiallyEnabled | State::Disabled => summary.loaded += 1,
                State::Error | State::LoadError => summary.failed += 1,
                State::Skipped => summary.skipped += 1,
            }
        }
        let mut room = ALL_HOOKS;
        let policies = all.iter().take(POLICIES).map(|told| {
            let report = PolicyReport::of(told, room.min(HOOKS));
            room -= report.hooks.len();
            report
        });
        let policies = policies.collect();
        Self { agent_version: crate::api::VERSION.to_owned(), summary, policies }
    }
}

// === impl PolicyReport ===

impl PolicyReport {
    fn of(told: &Told, most_hooks: usize) -> Self {
        let Told { status, generation } = told;
        let group = match &status.from {
            Origin::Kubernetes(group) => Some(*group),
            _ => None,
        };
        let hook = |hook: &crate::api::HookStatus| HookReport {
            name: hook.name.clone(),
            mechanism: hook.mechanism.clone(),
        };
        Self {
            name: status.name.clone(),
            namespace: status.namespace.clone(),
            group: group.map(|group: PolicyGroup| group.as_str().to_owned()),
            from: group.is_none().then(|| status.from.to_string()),
            generation: *generation,
            state: status.state.as_str().to_owned(),
            mode: status.mode.map(|mode| mode.as_str().to_owned()),
            since: status.since.to_string(),
            error: status.error.as_ref().map(|error| error.chars().take(ERROR_CHARS).collect()),
            hooks: status.hooks.iter().take(most_hooks).map(hook).collect(),
            hooks_left_out: i32::try_from(status.hooks.len().saturating_sub(most_hooks)).unwrap_or(i32::MAX),
            kernel_memory_bytes: i64::try_from(status.kernel_memory_bytes).unwrap_or(i64::MAX),
        }
    }
}

#[cfg(test)]
mod tests;
