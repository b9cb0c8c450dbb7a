//! Events, counted: the families that dashboards are made of.

use super::{
    MetricsConfig, Registry,
    capped::{Capped, Labels, register_folded},
};
use crate::event::{Event, EventType, Kind};

#[cfg(test)]
mod tests;

/// `trigon_events_total{type,namespace,workload,pod,binary}`, and of policies' events
/// `trigon_policy_events_total{policy,hook,action,namespace,workload,pod,binary}`.
///
/// Belongs to the one thread that the events pass through.
#[derive(Debug)]
pub struct EventMetrics {
    events: Capped<1>,
    policies: Capped<3>,
    labels: Labels,
}

/// Of the series of policies, one in so many is for events whose own series found no room.
const POLICIES_REST: usize = 4;

// === impl EventMetrics ===

impl EventMetrics {
    /// Makes the families and registers them.
    ///
    /// # Errors
    /// Fails where the registry has a family of one of the names.
    pub fn register(registry: &Registry, config: &MetricsConfig) -> prometheus::Result<Self> {
        let folded = register_folded(registry)?;
        let events = Capped::register(
            registry,
            ("trigon_events_total", "Events that the agent saw, by their type and by who did it."),
            ["type"],
            config,
            // A type that finds no series of its own must not take the last one, which has no type.
            EventType::ALL.len() + 1,
            &folded,
        )?;
        let policies = Capped::register(
            registry,
            (
                "trigon_policy_events_total",
                "Events that policies posted, by the policy, the hook, what was done and by who did it.",
            ),
            ["policy", "hook", "action"],
            config,
            (config.max_series / POLICIES_REST).max(1),
            &folded,
        )?;
        Ok(Self { events, policies, labels: Labels::new(&config.labels) })
    }

    /// Counts an event.
    pub fn observe(&mut self, event: &Event) {
        let place = event.process.place();
        let pod = place.as_ref().map(|place| &*place.pod);
        let workload = pod.and_then(|pod| pod.workload.as_ref());
        let who = [
            (self.labels.namespace, pod.map(|pod| &*pod.namespace)),
            (self.labels.workload, workload.map(|workload| &*workload.name)),
            (self.labels.pod, pod.map(|pod| &*pod.name)),
            (self.labels.binary, Some(event.process.image.binary())),
        ];
        let who = who.map(|(chosen, value)| value.filter(|_| chosen).unwrap_or_default());
        self.events.count([event.event_type().as_str()], who);
        if let Kind::Hook(hook) = &event.kind {
            let source = &*hook.source;
            self.policies.count([&source.policy.name, source.name(), hook.action.word()], who);
        }
    }
    /// Removes the series of a pod that is gone, so that others have their room. An event that comes after all makes
    /// them anew, from 0: call it when no more are to be expected, and no other pod has taken over the name.
    ///
    /// Nothing happens where `pod` is none of the labels that were chosen: such series are of others, too.
    pub fn forget_pod(&mut self, namespace: &str, pod: &str) {
        if !self.labels.pod {
            return;
        }
        let namespace = if self.labels.namespace { namespace } else { "" };
        self.events.forget_pod(namespace, pod);
        self.policies.forget_pod(namespace, pod);
    }
}
