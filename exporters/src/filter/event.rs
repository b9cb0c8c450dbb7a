//! What filters ask, answered by an event.

use std::borrow::Cow;

use super::{CapabilitySet, Subject};
use crate::{
    event::{Event, Kind, Process},
    text::Arguments,
};

fn arguments(process: &Process) -> Cow<'_, str> {
    Cow::Owned(Arguments(&process.image).to_string())
}

fn capabilities(process: &Process, set: CapabilitySet) -> u64 {
    match set {
        CapabilitySet::Permitted => process.credentials.permitted,
        CapabilitySet::Effective => process.credentials.effective,
        CapabilitySet::Inheritable => process.credentials.inheritable,
    }
}

// === impl Event ===

impl Subject for Event {
    fn event_type(&self) -> &str {
        Event::event_type(self).as_str()
    }

    fn pid(&self) -> Option<u32> {
        Some(self.process.pid())
    }

    fn binary(&self) -> Option<&str> {
        Some(self.process.image.binary())
    }

    fn arguments(&self) -> Option<Cow<'_, str>> {
        Some(arguments(&self.process))
    }

    fn capabilities(&self, set: CapabilitySet) -> Option<u64> {
        Some(capabilities(&self.process, set))
    }

    fn is_of_host(&self) -> Option<bool> {
        Some(self.process.container().is_none())
    }

    fn container_id(&self) -> Option<&str> {
        self.process.container().map(|container| container.id.as_str())
    }

    fn parent_binary(&self) -> Option<&str> {
        self.parent.as_ref().map(|parent| parent.image.binary())
    }

    fn parent_arguments(&self) -> Option<Cow<'_, str>> {
        self.parent.as_deref().map(arguments)
    }

    fn policy_name(&self) -> Option<&str> {
        match &self.kind {
            Kind::Hook(hook) => Some(&hook.source.policy.name),
            Kind::Descriptor(descriptor) => Some(&descriptor.policy.name),
            _ => None,
        }
    }
}
