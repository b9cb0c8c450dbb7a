//! Where a policy looks: the places in the kernel, and what it takes there.

use std::{fmt, sync::Arc};

use super::{
    Position,
    actions::Action,
    arguments::{Argument, ArgumentType},
    selectors::Selector,
};

/// A hook: one item of `kprobes`, `fentries` or `tracepoints`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Where it begins.
    pub at: Position,
    /// The places in the kernel.
    pub point: Point,
    /// `message`
    pub message: Option<String>,
    /// `tags`
    pub tags: Vec<String>,
    /// `args`
    pub arguments: Vec<Argument>,
    /// `returnArg`, only where `return` is true: the event waits for the return and carries its value.
    pub return_value: Option<ReturnValue>,
    /// `selectors`: the first that matches decides. Empty: every call is posted.
    pub selectors: Vec<Selector>,
}

/// Places in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Point {
    /// Of `kprobes` and `fentries`: functions.
    Functions(Functions),
    /// Of `tracepoints`: a tracepoint, its arguments being the fields of its record.
    Tracepoint(Tracepoint),
    /// Of `tracepoints` with `raw: true`: the same, its arguments being those that the kernel passes.
    RawTracepoint(Tracepoint),
    /// Of `lsmhooks`: a hook of the security modules, by its name in the kernel.
    Lsm(String),
}

/// Functions of the kernel that one hook watches alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Functions {
    /// The section it stands in.
    pub section: FunctionSection,
    /// The list that `call` names, by its place in the policy's lists.
    pub list: Option<usize>,
    /// The functions: one, or those of the list.
    pub functions: Arc<[Function]>,
    /// `ignore.callNotFound`: a function that this kernel doesn't have is left out.
    pub ignore_missing: bool,
}

/// A section of functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionSection {
    /// `kprobes`
    Kprobes,
    /// `fentries`
    Fentries,
    /// `enforcers`
    Enforcers,
}

/// A function of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Function {
    /// A system call. Its arguments are those of user space.
    Syscall {
        /// The name without `sys_`: `openat`.
        name: String,
        /// Whose call.
        abi: Abi,
    },
    /// Any other, by its symbol.
    Symbol(String),
}

/// Who calls a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Abi {
    /// A program of the machine's own architecture: `sys_read`.
    Native,
    /// `__x64_sys_read`
    X64,
    /// `__ia32_sys_read`: a 32-bit program on x86-64.
    Ia32,
    /// `__arm64_sys_read`
    Arm64,
}

/// A tracepoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tracepoint {
    /// `subsystem`: `sched`.
    pub subsystem: String,
    /// `event`: `sched_process_exec`.
    pub event: String,
}

/// What a function returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnValue {
    /// Where it stands.
    pub at: Position,
    /// What it is.
    pub kind: ArgumentType,
    /// `label`
    pub label: Option<String>,
}

/// An item of `spec.lists`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Where it begins.
    pub at: Position,
    /// `name`
    pub name: String,
    /// `values`: one at least.
    pub functions: Arc<[Function]>,
}

// === impl Hook ===

impl Hook {
    /// Whether it decides what its function returns.
    pub fn denies(&self) -> bool {
        let overrides = |action: &Action| matches!(action, Action::Override { .. });
        self.selectors.iter().any(|selector| selector.all_actions().any(overrides))
    }

    /// Whether it tells hashes of files.
    pub fn hashes(&self) -> bool {
        self.selectors.iter().any(|selector| selector.all_actions().any(|action| *action == Action::ImaHash))
    }

    /// Whether it is an enforcer's.
    pub fn is_enforcer(&self) -> bool {
        matches!(&self.point, Point::Functions(functions) if functions.section == FunctionSection::Enforcers)
    }

    /// Whether its arguments are those of a function.
    pub fn of_function(&self) -> bool {
        matches!(self.point, Point::Functions(_) | Point::Lsm(_))
    }

    /// Whether the hook needs the function's return.
    pub fn at_return(&self) -> bool {
        self.return_value.is_some() || self.arguments.iter().any(|argument| argument.copy_at_return)
    }
}

// === impl Function ===

impl fmt::Display for Function {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Symbol(name) => formatter.write_str(name),
            Self::Syscall { name, abi } => write!(formatter, "{}{name}", abi.prefix()),
        }
    }
}

// === impl Abi ===

impl Abi {
    /// What stands before a call's name.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Native => "sys_",
            Self::X64 => "__x64_sys_",
            Self::Ia32 => "__ia32_sys_",
            Self::Arm64 => "__arm64_sys_",
        }
    }
}

// === impl Point ===

impl Point {
    /// How many places it is.
    pub fn count(&self) -> usize {
        match self {
            Self::Functions(functions) => functions.functions.len(),
            Self::Tracepoint(_) | Self::RawTracepoint(_) | Self::Lsm(_) => 1,
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tracepoint(point) | Self::RawTracepoint(point) => {
                write!(formatter, "{}/{}", point.subsystem, point.event)
            }
            Self::Lsm(hook) => formatter.write_str(hook),
            Self::Functions(Functions { functions, .. }) => match &**functions {
                [only] => only.fmt(formatter),
                [first, rest @ ..] => write!(formatter, "{first} and {} more", rest.len()),
                [] => formatter.write_str("no function"),
            },
        }
    }
}
