//! What Trigon tells beyond Tetragon, under the key `trigon`.

use serde::{Serialize, Serializer};

use super::{hook::HookFacts, is_default, scalar::Seconds};
use crate::{
    event::{Container, Exec, Exit, Hook, Process, ProcessFlags},
    identity::{SpanId, SpanRef, TraceId},
};

/// Flags that Tetragon has no name for. `TTY` is a field of its own.
const FLAGS: [(ProcessFlags, &str); 4] = [
    (ProcessFlags::TRUNC_FILENAME, "truncFilename"),
    (ProcessFlags::KERNEL_THREAD, "kernelThread"),
    (ProcessFlags::ESCAPED_TEXT, "escapedText"),
    (ProcessFlags::TRUNC_ENVS, "truncEnvs"),
];

#[derive(Serialize)]
pub(super) struct Facts<'a> {
    trace_id: TraceId,
    span_id: SpanId,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<SpanId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<Link>,
    #[serde(skip_serializing_if = "Option::is_none")]
    script: Option<&'a str>,
    #[serde(skip_serializing_if = "Flags::is_empty")]
    flags: Flags,
    #[serde(skip_serializing_if = "is_default")]
    vpid: u32,
    #[serde(skip_serializing_if = "is_default")]
    session: u32,
    #[serde(skip_serializing_if = "is_default")]
    group: u32,
    #[serde(skip_serializing_if = "is_default")]
    tty: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    cgroup: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<ContainerFacts<'a>>,
    #[serde(skip_serializing_if = "is_default")]
    first_seen: bool,
    #[serde(flatten)]
    exit: Option<ExitFacts>,
    #[serde(flatten)]
    hook: Option<HookFacts<'a>>,
}

#[derive(Serialize)]
pub(super) struct Link {
    trace_id: TraceId,
    span_id: SpanId,
}

struct Flags(ProcessFlags);

#[derive(Serialize)]
struct ContainerFacts<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime: Option<&'static str>,
}

#[derive(Serialize)]
struct ExitFacts {
    #[serde(skip_serializing_if = "is_default")]
    core_dumped: bool,
    user_time: Seconds,
    system_time: Seconds,
}

// === impl Facts ===

impl<'a> Facts<'a> {
    pub(super) fn new(process: &'a Process) -> Self {
        Self {
            trace_id: process.trace.id,
            span_id: process.trace.span,
            parent_span_id: process.trace.parent,
            link: process.trace.link.map(Link::from),
            script: process.image.script(),
            flags: Flags(process.flags),
            vpid: process.vpid,
            session: process.session,
            group: process.group,
            tty: process.flags.contains(ProcessFlags::TTY),
            cgroup: &process.cgroup.path,
            container: process.container().map(|container| ContainerFacts::from(&**container)),
            first_seen: false,
            exit: None,
            hook: None,
        }
    }

    pub(super) fn with_exec(self, exec: &Exec) -> Self {
        Self { first_seen: exec.first_seen, ..self }
    }

    pub(super) fn with_hook(self, hook: &'a Hook) -> Self {
        Self { hook: Some(HookFacts::new(hook)), ..self }
    }

    pub(super) fn with_exit(self, exit: &Exit) -> Self {
        let exit = ExitFacts {
            core_dumped: exit.core_dumped,
            user_time: Seconds(exit.user_time),
            system_time: Seconds(exit.system_time),
        };
        Self { exit: Some(exit), ..self }
    }
}

impl From<SpanRef> for Link {
    fn from(SpanRef { trace, span }: SpanRef) -> Self {
        Self { trace_id: trace, span_id: span }
    }
}

impl<'a> From<&'a Container> for ContainerFacts<'a> {
    fn from(container: &'a Container) -> Self {
        Self { id: &container.id, runtime: container.runtime }
    }
}

// === impl Flags ===

impl Flags {
    fn names(&self) -> impl Iterator<Item = &'static str> {
        FLAGS.iter().filter(|(flag, _)| self.0.contains(*flag)).map(|(_, name)| *name)
    }

    fn is_empty(&self) -> bool {
        self.names().next().is_none()
    }
}

impl Serialize for Flags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}
