//! What can go wrong between the agent and the kernel, and what to do about it.

use std::io;

use aya::{BtfError, EbpfError, maps::MapError, programs::ProgramError};

use crate::{btf, elf::ElfError};

/// A probe could not be loaded, attached or read.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Not privileged.
    #[error(
        "the kernel refuses to load eBPF programs: {0}. Run as root, or with CAP_BPF, CAP_PERFMON and CAP_SYS_RESOURCE"
    )]
    NotPermitted(io::Error),
    /// No BTF.
    #[error(
        "cannot read the kernel's type information (/sys/kernel/btf/vmlinux): {0}. \
         A kernel built with CONFIG_DEBUG_INFO_BTF=y is needed; distributions' kernels since 2021 are"
    )]
    NoBtf(BtfError),
    /// Too old.
    #[error("kernel {release} is too old: {needs} or newer is needed, for {reason}")]
    TooOld {
        /// The running kernel.
        release: String,
        /// The oldest that would do.
        needs: &'static str,
        /// What it lacks.
        reason: &'static str,
    },
    /// An object could not be loaded.
    #[error("cannot load the eBPF object `{object}`: {source}")]
    Object {
        /// Name of the object's source.
        object: &'static str,
        /// What aya said.
        source: EbpfError,
    },
    /// A program could not be loaded or attached in any way that was tried.
    #[error("cannot attach to {hook}: {tried}")]
    Attach {
        /// Name of the kernel's hook.
        hook: &'static str,
        /// Each program that was tried and why it failed.
        tried: String,
    },
    /// A program could not be used.
    #[error("cannot use the eBPF program `{program}`: {source}")]
    Program {
        /// Name of the program.
        program: &'static str,
        /// What aya said.
        source: ProgramError,
    },
    /// An object does not fit this kernel.
    #[error("cannot fit the eBPF object `{object}` to this kernel: {what}")]
    Relocate {
        /// Name of the object's source.
        object: &'static str,
        /// What does not fit.
        what: String,
    },
    /// The kernel refused a program.
    #[error("the kernel refuses the eBPF program `{program}`: {source}{}{log}", if log.is_empty() { "" } else { ": " })]
    Refused {
        /// Name of the program.
        program: &'static str,
        /// What the kernel said.
        source: io::Error,
        /// The end of what the verifier said.
        log: String,
    },
    /// No mechanism serves a hook.
    #[error("cannot hook {hook} on this kernel: {tried}")]
    Hook {
        /// The hook.
        hook: String,
        /// Each mechanism and what it said.
        tried: String,
    },
    /// No mechanism lets a hook decide what its function returns.
    #[error(
        "cannot prevent {hook} on this kernel: {tried}. A kernel with CONFIG_BPF_LSM and lsm=…,bpf on its command line \
         can, by lsmhooks{}",
        native.as_ref().map(|native| format!(". Where 64-bit programs alone shall be stopped, name {native}")).unwrap_or_default()
    )]
    Denial {
        /// The hook.
        hook: String,
        /// Each mechanism and what it said.
        tried: String,
        /// Of a system call of 32-bit programs: the function of the same call of others.
        native: Option<String>,
    },
    /// A process can't be changed at a place in its program.
    #[error(
        "cannot change the {what} of processes at {hook} on this kernel, as Set or Override would there: {tried}. Registers \
         take Linux 6.18 or later, memory one that is not locked down, and some hardened kernels allow neither: `trigon \
         doctor` tells. Without these actions the policy can be loaded"
    )]
    Change {
        /// The place.
        hook: String,
        /// What was to be changed.
        what: &'static str,
        /// Each mechanism and what it said.
        tried: String,
    },
    /// There is nothing that a function could be left by.
    #[error("Override: the file has no instruction near {0} that returns")]
    NoReturn(String),
    /// A function is not one that asks the security modules, or not with the arguments of their hook.
    #[error("no hook of the security modules is given what {0} is")]
    NoLsmHook(String),
    /// There is no file to make a hash of.
    #[error("imaHash: the first argument of {0} is no file, and no program that is executed")]
    NoFile(String),
    /// eBPF programs are no security modules here.
    #[error("this kernel doesn't ask eBPF programs: bpf is missing in lsm=… on its command line")]
    LsmNotAsked,
    /// The kernel has no such function.
    #[error("this kernel has no {0}")]
    NoFunction(String),
    /// Nor its modules.
    #[error("neither this kernel nor a module that is loaded tells of a function {0}")]
    NoFunctionType(String),
    /// The kernel has no kprobes.
    #[error("this kernel has no kprobes (/sys/bus/event_source/devices/kprobe): {0}")]
    NoKprobes(io::Error),
    /// Executions can't be filtered.
    #[error(
        "executions can't be filtered where the kernel refuses BTF tracepoints, or they were not to be used"
    )]
    NoExecFilter,
    /// The kernel's type information can't be understood.
    #[error("cannot understand the kernel's type information (/sys/kernel/btf/vmlinux): {0}")]
    Types(btf::Malformed),
    /// The kernel doesn't tell what a function takes.
    #[error("neither this kernel nor a module that is loaded tells what {0} takes")]
    NoPrototype(String),
    /// A tracepoint has no such field.
    #[error("{0} has no field or argument {1} that programs can see")]
    NoField(String, u8),
    /// A function can't be seen from elsewhere.
    #[error("nothing else tells of {0}")]
    NoEquivalent(String),
    /// A file can't be hooked.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// A file isn't the one that the policy was loaded for.
    #[error("{0} has become another file since the policy was read; load the policy again")]
    Replaced(String),
    /// No room.
    #[error("no room for more {0}")]
    Full(&'static str),
    /// A map could not be used.
    #[error("cannot use the eBPF map `{map}`: {source}")]
    Map {
        /// Name of the map.
        map: &'static str,
        /// What aya said.
        source: MapError,
    },
    /// The run time of programs is not measured.
    #[error(
        "the kernel refuses to measure how long eBPF programs run (BPF_ENABLE_STATS): {0}. It takes CAP_SYS_ADMIN; \
         or that somebody who has it sets sysctl kernel.bpf_stats_enabled=1"
    )]
    RunTimes(io::Error),
    /// The embedded object lacks something that the code expects: a build that went wrong.
    #[error("the embedded eBPF object has no `{0}`; build Trigon anew")]
    Missing(&'static str),
    /// A system call failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}
