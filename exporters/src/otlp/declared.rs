//! What OpenTelemetry's variables say about the resource.
//!
//! Source: <https://opentelemetry.io/docs/specs/otel/resource/sdk/#specifying-resource-information-via-an-environment-variable>.

use percent_encoding::percent_decode_str;

use super::settings::SettingsError;

/// `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`. An agent tells of many services, so they mean this: the name is
/// that of what runs outside containers, as is all else that begins with `service.`; the other attributes are on every
/// resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// The service that the host is shown as; none: the node's name.
    pub service_name: Option<String>,
    /// Attributes beside those that the agent knows itself, each key once.
    pub attributes: Vec<(String, String)>,
}

const NAME: &str = "OTEL_SERVICE_NAME";
const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
const LIST: &str = "a list such as key=value,other=value, percent-encoded where a comma or = is part of it,";

/// What the agent knows better: an attribute that says which thing a record is from must not be the same on all.
const KNOWN: [&str; 9] = [
    "host.arch",
    "host.id",
    "host.name",
    "k8s.node.name",
    "os.description",
    "os.name",
    "os.type",
    "os.version",
    "service.instance.id",
];

/// As [`KNOWN`], by how keys begin.
const KNOWN_BELOW: [&str; 13] = [
    "container.",
    "k8s.container.",
    "k8s.cronjob.",
    "k8s.daemonset.",
    "k8s.deployment.",
    "k8s.job.",
    "k8s.namespace.",
    "k8s.pod.",
    "k8s.replicaset.",
    "k8s.statefulset.",
    "process.",
    "telemetry.",
    "trigon.",
];

/// Whether the agent finds that out itself.
pub(super) fn is_known(key: &str) -> bool {
    KNOWN.contains(&key) || KNOWN_BELOW.iter().any(|start| key.starts_with(start))
}

// === impl Declared ===

impl Declared {
    /// Reads the variables; what the agent knows better is left out and logged.
    ///
    /// # Errors
    /// A list isn't one. Its values stay untold.
    pub fn read(environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let set = |name| environment(name).filter(|value| !value.trim().is_empty());
        let mut attributes: Vec<(String, String)> = Vec::new();
        let list = set(ATTRIBUTES).unwrap_or_default();
        for member in list.split(',').map(str::trim).filter(|member| !member.is_empty()) {
            let (key, value) =
                pair(member).ok_or_else(|| SettingsError::new(ATTRIBUTES, shown(member), LIST))?;
            if is_known(&key) {
                tracing::warn!("{ATTRIBUTES}: {key} is left out, since the agent finds that out itself");
                continue;
            }
            attributes.retain(|(other, _)| *other != key);
            attributes.push((key, value));
        }
        let named = attributes.iter().position(|(key, _)| key == "service.name");
        let named = named.map(|index| attributes.remove(index).1);
        Ok(Self { service_name: set(NAME).or(named), attributes })
    }

    /// Attributes of every resource.
    pub(super) fn of_all(&self) -> impl Iterator<Item = &(String, String)> {
        self.attributes.iter().filter(|(key, _)| !key.starts_with("service."))
    }

    /// Attributes of what runs outside containers.
    pub(super) fn of_host(&self) -> impl Iterator<Item = &(String, String)> {
        self.attributes.iter().filter(|(key, _)| key.starts_with("service."))
    }
}

fn pair(member: &str) -> Option<(String, String)> {
    let (key, value) = member.split_once('=')?;
    let decode = |text: &str| percent_decode_str(text.trim()).decode_utf8().ok().map(String::from);
    Some((decode(key)?, decode(value)?)).filter(|(key, _)| !key.is_empty())
}

fn shown(member: &str) -> String {
    member.split_once('=').map_or("…".to_owned(), |(key, _)| format!("{key}=…"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, attributes: &str) -> Result<Declared, SettingsError> {
        let get = |variable: &str| {
            let value = if variable == NAME { name } else { attributes };
            (!value.is_empty()).then(|| value.to_owned())
        };
        Declared::read(&get)
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn names_and_attributes_are_read() {
        assert_eq!(read("", ""), Ok(Declared::default()));
        let list = " deployment.environment.name = prod%2Ceu,a%3Db=1, a=, host.type=x=y ,a=2,";
        let declared = read("", list).unwrap();
        let expected =
            [("deployment.environment.name", "prod,eu"), ("a=b", "1"), ("host.type", "x=y"), ("a", "2")];
        assert_eq!((declared.service_name, declared.attributes), (None, pairs(&expected)));
        let named = read("", "service.name=a,service.version=1").unwrap();
        assert_eq!(named.service_name.as_deref(), Some("a"));
        assert_eq!(named.of_host().cloned().collect::<Vec<_>>(), pairs(&[("service.version", "1")]));
        assert_eq!(read("b", "service.name=a").unwrap().service_name.as_deref(), Some("b"));
    }

    #[test]
    fn what_the_agent_knows_is_its_own() {
        let list = "host.name=x,container.id=y,k8s.pod.name=z,service.instance.id=1,k8s.cluster.name=c";
        assert_eq!(read("", list).unwrap().attributes, pairs(&[("k8s.cluster.name", "c")]));
    }

    #[test]
    fn a_list_that_is_none_is_refused() {
        for list in ["secret", "=secret", "a=%FFsecret"] {
            let message = read("", list).unwrap_err().to_string();
            assert!(
                message.starts_with("OTEL_RESOURCE_ATTRIBUTES") && !message.contains("secret"),
                "{message}"
            );
        }
    }
}
