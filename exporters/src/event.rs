//! What leaves the agent: one event, the process it is about, and what surrounds that process.
//!
//! Everything here is immutable once built and shared by reference count, so that every way out sees the same
//! facts and none copies them.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use bitflags::bitflags;

use crate::identity::{ExecId, Trace};

mod action;
mod descriptor;
mod hook;
mod image;
mod message;
mod object;
mod operation;
mod pod;
mod severity;
mod stack;
#[cfg(test)]
mod tests;
mod value;

pub use self::{
    action::Action,
    descriptor::{Descriptor, DescriptorEnd},
    hook::{ArgumentSpec, Hook, HookKind, HookSource, PathRef, Policy},
    image::{FileFacts, Gains, Image},
    message::{Template, TemplateError},
    object::{
        Address, CapabilitySet, Ends, Map, Module, Object, Packet, PerfEvent, Program, Socket, UserNamespace,
        address,
    },
    operation::Operation,
    pod::{Place, PlaceCell, PlaceNow, Pod, PodContainer, Service, Workload},
    severity::Severity,
    stack::{Frame, Stacks},
    value::{File, Value},
};

/// A moment, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

/// One thing that happened.
#[derive(Clone, Debug)]
pub struct Event {
    /// When it happened, by the kernel's clock.
    pub time: Timestamp,
    /// When the agent read it.
    pub observed: Timestamp,
    /// Who did it; nobody (all zeros) where it is about no process, see [`Kind::RateLimit`].
    pub process: Arc<Process>,
    /// The execution that started `process`, where it is known.
    pub parent: Option<Arc<Process>>,
    /// What it was.
    pub kind: Kind,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Kind {
    /// The process began to execute an image.
    Exec(Exec),
    /// The process (its last thread) ended.
    Exit(Exit),
    /// The process made a call, or passed a point, that a policy asks for.
    Hook(Hook),
    /// The process mapped a file to execute what is in it.
    Loader(Box<Loader>),
    /// The process began to execute another image, of which a policy will have nothing told: this execution ended.
    Replaced,
    /// A file that a policy follows is no longer held.
    Descriptor(Box<Descriptor>),
    /// A way out reached its rate limit and dropped so many events. It is about no process, and for that way out alone.
    RateLimit(u64),
}

/// A file was mapped to be executed: a program, the library that loads it, or one that it needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loader {
    /// The file's path; bytes that were not UTF-8 are written as `\xNN`.
    pub path: Box<str>,
    /// What the linker wrote into the file to tell it from all others; empty where it wrote nothing.
    pub build_id: Box<[u8]>,
}

/// An execution began.
#[derive(Clone, Debug, Default)]
pub struct Exec {
    /// The execution that this one replaced, where the same process had executed an image before: it ended now.
    pub replaced: Option<Replaced>,
    /// The workload, or the host, had not executed this binary before, as far as the agent remembers.
    pub first_seen: bool,
}

/// An execution that ended because another took over its process.
#[derive(Clone, Debug)]
pub struct Replaced {
    /// The execution that ended.
    pub process: Arc<Process>,
    /// The execution that started it, where it is known.
    pub parent: Option<Arc<Process>>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// Exit status, 0 to 255; 0 where a signal ended the process.
    pub code: u8,
    /// Number of the signal that ended the process; 0 for none.
    pub signal: u8,
    /// The kernel wrote a core dump.
    pub core_dumped: bool,
    /// CPU time of all its threads in user mode.
    pub user_time: Duration,
    /// CPU time of all its threads in the kernel.
    pub system_time: Duration,
}

/// The names that metrics and filters use for the kinds of event; Tetragon's where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// A process began to execute an image.
    ProcessExec,
    /// A process ended.
    ProcessExit,
    /// A process called a function that a policy hooks.
    ProcessKprobe,
    /// A process passed a tracepoint that a policy hooks.
    ProcessTracepoint,
    /// A followed descriptor was closed: a span, which Tetragon has no event for.
    TrigonDescriptor,
    /// A way out dropped events.
    RateLimitInfo,
    /// A process came to a place of a program that a policy hooks.
    ProcessUprobe,
    /// A process passed a USDT probe that a policy hooks.
    ProcessUsdt,
    /// A process mapped a file to execute what is in it.
    ProcessLoader,
    /// A process did what a policy hooks among the security modules.
    ProcessLsm,
}

/// One execution of an image by a process; or a process that was forked and executes its parent's image.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// This execution.
    pub exec_id: ExecId,
    /// The execution that started it; none for the kernel's own first processes.
    pub parent_exec_id: Option<ExecId>,
    /// Trace, span and parent span.
    pub trace: Trace,
    /// When the execution began: the exec, or the start of a process that was seen later or only forked.
    pub start: Timestamp,
    /// Process id of the parent when this execution began; 0 where there is none.
    pub parent_pid: u32,
    /// Id of the thread that called exec, which may not have been the leader.
    pub tid: u32,
    /// Process id in the process's own PID namespace.
    pub vpid: u32,
    /// Process id of the session leader.
    pub session: u32,
    /// Process id of the process group's leader.
    pub group: u32,
    /// Login uid (audit); `u32::MAX` where unset.
    pub auid: u32,
    /// What the execution is and how it was seen.
    pub flags: ProcessFlags,
    /// Ids by which the kernel judges what the process may do.
    pub credentials: Credentials,
    /// Inode of each namespace.
    pub namespaces: Namespaces,
    /// The cgroup it was in.
    pub cgroup: Arc<Cgroup>,
    /// What it executes.
    pub image: Arc<Image>,
}

bitflags! {
    /// What an execution is and how it was seen. JSON uses Tetragon's names for those that Tetragon has.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct ProcessFlags: u32 {
        /// Seen at its exec.
        const EXECVE = 1 << 0;
        /// Was there before the agent; read from /proc.
        const PROCFS = 1 << 1;
        /// Forked and not (yet) executed anything of its own.
        const CLONE = 1 << 2;
        /// More arguments, or longer ones, than the limits allow.
        const TRUNC_ARGS = 1 << 3;
        /// The arguments could not be read.
        const ERROR_ARGS = 1 << 4;
        /// The environment could not be read.
        const ERROR_ENVS = 1 << 5;
        /// The path of the binary is longer or deeper than the limits allow; its beginning is missing.
        const TRUNC_FILENAME = 1 << 6;
        /// The path of the working directory is cut likewise.
        const TRUNC_CWD = 1 << 7;
        /// The working directory is the root.
        const ROOT_CWD = 1 << 8;
        /// A thread of the kernel.
        const KERNEL_THREAD = 1 << 9;
        /// Has a controlling terminal.
        const TTY = 1 << 10;
        /// Its start was missed: all that is known is what a later record told.
        const MISS = 1 << 11;
        /// Some text was not UTF-8 and is shown with `\xNN` for the bytes that were not.
        const ESCAPED_TEXT = 1 << 12;
        /// A variable that is collected is missing, or its end is: there were more of them than fit.
        const TRUNC_ENVS = 1 << 13;
        /// A policy will have it known, and not told.
        const UNTOLD = 1 << 14;
    }
}

/// User, group and capability sets of a task (`struct cred`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Real user id.
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Saved user id.
    pub suid: u32,
    /// Saved group id.
    pub sgid: u32,
    /// User id for file access.
    pub fsuid: u32,
    /// Group id for file access.
    pub fsgid: u32,
    /// `SECBIT_*` flags.
    pub securebits: u32,
    /// Permitted capabilities, one bit each.
    pub permitted: u64,
    /// Effective capabilities.
    pub effective: u64,
    /// Inheritable capabilities.
    pub inheritable: u64,
}

/// Inode number of each namespace a process is in; 0 where the kernel has none of that kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the kernel's own, see namespaces(7)")]
pub struct Namespaces {
    pub uts: u32,
    pub ipc: u32,
    pub mnt: u32,
    pub pid: u32,
    pub pid_for_children: u32,
    pub net: u32,
    pub time: u32,
    pub time_for_children: u32,
    pub cgroup: u32,
    pub user: u32,
}

/// A cgroup, shared by all processes in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cgroup {
    /// Inode of its directory.
    pub id: u64,
    /// Path from the root of its hierarchy, without a leading slash; empty for the root.
    pub path: String,
    /// The container that it belongs to.
    pub container: Option<Arc<Container>>,
    /// The pod that it is of, once that is known.
    pub place: PlaceCell,
}

/// A container, as far as the name of its cgroup tells.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Container {
    /// The runtime's id, 64 hexadecimal digits as a rule.
    pub id: String,
    /// The runtime that names cgroups this way, where the name tells: `containerd`, `cri-o`, `docker`, `podman`.
    pub runtime: Option<&'static str>,
}

// === impl Event ===

impl Event {
    /// Tells that a way out dropped so many events.
    pub fn rate_limit(time: Timestamp, dropped: u64) -> Self {
        static NOBODY: LazyLock<Arc<Process>> = LazyLock::new(Arc::default);
        Self {
            time,
            observed: time,
            process: Arc::clone(&NOBODY),
            parent: None,
            kind: Kind::RateLimit(dropped),
        }
    }

    /// The name that metrics and filters use for what happened.
    pub fn event_type(&self) -> EventType {
        match &self.kind {
            Kind::Exec(_) => EventType::ProcessExec,
            Kind::Exit(_) | Kind::Replaced => EventType::ProcessExit,
            Kind::Hook(hook) => hook.event_type(),
            Kind::Loader(_) => EventType::ProcessLoader,
            Kind::Descriptor(_) => EventType::TrigonDescriptor,
            Kind::RateLimit(_) => EventType::RateLimitInfo,
        }
    }

    /// Whether it has a record of its own, and is not only the end of a span.
    pub fn has_record(&self) -> bool {
        !matches!(self.kind, Kind::Descriptor(_) | Kind::Replaced)
    }

    /// Whether there would be no such event without a policy: what gives way where not everything has room.
    pub fn is_of_policy(&self) -> bool {
        matches!(self.kind, Kind::Hook(_) | Kind::Loader(_) | Kind::Descriptor(_))
    }
}

// === impl EventType ===

impl EventType {
    /// Every type, in the order of [`Self::index`].
    pub const ALL: [Self; 10] = [
        Self::ProcessExec,
        Self::ProcessExit,
        Self::ProcessKprobe,
        Self::ProcessTracepoint,
        Self::TrigonDescriptor,
        Self::RateLimitInfo,
        Self::ProcessUprobe,
        Self::ProcessUsdt,
        Self::ProcessLoader,
        Self::ProcessLsm,
    ];

    /// Its place in [`Self::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// Tetragon's name, or ours where it has none.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProcessExec => "PROCESS_EXEC",
            Self::ProcessExit => "PROCESS_EXIT",
            Self::ProcessKprobe => "PROCESS_KPROBE",
            Self::ProcessTracepoint => "PROCESS_TRACEPOINT",
            Self::TrigonDescriptor => "TRIGON_DESCRIPTOR",
            Self::RateLimitInfo => "RATE_LIMIT_INFO",
            Self::ProcessLsm => "PROCESS_LSM",
            Self::ProcessUprobe => "PROCESS_UPROBE",
            Self::ProcessUsdt => "PROCESS_USDT",
            Self::ProcessLoader => "PROCESS_LOADER",
        }
    }
}

// === impl Process ===

impl Process {
    /// Process id in the initial PID namespace.
    pub fn pid(&self) -> u32 {
        self.exec_id.pid
    }

    /// The container that the process runs in.
    pub fn container(&self) -> Option<&Arc<Container>> {
        self.cgroup.container.as_ref()
    }

    /// The pod that the process runs in, and the container in it, as far as they are known now.
    pub fn place(&self) -> PlaceNow {
        self.cgroup.place.get()
    }
}
