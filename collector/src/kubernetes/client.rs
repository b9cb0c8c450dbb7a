//! The way to the API server.

use std::path::PathBuf;

use http::{HeaderValue, header::USER_AGENT};
use kube::{
    Client, Config,
    config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use super::KubernetesConfig;

/// The API server can't be reached as the configuration says.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A kubeconfig can't be used.
    #[error("cannot use the kubeconfig{}: {source}; kubernetes.kubeconfig names it", of(path))]
    Kubeconfig {
        /// Which; empty for the default one.
        path: PathBuf,
        /// Why not.
        source: Box<KubeconfigError>,
    },
    /// The pod's service account can't be used.
    #[error("cannot use the pod's service account: {0}; is automountServiceAccountToken off?")]
    InCluster(Box<InClusterError>),
    /// The client can't be made of what was found.
    #[error("cannot prepare the connection to the Kubernetes API server: {0}")]
    Client(Box<kube::Error>),
}

fn of(path: &std::path::Path) -> String {
    if path.as_os_str().is_empty() { String::new() } else { format!(" {}", path.display()) }
}

/// A client; nothing is sent yet. Credentials in files are read again when they change.
///
/// # Errors
/// There are no credentials, or they can't be used.
pub async fn connect(config: &KubernetesConfig) -> Result<Client, ClientError> {
    let path = &config.kubeconfig;
    let refused = |source| ClientError::Kubeconfig { path: path.clone(), source: Box::new(source) };
    let options = KubeConfigOptions::default();
    let mut found = if !path.as_os_str().is_empty() {
        let kubeconfig = Kubeconfig::read_from(path).map_err(refused)?;
        Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(refused)?
    } else if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        Config::incluster().map_err(|source| ClientError::InCluster(Box::new(source)))?
    } else {
        Config::from_kubeconfig(&options).await.map_err(refused)?
    };
    found.headers.push((USER_AGENT, HeaderValue::from_static(concat!("trigon/", env!("CARGO_PKG_VERSION")))));
    // Whoever asks has a schedule of its own, which an overloaded server can count on.
    found.default_retry = false;
    Client::try_from(found).map_err(|source| ClientError::Client(Box::new(source)))
}
