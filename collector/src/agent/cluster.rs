//! The agent's part in a Kubernetes cluster: what is watched, and who is told.

use std::time::Duration;

use kube::Client;
use tokio::runtime::Runtime;
use trigon_exporters::metrics::KubernetesMetrics;

use super::AgentError;
use crate::{
    config::Effective,
    kubernetes::{KubernetesConfig, client, cri, policies, select::Selection, waiting::Waiting, watch},
    pipeline,
    policy::manager,
};

/// A cluster that the node belongs to.
pub struct Cluster {
    client: Client,
    node: String,
    config: KubernetesConfig,
    /// What is counted of it.
    pub metrics: KubernetesMetrics,
}

/// Events wait for their pods; without Kubernetes there are none.
pub fn waiting(settings: &Effective) -> Waiting {
    let config = &settings.config.kubernetes;
    let wait = if settings.kubernetes { config.metadata_wait } else { Duration::ZERO };
    Waiting::new(wait, config.metadata_wait_events)
}

// === impl Cluster ===

impl Cluster {
    /// The cluster that the settings tell of, if there is one. Nothing is asked of it yet.
    ///
    /// # Errors
    /// There are no credentials, or they can't be used.
    pub fn of(
        settings: &Effective,
        runtime: &Runtime,
        metrics: &KubernetesMetrics,
    ) -> Result<Option<Self>, AgentError> {
        if !settings.kubernetes {
            return Ok(None);
        }
        let config = settings.config.kubernetes.clone();
        let client = runtime.block_on(client::connect(&config))?;
        Ok(Some(Self { client, node: settings.node.clone(), config, metrics: metrics.clone() }))
    }

    /// Begins to watch, until the agent stops.
    ///
    /// # Errors
    /// The container runtime's socket can't be used.
    pub async fn join(self, pipeline: &pipeline::Handle, manager: manager::Handle) -> Result<(), AgentError> {
        let Self { client, node, config, metrics } = self;
        let selection = Selection::new(&config);
        if !config.cri_socket.as_os_str().is_empty() {
            let socket = &config.cri_socket;
            let runtime = cri::Runtime::new(socket, selection.clone())
                .map_err(|source| AgentError::Cri { socket: socket.clone(), source })?;
            let (questions, answers) = cri::channel(runtime, pipeline.clone(), metrics.clone());
            tokio::spawn(answers);
            // It stops only where the whole agent does.
            let _ = pipeline.call(move |pipeline| pipeline.waiting.ask(questions)).await;
        }
        tokio::spawn(policies::run(client.clone(), node.clone(), config, manager, metrics.clone()));
        tokio::spawn(watch::pods(client, node, selection, pipeline.clone(), metrics));
        Ok(())
    }
}
