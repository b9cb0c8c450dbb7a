//! What a hook of a policy is on, and what its events say of where they come from.

use std::sync::Arc;

use trigon_exporters::event::{ArgumentSpec, HookKind, HookSource, Policy as PolicyName};
use trigon_probes::{
    hooks::{Changes, Mechanism, Needs, Target, UserCode, UserPlace},
    operand::HeldIn,
};

use super::LoadError;
use crate::policy::{
    compile::{CompileError, Part},
    model::{
        OverrideMethod,
        actions::Action,
        arguments::{Argument, ArgumentType},
        hooks::{Abi, Function, Hook, Point},
        selectors::Selector,
    },
};

/// What a hook is on.
///
/// # Errors
/// It asks for what is not there yet.
pub(in crate::policy) fn targets(hook: &Hook) -> Result<Vec<Target>, LoadError> {
    let unsupported = |what| {
        Err(LoadError::Compile { hook: hook.point.to_string(), source: CompileError::Unsupported(what) })
    };
    match &hook.point {
        Point::Tracepoint(point) => {
            Ok(vec![Target::Tracepoint { subsystem: point.subsystem.clone(), event: point.event.clone() }])
        }
        Point::RawTracepoint(point) => {
            Ok(vec![Target::RawTracepoint { subsystem: point.subsystem.clone(), event: point.event.clone() }])
        }
        Point::Process => Ok(vec![Target::Execution]),
        Point::Lsm(hook) => Ok(vec![Target::Lsm(hook.clone())]),
        Point::Program(_) | Point::Usdt(_) => match hook.point.found() {
            [] => unsupported("a program's place that was not looked for"),
            found => Ok(found.iter().cloned().map(Target::User).collect()),
        },
        Point::Functions(functions) => {
            functions.functions.iter().map(targets_of).collect::<Option<Vec<_>>>().map_or_else(
                || unsupported("a system call of another architecture"),
                |targets| Ok(targets.into_iter().flatten().collect()),
            )
        }
    }
}

/// A system call is what programs of this machine make, 32-bit ones included; with a prefix it is the one alone.
fn targets_of(function: &Function) -> Option<Vec<Target>> {
    let x86 = cfg!(target_arch = "x86_64");
    match function {
        Function::Symbol(name) => Some(vec![Target::Function(name.clone())]),
        Function::Syscall { name, abi } => {
            let (native, compat) = (Target::Syscall(name.clone()), Target::CompatSyscall(name.clone()));
            match abi {
                Abi::Native if x86 => Some(vec![native, compat]),
                Abi::Native => Some(vec![native]),
                Abi::X64 => x86.then(|| vec![native]),
                Abi::Arm64 => cfg!(target_arch = "aarch64").then(|| vec![native]),
                Abi::Ia32 => x86.then(|| vec![compat]),
            }
        }
    }
}

/// Whether a hook can do without a target: the policy says so (`ignore.callNotFound`), or it is a 32-bit system call that
/// came along with the machine's own.
pub(in crate::policy) fn may_be_missing(hook: &Hook, target: &Target) -> bool {
    let Point::Functions(functions) = &hook.point else { return false };
    let named = |name: &str| {
        let wanted = |function: &Function| matches!(function, Function::Syscall { name: wanted, abi: Abi::Ia32 } if wanted == name);
        functions.functions.iter().any(wanted)
    };
    functions.ignore_missing || matches!(target, Target::CompatSyscall(name) if !named(name))
}

/// What of a process a hook changes at a target.
pub(in crate::policy) fn changes(hook: &Hook, target: &Target) -> Changes {
    let Target::User(place) = target else { return Changes::default() };
    let actions = hook.selectors.iter().flat_map(Selector::all_actions);
    let of = |action: &Action| match action {
        Action::Override { .. } => Changes { registers: true, memory: false },
        Action::Set { argument, .. } => {
            let argument = hook.arguments.get(usize::from(argument.0));
            let held_in = argument.and_then(|argument| held_in(place, argument));
            Changes { memory: held_in == Some(HeldIn::Memory), registers: held_in == Some(HeldIn::Register) }
        }
        _ => Changes::default(),
    };
    actions.map(of).fold(Changes::default(), |all, one| all | one)
}

/// Where a place has an argument; none where it can't be set there.
fn held_in(place: &UserPlace, argument: &Argument) -> Option<HeldIn> {
    place.arguments.get(usize::from(argument.index)).copied().flatten()?.held_in()
}

/// What events call a target.
pub fn kind_of(target: &Target) -> HookKind {
    match target {
        Target::Tracepoint { subsystem, event } | Target::RawTracepoint { subsystem, event } => {
            HookKind::Tracepoint { subsystem: subsystem.as_str().into(), event: event.as_str().into() }
        }
        Target::Execution => {
            HookKind::Tracepoint { subsystem: "sched".into(), event: "sched_process_exec".into() }
        }
        Target::Lsm(hook) => HookKind::Lsm { hook: hook.as_str().into() },
        Target::User(UserPlace { path, code, offset, counter, .. }) => match code {
            UserCode::Usdt { provider, name } => HookKind::Usdt {
                path: (&**path).into(),
                provider: (&**provider).into(),
                name: (&**name).into(),
            },
            UserCode::Function(symbol) => HookKind::Uprobe {
                path: (&**path).into(),
                symbol: (&**symbol).into(),
                offset: 0,
                ref_ctr_offset: *counter,
            },
            UserCode::Offset => HookKind::Uprobe {
                path: (&**path).into(),
                symbol: Box::default(),
                offset: *offset,
                ref_ctr_offset: *counter,
            },
        },
        _ => HookKind::Kprobe { function: target.symbol().into() },
    }
}

/// What events of a hook say of where they come from.
pub(super) fn source_of(policy: &Arc<PolicyName>, hook: &Hook, target: &Target) -> HookSource {
    let mut source = HookSource::new(Arc::clone(policy), kind_of(target));
    source.message = hook.message.as_deref().map(Into::into);
    source.template = hook.template.clone();
    source.severity = hook.severity;
    source.tags = hook.tags.iter().map(|tag| tag.as_str().into()).collect();
    let specs = |arguments: &[Argument]| -> Box<[ArgumentSpec]> {
        let posted = arguments.iter().filter(|argument| argument.kind != ArgumentType::Nop);
        posted
            .map(|argument| ArgumentSpec {
                label: argument.label.as_deref().map(Into::into),
                kind: argument.kind.as_str().into(),
            })
            .collect()
    };
    source.args = specs(&hook.arguments);
    source.data = specs(&hook.data);
    if let Some(returned) = &hook.return_value {
        source.returned = ArgumentSpec {
            label: returned.label.as_deref().map(Into::into),
            kind: returned.kind.as_str().into(),
        };
    }
    source
}

/// What the programs on a target have to be able to do for all policies that name it.
pub(super) fn needs(target: &Target, parts: &[Part<'_>]) -> Result<Needs, LoadError> {
    let mut needs = Needs::seeing(parts.iter().any(|part| is_late(part.hook)));
    needs.hashes = parts.iter().any(|part| part.hook.hashes());
    // One that is tried only counts what it would change or deny.
    for part in parts.iter().filter(|part| !part.trial) {
        needs.changes = needs.changes | changes(part.hook, target);
        if !part.denies {
            continue;
        }
        needs.denies = true;
        // There is one way only to return from a function of a program.
        if part.hook.point.is_in_program() {
            continue;
        }
        let method = part.method.map(|method| match method {
            OverrideMethod::FmodRet => Mechanism::FmodRet,
            OverrideMethod::OverrideReturn => Mechanism::OverrideReturn,
        });
        if needs.method.is_some() && method.is_some() && needs.method != method {
            return Err(LoadError::Methods(target.symbol()));
        }
        needs.method = needs.method.or(method);
    }
    Ok(needs)
}

/// Whether a hook has anything to do when its function returns.
pub(in crate::policy) fn is_late(hook: &Hook) -> bool {
    hook.at_return() || hook.selectors.iter().any(|selector| !selector.return_values.is_empty())
}
