//! What is served: the resources that every cluster has, and those that definitions add.

use k8s_openapi::{
    api::{
        apps::v1 as apps, autoscaling::v2 as autoscaling, batch::v1 as batch,
        coordination::v1 as coordination, core::v1 as core, networking::v1 as networking,
        policy::v1 as policy, rbac::v1 as rbac, scheduling::v1 as scheduling, storage::v1 as storage,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::schema::Schema;

/// What tells resources apart. All versions of one are the same objects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    /// The API group; empty for the core.
    pub group: String,
    /// The plural, as in paths.
    pub plural: String,
}

/// A resource.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Its group and plural.
    pub id: Id,
    /// One of it, in lower case.
    pub singular: String,
    /// As in `kind`.
    pub kind: String,
    /// What people may write for the plural.
    pub short: Vec<String>,
    /// What people may write for several resources.
    pub categories: Vec<String>,
    /// Its objects are in namespaces.
    pub namespaced: bool,
    /// The versions, the preferred one first.
    pub versions: Vec<Version>,
}

/// A version of a resource.
#[derive(Clone, Debug)]
pub struct Version {
    /// `v1`.
    pub name: String,
    /// It has the subresource `status`.
    pub status: bool,
    /// What an object must look like.
    pub shape: Shape,
    /// The columns of its table: a column as a table has it, and the path of the value in an object.
    pub columns: Vec<(Value, String)>,
}

/// What an object must look like.
#[derive(Clone, Debug)]
pub enum Shape {
    /// Kubernetes' own: takes an object through its type and returns what that knows of it.
    Typed(fn(&Value) -> Result<Value, String>),
    /// A definition's.
    Defined(Box<Schema>),
}

// === impl Id ===

impl Id {
    /// The resource of this group and plural.
    pub fn new(group: &str, plural: &str) -> Self {
        Self { group: group.into(), plural: plural.into() }
    }
}

// === impl Resource ===

impl Resource {
    /// A version.
    pub fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.name == name)
    }

    /// `apiVersion` of an object.
    pub fn api_version(&self, version: &str) -> String {
        if self.id.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.id.group) }
    }
}

fn through<T: Serialize + DeserializeOwned>(object: &Value) -> Result<Value, String> {
    let typed: T = serde_json::from_value(object.clone()).map_err(|error| error.to_string())?;
    serde_json::to_value(typed).map_err(|error| error.to_string())
}

/// One of Kubernetes' own, by its type: `status` says that it has the subresource.
fn own<T>(short: &[&str], namespaced: bool, status: bool) -> Resource
where
    T: k8s_openapi::Resource + Serialize + DeserializeOwned,
{
    let singular = T::KIND.to_lowercase();
    Resource {
        id: Id::new(T::GROUP, T::URL_PATH_SEGMENT),
        singular,
        kind: T::KIND.into(),
        short: short.iter().map(|&name| name.into()).collect(),
        categories: if namespaced && status { vec!["all".into()] } else { Vec::new() },
        namespaced,
        versions: vec![Version {
            name: T::VERSION.into(),
            status,
            shape: Shape::Typed(through::<T>),
            columns: Vec::new(),
        }],
    }
}

/// What every cluster has; not all of it, but what an agent and those who install it deal with.
pub fn built_in() -> Vec<Resource> {
    let (inside, with_status) = (true, true);
    vec![
        own::<core::Namespace>(&["ns"], !inside, with_status),
        own::<core::Node>(&["no"], !inside, with_status),
        own::<core::PersistentVolume>(&["pv"], !inside, with_status),
        own::<core::Pod>(&["po"], inside, with_status),
        own::<core::Service>(&["svc"], inside, with_status),
        own::<core::ConfigMap>(&["cm"], inside, !with_status),
        own::<core::Secret>(&[], inside, !with_status),
        own::<core::ServiceAccount>(&["sa"], inside, !with_status),
        own::<core::Event>(&["ev"], inside, !with_status),
        own::<core::Endpoints>(&["ep"], inside, !with_status),
        own::<core::PersistentVolumeClaim>(&["pvc"], inside, with_status),
        own::<core::ResourceQuota>(&["quota"], inside, with_status),
        own::<core::LimitRange>(&["limits"], inside, !with_status),
        own::<apps::DaemonSet>(&["ds"], inside, with_status),
        own::<apps::Deployment>(&["deploy"], inside, with_status),
        own::<apps::ReplicaSet>(&["rs"], inside, with_status),
        own::<apps::StatefulSet>(&["sts"], inside, with_status),
        own::<apps::ControllerRevision>(&[], inside, !with_status),
        own::<autoscaling::HorizontalPodAutoscaler>(&["hpa"], inside, with_status),
        own::<batch::Job>(&[], inside, with_status),
        own::<batch::CronJob>(&["cj"], inside, with_status),
        own::<coordination::Lease>(&[], inside, !with_status),
        own::<networking::NetworkPolicy>(&["netpol"], inside, !with_status),
        own::<networking::Ingress>(&["ing"], inside, with_status),
        own::<policy::PodDisruptionBudget>(&["pdb"], inside, with_status),
        own::<rbac::ClusterRole>(&[], !inside, !with_status),
        own::<rbac::ClusterRoleBinding>(&[], !inside, !with_status),
        own::<rbac::Role>(&[], inside, !with_status),
        own::<rbac::RoleBinding>(&[], inside, !with_status),
        own::<scheduling::PriorityClass>(&["pc"], !inside, !with_status),
        own::<storage::StorageClass>(&["sc"], !inside, !with_status),
        own::<apiextensions::CustomResourceDefinition>(&["crd", "crds"], !inside, with_status),
    ]
}
