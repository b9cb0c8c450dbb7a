//! What filters ask, answered by an event.

use std::borrow::Cow;

use super::{CapabilitySet, Subject};
use crate::{
    event::{Event, EventType, Kind, Process},
    text::Arguments,
};

/// An event, or what a span is made of, as filters see it.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    kind: EventType,
    process: Option<&'a Process>,
    parent: Option<&'a Process>,
    policy: Option<&'a str>,
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
        Self {
            kind: event.event_type(),
            process: process.then_some(&*event.process),
            parent: event.parent.as_deref(),
            policy,
        }
    }

    /// What the span is of that the event makes: where an exec took over a process, of the execution that it ended.
    pub fn span(event: &'a Event) -> Self {
        match &event.kind {
            Kind::Exec(exec) if let Some(ended) = &exec.replaced => Self {
                kind: EventType::ProcessExit,
                process: Some(&ended.process),
                parent: ended.parent.as_deref(),
                policy: None,
            },
            _ => Self::event(event),
        }
    }

    /// The type of event.
    pub fn kind(&self) -> EventType {
        self.kind
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
        self.process.map(|process| process.container().is_none())
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
}
