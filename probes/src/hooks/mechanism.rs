//! The ways to enter a hook, and in which order they are tried.

use std::io;

use super::Target;
use crate::ProbeError;

/// How a hook is entered, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// fentry and fexit.
    Trampoline,
    /// kprobe.multi.
    KprobeMulti,
    /// kprobe and kretprobe.
    Kprobe,
    /// The tracepoints that every system call passes.
    Syscalls,
    /// Seen from a system call, or another event, that is sure to pass the function. To observe, never to deny.
    Equivalent,
    /// The tracepoint itself.
    Tracepoint,
    /// The tracepoint itself, raw.
    RawTracepoint,
    /// As a security module. It can deny.
    Lsm,
    /// fmod_ret, before the function. It can deny.
    FmodRet,
    /// A kprobe that has the function return. It can deny.
    OverrideReturn,
    /// uprobe.multi.
    UprobeMulti,
    /// uprobe and uretprobe.
    Uprobe,
    /// Before the lifecycle's program writes the record of an exec.
    Execution,
}

/// Which mechanisms may serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The best that there is.
    Best,
    /// The best but kprobe.multi and uprobe.multi: `disable-kprobe-multi`, `disable-uprobe-multi`.
    NotMulti,
    /// The best of those that see the function's registers.
    Registers,
    /// This one.
    Only(Mechanism),
    /// For one of very many functions: first what takes no program of its own for each.
    Many,
}

// === impl Choice ===

impl Choice {
    /// The mechanisms for a target, in the order in which they are tried.
    pub(super) fn ladder(self, target: &Target) -> Vec<Mechanism> {
        let all = Mechanism::ladder(target).iter().copied();
        let mut allowed: Vec<_> = all.filter(|one| self.allows(*one)).collect();
        if self == Self::Many {
            // Stable: within each half the best comes first.
            allowed.sort_by_key(|one| !one.is_seen() || *one == Mechanism::Equivalent);
        }
        allowed
    }

    pub(crate) fn allows(self, mechanism: Mechanism) -> bool {
        match self {
            Self::Best | Self::Many => true,
            Self::NotMulti => !matches!(mechanism, Mechanism::KprobeMulti | Mechanism::UprobeMulti),
            Self::Registers => matches!(mechanism, Mechanism::KprobeMulti | Mechanism::Kprobe),
            Self::Only(only) => mechanism == only,
        }
    }
}

// === impl Mechanism ===

impl Mechanism {
    /// Those that can serve a target, best first.
    pub fn ladder(target: &Target) -> &'static [Self] {
        use Mechanism::{
            Equivalent, Execution, Kprobe, KprobeMulti, Lsm, RawTracepoint, Syscalls, Tracepoint, Trampoline,
            Uprobe, UprobeMulti,
        };
        match target {
            Target::Function(_) => &[Trampoline, KprobeMulti, Kprobe, Equivalent],
            Target::Syscall(_) | Target::CompatSyscall(_) => &[Trampoline, KprobeMulti, Kprobe, Syscalls],
            Target::Tracepoint { .. } => &[Tracepoint],
            Target::RawTracepoint { .. } => &[RawTracepoint],
            Target::Execution => &[Execution],
            Target::User(_) => &[UprobeMulti, Uprobe],
            // What the function sees that asks the security modules.
            Target::Lsm(_) => &[Lsm, Trampoline, KprobeMulti, Kprobe, Equivalent],
        }
    }

    /// Those that can decide what a target returns, best first.
    ///
    /// The kernel leaves a fmod_ret program out where it interrupts itself, and never a security module. But that one
    /// is asked last: what another module has refused it doesn't see.
    pub fn denials(target: &Target) -> &'static [Self] {
        use Mechanism::{FmodRet, Lsm, OverrideReturn, Uprobe, UprobeMulti};
        match target {
            Target::Function(_) => &[FmodRet, OverrideReturn, Lsm],
            Target::Syscall(_) | Target::CompatSyscall(_) => &[FmodRet, OverrideReturn],
            Target::Lsm(_) => &[Lsm, FmodRet],
            Target::User(_) => &[UprobeMulti, Uprobe],
            Target::Tracepoint { .. } | Target::RawTracepoint { .. } | Target::Execution => &[],
        }
    }

    /// The name that people read.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trampoline => "fentry",
            Self::KprobeMulti => "kprobe.multi",
            Self::Kprobe => "kprobe",
            Self::Syscalls => "tp_btf/sys_enter",
            Self::Equivalent => "equivalent",
            Self::Tracepoint => "tracepoint",
            Self::RawTracepoint => "raw_tp",
            Self::Lsm => "lsm",
            Self::FmodRet => "fmod_ret",
            Self::OverrideReturn => "kprobe/override_return",
            Self::UprobeMulti => "uprobe.multi",
            Self::Uprobe => "uprobe",
            Self::Execution => "tp_btf/sched_process_exec",
        }
    }

    /// Whether the kernel refuses it by what it is, and not for a target: the program itself without a word of the
    /// verifier's, the device of its events, the kind of its link.
    pub(super) fn is_refused_by(self, error: &ProbeError) -> bool {
        match (self, error) {
            (Self::Trampoline, ProbeError::Refused { source, log, .. }) => {
                source.kind() == io::ErrorKind::PermissionDenied && log.is_empty()
            }
            (Self::KprobeMulti, ProbeError::Io { source, .. }) => {
                source.raw_os_error() == Some(libc::EOPNOTSUPP)
            }
            (Self::Kprobe, error) => matches!(error, ProbeError::NoKprobes(_)),
            _ => false,
        }
    }

    /// Its program decides what the function returns, whether that was asked for or not.
    pub fn denies(self) -> bool {
        matches!(self, Self::Lsm | Self::FmodRet | Self::OverrideReturn)
    }

    /// Its programs are those that every system call passes.
    pub(super) fn is_seen(self) -> bool {
        matches!(self, Self::Syscalls | Self::Equivalent)
    }

    /// Where it is attached at all, it has all that can be seen of a return.
    pub(super) fn sees_returns(self) -> bool {
        self.is_seen() || self == Self::Tracepoint
    }
}
