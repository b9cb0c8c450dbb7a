//! The ladder of mechanisms: how a program comes to its target.

use std::{
    ffi::CString,
    fs, io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use aya::{
    Pod,
    maps::{Array, HashMap, MapData},
};
use syscalls::Sysno;

use super::{
    HookId, Hooks, Mechanism, Target, equivalents, equivalents::Seen, function_type, maps::open,
    processes::tracepoint_type, programs::Loaded,
};
use crate::{
    ProbeError,
    lifecycle::Kernel,
    sys::{self, attach_type, program_type},
};

/// System calls whose number is as large or larger have no place in the programs' array.
const SYSCALLS: usize = 1024;

/// Keeps a hook attached. Dropping it detaches.
#[derive(Default)]
pub(super) struct Attachment {
    pub(super) programs: Vec<Loaded>,
    pub(super) links: Vec<OwnedFd>,
    /// Places in the array of system calls, to be cleared.
    _seen: Option<SeenFrom>,
}

/// A hook's places in the array of system calls.
struct SeenFrom {
    array: Array<MapData, Seats>,
    exec: Array<MapData, u32>,
    seats: Vec<(usize, Seat)>,
    at_exec: bool,
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
}

/// A hook's place for one system call.
type Seat = fn(&mut Seats) -> &mut u32;

/// `struct fields` of bpf/tracepoints.bpf.c.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct Fields {
    offset: [u16; 6],
    size: [u16; 6],
}

#[expect(unsafe_code, reason = "what aya asks of values")]
mod pod {
    use super::{Fields, Pod, Seats};

    // SAFETY: integers without padding: every bit pattern is a value.
    unsafe impl Pod for Seats {}
    // SAFETY: as above.
    unsafe impl Pod for Fields {}
}

// === impl Hooks ===

impl Hooks {
    pub(super) fn try_attach(
        &mut self,
        kernel: &Kernel,
        id: HookId,
        target: &Target,
        returns: bool,
        mechanism: Mechanism,
    ) -> Result<Attachment, ProbeError> {
        let is_syscall = matches!(target, Target::Syscall(_));
        let cookie = u64::from(id.0) | u64::from(is_syscall) << 32;
        let symbol = target.symbol();
        match mechanism {
            Mechanism::Trampoline => self.attach_trampoline(kernel, &symbol, returns, cookie),
            Mechanism::KprobeMulti => self.attach_kprobe(kernel, &symbol, returns, cookie, true),
            Mechanism::Kprobe => self.attach_kprobe(kernel, &symbol, returns, cookie, false),
            Mechanism::Syscalls | Mechanism::Equivalent => self.attach_seen(kernel, id, target),
            Mechanism::Tracepoint => self.attach_tracepoint(kernel, id, target),
        }
    }

    fn attach_trampoline(
        &mut self,
        kernel: &Kernel,
        symbol: &str,
        returns: bool,
        cookie: u64,
    ) -> Result<Attachment, ProbeError> {
        let target = function_type(kernel, symbol);
        if target == 0 {
            return Err(ProbeError::NoFunction(symbol.to_owned()));
        }
        let missed = self.missed.clone();
        let object = self.object("trampolines", kernel)?;
        let mut attachment = Attachment::default();
        // The return's first: a call that is entered from here on is seen to its end.
        let pairs = [
            ("trampoline_return", attach_type::TRACE_FEXIT),
            ("trampoline_entry", attach_type::TRACE_FENTRY),
        ];
        for (name, attach) in pairs.into_iter().skip(usize::from(!returns)) {
            let program = object.program(name, program_type::TRACING, attach, target)?;
            let link = sys::link_tracing(program.as_fd(), attach, cookie).map_err(attaching)?;
            attachment.programs.push(missed.watch(program));
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
        multi: bool,
    ) -> Result<Attachment, ProbeError> {
        let c_symbol = CString::new(symbol).map_err(|_| ProbeError::NoFunction(symbol.to_owned()))?;
        let missed = self.missed.clone();
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
                let kind = kprobe_event_type().map_err(attaching)?;
                let event =
                    sys::open_perf_event(kind, u64::from(returning), Some(&c_symbol)).map_err(attaching)?;
                attachment.link_event(program.as_fd(), event, cookie)?;
            }
            attachment.programs.push(missed.watch(program));
        }
        Ok(attachment)
    }

    fn attach_tracepoint(
        &mut self,
        kernel: &Kernel,
        id: HookId,
        target: &Target,
    ) -> Result<Attachment, ProbeError> {
        let Target::Tracepoint { subsystem, event } = target else {
            return Err(ProbeError::NoFunction(target.to_string()));
        };
        let folder = tracefs(subsystem, event).map_err(attaching)?;
        let read = |file: &str| fs::read_to_string(folder.join(file)).map_err(attaching);
        let number = read("id")?;
        let number: u64 = number.trim().parse().map_err(|_| attaching(io::ErrorKind::InvalidData.into()))?;
        let fields = parse_format(&read("format")?);
        let object = self.object("tracepoints", kernel)?;
        let program = object.program("tracepoint_entry", program_type::TRACEPOINT, attach_type::NONE, 0)?;
        let failed = |source| ProbeError::Map { map: "tracepoint_fields", source };
        let mut map: HashMap<MapData, u32, Fields> =
            open(&self.maps, "tracepoint_fields")?.try_into().map_err(failed)?;
        map.insert(id.0, fields, 0).map_err(failed)?;
        /// `PERF_TYPE_TRACEPOINT`
        const TRACEPOINT: u32 = 2;
        let event = sys::open_perf_event(TRACEPOINT, number, None).map_err(attaching)?;
        let mut attachment = Attachment::default();
        attachment.link_event(program.as_fd(), event, u64::from(id.0))?;
        attachment.programs.push(self.missed.watch(program));
        Ok(attachment)
    }

    /// System calls themselves, and functions that are seen from them.
    fn attach_seen(
        &mut self,
        kernel: &Kernel,
        id: HookId,
        target: &Target,
    ) -> Result<Attachment, ProbeError> {
        let seats: Vec<(usize, Seat, u32)> = match target {
            Target::Syscall(name) => vec![(syscall_number(name)?, |seats| &mut seats.call, 0)],
            Target::Function(name) => seats_of(name)?,
            _ => return Err(ProbeError::NoFunction(target.to_string())),
        };
        let at_exec = matches!(target, Target::Function(name) if equivalents::of(name) == Some(Seen::Exec));
        self.watch_syscalls(kernel)?;
        let failed = |source| ProbeError::Map { map: "syscalls", source };
        let mut array: Array<MapData, Seats> = open(&self.maps, "syscalls")?.try_into().map_err(failed)?;
        let mut exec: Array<MapData, u32> = open(&self.maps, "seen_from_exec")?.try_into().map_err(failed)?;
        if at_exec {
            exec.set(0, id.0, 0).map_err(failed)?;
        }
        for (number, seat, mask) in &seats {
            let index = *number as u32;
            let mut all = array.get(&index, 0).map_err(failed)?;
            *seat(&mut all) = id.0;
            all.mask |= mask;
            array.set(index, all, 0).map_err(failed)?;
        }
        let seats = seats.into_iter().map(|(number, seat, _)| (number, seat)).collect();
        Ok(Attachment { _seen: Some(SeenFrom { array, exec, seats, at_exec }), ..Attachment::default() })
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
            kept.programs.push(self.missed.watch(program));
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

    fn link_event(&mut self, program: BorrowedFd<'_>, event: OwnedFd, cookie: u64) -> Result<(), ProbeError> {
        let link = sys::link_perf_event(program, event.as_fd(), cookie).map_err(attaching)?;
        sys::enable_perf_event(&event).map_err(attaching)?;
        self.links.extend([link, event]);
        Ok(())
    }
}

impl Drop for SeenFrom {
    fn drop(&mut self) {
        // A place that can't be cleared points to a hook without a table, which does nothing.
        for (number, seat) in &self.seats {
            let index = *number as u32;
            if let Ok(mut all) = self.array.get(&index, 0) {
                *seat(&mut all) = 0;
                let _ = self.array.set(index, all, 0);
            }
        }
        if self.at_exec {
            let _ = self.exec.set(0, 0, 0);
        }
    }
}

fn attaching(source: io::Error) -> ProbeError {
    ProbeError::Io { what: "attach", source }
}

fn syscall_number(name: &str) -> Result<usize, ProbeError> {
    let number: Option<Sysno> = name.parse().ok();
    let number = number.map(|number| number.id() as usize).filter(|number| *number < SYSCALLS);
    number.ok_or_else(|| ProbeError::NoFunction(format!("{}{name}", super::syscall_prefix())))
}

/// The places from which a function is seen; system calls that this architecture doesn't have are left out.
fn seats_of(function: &str) -> Result<Vec<(usize, Seat, u32)>, ProbeError> {
    let seen = equivalents::of(function).ok_or_else(|| ProbeError::NoEquivalent(function.to_owned()))?;
    let of = |names: &[&str], seat: Seat| -> Vec<_> {
        names.iter().filter_map(|name| Some((syscall_number(name).ok()?, seat, 0))).collect()
    };
    Ok(match seen {
        Seen::NewDescriptor(names) => of(names, |seats| &mut seats.fd_install),
        Seen::OpenedFile(names) => of(names, |seats| &mut seats.file_open),
        Seen::Credentials(names) => of(names, |seats| &mut seats.commit_creds),
        Seen::Access(names) => {
            let seat: Seat = |seats| &mut seats.file_permission;
            names.iter().filter_map(|(name, mask)| Some((syscall_number(name).ok()?, seat, *mask))).collect()
        }
        Seen::Exec => Vec::new(),
    })
}

/// The type of perf events that are kprobes; kernels without them have none.
fn kprobe_event_type() -> io::Result<u32> {
    let text = fs::read_to_string("/sys/bus/event_source/devices/kprobe/type")?;
    text.trim().parse().map_err(|_| io::ErrorKind::InvalidData.into())
}

/// A tracepoint's folder, where tracefs is mounted.
fn tracefs(subsystem: &str, event: &str) -> io::Result<std::path::PathBuf> {
    let roots = ["/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"];
    let folders = roots.map(|root| std::path::Path::new(root).join(subsystem).join(event));
    folders.into_iter().find(|folder| folder.is_dir()).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// The fields of a tracepoint's record in their order, after the four that all have.
fn parse_format(format: &str) -> Fields {
    let mut fields = Fields::default();
    let number = |line: &str, key: &str| -> Option<u16> {
        let rest = line.split(key).nth(1)?;
        rest.split(';').next()?.trim().parse().ok()
    };
    let lines = format.lines().filter(|line| line.contains("field:") && !line.contains(" common_"));
    for (index, line) in lines.take(fields.offset.len()).enumerate() {
        if let (Some(offset), Some(size)) = (number(line, "offset:"), number(line, "size:")) {
            fields.offset[index] = offset;
            fields.size[index] = size;
        }
    }
    fields
}
