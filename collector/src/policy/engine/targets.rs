//! What a hook of a policy is on, and what its events say of where they come from.

use std::sync::Arc;

use trigon_exporters::event::{ArgumentSpec, HookKind, HookSource, Policy as PolicyName};
use trigon_probes::hooks::Target;

use super::LoadError;
use crate::policy::{
    compile::CompileError,
    model::{
        arguments::ArgumentType,
        hooks::{Abi, Function, Hook, Point},
    },
};

/// What a hook is on.
///
/// # Errors
/// It asks for what is not there yet.
pub(super) fn targets(hook: &Hook) -> Result<Vec<Target>, LoadError> {
    let unsupported = |what| {
        Err(LoadError::Compile { hook: hook.point.to_string(), source: CompileError::Unsupported(what) })
    };
    match &hook.point {
        Point::Tracepoint(point) => {
            Ok(vec![Target::Tracepoint { subsystem: point.subsystem.clone(), event: point.event.clone() }])
        }
        Point::RawTracepoint(_) => unsupported("a raw tracepoint"),
        Point::Functions(functions) => functions
            .functions
            .iter()
            .map(target)
            .collect::<Option<_>>()
            .map_or_else(|| unsupported("a system call of another architecture"), Ok),
    }
}

fn target(function: &Function) -> Option<Target> {
    match function {
        Function::Symbol(name) => Some(Target::Function(name.clone())),
        Function::Syscall { name, abi } => {
            let native = match abi {
                Abi::Native => true,
                Abi::X64 => cfg!(target_arch = "x86_64"),
                Abi::Arm64 => cfg!(target_arch = "aarch64"),
                Abi::Ia32 => false,
            };
            native.then(|| Target::Syscall(name.clone()))
        }
    }
}

/// What events of a hook say of where they come from.
pub(super) fn source_of(policy: &Arc<PolicyName>, hook: &Hook, target: &Target) -> HookSource {
    let kind = match target {
        Target::Tracepoint { subsystem, event } => {
            HookKind::Tracepoint { subsystem: subsystem.as_str().into(), event: event.as_str().into() }
        }
        _ => HookKind::Kprobe { function: target.symbol().into() },
    };
    let mut source = HookSource::new(Arc::clone(policy), kind);
    source.message = hook.message.as_deref().map(Into::into);
    source.tags = hook.tags.iter().map(|tag| tag.as_str().into()).collect();
    let posted = hook.arguments.iter().filter(|argument| argument.kind != ArgumentType::Nop);
    source.args = posted
        .map(|argument| ArgumentSpec {
            label: argument.label.as_deref().map(Into::into),
            kind: argument.kind.as_str().into(),
        })
        .collect();
    if let Some(returned) = &hook.return_value {
        source.returned = ArgumentSpec {
            label: returned.label.as_deref().map(Into::into),
            kind: returned.kind.as_str().into(),
        };
    }
    source
}
