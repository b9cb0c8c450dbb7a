//! What only the running kernel knows of a policy: the types that are `auto`, and whether a tracepoint's fields are what
//! the policy takes them for. And what only a program's file does: where its functions and probes are.

use std::fmt;

use trigon_probes::{
    ProbeError,
    hooks::Target,
    types::{Prototype, Types, Way, WayError},
};

use super::{
    check::{self, Wrong},
    engine::targets,
    fault::{Class, Fault},
    model::{
        Located, Policy, Position,
        actions::Action,
        arguments::{Argument, ArgumentSlot, ArgumentType, Source},
        conditions::Condition,
        hooks::{FunctionSection, Functions, Hook, Point},
    },
    read::actions::SOCKETS,
};
use kinds::{Refused, agreed, kind_of, returned};

mod generate;
mod kinds;
mod programs;
#[cfg(test)]
mod tests;
mod ways;

/// A policy that doesn't fit this kernel: each fault with its place, as `check` tells them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved(pub Vec<Fault>);

/// What knows a kernel's types.
pub trait Kernel {
    /// What a target takes and returns.
    ///
    /// # Errors
    /// It has no such target, or doesn't tell.
    fn prototype(&mut self, target: &Target) -> Result<Prototype, ProbeError>;

    /// The way from a struct along a path of its members, by the types of a module, too, where one is named.
    ///
    /// # Errors
    /// The types can't be read; or, within, there is no such way.
    fn way(
        &mut self,
        start: &str,
        module: Option<&str>,
        path: &str,
    ) -> Result<Result<Way, WayError>, ProbeError>;
}

/// The running kernel, read where something asks for it: it takes some milliseconds.
#[derive(Default)]
struct Running(Option<Types>);

/// Fills the generated lists of a policy, and gives every `auto` the type that this kernel has there.
///
/// # Errors
/// Tells everything that doesn't fit.
pub fn here(mut policy: Policy) -> Result<Policy, Unresolved> {
    let mut faults = Vec::new();
    generate::fill(&mut policy, &generate::Kernel, &mut faults);
    if !faults.is_empty() {
        return Err(Unresolved(faults));
    }
    resolve(policy, &mut Running::default())
}

/// The same with what `kernel` knows.
///
/// # Errors
/// Tells everything that doesn't fit.
pub fn resolve(mut policy: Policy, kernel: &mut dyn Kernel) -> Result<Policy, Unresolved> {
    let mut faults = Vec::new();
    let mut counts = [0_usize; 7];
    for hook in policy.hooks.iter_mut().filter(|hook| hook.point != Point::Process) {
        let (place, section) = match &hook.point {
            Point::Functions(Functions { section: FunctionSection::Kprobes, .. }) => (0, "kprobes"),
            Point::Functions(Functions { section: FunctionSection::Fentries, .. }) => (1, "fentries"),
            Point::Tracepoint(_) | Point::RawTracepoint(_) | Point::Process => (2, "tracepoints"),
            Point::Program(_) => (3, "uprobes"),
            Point::Usdt(_) => (4, "usdts"),
            Point::Lsm(_) => (5, "lsmhooks"),
            Point::Functions(Functions { section: FunctionSection::Enforcers, .. }) => (6, "enforcers"),
        };
        let path = format!("spec.{section}[{}]", counts[place]);
        counts[place] += 1;
        let mut resolver = Resolver { path, faults: &mut faults };
        if hook.point.is_in_program() {
            resolver.program(hook, kernel);
        } else {
            resolver.hook(hook, kernel);
        }
    }
    if faults.is_empty() { Ok(policy) } else { Err(Unresolved(faults)) }
}

/// Works on one hook.
struct Resolver<'a> {
    path: String,
    faults: &'a mut Vec<Fault>,
}

// === impl Running ===

impl Running {
    fn types(&mut self) -> Result<&mut Types, ProbeError> {
        match &mut self.0 {
            Some(types) => Ok(types),
            none => Ok(none.insert(Types::read()?)),
        }
    }
}

impl Kernel for Running {
    fn prototype(&mut self, target: &Target) -> Result<Prototype, ProbeError> {
        self.types()?.of(target)
    }

    fn way(
        &mut self,
        start: &str,
        module: Option<&str>,
        path: &str,
    ) -> Result<Result<Way, WayError>, ProbeError> {
        self.types()?.way(start, module, path)
    }
}

// === impl Resolver ===

impl Resolver<'_> {
    fn hook(&mut self, hook: &mut Hook, kernel: &mut dyn Kernel) {
        if !asks(hook) {
            return;
        }
        let before = self.faults.len();
        let prototypes = if asks_prototypes(hook) {
            let Some(prototypes) = self.prototypes(hook, kernel) else { return };
            // Where this kernel has none of the functions, and need not, there is nothing to be known.
            if prototypes.is_empty() {
                return;
            }
            prototypes
        } else {
            Vec::new()
        };
        let of_tracepoint = !hook.of_function();
        for (key, arguments) in [("args", &mut hook.arguments), ("data", &mut hook.data)] {
            for (place, argument) in arguments.iter_mut().enumerate() {
                let field = format!("{key}[{place}]");
                if argument.path.is_some() {
                    self.way(argument, &field, &prototypes, kernel);
                } else if argument.source != Source::Call {
                    self.pointer(argument, &field);
                } else if of_tracepoint || argument.kind == ArgumentType::Auto {
                    argument.kind = self.argument(argument, &field, &prototypes);
                }
            }
        }
        if let Some(value) = hook.return_value.as_mut().filter(|value| value.kind == ArgumentType::Auto) {
            let kinds = prototypes.iter().map(|(target, prototype)| (target, returned(prototype)));
            match agreed(kinds) {
                Ok(kind) => value.kind = kind,
                Err(refused) => {
                    let at = value.at;
                    self.refuse(at, "returnArg", refused);
                }
            }
        }
        if let Some(value) = &hook.return_value
            && value.action.is_some()
            && !value.kind.is_socket()
        {
            let message =
                format!("what the function returns is of type {}, and no socket", value.kind.as_str());
            self.refuse(value.at, "returnArg", Refused { message, allowed: None });
        }
        if self.faults.len() == before {
            self.filters(hook);
        }
    }

    /// What each of the hook's targets takes. None where that is not known, which is a fault.
    fn prototypes(&mut self, hook: &Hook, kernel: &mut dyn Kernel) -> Option<Vec<(Target, Prototype)>> {
        // What the engine has no target for, it refuses itself.
        let targets = targets(hook).ok()?;
        let may_miss = may_miss(hook);
        let mut found = Vec::new();
        // A 32-bit call that came along takes what its twin does.
        let alone = |target: &&Target| match target {
            Target::CompatSyscall(name) => !targets.contains(&Target::Syscall(name.clone())),
            _ => true,
        };
        for target in targets.iter().filter(alone).cloned() {
            match kernel.prototype(&target) {
                Ok(prototype) => found.push((target, prototype)),
                Err(ProbeError::NoPrototype(_)) if may_miss => {}
                Err(error) => {
                    let auto = auto(hook);
                    let (at, field) = auto.clone().unwrap_or((hook.at, String::new()));
                    let allowed = auto.is_some().then(|| "the type, written out".to_owned());
                    self.refuse(at, &field, Refused { message: error.to_string(), allowed });
                    return None;
                }
            }
        }
        Some(found)
    }

    /// The type of an argument, checked where the kernel knows better.
    fn argument(
        &mut self,
        argument: &Argument,
        field: &str,
        prototypes: &[(Target, Prototype)],
    ) -> ArgumentType {
        let kinds =
            prototypes.iter().map(|(target, prototype)| (target, kind_of(target, prototype, argument)));
        agreed(kinds).unwrap_or_else(|refused| {
            self.refuse(argument.at, field, refused);
            argument.kind
        })
    }

    /// The way that an argument's path is, and what it leads to.
    fn way(
        &mut self,
        argument: &mut Argument,
        field: &str,
        prototypes: &[(Target, Prototype)],
        kernel: &mut dyn Kernel,
    ) {
        let Some(path) = &argument.path else { return };
        let of_call = argument.source == Source::Call && path.start.is_none();
        let mut asked: Vec<_> =
            prototypes.iter().map(|(target, prototype)| (Some(target), prototype)).collect();
        if !of_call {
            asked.truncate(0);
        }
        let found = match asked.as_slice() {
            [] => ways::follow(argument, path, None, kernel),
            [(_, first), rest @ ..] => {
                let found = ways::follow(argument, path, Some(first), kernel);
                let differs = |(_, other): &&(Option<&Target>, &Prototype)| {
                    ways::follow(argument, path, Some(other), kernel) != found
                };
                match rest.iter().find(differs) {
                    Some((Some(other), _)) if found.is_ok() => Err(Refused {
                        message: format!("the path leads to something else in {other}"),
                        allowed: Some("a hook for each function".to_owned()),
                    }),
                    _ => found,
                }
            }
        };
        match found {
            Ok((kind, chain)) => {
                argument.kind = kind;
                if let Some(path) = &mut argument.path {
                    path.chain = Some(chain);
                }
            }
            Err(refused) => self.refuse(argument.at, &format!("{field}.resolve"), refused),
        }
    }

    /// A task or registers without a path: an address, and no more.
    fn pointer(&mut self, argument: &Argument, field: &str) {
        let is_address = matches!(argument.kind, ArgumentType::Integer(_) | ArgumentType::Nop);
        if !is_address {
            let message =
                format!("the source is a pointer, which can't be read as {}", argument.kind.as_str());
            let allowed = Some("resolve with the path to a member; uint64 for the address".to_owned());
            self.refuse(argument.at, field, Refused { message, allowed });
        }
    }

    /// Filters that waited for the type, and actions that need a certain one.
    fn filters(&mut self, hook: &mut Hook) {
        let kinds = |arguments: &[Argument]| arguments.iter().map(|one| one.kind).collect::<Vec<_>>();
        let (kinds, data) = (kinds(&hook.arguments), kinds(&hook.data));
        let kind_of = |slot: ArgumentSlot| kinds.get(usize::from(slot.0)).copied();
        let kind_of_data = |slot: ArgumentSlot| data.get(usize::from(slot.0)).copied();
        let return_kind = hook.return_value.as_ref().map(|value| value.kind);
        for (number, selector) in hook.selectors.iter_mut().enumerate() {
            let path = format!("selectors[{number}]");
            for (place, filter) in selector.arguments.iter_mut().enumerate() {
                let path = format!("{path}.matchArgs[{place}]");
                self.several(&kind_of, filter.at, &mut filter.condition, &path);
                self.condition(kind_of(filter.argument), filter.at, &mut filter.condition, &path);
            }
            for (place, filter) in selector.data.iter_mut().enumerate() {
                let path = format!("{path}.matchData[{place}]");
                self.several(&kind_of_data, filter.at, &mut filter.condition, &path);
                self.condition(kind_of_data(filter.argument), filter.at, &mut filter.condition, &path);
            }
            for (place, filter) in selector.return_values.iter_mut().enumerate() {
                let path = format!("{path}.matchReturnArgs[{place}]");
                self.condition(return_kind, filter.at, &mut filter.condition, &path);
            }
            for (key, actions) in
                [("matchActions", &selector.actions), ("matchReturnActions", &selector.return_actions)]
            {
                for (place, action) in actions.iter().enumerate() {
                    if let Some(refused) = misfit(action, &kind_of) {
                        self.refuse(action.at, &format!("{path}.{key}[{place}]"), refused);
                    }
                }
            }
        }
    }

    fn condition(&mut self, kind: Option<ArgumentType>, at: Position, condition: &mut Condition, path: &str) {
        let Condition::Deferred(operator, values) = condition else { return };
        let Some(kind) = kind.filter(|kind| *kind != ArgumentType::Auto) else { return };
        match check::condition(kind, &Located { at, value: *operator }, values) {
            Ok(known) => *condition = known,
            Err(wrong) => {
                let of_type = format!("; the argument is of type {}", kind.as_str());
                self.wrong(wrong, path, &of_type);
            }
        }
    }

    /// The same of an operator that is about several arguments.
    fn several(
        &mut self,
        kind_of: &dyn Fn(ArgumentSlot) -> Option<ArgumentType>,
        at: Position,
        condition: &mut Condition,
        path: &str,
    ) {
        let Condition::DeferredSeveral { operator, arguments, values } = condition else { return };
        let kinds = arguments.iter().map(|slot| Some((*slot, kind_of(*slot)?))).collect::<Option<Vec<_>>>();
        let Some(kinds) = kinds else { return };
        match check::several(&kinds, &Located { at, value: *operator }, values) {
            Ok(known) => *condition = known,
            Err(wrong) => self.wrong(wrong, path, ""),
        }
    }

    fn wrong(&mut self, wrong: Vec<Wrong>, path: &str, more: &str) {
        self.faults.extend(wrong.into_iter().map(|wrong| {
            let Wrong { value, at, class, message, allowed } = wrong;
            let field = value.map_or("operator".to_owned(), |value| format!("values[{value}]"));
            let message = format!("{message}{more}");
            Fault { class, at, path: format!("{}.{path}.{field}", self.path), message, allowed }
        }));
    }

    fn refuse(&mut self, at: Position, field: &str, refused: Refused) {
        let dot = if field.is_empty() { "" } else { "." };
        let path = format!("{}{dot}{field}", self.path);
        let Refused { message, allowed } = refused;
        self.faults.push(Fault { class: Class::Invalid, at, path, message, allowed });
    }
}

/// The first type that the policy leaves to the kernel: where it stands.
fn auto(hook: &Hook) -> Option<(Position, String)> {
    let argument = items(hook).find(|(_, argument)| argument.kind == ArgumentType::Auto);
    let argument = argument.map(|(field, argument)| (argument.at, format!("{field}.type")));
    let returned = hook.return_value.as_ref().filter(|value| value.kind == ArgumentType::Auto);
    argument.or_else(|| returned.map(|value| (value.at, "returnArg.type".to_owned())))
}

/// Everything that a hook reads, and where it stands.
fn items(hook: &Hook) -> impl Iterator<Item = (String, &Argument)> {
    let of = |key: &'static str, arguments: &'_ [Argument]| {
        (0..arguments.len()).map(move |place| format!("{key}[{place}]")).collect::<Vec<_>>()
    };
    let fields = of("args", &hook.arguments).into_iter().chain(of("data", &hook.data));
    fields.zip(hook.read())
}

/// Whether there is something in a hook that only the kernel knows.
fn asks(hook: &Hook) -> bool {
    let leads = |argument: &Argument| argument.path.is_some() || argument.source != Source::Call;
    asks_prototypes(hook) || hook.read().any(leads)
}

/// Whether the hook can do without its functions.
fn may_miss(hook: &Hook) -> bool {
    matches!(&hook.point, Point::Functions(functions) if functions.ignore_missing)
}

/// Whether that is what its functions take.
fn asks_prototypes(hook: &Hook) -> bool {
    let of_tracepoint = !hook.of_function();
    // A module that isn't loaded has no types: it is looked first whether there is such a function.
    let of_module = |argument: &Argument| argument.path.as_ref().is_some_and(|path| path.module.is_some());
    if may_miss(hook) && hook.read().any(of_module) {
        return true;
    }
    let asks = |argument: &Argument| match (&argument.path, argument.source) {
        (_, Source::CurrentTask | Source::Registers) => false,
        (Some(path), Source::Call) => path.start.is_none(),
        (None, Source::Call) => of_tracepoint || argument.kind == ArgumentType::Auto,
    };
    let returned = hook.return_value.as_ref();
    hook.read().any(asks) || returned.is_some_and(|value| value.kind == ArgumentType::Auto)
}

/// Why an action can't do with the arguments that it names.
fn misfit(action: &Action, kind_of: &dyn Fn(ArgumentSlot) -> Option<ArgumentType>) -> Option<Refused> {
    let descriptors: &[ArgumentSlot] = match action {
        Action::FollowFd { fd, .. } | Action::UnfollowFd { fd } => &[*fd],
        Action::CopyFd { from, to } => &[*from, *to],
        Action::Post(_)
        | Action::NoPost
        | Action::Sigkill
        | Action::Signal(_)
        | Action::Override { .. }
        | Action::Set { .. }
        | Action::TrackSock { .. }
        | Action::UntrackSock { .. }
        | Action::Mark { .. }
        | Action::Unmark { .. }
        | Action::NotifyEnforcer { .. }
        | Action::CleanupEnforcerNotification
        | Action::Enforce
        | Action::CallOut(_)
        | Action::ImaHash => &[],
    };
    let wrong = |slot: &ArgumentSlot| kind_of(*slot).filter(|kind| !kind.is_descriptor());
    if let Some(kind) = descriptors.iter().find_map(wrong) {
        let message = format!("the argument is of type {}, and no descriptor", kind.as_str());
        return Some(Refused { message, allowed: Some("an argument of type int or fd".to_owned()) });
    }
    if let Action::TrackSock { socket } | Action::UntrackSock { socket } = action {
        let kind = kind_of(*socket).filter(|kind| !kind.is_socket())?;
        let message = format!("the argument is of type {}, and no socket", kind.as_str());
        return Some(Refused { message, allowed: Some(SOCKETS.to_owned()) });
    }
    let Action::FollowFd { name, .. } = action else { return None };
    let kind = kind_of(*name).filter(|kind| !kind.names_file())?;
    let message = format!("the argument is of type {}, and no file", kind.as_str());
    Some(Refused { message, allowed: Some("an argument of type file".to_owned()) })
}

// === impl Unresolved ===

impl fmt::Display for Unresolved {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            write!(formatter, "{}{fault}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Unresolved {}
