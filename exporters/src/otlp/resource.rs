//! The resource: what a group of records is from, a container or the host.

use rustc_hash::FxHashSet;

use super::{
    attributes::{Attributes, Scratch},
    origin::Origin,
    pod,
    wire::{Wire, delimited_size},
};
use crate::{event::Container, node::Node};

/// The semantic conventions that keys and values follow.
pub(super) const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// Digits of a container's id that its tools show and take.
const SHORT_ID: usize = 12;

/// Field numbers (resource.proto, logs.proto, trace.proto, common.proto). Logs and spans use the same numbers, so
/// that one envelope fits both.
mod field {
    pub(super) const ATTRIBUTES: u32 = 1;
    /// Of the request: `resource_logs`, `resource_spans`.
    pub(super) const RESOURCES: u32 = 1;
    pub(super) const RESOURCE: u32 = 1;
    /// Of a resource's group: `scope_logs`, `scope_spans`.
    pub(super) const SCOPES: u32 = 2;
    pub(super) const SCOPE: u32 = 1;
    /// Of a scope's group: `log_records`, `spans`.
    pub(super) const RECORDS: u32 = 2;
    pub(super) const SCHEMA_URL: u32 = 3;
    pub(super) const NAME: u32 = 1;
    pub(super) const VERSION: u32 = 2;
}

/// Where records stand in their group.
pub(super) const RECORDS: u32 = field::RECORDS;

/// What stands around records in a request, made once.
#[derive(Debug)]
pub(super) struct Envelope {
    /// Attributes of the node, which all resources share.
    node: Wire,
    /// Attributes of the host as a service.
    host: Wire,
    /// `InstrumentationScope`, as a field of its group.
    scope: Wire,
    /// Keys of attributes that say more of the node, and come from variables.
    declared: FxHashSet<String>,
    /// Working memory for a container's attributes.
    own: Wire,
    scratch: Scratch,
}

// === impl Envelope ===

impl Envelope {
    /// The envelope for records from this node.
    pub(super) fn new(node: &Node) -> Self {
        let (mut shared, mut host, mut scope) = (Wire::default(), Wire::default(), Wire::default());
        node_attributes(node, &mut Attributes::new(&mut shared, field::ATTRIBUTES));
        // Processes outside containers belong to no service that the kernel knows; the machine that they keep running
        // is the nearest thing. One constant name would make one service of all nodes.
        let mut attributes = Attributes::new(&mut host, field::ATTRIBUTES);
        attributes.string("service.name", node.declared.service_name.as_ref().unwrap_or(&node.name));
        attributes.string("service.instance.id", node.host_id.as_ref().unwrap_or(&node.name));
        node.declared.of_host().for_each(|(key, value)| attributes.string(key, value));
        scope.message(field::SCOPE, |scope| {
            scope.string(field::NAME, "trigon");
            scope.string(field::VERSION, env!("CARGO_PKG_VERSION"));
        });
        let declared = node.declared.of_all().map(|(key, _)| key.clone()).collect();
        let (own, scratch) = (Wire::default(), Scratch::default());
        Self { node: shared, host, scope, declared, own, scratch }
    }

    /// About how many bytes the envelope adds to a group of records.
    pub(super) fn size(&self, origin: &Origin) -> usize {
        let own = origin.place.as_deref().map_or(self.host.len(), pod::size);
        self.node.len() + own + self.scope.len() + 2 * SCHEMA_URL.len() + 128
    }

    /// Appends a group to a request: its resource, our scope, and `records` as fields of the scope's group.
    pub(super) fn group(&mut self, origin: &Origin, records: &[u8], request: &mut Wire) {
        self.own.clear();
        let attributes = &mut Attributes::new(&mut self.own, field::ATTRIBUTES);
        let own = match (&origin.place, origin.container.as_deref()) {
            (Some(place), container) => {
                pod::attributes(place, container, &self.declared, &mut self.scratch, attributes);
                &self.own
            }
            (None, Some(container)) => {
                container_attributes(container, attributes);
                &self.own
            }
            (None, None) => &self.host,
        };
        let schema = delimited_size(SCHEMA_URL.len());
        let resource = self.node.len() + own.len();
        let records_of_scope = self.scope.len() + records.len() + schema;
        let group = delimited_size(resource) + delimited_size(records_of_scope) + schema;

        request.reserve(delimited_size(group));
        request.length(field::RESOURCES, group);
        request.length(field::RESOURCE, resource);
        request.append(self.node.as_slice());
        request.append(own.as_slice());
        request.length(field::SCOPES, records_of_scope);
        request.append(self.scope.as_slice());
        request.append(records);
        request.string(field::SCHEMA_URL, SCHEMA_URL);
        request.string(field::SCHEMA_URL, SCHEMA_URL);
    }
}

fn node_attributes(node: &Node, attributes: &mut Attributes<'_>) {
    attributes.string("host.name", &node.name);
    attributes.optional("host.id", node.host_id.as_deref());
    attributes.optional("host.arch", node.arch.as_deref());
    attributes.string("os.type", "linux");
    attributes.optional("os.name", node.os_name.as_deref());
    attributes.optional("os.version", node.os_version.as_deref());
    attributes.optional("os.description", node.os_description.as_deref());
    if node.kubernetes {
        attributes.string("k8s.node.name", &node.name);
    }
    attributes.string("telemetry.distro.name", "trigon");
    attributes.string("telemetry.distro.version", env!("CARGO_PKG_VERSION"));
    attributes.string("telemetry.sdk.name", "trigon");
    attributes.string("telemetry.sdk.version", env!("CARGO_PKG_VERSION"));
    attributes.string("telemetry.sdk.language", "rust");
    node.declared.of_all().for_each(|(key, value)| attributes.string(key, value));
}

/// The last resort of OpenTelemetry's order for `service.name` is the container; its id is all that a cgroup tells.
fn container_attributes(container: &Container, attributes: &mut Attributes<'_>) {
    let short = container.id.get(..SHORT_ID).unwrap_or(&container.id);
    attributes.string("service.name", short);
    attributes.string("service.instance.id", &container.id);
    attributes.string("container.id", &container.id);
    attributes.optional("container.runtime.name", container.runtime);
}
