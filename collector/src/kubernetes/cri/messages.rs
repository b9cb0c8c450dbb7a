//! What is said to a container runtime and by it, as far as the agent needs it.
//!
//! Source: the Container Runtime Interface, `runtime.v1` (k8s.io/cri-api, pkg/apis/runtime/v1/api.proto).

use std::collections::HashMap;

use prost::Message;

/// Lists containers.
pub const LIST_CONTAINERS: &str = "/runtime.v1.RuntimeService/ListContainers";
/// Lists the sandboxes of pods.
pub const LIST_SANDBOXES: &str = "/runtime.v1.RuntimeService/ListPodSandbox";

/// `ListContainersRequest`
#[derive(Clone, PartialEq, Message)]
pub struct ListContainersRequest {
    /// Which.
    #[prost(message, optional, tag = "1")]
    pub filter: Option<ById>,
}

/// `ListPodSandboxRequest`
#[derive(Clone, PartialEq, Message)]
pub struct ListSandboxesRequest {
    /// Which.
    #[prost(message, optional, tag = "1")]
    pub filter: Option<ById>,
}

/// `ContainerFilter` and `PodSandboxFilter`: both have the id first.
#[derive(Clone, PartialEq, Message)]
pub struct ById {
    /// The id.
    #[prost(string, tag = "1")]
    pub id: String,
}

/// `ListContainersResponse`
#[derive(Clone, PartialEq, Message)]
pub struct ListContainersResponse {
    /// What there is.
    #[prost(message, repeated, tag = "1")]
    pub containers: Vec<Container>,
}

/// `ListPodSandboxResponse`
#[derive(Clone, PartialEq, Message)]
pub struct ListSandboxesResponse {
    /// What there is.
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<Sandbox>,
}

/// `Container`
#[derive(Clone, PartialEq, Message)]
pub struct Container {
    /// Its id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// The id of its pod's sandbox.
    #[prost(string, tag = "2")]
    pub sandbox: String,
    /// Its name in the pod, and how often it was started before.
    #[prost(message, optional, tag = "3")]
    pub metadata: Option<ContainerMetadata>,
    /// The image that was asked for.
    #[prost(message, optional, tag = "4")]
    pub image: Option<ImageSpec>,
    /// What it was resolved to.
    #[prost(string, tag = "5")]
    pub image_ref: String,
    /// When it was made, in nanoseconds since the epoch.
    #[prost(int64, tag = "7")]
    pub created_at: i64,
}

/// `ContainerMetadata`
#[derive(Clone, PartialEq, Message)]
pub struct ContainerMetadata {
    /// Its name in the pod.
    #[prost(string, tag = "1")]
    pub name: String,
    /// How often it was started before.
    #[prost(uint32, tag = "2")]
    pub attempt: u32,
}

/// `ImageSpec`
#[derive(Clone, PartialEq, Message)]
pub struct ImageSpec {
    /// Its name, or its id.
    #[prost(string, tag = "1")]
    pub image: String,
    /// The name that the pod has for it.
    #[prost(string, tag = "18")]
    pub user_specified: String,
}

/// `PodSandbox`
#[derive(Clone, PartialEq, Message)]
pub struct Sandbox {
    /// Its id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// The pod.
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<SandboxMetadata>,
    /// The pod's labels, and the kubelet's.
    #[prost(map = "string, string", tag = "5")]
    pub labels: HashMap<String, String>,
    /// The pod's annotations, and the kubelet's.
    #[prost(map = "string, string", tag = "6")]
    pub annotations: HashMap<String, String>,
}

/// `PodSandboxMetadata`
#[derive(Clone, PartialEq, Message)]
pub struct SandboxMetadata {
    /// The pod's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The pod's uid, as its cgroups are named.
    #[prost(string, tag = "2")]
    pub uid: String,
    /// The pod's namespace.
    #[prost(string, tag = "3")]
    pub namespace: String,
}
