//! What filters ask, answered by an event.

use std::borrow::Cow;

use super::{CapabilitySet, Subject};
use crate::{
    event::{Event, EventType, Kind, Place, PlaceNow, Process},
    text::Arguments,
};

/// An event, or what a span is made of, as filters see it.
#[derive(Debug)]
pub struct About<'a> {
    kind: EventType,
    process: Option<&'a Process>,
    parent: Option<&'a Process>,
    policy: Option<&'a str>,
    /// Where the process is, the same for all questions.
    place: Option<PlaceNow>,
}

/// Whether the process may be an exec probe of its container.
fn may_be_probe(process: &Process, place: Option<&Place>) -> bool {
    let container = place.and_then(|place| place.container.as_deref());
    container.is_some_and(|container| container.may_be_probe(&process.image))
}

fn arguments(process: &Process) -> Cow<'_, str> {
    Cow::Owned(Arguments(&process.image).to_string())
}

// === impl About ===

impl<'a> About<'a> {
    /// What happened.
    pub fn event(event: &'a Event) -> Self {
        let policy = match &event.kind {
            Kind::Hook(hook) => Some(&*hook.source.policy.name),
            Kind::Descriptor(descriptor) => Some(&*descriptor.policy.name),
            _ => None,
        };
        let process = !matches!(event.kind, Kind::RateLimit(_));
        Self::new(event.event_type(), process.then_some(&*event.process), event.parent.as_deref(), policy)
    }

    /// What the span is of that the event makes: where an exec took over a process, of the execution that it ended.
    pub fn span(event: &'a Event) -> Self {
        match &event.kind {
            Kind::Exec(exec) if let Some(ended) = &exec.replaced => {
                Self::new(EventType::ProcessExit, Some(&ended.process), ended.parent.as_deref(), None)
            }
            _ => Self::event(event),
        }
    }

    fn new(
        kind: EventType,
        process: Option<&'a Process>,
        parent: Option<&'a Process>,
        policy: Option<&'a str>,
    ) -> Self {
        Self { kind, process, parent, policy, place: process.map(Process::place) }
    }

    /// The type of event.
    pub fn kind(&self) -> EventType {
        self.kind
    }

    fn place(&self) -> Option<&Place> {
        self.place.as_ref()?.as_deref()
    }
}

impl Subject for About<'_> {
    fn event_type(&self) -> &str {
        self.kind.as_str()
    }

    fn pid(&self) -> Option<u32> {
        self.process.map(Process::pid)
    }

    fn binary(&self) -> Option<&str> {
        self.process.map(|process| process.image.binary())
    }

    fn arguments(&self) -> Option<Cow<'_, str>> {
        self.process.map(arguments)
    }

    fn capabilities(&self, set: CapabilitySet) -> Option<u64> {
        let credentials = &self.process?.credentials;
        Some(match set {
            CapabilitySet::Permitted => credentials.permitted,
            CapabilitySet::Effective => credentials.effective,
            CapabilitySet::Inheritable => credentials.inheritable,
        })
    }

    fn is_of_host(&self) -> Option<bool> {
        self.process.map(|process| process.container().is_none() && self.place().is_none())
    }

    fn container_id(&self) -> Option<&str> {
        self.process?.container().map(|container| container.id.as_str())
    }

    fn parent_binary(&self) -> Option<&str> {
        self.parent.map(|parent| parent.image.binary())
    }

    fn parent_arguments(&self) -> Option<Cow<'_, str>> {
        self.parent.map(arguments)
    }

    fn policy_name(&self) -> Option<&str> {
        self.policy
    }
    fn namespace(&self) -> Option<&str> {
        self.process?;
        Some(self.place().map_or("", |place| &place.pod.namespace))
    }

    fn pod(&self) -> Option<&str> {
        Some(&self.place()?.pod.name)
    }

    fn container_name(&self) -> Option<&str> {
        Some(&self.place()?.container.as_ref()?.name)
    }

    fn label(&self, key: &str) -> Option<&str> {
        self.place()?.pod.all_labels.get(key).map(String::as_str)
    }

    fn is_health_check(&self) -> Option<bool> {
        let of_parent = |parent: &Process| may_be_probe(parent, parent.place().as_deref());
        Some(may_be_probe(self.process?, self.place()) || self.parent.is_some_and(of_parent))
    }
}
