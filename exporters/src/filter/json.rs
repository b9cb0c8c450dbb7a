//! What filters ask, answered by a JSON line in Tetragon's shape, be it Trigon's or Tetragon's own.

use std::borrow::Cow;

use serde_json::Value;

use super::{CapabilitySet, Subject};
use crate::names;

/// A parsed line. Fields that are missing have no answer, those of another type neither.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    kind: &'a str,
    event: &'a Value,
}

/// Keys of a line that are not the event's own object.
const ENVELOPE: [&str; 5] = ["node_name", "time", "aggregation_info", "cluster_name", "node_labels"];

// === impl Line ===

impl<'a> Line<'a> {
    /// The event of a line; none where the line holds none.
    pub fn new(line: &'a Value) -> Option<Self> {
        let mut members = line.as_object()?.iter();
        let (kind, event) =
            members.find(|(key, value)| value.is_object() && !ENVELOPE.contains(&key.as_str()))?;
        Some(Self { kind, event })
    }

    /// The name of the event's own object: `process_exec`.
    pub fn kind(&self) -> &'a str {
        self.kind
    }

    /// The event's own object.
    pub fn event(&self) -> &'a Value {
        self.event
    }

    fn process(&self) -> Option<&'a Value> {
        self.event.get("process").filter(|process| process.is_object())
    }

    fn parent(&self) -> Option<&'a Value> {
        self.event.get("parent").filter(|parent| parent.is_object())
    }

    fn ancestors(&self) -> impl Iterator<Item = &'a Value> {
        self.event.get("ancestors").and_then(Value::as_array).into_iter().flatten()
    }

    fn pod(&self) -> Option<&'a Value> {
        self.process()?.get("pod").filter(|pod| pod.is_object())
    }

    /// What only Trigon tells of the container.
    fn container(&self) -> Option<&'a str> {
        self.event.pointer("/trigon/container/id")?.as_str()
    }
}

/// A text; empty where it is left out, as empty ones are.
fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn pid(process: &Value) -> Option<u32> {
    process.get("pid").and_then(Value::as_u64).and_then(|pid| u32::try_from(pid).ok())
}

fn is_probe(process: Option<&Value>) -> bool {
    let probe = process.and_then(|process| process.pointer("/pod/container/maybe_exec_probe"));
    probe.and_then(Value::as_bool).unwrap_or_default()
}

/// The bit of a capability by its name, which for one lacks the prefix, or by its number where it has none.
fn bit(capability: &Value) -> u64 {
    let number = match capability {
        Value::String(name) if name == "DAC_OVERRIDE" => names::capability_number("CAP_DAC_OVERRIDE"),
        Value::String(name) => names::capability_number(name),
        number => number.as_u64().and_then(|number| u32::try_from(number).ok()),
    };
    number.and_then(|number| 1_u64.checked_shl(number)).unwrap_or_default()
}

impl Subject for Line<'_> {
    fn event_type(&self) -> &str {
        self.kind
    }

    fn pid(&self) -> Option<u32> {
        pid(self.process()?)
    }

    fn binary(&self) -> Option<&str> {
        Some(text(self.process()?, "binary"))
    }

    fn arguments(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(text(self.process()?, "arguments")))
    }

    fn capabilities(&self, set: CapabilitySet) -> Option<u64> {
        let sets = self.process()?.get("cap").filter(|cap| cap.is_object())?;
        let set = match set {
            CapabilitySet::Permitted => "permitted",
            CapabilitySet::Effective => "effective",
            CapabilitySet::Inheritable => "inheritable",
        };
        let held = sets.get(set).and_then(Value::as_array);
        Some(held.into_iter().flatten().fold(0, |set, capability| set | bit(capability)))
    }

    fn is_of_host(&self) -> Option<bool> {
        let docker = text(self.process()?, "docker");
        Some(docker.is_empty() && self.pod().is_none() && self.container().is_none())
    }

    fn container_id(&self) -> Option<&str> {
        let of_pod = || {
            let id = self.pod()?.pointer("/container/id")?.as_str()?;
            Some(id.split_once("://").map_or(id, |(_, id)| id))
        };
        let docker = || Some(text(self.process()?, "docker"));
        self.container().or_else(of_pod).or_else(docker).filter(|id| !id.is_empty())
    }

    fn parent_binary(&self) -> Option<&str> {
        Some(text(self.parent()?, "binary"))
    }

    fn parent_arguments(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(text(self.parent()?, "arguments")))
    }

    fn policy_name(&self) -> Option<&str> {
        self.event.get("policy_name").and_then(Value::as_str)
    }

    fn ancestor_pids(&self) -> Vec<u32> {
        self.parent().into_iter().chain(self.ancestors()).filter_map(pid).collect()
    }

    fn ancestor_binaries(&self) -> Vec<&str> {
        self.ancestors().map(|ancestor| text(ancestor, "binary")).collect()
    }

    fn namespace(&self) -> Option<&str> {
        self.process()?;
        Some(self.pod().map_or("", |pod| text(pod, "namespace")))
    }

    fn pod(&self) -> Option<&str> {
        self.pod().map(|pod| text(pod, "name"))
    }

    fn container_name(&self) -> Option<&str> {
        Some(text(self.pod()?.get("container")?, "name"))
    }

    fn label(&self, key: &str) -> Option<&str> {
        self.pod()?.get("pod_labels")?.get(key)?.as_str()
    }

    fn in_init_tree(&self) -> Option<bool> {
        self.process()?.get("in_init_tree")?.as_bool()
    }

    fn is_health_check(&self) -> Option<bool> {
        let process = self.process();
        process.is_some().then(|| is_probe(process) || is_probe(self.parent()))
    }
}
