//! `tetragon.ProcessUprobe`, `tetragon.ProcessUsdt` and `tetragon.ProcessLoader`: what policies ask for of programs.

use std::borrow::Cow;

use serde::Serialize;

use super::{
    Body, Context,
    facts::Facts,
    hook::{ActionName, Argument, Arguments},
    is_default,
    process::Process,
    scalar::{Bytes, Int64},
    stack::Frames,
};
use crate::event::{Event, Hook, HookKind, Loader};

#[derive(Serialize)]
pub(super) struct UprobeLine<'a> {
    process: Process<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<Process<'a>>,
    path: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    symbol: &'a str,
    policy_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Arguments::is_empty")]
    args: Arguments<'a>,
    /// Tetragon tells what a function returns as one of its arguments, or not at all.
    #[serde(rename = "return", skip_serializing_if = "Option::is_none")]
    returned: Option<Argument<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tags: &'a [Box<str>],
    #[serde(skip_serializing_if = "is_zero")]
    offset: Int64,
    #[serde(skip_serializing_if = "is_zero")]
    ref_ctr_offset: Int64,
    #[serde(skip_serializing_if = "ActionName::is_unknown")]
    action: ActionName,
    #[serde(skip_serializing_if = "Frames::is_none")]
    kernel_stack_trace: Frames<'a>,
    #[serde(skip_serializing_if = "Frames::is_none")]
    user_stack_trace: Frames<'a>,
    #[serde(skip_serializing_if = "Arguments::is_empty")]
    data: Arguments<'a>,
    trigon: Facts<'a>,
}

#[derive(Serialize)]
pub(super) struct UsdtLine<'a> {
    process: Process<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<Process<'a>>,
    path: &'a str,
    provider: &'a str,
    name: &'a str,
    policy_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Arguments::is_empty")]
    args: Arguments<'a>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tags: &'a [Box<str>],
    #[serde(skip_serializing_if = "ActionName::is_unknown")]
    action: ActionName,
    #[serde(skip_serializing_if = "Frames::is_none")]
    kernel_stack_trace: Frames<'a>,
    #[serde(skip_serializing_if = "Frames::is_none")]
    user_stack_trace: Frames<'a>,
    /// Tetragon has none here.
    #[serde(skip_serializing_if = "Arguments::is_empty")]
    data: Arguments<'a>,
    trigon: Facts<'a>,
}

#[derive(Serialize)]
pub(super) struct LoaderLine<'a> {
    process: Process<'a>,
    /// Tetragon has none here.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<Process<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    path: &'a str,
    #[serde(skip_serializing_if = "Bytes::is_empty")]
    buildid: Bytes<'a>,
    trigon: Facts<'a>,
}

fn is_zero(number: &Int64) -> bool {
    is_default(&number.0)
}

// === impl Context ===

impl<'a> Context<'a> {
    /// The line of a mapping.
    pub(super) fn loader(self, event: &'a Event, loader: &'a Loader) -> Body<'a> {
        Body::Loader(LoaderLine {
            process: Process::new(self, &event.process),
            parent: self.parent(event),
            path: &loader.path,
            buildid: Bytes(&loader.build_id),
            trigon: Facts::new(&event.process),
        })
    }

    /// The line of a hook in a program.
    pub(super) fn program(self, event: &'a Event, hook: &'a Hook, message: Option<Cow<'a, str>>) -> Body<'a> {
        let process = Process::new(self, &event.process);
        let parent = self.parent(event);
        let source = &*hook.source;
        let trigon = Facts::new(&event.process).with_hook(hook);
        let policy_name = &*source.policy.name;
        let (args, data) = (Arguments::new(hook, self.host), Arguments::data(hook, self.host));
        let (tags, action) = (&*source.tags, ActionName(hook.action));
        match source.kind() {
            HookKind::Usdt { path, provider, name } => Body::Usdt(UsdtLine {
                process,
                parent,
                path,
                provider,
                name,
                policy_name,
                message,
                args,
                tags,
                action,
                kernel_stack_trace: Frames::kernel(hook),
                user_stack_trace: Frames::user(hook),
                data,
                trigon,
            }),
            kind => {
                let (path, symbol, offset, ref_ctr_offset) = match kind {
                    HookKind::Uprobe { path, symbol, offset, ref_ctr_offset } => {
                        (&**path, &**symbol, *offset, *ref_ctr_offset)
                    }
                    _ => Default::default(),
                };
                Body::Uprobe(UprobeLine {
                    process,
                    parent,
                    path,
                    symbol,
                    policy_name,
                    message,
                    args,
                    returned: hook
                        .returned
                        .as_ref()
                        .map(|value| Argument::new(Some(value), Some(&source.returned), self.host)),
                    tags,
                    offset: Int64(offset),
                    ref_ctr_offset: Int64(ref_ctr_offset),
                    action,
                    kernel_stack_trace: Frames::kernel(hook),
                    user_stack_trace: Frames::user(hook),
                    data,
                    trigon,
                })
            }
        }
    }
}
