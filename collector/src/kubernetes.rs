//! Kubernetes: the pods of this node, policies from the API server, and what the node reports to it.
//!
//! Nothing here is needed without Kubernetes: an agent on a host never talks to an API server.

pub mod api_pod;
pub mod client;
pub mod config;
pub mod crd;
pub mod cri;
pub mod node;
pub mod pod;
pub mod pods;
pub mod policies;
pub mod report;
pub mod select;
pub mod waiting;
pub mod watch;

pub use config::KubernetesConfig;
