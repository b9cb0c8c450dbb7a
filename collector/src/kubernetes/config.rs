//! `[kubernetes]`

use std::{path::PathBuf, time::Duration};

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as duration;
use serde::{Deserialize, Serialize};

/// `[kubernetes]`: the API server, and what is asked of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KubernetesConfig {
    /// Whether there is one.
    pub enabled: Enabled,
    /// How to reach it. Empty: the pod's own service account, else `KUBECONFIG` or `~/.kube/config`.
    pub kubeconfig: PathBuf,
    /// How long an event waits for its pod.
    #[serde(with = "duration")]
    pub metadata_wait: Duration,
    /// As many events wait at a time.
    pub metadata_wait_events: usize,
    /// How long a pod that was deleted stays known.
    #[serde(with = "duration")]
    pub deleted_linger: Duration,
    /// Labels of pods that events carry: names, and beginnings of names with a `*`.
    pub labels: Vec<String>,
    /// Annotations, likewise.
    pub annotations: Vec<String>,
    /// `app.kubernetes.io/…` labels say what `service.name` and `service.version` are.
    pub service_labels: bool,
    /// The container runtime's socket, which is asked where the API server is slow. Empty: none.
    pub cri_socket: PathBuf,
    /// API groups whose policies are loaded.
    pub policies: Vec<PolicyGroup>,
    /// Tell the API server, in this node's TracingPolicyReport, how it stands with each policy.
    pub report: bool,
    /// How long changes are gathered before a report is written, at most; and the least time between two.
    #[serde(with = "duration")]
    pub report_interval: Duration,
}

/// Whether the agent is part of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Enabled {
    /// It is where the agent runs in a pod that knows its node's name (`NODE_NAME`).
    #[default]
    Auto,
    /// It is.
    Always,
    /// It is not.
    Never,
}

/// An API group that has tracing policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PolicyGroup {
    /// Ours.
    #[serde(rename = "trigon.io")]
    Trigon,
    /// Tetragon's.
    #[serde(rename = "cilium.io")]
    Cilium,
}

// === impl PolicyGroup ===

impl PolicyGroup {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Trigon, Self::Cilium];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trigon => "trigon.io",
            Self::Cilium => "cilium.io",
        }
    }
}

impl Default for KubernetesConfig {
    fn default() -> Self {
        Self {
            enabled: Enabled::Auto,
            kubeconfig: PathBuf::new(),
            metadata_wait: Duration::from_secs(5),
            metadata_wait_events: 10_000,
            deleted_linger: Duration::from_secs(60),
            labels: vec!["*".to_owned()],
            annotations: Vec::new(),
            service_labels: true,
            cri_socket: PathBuf::new(),
            policies: PolicyGroup::ALL.to_vec(),
            report: true,
            report_interval: Duration::from_secs(15),
        }
    }
}
