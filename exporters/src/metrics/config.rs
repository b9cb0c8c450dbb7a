//! `[metrics]` of the configuration.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as duration;
use serde::{Deserialize, Serialize};

/// Where metrics are served and how many series there may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// Address and port to serve `/metrics`, `/healthz` and `/readyz` on. There is no authentication: whoever reaches
    /// the address can read which programs run.
    pub addr: SocketAddr,
    /// Labels that events are counted by. One that is left out is empty, which makes fewer series.
    pub labels: Vec<Label>,
    /// Series that a family of event metrics may have. What would go beyond is counted in a series whose labels
    /// are `other`, so that sums stay true. Each bucket of a histogram is a series.
    pub max_series: usize,
    /// A series of the event metrics in which nothing was counted for so long is removed. Zero: none is.
    #[serde(with = "duration")]
    pub stale_after: Duration,
    /// Whether the kernel measures how often and how long each hook's programs run (`BPF_ENABLE_STATS`), while the agent
    /// runs: that makes each run of any program of the machine a little longer.
    pub bpf_stats: bool,
}

/// A label of the event counters that may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// Namespace of the pod.
    Namespace,
    /// What the pod belongs to: a deployment, a job.
    Workload,
    /// Name of the pod.
    Pod,
    /// Path of the binary.
    Binary,
}

// === impl MetricsConfig ===

impl Default for MetricsConfig {
    fn default() -> Self {
        Self {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 2112)),
            labels: vec![Label::Namespace, Label::Workload, Label::Pod],
            max_series: 10_000,
            stale_after: Duration::from_secs(3600),
            bpf_stats: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_table_is_the_default() {
        assert_eq!(toml::from_str::<MetricsConfig>("").unwrap(), MetricsConfig::default());
    }

    #[test]
    fn every_key_can_be_set() {
        let config = r#"
            addr = "[::]:9100"
            labels = ["binary"]
            max_series = 5
            stale_after = "10m"
            bpf_stats = true
        "#;
        let expected = MetricsConfig {
            addr: "[::]:9100".parse().unwrap(),
            labels: vec![Label::Binary],
            max_series: 5,
            stale_after: Duration::from_secs(600),
            bpf_stats: true,
        };
        assert_eq!(toml::from_str::<MetricsConfig>(config).unwrap(), expected);
    }

    #[test]
    fn a_mistake_is_named_with_what_is_allowed() {
        let error = |config: &str| toml::from_str::<MetricsConfig>(config).unwrap_err().to_string();
        assert!(error("adr = 1").contains(
            "unknown field `adr`, expected one of `addr`, `labels`, `max_series`, `stale_after`, `bpf_stats`"
        ));
        assert!(
            error(r#"labels = ["node"]"#)
                .contains("unknown variant `node`, expected one of `namespace`, `workload`, `pod`, `binary`")
        );
        assert!(error("max_series = -1").contains("-1"));
        assert!(error("stale_after = \"an hour\"").contains("an hour"));
    }
}
