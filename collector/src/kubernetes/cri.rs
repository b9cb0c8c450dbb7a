//! Asking the container runtime of which pod a container is, where the API server is slow to tell.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use http::uri::PathAndQuery;
use prost::Message;
use tokio::{sync::mpsc, time::timeout};
use tonic::{
    Request, Status,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;
use tracing::{debug, warn};
use trigon_exporters::{
    event::{Pod, PodContainer, Timestamp},
    metrics::KubernetesMetrics,
};

use self::messages::{
    ById, Container, LIST_CONTAINERS, LIST_SANDBOXES, ListContainersRequest, ListContainersResponse,
    ListSandboxesRequest, ListSandboxesResponse, Sandbox,
};
use super::{pod::PodEntry, pods::Change, select::Selection};
use crate::pipeline;

pub mod messages;

/// A runtime that doesn't answer for this long isn't waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Containers that wait to be asked for; further ones wait for the API server alone.
const QUESTIONS: usize = 256;
/// The kubelet's own labels and annotations, which aren't the pod's.
const KUBELET: [&str; 2] = ["io.kubernetes.", "kubernetes.io/config."];
/// What the watch of the runtime is called in metrics.
const CRI: &str = "cri";

/// Where to ask for containers, by their ids.
pub type Questions = mpsc::Sender<String>;

/// A container runtime.
#[derive(Clone, Debug)]
pub struct Runtime {
    service: Grpc<Channel>,
    selection: Selection,
}

// === impl Runtime ===

impl Runtime {
    /// The runtime that listens on that socket. Nothing is asked yet.
    ///
    /// # Errors
    /// The path can't be a socket's.
    pub fn new(socket: &Path, selection: Selection) -> Result<Self, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()))?;
        let channel = endpoint.connect_timeout(PATIENCE).connect_lazy();
        Ok(Self { service: Grpc::new(channel), selection })
    }

    /// What it knows of a container, as if the API server had told of its pod; none where it doesn't know it.
    ///
    /// # Errors
    /// It can't be asked, or refuses to answer.
    pub async fn pod_of(&self, id: &str) -> Result<Option<PodEntry>, Status> {
        let filter = Some(ById { id: id.to_owned() });
        let found: ListContainersResponse =
            self.ask(LIST_CONTAINERS, ListContainersRequest { filter }).await?;
        let container = found.containers.into_iter().find(|container| container.id == id);
        let sandbox = container.as_ref().map_or(id, |container| &container.sandbox);
        let filter = Some(ById { id: sandbox.to_owned() });
        let found: ListSandboxesResponse = self.ask(LIST_SANDBOXES, ListSandboxesRequest { filter }).await?;
        let sandbox = found.items.into_iter().find(|found| found.id == sandbox);
        Ok(sandbox.and_then(|sandbox| self.entry(sandbox, container)))
    }

    fn entry(&self, sandbox: Sandbox, container: Option<Container>) -> Option<PodEntry> {
        let of_pod = |map: std::collections::HashMap<String, String>| -> BTreeMap<String, String> {
            map.into_iter().filter(|(key, _)| !KUBELET.iter().any(|own| key.starts_with(own))).collect()
        };
        let metadata = sandbox.metadata.filter(|metadata| !metadata.uid.is_empty())?;
        let (labels, annotations) = (of_pod(sandbox.labels), of_pod(sandbox.annotations));
        let pod = Pod {
            namespace: metadata.namespace,
            name: metadata.name,
            uid: metadata.uid.clone(),
            labels: self.selection.labels(&labels),
            annotations: self.selection.annotations(&annotations),
            service: self.selection.service(&labels, &annotations),
            all_labels: Arc::new(labels),
            ..Pod::default()
        };
        Some(PodEntry {
            pod: Arc::new(pod),
            cgroup_uid: metadata.uid,
            containers: container.map(of_pod_container).map(Arc::new).into_iter().collect(),
            sandboxes: vec![sandbox.id],
        })
    }

    async fn ask<Q, A>(&self, method: &'static str, question: Q) -> Result<A, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut service = self.service.clone();
        let exchange = async {
            service.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let codec = ProstCodec::<Q, A>::default();
            service.unary(Request::new(question), PathAndQuery::from_static(method), codec).await
        };
        match timeout(PATIENCE, exchange).await {
            Ok(answer) => Ok(answer?.into_inner()),
            Err(_) => Err(Status::deadline_exceeded(format!("no answer within {PATIENCE:?}"))),
        }
    }
}

fn of_pod_container(container: Container) -> PodContainer {
    let image = container.image.unwrap_or_default();
    let metadata = container.metadata.unwrap_or_default();
    PodContainer {
        name: metadata.name,
        id: container.id,
        image: if image.user_specified.is_empty() { image.image } else { image.user_specified },
        image_id: container.image_ref,
        start: u64::try_from(container.created_at).ok().map(Timestamp),
        restarts: metadata.attempt,
        ..PodContainer::default()
    }
}

/// A queue for questions, and the task that asks them, one after the other.
pub fn channel(
    runtime: Runtime,
    pipeline: pipeline::Handle,
    metrics: KubernetesMetrics,
) -> (Questions, impl Future<Output = ()>) {
    let (questions, mut asked) = mpsc::channel::<String>(QUESTIONS);
    let task = async move {
        let mut failing = false;
        while let Some(id) = asked.recv().await {
            match runtime.pod_of(&id).await {
                Ok(Some(entry)) => {
                    failing = false;
                    metrics.watch_event(CRI);
                    let learnt = vec![Change::Learnt(Box::new(entry))];
                    if pipeline.call(move |pipeline| pipeline.change_pods(learnt)).await.is_err() {
                        return;
                    }
                }
                Ok(None) => debug!(container = id, "the container runtime doesn't know it"),
                Err(status) => {
                    metrics.watch_error(CRI, "ask");
                    if !std::mem::replace(&mut failing, true) {
                        warn!("the container runtime (kubernetes.cri_socket) doesn't answer: {status}");
                    }
                }
            }
        }
    };
    (questions, task)
}
