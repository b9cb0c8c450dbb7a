//! Where a policy looks: the places in the kernel, and what it takes there.

use std::{fmt, sync::Arc};

use trigon_exporters::event::{Severity, Template};
use trigon_probes::hooks::UserPlace;

use super::{
    Located, Position,
    actions::{Action, ReturnAction},
    arguments::{Argument, ArgumentType, Source},
    selectors::Selector,
};

/// A hook: one item of `kprobes`, `fentries`, `tracepoints`, `uprobes` or `usdts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Where it begins.
    pub at: Position,
    /// The places in the kernel.
    pub point: Point,
    /// `message`
    pub message: Option<String>,
    /// `messageTemplate`, of `trigon.io`: a message with places for what is known of each event.
    pub template: Option<Template>,
    /// `severity`, of `trigon.io`: how grave its events are.
    pub severity: Option<Severity>,
    /// `tags`
    pub tags: Vec<String>,
    /// `args`
    pub arguments: Vec<Argument>,
    /// `data`: what is read beside the arguments.
    pub data: Vec<Argument>,
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
    /// `process`: executions; its arguments are the first of what the process is started with.
    Process,
    /// Of `lsmhooks`: a hook of the security modules, by its name in the kernel.
    Lsm(String),
    /// Of `uprobes`: places in the code of a program or a library.
    Program(Program),
    /// Of `usdts`: a probe that the author of a program put into it.
    Usdt(Usdt),
}

/// Places in the code of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// `path`, in the agent's mount namespace.
    pub path: Arc<str>,
    /// `symbols`, `offsets` or `addrs`, each with its `refCtrOffsets`: one at least.
    pub places: Vec<Located<ProgramPlace>>,
    /// `binaryDigests`: the file must have one of these. None: any file will do.
    pub digests: Vec<Located<BinaryDigest>>,
    /// `ignore.digestVerificationFailure`: a file that has none is only warned of.
    pub ignore_digests: bool,
    /// What the file has at these places; empty before the policy is loaded.
    pub found: Vec<UserPlace>,
}

/// A place in the code of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramPlace {
    /// Where it is.
    pub place: CodePlace,
    /// `refCtrOffsets`: where in the file a counter is of those who look; 0 for none.
    pub counter: u64,
}

/// How a place in a file's code is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodePlace {
    /// `symbols`: the start of a function.
    Symbol(Arc<str>),
    /// `offsets`: so many bytes from the file's start.
    Offset(u64),
    /// `addrs`: the address that the file itself gives it.
    Address(u64),
}

/// What tells that a file is the one that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BinaryDigest {
    /// Of what.
    pub kind: DigestKind,
    /// The digest.
    pub bytes: Box<[u8]>,
}

/// What a digest is made of, or by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DigestKind {
    /// `sha1` of the file.
    Sha1,
    /// `sha256` of the file.
    Sha256,
    /// `sha384` of the file.
    Sha384,
    /// `sha512` of the file.
    Sha512,
    /// `build-id`: what the linker wrote into the file.
    BuildId,
}

/// A USDT probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usdt {
    /// `path`, in the agent's mount namespace.
    pub path: Arc<str>,
    /// `provider`
    pub provider: Arc<str>,
    /// `name`
    pub name: Arc<str>,
    /// Its places in the file; empty before the policy is loaded.
    pub found: Vec<UserPlace>,
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
    /// `returnArgAction`
    pub action: Option<ReturnAction>,
}

/// An item of `spec.lists`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Where it begins.
    pub at: Position,
    /// `name`
    pub name: String,
    /// `values`: one at least. Of a generated list none before the kernel was asked.
    pub functions: Arc<[Function]>,
    /// Where they come from, if the policy doesn't name them.
    pub generated: Option<Generated>,
}

/// What a generated list has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Generated {
    /// `generated_syscalls`: all system calls of the kernel.
    Syscalls,
    /// `generated_ftrace`: the functions that ftrace can trace and whose names have a match of this regular expression.
    Ftrace(String),
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

    /// Whether it tracks sockets.
    pub fn tracks(&self) -> bool {
        let tracks = |action: &Action| matches!(action, Action::TrackSock { .. });
        self.return_value.as_ref().is_some_and(|value| value.action == Some(ReturnAction::TrackSock))
            || self.selectors.iter().any(|selector| selector.all_actions().any(tracks))
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
        self.return_value.is_some() || self.read().any(|argument| argument.copy_at_return)
    }

    /// Whether the hook looks at registers.
    pub fn sees_registers(&self) -> bool {
        let sees = |argument: &Argument| argument.source == Source::Registers;
        !self.point.is_in_program() && self.read().any(sees)
    }

    /// Whether all that it reads is known. Of a function that wasn't there when the policy was loaded the kernel told
    /// nothing (`ignore.callNotFound`): it may have come since, with a module.
    pub fn is_resolved(&self) -> bool {
        let known = |argument: &Argument| {
            argument.kind != ArgumentType::Auto
                && argument.path.as_ref().is_none_or(|path| path.chain.is_some())
        };
        self.read().all(known) && self.return_value.as_ref().is_none_or(|one| one.kind != ArgumentType::Auto)
    }

    /// Everything that is read of a call: the arguments, then the further data.
    pub fn read(&self) -> impl Iterator<Item = &Argument> {
        self.arguments.iter().chain(&self.data)
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

// === impl CodePlace ===

impl fmt::Display for CodePlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Symbol(name) => formatter.write_str(name),
            Self::Offset(offset) => write!(formatter, "{offset:#x}"),
            Self::Address(address) => write!(formatter, "address {address:#x}"),
        }
    }
}

// === impl DigestKind ===

impl DigestKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512, Self::BuildId];

    /// The word that a policy uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
            Self::BuildId => "build-id",
        }
    }

    /// Bytes of such a digest; none where they differ.
    pub fn bytes(self) -> Option<usize> {
        match self {
            Self::Sha1 => Some(20),
            Self::Sha256 => Some(32),
            Self::Sha384 => Some(48),
            Self::Sha512 => Some(64),
            Self::BuildId => None,
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
    /// Whether it is in a program, and not in the kernel.
    pub fn is_in_program(&self) -> bool {
        matches!(self, Self::Program(_) | Self::Usdt(_))
    }

    /// What the file of a program has there, once the policy is loaded.
    pub fn found(&self) -> &[UserPlace] {
        match self {
            Self::Program(Program { found, .. }) | Self::Usdt(Usdt { found, .. }) => found,
            _ => &[],
        }
    }

    /// How many places it is.
    pub fn count(&self) -> usize {
        match self {
            Self::Functions(functions) => functions.functions.len(),
            Self::Tracepoint(_) | Self::RawTracepoint(_) | Self::Usdt(_) | Self::Lsm(_) | Self::Process => 1,
            Self::Program(program) => program.places.len(),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tracepoint(point) | Self::RawTracepoint(point) => {
                write!(formatter, "{}/{}", point.subsystem, point.event)
            }
            Self::Process => formatter.write_str("process"),
            Self::Lsm(hook) => formatter.write_str(hook),
            Self::Program(Program { path, places, .. }) => match places.as_slice() {
                [first, rest @ ..] => {
                    write!(formatter, "{path}:{}", first.place)?;
                    if rest.is_empty() { Ok(()) } else { write!(formatter, " and {} more", rest.len()) }
                }
                [] => formatter.write_str(path),
            },
            Self::Usdt(Usdt { path, provider, name, .. }) => write!(formatter, "{path}:{provider}:{name}"),
            Self::Functions(Functions { functions, .. }) => match &**functions {
                [only] => only.fmt(formatter),
                [first, rest @ ..] => write!(formatter, "{first} and {} more", rest.len()),
                [] => formatter.write_str("no function"),
            },
        }
    }
}
