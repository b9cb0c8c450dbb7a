//! Which labels and annotations of a pod events carry, and what they say of its service.

use std::collections::BTreeMap;

use trigon_exporters::event::Service;

use super::KubernetesConfig;

/// What the configuration selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    labels: Vec<String>,
    annotations: Vec<String>,
    service_labels: bool,
}

/// Annotations that are resource attributes, by what stands before their names.
const RESOURCE: &str = "resource.opentelemetry.io/";

// === impl Selection ===

impl Selection {
    /// What the configuration selects.
    pub fn new(config: &KubernetesConfig) -> Self {
        Self {
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
            service_labels: config.service_labels,
        }
    }

    /// The labels that events carry.
    pub fn labels(&self, labels: &BTreeMap<String, String>) -> Vec<(String, String)> {
        selected(&self.labels, labels)
    }

    /// The annotations that events carry.
    pub fn annotations(&self, annotations: &BTreeMap<String, String>) -> Vec<(String, String)> {
        selected(&self.annotations, annotations)
    }

    /// What both say of the service, in the order of OpenTelemetry's conventions.
    pub fn service(
        &self,
        labels: &BTreeMap<String, String>,
        annotations: &BTreeMap<String, String>,
    ) -> Service {
        let label = |name: &str| {
            let label = labels.get(&format!("app.kubernetes.io/{name}")).filter(|_| self.service_labels);
            label.filter(|value| !value.is_empty()).cloned()
        };
        let mut service = Service::default();
        for (key, value) in annotations {
            let Some(attribute) = key.strip_prefix(RESOURCE).filter(|key| !key.is_empty()) else { continue };
            let value = value.clone();
            match attribute {
                "service.name" => service.name = Some(value),
                "service.namespace" => service.namespace = Some(value),
                "service.version" => service.version = Some(value),
                "service.instance.id" => service.instance = Some(value),
                other => service.attributes.push((other.to_owned(), value)),
            }
        }
        service.name = service.name.or_else(|| label("instance")).or_else(|| label("name"));
        service.version = service.version.or_else(|| label("version"));
        service
    }
}

fn selected(patterns: &[String], of: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let wanted = |key: &str| {
        patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => key.starts_with(start),
            None => key == pattern,
        })
    };
    of.iter().filter(|(key, _)| wanted(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn selection(labels: &[&str], service_labels: bool) -> Selection {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        Selection::new(&KubernetesConfig { labels, service_labels, ..KubernetesConfig::default() })
    }

    #[test]
    fn labels_by_name_or_beginning() {
        let labels = map(&[("app", "web"), ("app.kubernetes.io/name", "web"), ("secret", "x")]);
        let keys = |patterns: &[&str]| {
            let chosen = selection(patterns, true).labels(&labels);
            chosen.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        assert_eq!(keys(&["app"]), ["app"]);
        assert_eq!(keys(&["app*"]), ["app", "app.kubernetes.io/name"]);
        assert_eq!(keys(&["*"]), ["app", "app.kubernetes.io/name", "secret"]);
        assert!(keys(&[]).is_empty());
        assert!(selection(&["*"], true).annotations(&labels).is_empty());
    }

    #[test]
    fn annotations_before_labels() {
        let labels = map(&[
            ("app.kubernetes.io/instance", "web-blue"),
            ("app.kubernetes.io/name", "web"),
            ("app.kubernetes.io/version", "1.2"),
        ]);
        let annotations = map(&[
            ("resource.opentelemetry.io/service.name", "shop"),
            ("resource.opentelemetry.io/deployment.environment.name", "prod"),
            ("resource.opentelemetry.io/", "odd"),
        ]);
        let service = selection(&[], true).service(&labels, &annotations);
        assert_eq!((service.name.as_deref(), service.version.as_deref()), (Some("shop"), Some("1.2")));
        assert_eq!(service.attributes, [("deployment.environment.name".to_owned(), "prod".to_owned())]);
        let service = selection(&[], true).service(&labels, &BTreeMap::new());
        assert_eq!(service.name.as_deref(), Some("web-blue"));
        let service = selection(&[], false).service(&labels, &BTreeMap::new());
        assert_eq!(service, Service::default());
    }
}
