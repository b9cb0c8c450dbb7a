//! All that an agent counts, registered in one place: so what is documented is what there is.

use trigon_exporters::{
    metrics::{
        AgentMetrics, EventMetrics, HookMetrics, KubernetesMetrics, Loss, MetricsConfig, OutboundMetrics,
        PolicyMetrics, Registry, agent::register_queues,
    },
    otlp::ExportMetrics,
};

use super::{reload::ReloadMetrics, ways_out::Open};

/// The families of an agent, each for its owner.
pub struct Metrics {
    /// Where they all are.
    pub registry: Registry,
    /// The agent's health.
    pub agent: AgentMetrics,
    /// What is lost.
    pub loss: Loss,
    /// Events.
    pub events: EventMetrics,
    /// Policies.
    pub policies: PolicyMetrics,
    /// What policies call out to.
    pub outbound: OutboundMetrics,
    /// What hooks cost.
    pub hooks: HookMetrics,
    /// OTLP exporters.
    pub export: ExportMetrics,
    /// Pods.
    pub kubernetes: KubernetesMetrics,
    /// The configuration.
    pub reload: ReloadMetrics,
}

// === impl Metrics ===

impl Metrics {
    /// Registers all families; `open` are the ways out that are open at the time of a scrape.
    ///
    /// # Errors
    /// Fails where two families have the same name.
    pub fn register(config: &MetricsConfig, open: Open) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let depths =
            move || open.list().into_iter().map(|export| (export.name, export.depth.get())).collect();
        register_queues(&registry, depths)?;
        Ok(Self {
            agent: AgentMetrics::register(&registry, env!("CARGO_PKG_VERSION"))?,
            loss: Loss::register(&registry)?,
            events: EventMetrics::register(&registry, config)?,
            policies: PolicyMetrics::register(&registry)?,
            outbound: OutboundMetrics::register(&registry)?,
            hooks: HookMetrics::register(&registry)?,
            export: ExportMetrics::register(&registry)?,
            kubernetes: KubernetesMetrics::register(&registry)?,
            reload: ReloadMetrics::register(&registry)?,
            registry,
        })
    }
}
