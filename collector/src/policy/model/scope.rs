//! Where a policy applies: to which pods, which containers in them, and whether to the host.

use std::collections::BTreeMap;

use trigon_exporters::event::PodContainer;

/// What a process must be part of: one of some pods, or the host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    /// Pods. None: none of them.
    pub pods: Option<Workloads>,
    /// The host: whatever is in no pod.
    pub host: bool,
}

/// Some of the pods, and of their containers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Workloads {
    /// Those of this namespace. None: of any.
    pub namespace: Option<String>,
    /// Those with such labels.
    pub labels: LabelSelector,
    /// What is in a container with such a `name` and `repo`. Without requirements: all of the pod.
    pub containers: LabelSelector,
}

/// Kubernetes' LabelSelector: requirements that all must hold. None: it selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LabelSelector(Vec<Requirement>);

/// A requirement on a label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What must hold of it.
    pub operator: LabelOperator,
    /// With `In` and `NotIn`: one value at least.
    pub values: Vec<String>,
}

/// An operator of `matchExpressions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LabelOperator {
    /// There is such a label, and it has one of the values.
    In,
    /// There is none, or it has another value.
    NotIn,
    /// There is one.
    Exists,
    /// There is none.
    DoesNotExist,
}

/// A label that every pod has: its namespace. The name is Tetragon's.
pub const NAMESPACE_LABEL: &str = "k8s:io.kubernetes.pod.namespace";

/// The fields of a container that requirements can be on: its name, and its image without tag and digest.
pub const CONTAINER_FIELDS: [&str; 2] = ["name", "repo"];

// === impl Scope ===

impl Scope {
    /// What is in both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let pods = match (&self.pods, &other.pods) {
            (Some(one), Some(other)) => one.and(other),
            _ => None,
        };
        Self { pods, host: self.host && other.host }
    }

    /// Whether it has a pod, and in it a container; without one, what is of the pod but in no container that is known.
    pub fn has(
        &self,
        namespace: &str,
        labels: &BTreeMap<String, String>,
        container: Option<&PodContainer>,
    ) -> bool {
        self.pods.as_ref().is_some_and(|pods| pods.have(namespace, labels, container))
    }
}

// === impl Workloads ===

impl Workloads {
    fn and(&self, other: &Self) -> Option<Self> {
        let namespace = match (&self.namespace, &other.namespace) {
            (Some(one), Some(other)) if one != other => return None,
            (one, other) => one.clone().or_else(|| other.clone()),
        };
        let (labels, containers) = (self.labels.and(&other.labels), self.containers.and(&other.containers));
        Some(Self { namespace, labels, containers })
    }

    fn have(
        &self,
        namespace: &str,
        labels: &BTreeMap<String, String>,
        container: Option<&PodContainer>,
    ) -> bool {
        let label = |key: &str| match key {
            NAMESPACE_LABEL => Some(namespace),
            key => labels.get(key).map(String::as_str),
        };
        let in_container = || {
            let container = container?;
            let field = |key: &str| match key {
                "name" => Some(container.name.as_str()),
                "repo" => Some(repository(&container.image)),
                _ => None,
            };
            Some(self.containers.selects(field))
        };
        self.namespace.as_ref().is_none_or(|wanted| wanted == namespace)
            && self.labels.selects(label)
            && (self.containers.is_empty() || in_container() == Some(true))
    }
}

/// An image's name without tag and digest: `docker.io/library/nginx`.
fn repository(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    // A colon before the last slash is that of a port.
    let path = image.rfind('/').map_or(0, |slash| slash + 1);
    image[path..].find(':').map_or(image, |colon| &image[..path + colon])
}

// === impl LabelSelector ===

impl LabelSelector {
    /// In an order of its own: what asks the same is equal.
    pub fn new(mut requirements: Vec<Requirement>) -> Self {
        for requirement in &mut requirements {
            requirement.values.sort_unstable();
            requirement.values.dedup();
        }
        requirements.sort_unstable();
        requirements.dedup();
        Self(requirements)
    }

    /// What must hold, in an order of its own.
    pub fn requirements(&self) -> impl Iterator<Item = &Requirement> {
        self.0.iter()
    }

    /// Whether it has no requirements.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all requirements hold of labels.
    pub fn selects<'v>(&self, value: impl Fn(&str) -> Option<&'v str>) -> bool {
        self.0.iter().all(|requirement| requirement.holds(value(&requirement.key)))
    }

    fn and(&self, other: &Self) -> Self {
        Self::new(self.0.iter().chain(&other.0).cloned().collect())
    }
}

// === impl Requirement ===

impl Requirement {
    fn holds(&self, value: Option<&str>) -> bool {
        let among = |value: &str| self.values.iter().any(|one| one == value);
        match self.operator {
            LabelOperator::In => value.is_some_and(among),
            LabelOperator::NotIn => !value.is_some_and(among),
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories() {
        for (image, name) in [
            ("nginx", "nginx"),
            ("nginx:1.25", "nginx"),
            ("docker.io/library/nginx:1.25", "docker.io/library/nginx"),
            ("registry:5000/team/app", "registry:5000/team/app"),
            ("registry:5000/team/app:2", "registry:5000/team/app"),
            ("registry:5000/app@sha256:0123", "registry:5000/app"),
            ("app:2@sha256:0123", "app"),
            ("sha256:0123", "sha256"),
            ("", ""),
            ("/:", "/"),
        ] {
            assert_eq!(repository(image), name, "{image}");
        }
    }

    #[test]
    fn what_is_in_both_scopes() {
        let pods = |namespace: Option<&str>, key: &str| {
            let requirement =
                Requirement { key: key.into(), operator: LabelOperator::Exists, values: Vec::new() };
            let labels = LabelSelector::new(vec![requirement]);
            let namespace = namespace.map(str::to_owned);
            Some(Workloads { namespace, labels, containers: LabelSelector::default() })
        };
        let scope = |pods, host| Scope { pods, host };
        let both = scope(pods(Some("a"), "x"), false).and(&scope(pods(None, "y"), true));
        assert!(!both.host);
        let labels = |keys: &[&str]| keys.iter().map(|key| ((*key).to_owned(), String::new())).collect();
        assert!(both.has("a", &labels(&["x", "y"]), None));
        assert!(!both.has("a", &labels(&["x"]), None));
        assert!(!both.has("b", &labels(&["x", "y"]), None));
        // Of no namespace at all, and neither of pods nor of the host.
        let none = scope(pods(Some("a"), "x"), false).and(&scope(pods(Some("b"), "x"), false));
        assert_eq!(none, scope(None, false));
        assert_eq!(scope(None, true).and(&scope(pods(None, "x"), false)), none);
    }
}
