//! Types of programs, each tried by loading one that does nothing and attaching it.

use std::{
    ffi::{CStr, CString},
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
};

use aya_obj::{btf::BtfKind, generated::bpf_insn};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use super::{Bench, Failure, Need, Outcome, Trial};
use crate::{
    ProbeError,
    hooks::{event_type, lsm},
    sys::{self, ProgramSpec, attach_type, program_type},
    tracefs::Event,
};

/// A function that every kernel has and few processes call, to attach to.
const FUNCTION: &CStr = c"vfs_rename";
/// A tracepoint likewise.
const TRACEPOINT: &CStr = c"task_rename";

/// A type of program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProgramType {
    RawTracepoint,
    BtfTracepoint,
    TaskIterator,
    Fentry,
    Fexit,
    KprobeMulti,
    Kprobe,
    Kretprobe,
    Tracepoint,
    FmodRet,
    Lsm,
    Uprobe,
    UprobeRegisters,
}

/// What becomes of a program that can't be used: need, cost, mend.
type Weight = (Need, &'static str, &'static str);

const ALL: [ProgramType; 13] = [
    ProgramType::RawTracepoint,
    ProgramType::BtfTracepoint,
    ProgramType::TaskIterator,
    ProgramType::Fentry,
    ProgramType::Fexit,
    ProgramType::KprobeMulti,
    ProgramType::Kprobe,
    ProgramType::Kretprobe,
    ProgramType::Tracepoint,
    ProgramType::FmodRet,
    ProgramType::Lsm,
    ProgramType::Uprobe,
    ProgramType::UprobeRegisters,
];

/// Whether this process may load a program at all.
pub(super) fn access() -> Result<(), Failure> {
    load(&nothing(), program_type::RAW_TRACEPOINT, attach_type::NONE, 0).map(|_| ())
}

pub(super) fn examine(bench: &Bench) -> Vec<Trial> {
    let one = |kind: ProgramType| {
        let (need, cost, mend) = kind.weight();
        Trial { name: kind.name(), need, outcome: kind.outcome(bench), cost, mend }
    };
    ALL.map(one).into()
}

/// A program that returns 0.
fn nothing() -> Vec<bpf_insn> {
    vec![instruction(0xb7, 0, 0, 0), instruction(0x95, 0, 0, 0)]
}

/// One that writes the first register of its context, and returns 0.
fn changing() -> Vec<bpf_insn> {
    /// `BPF_STX | BPF_DW | BPF_MEM`
    const STORE: u8 = 0x7b;
    let mut code = nothing();
    code.insert(1, instruction(STORE, 0x01, 0, 0));
    code
}

/// An instruction: code, registers (the target in the lower half), offset, value.
pub(crate) fn instruction(code: u8, registers: u8, off: i16, imm: i32) -> bpf_insn {
    let registers = bpf_insn::new_bitfield_1(registers & 15, registers >> 4);
    bpf_insn { code, _bitfield_align_1: [], _bitfield_1: registers, off, imm }
}

fn load(code: &[bpf_insn], kind: u32, attach: u32, target: u32) -> Result<OwnedFd, Failure> {
    let spec = ProgramSpec {
        name: "trigon_doctor",
        kind,
        attach,
        target,
        module: None,
        instructions: code,
        functions: (&[], 0),
        btf: None,
        sleeps: false,
    };
    sys::load_program(&spec).map_err(|(error, log)| Failure::Refused(error, log))
}

// === impl ProgramType ===

impl ProgramType {
    fn name(self) -> &'static str {
        match self {
            Self::RawTracepoint => "raw_tracepoint",
            Self::BtfTracepoint => "tp_btf",
            Self::TaskIterator => "iter/task",
            Self::Fentry => "fentry",
            Self::Fexit => "fexit",
            Self::KprobeMulti => "kprobe.multi",
            Self::Kprobe => "kprobe",
            Self::Kretprobe => "kretprobe",
            Self::Tracepoint => "tracepoint",
            Self::FmodRet => "fmod_ret",
            Self::Lsm => "lsm",
            Self::Uprobe => "uprobe",
            Self::UprobeRegisters => "uprobe, changing registers",
        }
    }

    fn weight(self) -> Weight {
        use Need::{Unused, Useful};
        const TRAMPOLINES: &str = "a kernel with CONFIG_FUNCTION_TRACER, CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS and \
             CONFIG_BPF_JIT; some hardened and cloud kernels refuse it all the same";
        const KPROBES: &str = "a kernel with CONFIG_KPROBES and CONFIG_KPROBE_EVENTS";
        match self {
            Self::RawTracepoint => (
                Useful,
                "no policy's raw tracepoints; processes where tp_btf is missing too",
                "a kernel with CONFIG_BPF_EVENTS",
            ),
            Self::BtfTracepoint => (
                Useful,
                "raw tracepoints serve processes instead; no policies",
                "a kernel with CONFIG_DEBUG_INFO_BTF=y and CONFIG_BPF_EVENTS",
            ),
            Self::TaskIterator => (
                Useful,
                "what ran before the agent is read from /proc, less exactly; no policies",
                "a kernel with CONFIG_DEBUG_INFO_BTF=y",
            ),
            Self::Fentry | Self::Fexit => (
                Useful,
                "hooks take kprobes, or what system calls show: dearer, and not every function",
                TRAMPOLINES,
            ),
            Self::KprobeMulti => {
                (Useful, "single kprobes are used instead", "a kernel with CONFIG_FPROBE (5.18)")
            }
            Self::Kprobe | Self::Kretprobe => (
                Useful,
                "where fentry is missing too, only system calls, tracepoints and a list of functions",
                KPROBES,
            ),
            Self::Tracepoint => (
                Useful,
                "no policy's tracepoints",
                "a kernel with CONFIG_PERF_EVENTS and CONFIG_TRACING; tracefs",
            ),
            Self::FmodRet => {
                (Useful, "functions that ask security modules are prevented by lsm alone", TRAMPOLINES)
            }
            Self::Lsm => (
                Useful,
                "lsmhooks observe what the functions see that ask security modules, and prevent by fmod_ret alone",
                "boot with lsm=…,bpf and a kernel with CONFIG_BPF_LSM",
            ),
            Self::Uprobe => (Unused, "", "a kernel with CONFIG_UPROBE_EVENTS"),
            Self::UprobeRegisters => (
                Useful,
                "no Override of uprobes; Set can't write arguments that are in registers",
                "Linux 6.18 or later; some hardened kernels refuse it all the same",
            ),
        }
    }

    fn outcome(self, bench: &Bench) -> Outcome {
        let code = match self {
            Self::UprobeRegisters => changing(),
            _ => nothing(),
        };
        bench.outcome(self.attach(bench, &code))
    }

    /// The outcome of loading code as this type.
    pub(super) fn load(self, bench: &Bench, code: &[bpf_insn]) -> Result<OwnedFd, Failure> {
        let (kind, attach) = match self {
            Self::RawTracepoint => (program_type::RAW_TRACEPOINT, attach_type::NONE),
            Self::BtfTracepoint => (program_type::TRACING, attach_type::TRACE_RAW_TP),
            Self::TaskIterator => (program_type::TRACING, attach_type::TRACE_ITER),
            Self::Fentry => (program_type::TRACING, attach_type::TRACE_FENTRY),
            Self::Fexit => (program_type::TRACING, attach_type::TRACE_FEXIT),
            Self::FmodRet => (program_type::TRACING, attach_type::MODIFY_RETURN),
            Self::Lsm => (program_type::LSM, attach_type::LSM_MAC),
            Self::KprobeMulti => (program_type::KPROBE, attach_type::TRACE_KPROBE_MULTI),
            Self::Kprobe | Self::Kretprobe | Self::Uprobe | Self::UprobeRegisters => {
                (program_type::KPROBE, attach_type::NONE)
            }
            Self::Tracepoint => (program_type::TRACEPOINT, attach_type::NONE),
        };
        let target = match self.target() {
            Some((name, kind)) => {
                bench.kernel()?.types.targets.id_by_type_name_kind(name, kind).map_err(|_| {
                    Failure::Refused(
                        std::io::ErrorKind::NotFound.into(),
                        format!("the kernel's type information has no {name}"),
                    )
                })?
            }
            None => 0,
        };
        load(code, kind, attach, target)
    }

    /// What a program of this type is for, in the kernel's types.
    fn target(self) -> Option<(&'static str, BtfKind)> {
        match self {
            Self::BtfTracepoint => Some(("btf_trace_task_rename", BtfKind::Typedef)),
            Self::TaskIterator => Some(("bpf_iter_task", BtfKind::Func)),
            Self::Fentry | Self::Fexit => Some(("vfs_rename", BtfKind::Func)),
            // Only what returns an error can be told what to return.
            Self::FmodRet => Some(("security_sb_umount", BtfKind::Func)),
            Self::Lsm => Some(("bpf_lsm_sb_umount", BtfKind::Func)),
            _ => None,
        }
    }

    fn attach(self, bench: &Bench, code: &[bpf_insn]) -> Result<(), Failure> {
        let program = self.load(bench, code)?;
        let program = program.as_fd();
        match self {
            Self::RawTracepoint => sys::open_raw_tracepoint(program, Some(TRACEPOINT)).map(drop)?,
            Self::BtfTracepoint | Self::FmodRet => sys::open_raw_tracepoint(program, None).map(drop)?,
            Self::Lsm => {
                sys::open_raw_tracepoint(program, None).map(drop)?;
                // A kernel attaches it also where it never runs it.
                lsm::is_asked(bench.kernel()?).map_err(unasked)?;
            }
            Self::TaskIterator => {
                let link = sys::link_tracing(program, attach_type::TRACE_ITER, 0)?;
                sys::iterate(link.as_fd()).map(drop)?;
            }
            Self::Fentry => sys::link_tracing(program, attach_type::TRACE_FENTRY, 0).map(drop)?,
            Self::Fexit => sys::link_tracing(program, attach_type::TRACE_FEXIT, 0).map(drop)?,
            Self::KprobeMulti => sys::link_kprobe_multi(program, FUNCTION, false, 0).map(drop)?,
            Self::Kprobe => perf_event(program, events("kprobe")?, 0, Some(FUNCTION))?,
            Self::Kretprobe => perf_event(program, events("kprobe")?, 1, Some(FUNCTION))?,
            Self::Tracepoint => {
                /// `PERF_TYPE_TRACEPOINT`
                const KIND: u32 = 2;
                let event = Event::read("task", "task_rename").map_err(of_tracefs)?;
                perf_event(program, KIND, event.id, None)?;
            }
            Self::Uprobe | Self::UprobeRegisters => {
                // A file that no process runs: nothing is patched.
                let file =
                    memfd_create("trigon-doctor", MemfdFlags::CLOEXEC).map_err(std::io::Error::from)?;
                ftruncate(&file, 4096).map_err(std::io::Error::from)?;
                let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap_or_default();
                perf_event(program, events("uprobe")?, 0, Some(&path))?;
            }
        }
        Ok(())
    }
}

fn perf_event(program: BorrowedFd<'_>, kind: u32, config: u64, target: Option<&CStr>) -> Result<(), Failure> {
    let event = sys::open_perf_event(kind, config, target, 0)?;
    sys::link_perf_event(program, event.as_fd(), 0)?;
    Ok(())
}

/// The type of such perf events.
fn events(device: &str) -> Result<u32, Failure> {
    event_type(device).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Failure::Refused(error, format!("this kernel has no perf events of the type {device}"))
        }
        _ => error.into(),
    })
}

fn unasked(error: ProbeError) -> Failure {
    match error {
        ProbeError::Refused { source, log, .. } => Failure::Refused(source, log),
        ProbeError::Io { source, .. } => source.into(),
        error => Failure::Refused(std::io::ErrorKind::Unsupported.into(), error.to_string()),
    }
}

fn of_tracefs(error: ProbeError) -> Failure {
    match error {
        ProbeError::Io { source, .. } => source.into(),
        error => Failure::Refused(std::io::ErrorKind::NotFound.into(), error.to_string()),
    }
}
