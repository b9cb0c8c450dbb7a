//! What the agent counts, for Prometheus.

pub mod agent;
mod capped;
pub mod config;
pub mod families;
pub mod hooks;
pub mod http;
pub mod kubernetes;
pub mod loss;
pub mod outbound;
pub mod policies;
mod process;
pub mod readiness;
pub mod registry;
pub mod scrape;
mod series;

pub use agent::AgentMetrics;
pub use config::{Label, MetricsConfig};
pub use families::EventMetrics;
pub use hooks::{HookCost, HookMetrics, HookNumbers};
pub use kubernetes::KubernetesMetrics;
pub use loss::{Loss, LossCounter, Lost};
pub use outbound::{OutboundCounts, OutboundMetrics, OutboundOutcome};
pub use policies::{PolicyHook, PolicyMemory, PolicyMetrics};
pub use readiness::Readiness;
pub use registry::{Family, Registry};
