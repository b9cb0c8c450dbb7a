//! The ladder of mechanisms: how a program comes to its target.

use std::{
    ffi::CString,
    fs, io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::Arc,
};

use aya::{
    Pod,
    maps::{Array, MapData},
};

use super::{
    HookId, Hooks, Mechanism, Needs, Target, equivalents, equivalents::Seen, executions::BeforeExec,
    function_type, lsm, processes::tracepoint_type,
};
use crate::{
    ProbeError,
    lifecycle::Kernel,
    object::{Maps, TargetType, open, typed},
    programs::{At, Loaded, Place, Share},
    symbols,
    sys::{self, attach_type, program_type},
};

pub(super) mod tracepoint;
pub(super) mod user;

/// System calls whose number is as large or larger have no place in the programs' array.
const SYSCALLS: usize = 1024;

/// Keeps a hook attached. Dropping it detaches.
#[derive(Default)]
pub(super) struct Attachment {
    pub(super) programs: Vec<Loaded>,
    pub(super) links: Vec<OwnedFd>,
    /// Places in the array of system calls, to be cleared.
    _seen: Option<SeenFrom>,
    /// Its place before the record of an exec.
    pub(super) before_exec: Option<BeforeExec>,
    /// Where a tracepoint's fields, or arguments, are.
    pub(super) fields: Vec<tracepoint::Field>,
}

/// A hook's places in the arrays of system calls.
struct SeenFrom {
    /// The arrays, opened when they are needed: a policy can hook all system calls, and descriptors are few.
    maps: Maps,
    seats: Vec<(Abi, usize, Seat)>,
    at_exec: bool,
    _share: Share,
}

/// The arrays that have these places.
const SEEN_FROM: [&str; 3] = ["syscalls", "compat_syscalls", "seen_from_exec"];

/// System calls by number: of 64-bit programs, and of 32-bit ones.
struct Arrays {
    native: Array<MapData, Seats>,
    compat: Array<MapData, Seats>,
}

/// Who calls: `enum hook_abi` of bpf/hook/regs.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Abi {
    Kernel = 0,
    Syscall = 1,
    Compat = 2,
}

/// `struct seen_from` of bpf/syscalls.bpf.c.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct Seats {
    call: u32,
    fd_install: u32,
    file_open: u32,
    file_permission: u32,
    mask: u32,
    commit_creds: u32,
    lets_go: u32,
}

/// A hook's place for one system call.
type Seat = fn(&mut Seats) -> &mut u32;

#[expect(unsafe_code, reason = "what aya asks of values")]
mod pod {
    use super::{Pod, Seats};

    // SAFETY: integers without padding: every bit pattern is a value.
    unsafe impl Pod for Seats {}
}

// === impl Hooks ===

impl Hooks {
    pub(super) fn try_attach(
        &mut self,
        kernel: &Kernel,
        id: HookId,
        target: &Target,
        needs: Needs,
        mechanism: Mechanism,
    ) -> Result<Attachment, ProbeError> {
        let returns = needs.returns;
        let place = Place { at: At::Hook(target.clone()), mechanism: mechanism.as_str() };
        // A security module's hook and the function that asks there stand for each other.
        let other = match (target, mechanism) {
            (Target::Lsm(_), Mechanism::Lsm) => None,
            (Target::Lsm(hook), _) => Some(lsm::as_function(hook)?),
            (Target::Function(function), Mechanism::Lsm) => Some(lsm::as_hook(function)?),
            _ => None,
        };
        let target = other.as_ref().unwrap_or(target);
        let abi = match target {
            Target::Syscall(_) => Abi::Syscall,
            Target::CompatSyscall(_) => Abi::Compat,
            _ => Abi::Kernel,
        };
        let cookie = u64::from(id.0) | (abi as u64) << 32;
        match mechanism {
            Mechanism::Trampoline => first_of(&symbols_of(target), |symbol| {
                self.attach_trampoline(kernel, symbol, returns, cookie, &place)
            }),
            Mechanism::KprobeMulti | Mechanism::Kprobe => first_of(&symbols_of(target), |symbol| {
                self.attach_kprobe(kernel, symbol, returns, cookie, &place)
            }),
            Mechanism::Syscalls | Mechanism::Equivalent => self.attach_seen(kernel, id, target, place),
            Mechanism::Tracepoint | Mechanism::RawTracepoint => {
                self.attach_tracepoint(kernel, id, target, place)
            }
            Mechanism::Execution => self.attach_execution(kernel, id, place),
            Mechanism::Lsm | Mechanism::FmodRet | Mechanism::OverrideReturn => {
                self.attach_denial(kernel, target, needs, cookie, &place, mechanism)
            }
            Mechanism::UprobeMulti | Mechanism::Uprobe => {
                self.attach_program(kernel, id, target, needs, mechanism, &place)
            }
        }
    }

    fn attach_trampoline(
        &mut self,
        kernel: &Kernel,
        symbol: &str,
        returns: bool,
        cookie: u64,
        place: &Place,
    ) -> Result<Attachment, ProbeError> {
        let target = match function_type(kernel, symbol) {
            0 => TargetType::from(kernel.modules.function(symbol)?),
            number => number.into(),
        };
        let programs = self.programs.clone();
        let object = self.object("trampolines", kernel)?;
        let mut attachment = Attachment::default();
        // The return's first: a call that is entered from here on is seen to its end.
        let pairs = [
            ("trampoline_return", attach_type::TRACE_FEXIT),
            ("trampoline_entry", attach_type::TRACE_FENTRY),
        ];
        for (name, attach) in pairs.into_iter().skip(usize::from(!returns)) {
            let program = object.program(name, program_type::TRACING, attach, target.clone())?;
            let link = sys::link_tracing(program.as_fd(), attach, cookie).map_err(attaching)?;
            attachment.programs.push(programs.watch(program, place.clone()));
            attachment.links.push(link);
        }
        Ok(attachment)
    }

    fn attach_kprobe(
        &mut self,
        kernel: &Kernel,
        symbol: &str,
        returns: bool,
        cookie: u64,
        place: &Place,
    ) -> Result<Attachment, ProbeError> {
        let multi = place.mechanism == Mechanism::KprobeMulti.as_str();
        let c_symbol = CString::new(symbol).map_err(|_| ProbeError::NoFunction(symbol.to_owned()))?;
        // Asked before a program is loaded in vain.
        let kind = if multi { 0 } else { event_type("kprobe").map_err(ProbeError::NoKprobes)? };
        let programs = self.programs.clone();
        let object = self.object("kprobes", kernel)?;
        let mut attachment = Attachment::default();
        let attach = if multi { attach_type::TRACE_KPROBE_MULTI } else { attach_type::NONE };
        for (name, returning) in
            [("kprobe_return", true), ("kprobe_entry", false)].into_iter().skip(usize::from(!returns))
        {
            let program = object.program(name, program_type::KPROBE, attach, 0)?;
            if multi {
                let link = sys::link_kprobe_multi(program.as_fd(), &c_symbol, returning, cookie);
                attachment.links.push(link.map_err(attaching)?);
            } else {
                let event = sys::open_perf_event(kind, u64::from(returning), Some(&c_symbol), 0)
                    .map_err(attaching)?;
                attachment.link_event(program.as_fd(), event, cookie)?;
            }
            attachment.programs.push(programs.watch(program, place.clone()));
        }
        Ok(attachment)
    }

    /// System calls themselves, and functions that are seen from them.
    fn attach_seen(
        &mut self,
        kernel: &Kernel,
        id: HookId,
        target: &Target,
        place: Place,
    ) -> Result<Attachment, ProbeError> {
        let seats: Vec<(Abi, usize, Seat, u32)> = match target {
            Target::Syscall(name) => {
                vec![(Abi::Syscall, syscall_number(Abi::Syscall, name)?, |seats| &mut seats.call, 0)]
            }
            Target::CompatSyscall(name) => {
                vec![(Abi::Compat, syscall_number(Abi::Compat, name)?, |seats| &mut seats.call, 0)]
            }
            Target::Function(name) => seats_of(name)?,
            _ => return Err(ProbeError::NoFunction(target.to_string())),
        };
        let at_exec = matches!(target, Target::Function(name) if equivalents::of(name) == Some(Seen::Exec));
        self.watch_syscalls(kernel)?;
        let failed = |source| ProbeError::Map { map: "syscalls", source };
        let mut arrays = Arrays::open(&self.maps)?;
        let mut exec: Array<MapData, u32> = open(&self.maps, "seen_from_exec")?.try_into().map_err(failed)?;
        if at_exec {
            exec.set(0, id.0, 0).map_err(failed)?;
        }
        for (abi, number, seat, mask) in &seats {
            let index = *number as u32;
            let array = arrays.of(*abi);
            let mut all = array.get(&index, 0).map_err(failed)?;
            *seat(&mut all) = id.0;
            all.mask |= mask;
            array.set(index, all, 0).map_err(failed)?;
        }
        let seats = seats.into_iter().map(|(abi, number, seat, _)| (abi, number, seat)).collect();
        let kept = |name: &str| Some((name.to_owned(), Arc::clone(self.maps.get(name)?)));
        let maps = SEEN_FROM.into_iter().filter_map(kept).collect();
        let seen = SeenFrom { maps, seats, at_exec, _share: self.programs.share(place) };
        Ok(Attachment { _seen: Some(seen), ..Attachment::default() })
    }

    /// Where system calls are seen, the close of a followed file is then, also one that no policy hooks.
    pub(super) fn watch_closes(&mut self) -> Result<(), ProbeError> {
        if self.syscalls.is_none() {
            return Ok(());
        }
        let failed = |source| ProbeError::Map { map: "syscalls", source };
        let mut arrays = Arrays::open(&self.maps)?;
        let both = equivalents::CLOSES.iter().flat_map(|one| [(Abi::Syscall, one), (Abi::Compat, one)]);
        for (abi, (name, argument)) in both {
            // An architecture may lack one: there is none to see then.
            let Ok(number) = syscall_number(abi, name) else { continue };
            let array = arrays.of(abi);
            let mut all = array.get(&(number as u32), 0).map_err(failed)?;
            all.lets_go = *argument;
            array.set(number as u32, all, 0).map_err(failed)?;
        }
        Ok(())
    }

    /// Attaches the programs that every system call passes, once.
    fn watch_syscalls(&mut self, kernel: &Kernel) -> Result<(), ProbeError> {
        if self.syscalls.is_some() {
            return Ok(());
        }
        let mut kept = Attachment::default();
        for (program, hook) in
            [("sys_exit", "sys_exit"), ("sys_enter", "sys_enter"), ("exec_of_hook", "sched_process_exec")]
        {
            let target = tracepoint_type(kernel, hook);
            let object = self.object("syscalls", kernel)?;
            let program =
                object.program(program, program_type::TRACING, attach_type::TRACE_RAW_TP, target)?;
            let link = sys::open_raw_tracepoint(program.as_fd(), None).map_err(attaching)?;
            kept.links.push(link);
            kept.programs.push(self.programs.watch_shared(program, Place::own(hook, "tp_btf")));
        }
        self.syscalls = Some(kept);
        Ok(())
    }
}

// === impl Attachment ===

impl Attachment {
    /// Bytes of kernel memory that its programs take.
    pub(super) fn bytes(&self) -> u64 {
        self.programs.iter().map(Loaded::bytes).sum()
    }

    pub(super) fn link_event(
        &mut self,
        program: BorrowedFd<'_>,
        event: OwnedFd,
        cookie: u64,
    ) -> Result<(), ProbeError> {
        let link = sys::link_perf_event(program, event.as_fd(), cookie).map_err(attaching)?;
        sys::enable_perf_event(&event).map_err(attaching)?;
        self.links.extend([link, event]);
        Ok(())
    }
}

impl Drop for SeenFrom {
    fn drop(&mut self) {
        // A place that can't be cleared points to a hook without a table, which does nothing.
        let Ok(mut arrays) = Arrays::open(&self.maps) else { return };
        for (abi, number, seat) in &self.seats {
            let index = *number as u32;
            let array = arrays.of(*abi);
            if let Ok(mut all) = array.get(&index, 0) {
                *seat(&mut all) = 0;
                let _ = array.set(index, all, 0);
            }
        }
        if self.at_exec
            && let Ok(mut exec) = typed::<Array<MapData, u32>>(&self.maps, "seen_from_exec")
        {
            let _ = exec.set(0, 0, 0);
        }
    }
}

// === impl Arrays ===

impl Arrays {
    fn open(maps: &Maps) -> Result<Self, ProbeError> {
        let one = |map| open(maps, map)?.try_into().map_err(|source| ProbeError::Map { map, source });
        Ok(Self { native: one("syscalls")?, compat: one("compat_syscalls")? })
    }

    fn of(&mut self, abi: Abi) -> &mut Array<MapData, Seats> {
        if abi == Abi::Compat { &mut self.compat } else { &mut self.native }
    }
}

/// The symbols that a target may have on this kernel. Calls that differ for 32-bit programs have a function of their
/// own (`COMPAT_SYSCALL_DEFINE`), the others are entered by another way into the same.
pub(super) fn symbols_of(target: &Target) -> Vec<String> {
    match target {
        Target::CompatSyscall(name) => {
            vec![format!("__ia32_compat_sys_{name}"), format!("__ia32_sys_{name}")]
        }
        _ => vec![target.symbol()],
    }
}

/// What succeeds first; else what the last said.
pub(super) fn first_of<T>(
    symbols: &[String],
    mut attach: impl FnMut(&str) -> Result<T, ProbeError>,
) -> Result<T, ProbeError> {
    let mut result = Err(ProbeError::NoFunction(String::new()));
    for symbol in symbols {
        result = attach(symbol);
        if result.is_ok() {
            break;
        }
    }
    result
}

pub(super) fn attaching(source: io::Error) -> ProbeError {
    ProbeError::Io { what: "attach", source }
}

fn syscall_number(abi: Abi, name: &str) -> Result<usize, ProbeError> {
    let number = symbols::number_of(name, abi == Abi::Compat).map(|number| number as usize);
    number
        .filter(|number| *number < SYSCALLS)
        .ok_or_else(|| ProbeError::NoFunction(format!("{}{name}", super::syscall_prefix())))
}

/// The places of system calls, by both numbers; those that this architecture doesn't have are left out.
fn numbers(names: impl Iterator<Item = (&'static str, u32)>, seat: Seat) -> Vec<(Abi, usize, Seat, u32)> {
    let both = names.flat_map(|name| [(Abi::Syscall, name), (Abi::Compat, name)]);
    both.filter_map(|(abi, (name, mask))| Some((abi, syscall_number(abi, name).ok()?, seat, mask))).collect()
}

/// The places from which a function is seen.
fn seats_of(function: &str) -> Result<Vec<(Abi, usize, Seat, u32)>, ProbeError> {
    let seen = equivalents::of(function).ok_or_else(|| ProbeError::NoEquivalent(function.to_owned()))?;
    let of = |names: &'static [&'static str], seat: Seat| -> Vec<_> {
        numbers(names.iter().map(|name| (*name, 0)), seat)
    };
    Ok(match seen {
        Seen::NewDescriptor(names) => of(names, |seats| &mut seats.fd_install),
        Seen::OpenedFile(names) => of(names, |seats| &mut seats.file_open),
        Seen::Credentials(names) => of(names, |seats| &mut seats.commit_creds),
        Seen::Access(names) => {
            let seat: Seat = |seats| &mut seats.file_permission;
            numbers(names.iter().copied(), seat)
        }
        Seen::Exec => Vec::new(),
    })
}

/// The type of perf events that are kprobes, or uprobes; kernels without them have none.
pub(crate) fn event_type(device: &str) -> io::Result<u32> {
    let text = fs::read_to_string(format!("/sys/bus/event_source/devices/{device}/type"))?;
    text.trim().parse().map_err(|_| io::ErrorKind::InvalidData.into())
}
