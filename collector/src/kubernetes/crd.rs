//! The kinds of objects that Trigon has in the API server: made from the same tables that the agent reads policies by.

use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        CustomResourceDefinition, CustomResourceDefinitionNames, CustomResourceDefinitionSpec,
        CustomResourceDefinitionVersion, CustomResourceValidation, JSONSchemaProps,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{CustomResourceExt as _, core::ApiResource};

use super::{config::PolicyGroup, report::TracingPolicyReport};
use crate::policy;

/// The version of every kind.
pub const VERSION: &str = "v1alpha1";

/// A kind of policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PolicyKind {
    /// `TracingPolicy`
    Cluster,
    /// `TracingPolicyNamespaced`
    Namespaced,
}

/// The definitions of a group's kinds.
pub fn of(group: PolicyGroup) -> Vec<CustomResourceDefinition> {
    let mut all = PolicyKind::ALL.map(|kind| policy(group, kind)).to_vec();
    if group == PolicyGroup::Trigon {
        all.push(TracingPolicyReport::crd());
    }
    all
}

/// A definition as a document of YAML.
///
/// # Errors
/// It can't be written so, which a test would find.
pub fn yaml(definition: &CustomResourceDefinition) -> Result<String, serde_saphyr::ser::Error> {
    Ok(format!("# Printed by `trigon policy crds`.\n{}", serde_saphyr::to_string(definition)?))
}

fn policy(group: PolicyGroup, kind: PolicyKind) -> CustomResourceDefinition {
    let resource = kind.resource(group);
    // Tetragon's short names for its group; others for ours, so that a cluster can have both.
    let short = match (group, kind) {
        (PolicyGroup::Cilium, PolicyKind::Cluster) => "tgtp",
        (PolicyGroup::Cilium, PolicyKind::Namespaced) => "tgtpn",
        (PolicyGroup::Trigon, PolicyKind::Cluster) => "ttp",
        (PolicyGroup::Trigon, PolicyKind::Namespaced) => "ttpn",
    };
    let spec = match group {
        PolicyGroup::Trigon => policy::schema(kind == PolicyKind::Namespaced),
        // Whatever Tetragon takes can be stored; of what Trigon doesn't have yet its agents tell.
        PolicyGroup::Cilium => JSONSchemaProps {
            type_: Some("object".to_owned()),
            description: Some("A tracing policy of Tetragon.".to_owned()),
            x_kubernetes_preserve_unknown_fields: Some(true),
            ..JSONSchemaProps::default()
        },
    };
    let version = CustomResourceDefinitionVersion {
        name: VERSION.to_owned(),
        served: true,
        storage: true,
        schema: Some(CustomResourceValidation { open_api_v3_schema: Some(root(spec)) }),
        ..CustomResourceDefinitionVersion::default()
    };
    CustomResourceDefinition {
        metadata: ObjectMeta {
            name: Some(format!("{}.{}", resource.plural, resource.group)),
            ..ObjectMeta::default()
        },
        spec: CustomResourceDefinitionSpec {
            group: resource.group,
            names: CustomResourceDefinitionNames {
                singular: Some(resource.kind.to_lowercase()),
                kind: resource.kind,
                plural: resource.plural,
                short_names: Some(vec![short.to_owned()]),
                ..CustomResourceDefinitionNames::default()
            },
            scope: if kind == PolicyKind::Cluster { "Cluster" } else { "Namespaced" }.to_owned(),
            versions: vec![version],
            ..CustomResourceDefinitionSpec::default()
        },
        status: None,
    }
}

fn root(spec: JSONSchemaProps) -> JSONSchemaProps {
    let typed = |name: &str| JSONSchemaProps { type_: Some(name.to_owned()), ..JSONSchemaProps::default() };
    let properties = [
        ("apiVersion", typed("string")),
        ("kind", typed("string")),
        ("metadata", typed("object")),
        ("spec", spec),
    ];
    JSONSchemaProps {
        description: Some("What is seen, of whom, and what is done about it.".to_owned()),
        properties: Some(properties.into_iter().map(|(key, schema)| (key.to_owned(), schema)).collect()),
        required: Some(vec!["spec".to_owned()]),
        ..typed("object")
    }
}

// === impl PolicyKind ===

impl PolicyKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Cluster, Self::Namespaced];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "TracingPolicy",
            Self::Namespaced => "TracingPolicyNamespaced",
        }
    }

    /// Where the API server has its objects.
    pub fn resource(self, group: PolicyGroup) -> ApiResource {
        let plural = match self {
            Self::Cluster => "tracingpolicies",
            Self::Namespaced => "tracingpoliciesnamespaced",
        };
        ApiResource {
            group: group.as_str().to_owned(),
            version: VERSION.to_owned(),
            api_version: format!("{}/{VERSION}", group.as_str()),
            kind: self.as_str().to_owned(),
            plural: plural.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
