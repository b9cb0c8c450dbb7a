//! The bpf(2) commands that aya has no way to: one program for many targets, links with cookies.
//!
//! Field offsets are those of `union bpf_attr` in the kernel's include/uapi/linux/bpf.h.

#![expect(unsafe_code, reason = "system calls that take pointers")]

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use aya_obj::generated::bpf_insn;

use crate::programs::Cost;

mod types;

pub use types::{load_btf, module_btf};

/// Commands of bpf(2).
mod command {
    pub(super) const MAP_CREATE: u32 = 0;
    pub(super) const MAP_UPDATE_ELEM: u32 = 2;
    pub(super) const MAP_DELETE_ELEM: u32 = 3;
    pub(super) const PROG_LOAD: u32 = 5;
    pub(super) const OBJ_GET: u32 = 7;
    pub(super) const PROG_TEST_RUN: u32 = 10;
    pub(super) const OBJ_GET_INFO_BY_FD: u32 = 15;
    pub(super) const RAW_TRACEPOINT_OPEN: u32 = 17;
    pub(super) const BTF_LOAD: u32 = 18;
    pub(super) const BTF_GET_FD_BY_ID: u32 = 19;
    pub(super) const BTF_GET_NEXT_ID: u32 = 23;
    pub(super) const LINK_CREATE: u32 = 28;
    pub(super) const ENABLE_STATS: u32 = 32;
    pub(super) const ITER_CREATE: u32 = 33;
}

/// Types of program.
pub mod program_type {
    pub const KPROBE: u32 = 2;
    pub const TRACEPOINT: u32 = 5;
    pub const RAW_TRACEPOINT: u32 = 17;
    pub const TRACING: u32 = 26;
    pub const LSM: u32 = 29;
}

/// Types of attachment.
pub mod attach_type {
    pub const TRACE_RAW_TP: u32 = 23;
    pub const TRACE_FENTRY: u32 = 24;
    pub const TRACE_FEXIT: u32 = 25;
    pub const MODIFY_RETURN: u32 = 26;
    pub const LSM_MAC: u32 = 27;
    pub const TRACE_ITER: u32 = 28;
    pub const PERF_EVENT: u32 = 41;
    pub const TRACE_KPROBE_MULTI: u32 = 42;
    pub const TRACE_UPROBE_MULTI: u32 = 48;
    pub const NONE: u32 = 0;
}

/// `BPF_F_SLEEPABLE`
const SLEEPABLE: u32 = 1 << 4;
/// `BPF_F_KPROBE_MULTI_RETURN`
const KPROBE_MULTI_RETURN: u32 = 1;

/// Bytes for the log of a verifier: older kernels keep its beginning, and what matters is at its end.
const LOG_BYTES: usize = 16 << 20;

/// `union bpf_attr`, as words.
#[repr(C, align(8))]
struct Attr([u32; 36]);

/// A program to load.
#[derive(Debug)]
pub struct ProgramSpec<'a> {
    /// Shown by bpftool; the kernel keeps 15 characters.
    pub name: &'a str,
    /// One of [`program_type`].
    pub kind: u32,
    /// One of [`attach_type`]; `NONE` for those that need none.
    pub attach: u32,
    /// Type of the target in the kernel's BTF; 0 for none.
    pub target: u32,
    /// The BTF of the module that the target is of; none for the kernel's own.
    pub module: Option<BorrowedFd<'a>>,
    /// Its code.
    pub instructions: &'a [bpf_insn],
    /// `func_info` of its functions and the size of a record; the verifier needs it for global functions.
    pub functions: (&'a [u8], usize),
    /// The object's BTF in the kernel; none for code that has no types.
    pub btf: Option<BorrowedFd<'a>>,
    /// It may sleep: `BPF_F_SLEEPABLE`.
    pub sleeps: bool,
}

// === impl Attr ===

impl Attr {
    fn new() -> Self {
        Self([0; 36])
    }

    fn set(&mut self, offset: usize, value: u32) {
        self.0[offset / 4] = value;
    }

    fn set64(&mut self, offset: usize, value: u64) {
        self.set(offset, value as u32);
        self.set(offset + 4, (value >> 32) as u32);
    }

    fn set_pointer<T>(&mut self, offset: usize, value: *const T) {
        self.set64(offset, value as u64);
    }

    /// Calls bpf(2) and takes the descriptor that it returns.
    ///
    /// # Safety
    /// Every pointer in it must be valid for what the command reads or writes there.
    unsafe fn call(&mut self, command: u32) -> io::Result<OwnedFd> {
        // SAFETY: the attribute is as large as is said, and the caller vouches for its pointers.
        let fd =
            unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(self), size_of::<Self>()) };
        let fd = i32::try_from(fd).unwrap_or(-1);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made it for us.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

/// Makes a map.
///
/// # Errors
/// The kernel refuses it.
pub fn create_map(kind: u32, key: u32, value: u32, entries: u32, flags: u32) -> io::Result<OwnedFd> {
    let mut attr = Attr::new();
    for (index, word) in [kind, key, value, entries, flags].into_iter().enumerate() {
        attr.set(4 * index, word);
    }
    // SAFETY: there are no pointers.
    unsafe { attr.call(command::MAP_CREATE) }
}

/// Makes an array of maps that are such as `inner`.
///
/// # Errors
/// The kernel refuses it.
pub fn create_map_of_maps(map: &aya_obj::Map, inner: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = Attr::new();
    let words = [map.map_type(), map.key_size(), map.value_size(), map.max_entries(), map.map_flags()];
    for (index, word) in words.into_iter().enumerate() {
        attr.set(4 * index, word);
    }
    attr.set(20, inner.as_raw_fd() as u32);
    // SAFETY: there are no pointers.
    unsafe { attr.call(command::MAP_CREATE) }
}

/// Puts a program, or a map, in its place in an array of such; nothing is taken out of it.
///
/// # Errors
/// The kernel refuses it.
pub fn place(array: BorrowedFd<'_>, index: u32, what: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let value = what.map_or(0, |what| what.as_raw_fd() as u32);
    let mut attr = Attr::new();
    attr.set(0, array.as_raw_fd() as u32);
    attr.set_pointer(8, &raw const index);
    let command = match what {
        Some(_) => {
            attr.set_pointer(16, &raw const value);
            command::MAP_UPDATE_ELEM
        }
        None => command::MAP_DELETE_ELEM,
    };
    // SAFETY: key and value are as large as the kernel has them in such arrays, and outlive the call, which only reads
    // them; it returns no descriptor.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut attr, size_of::<Attr>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Opens a map that is pinned in a file system.
///
/// # Errors
/// There is none, or it can't be opened.
pub fn open_pinned(path: &CStr) -> io::Result<OwnedFd> {
    let mut attr = Attr::new();
    attr.set_pointer(0, path.as_ptr());
    // SAFETY: the path outlives the call, which only reads it.
    unsafe { attr.call(command::OBJ_GET) }
}

/// What a map is: type, bytes of a key, bytes of a value; and its number, which no other map ever has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapFacts {
    pub kind: u32,
    pub id: u32,
    pub key: u32,
    pub value: u32,
}

/// What a map is.
///
/// # Errors
/// The descriptor is no map's.
pub fn map_facts(map: BorrowedFd<'_>) -> io::Result<MapFacts> {
    // `struct bpf_map_info`: type, id, key_size, value_size, max_entries, map_flags.
    let mut info = [0_u32; 6];
    let mut attr = Attr::new();
    attr.set(0, map.as_raw_fd() as u32);
    attr.set(4, size_of_val(&info) as u32);
    attr.set_pointer(8, info.as_mut_ptr());
    // SAFETY: the kernel writes no more to `info` than its size, and returns no descriptor.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command::OBJ_GET_INFO_BY_FD, &raw mut attr, size_of::<Attr>())
    };
    let [kind, id, key, value, ..] = info;
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(MapFacts { kind, id, key, value }) }
}

/// Loads a program.
///
/// # Errors
/// The kernel refuses it: the error, and what the verifier said.
pub fn load_program(spec: &ProgramSpec<'_>) -> Result<OwnedFd, (io::Error, String)> {
    let license = c"Dual BSD/GPL";
    let mut attr = Attr::new();
    attr.set(0, spec.kind);
    attr.set(4, spec.instructions.len() as u32);
    attr.set_pointer(8, spec.instructions.as_ptr());
    attr.set_pointer(16, license.as_ptr());
    for (index, byte) in spec.name.bytes().take(15).enumerate() {
        attr.0[12 + index / 4] |= u32::from(byte) << (8 * (index % 4));
    }
    attr.set(44, if spec.sleeps { SLEEPABLE } else { 0 });
    attr.set(68, spec.attach);
    attr.set(72, spec.btf.map_or(0, |btf| btf.as_raw_fd() as u32));
    attr.set(76, spec.functions.1 as u32);
    attr.set_pointer(80, spec.functions.0.as_ptr());
    attr.set(88, (spec.functions.0.len() / spec.functions.1.max(1)) as u32);
    attr.set(108, spec.target);
    attr.set(112, spec.module.map_or(0, |btf| btf.as_raw_fd() as u32));
    // SAFETY: all that it points to outlives the call, which only reads it.
    let error = match unsafe { attr.call(command::PROG_LOAD) } {
        Ok(program) => return Ok(program),
        Err(error) => error,
    };
    // Once more, to hear why: the log takes the verifier longer.
    let mut log = vec![0_u8; LOG_BYTES];
    attr.set(24, 1);
    attr.set(28, LOG_BYTES as u32);
    attr.set_pointer(32, log.as_mut_ptr());
    // SAFETY: as above, and the log is as large as is said.
    if let Ok(program) = unsafe { attr.call(command::PROG_LOAD) } {
        return Ok(program);
    }
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    let text = String::from_utf8_lossy(&log[..end]);
    let last: Vec<_> = text.trim_end().rsplit('\n').take(4).collect();
    Err((error, last.into_iter().rev().collect::<Vec<_>>().join("; ")))
}

/// What a program has cost since it was loaded; none where the kernel does not tell. Kernels since 5.12 count the runs
/// that they left out.
pub fn cost(program: BorrowedFd<'_>) -> Option<Cost> {
    /// Of `struct bpf_prog_info`, up to `recursion_misses`.
    const WORDS: usize = 27;
    const RUN_TIME: usize = 24;
    const RUNS: usize = 25;
    const MISSES: usize = 26;
    let mut info = [0_u64; WORDS];
    let mut attr = Attr::new();
    attr.set(0, program.as_raw_fd() as u32);
    attr.set(4, size_of_val(&info) as u32);
    attr.set_pointer(8, info.as_mut_ptr());
    // SAFETY: the kernel writes no more to `info` than its size, and returns no descriptor.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command::OBJ_GET_INFO_BY_FD, &raw mut attr, size_of::<Attr>())
    };
    (result >= 0).then(|| Cost { runs: info[RUNS], nanoseconds: info[RUN_TIME], missed: info[MISSES] })
}

/// Has the kernel measure the run time of all programs until the descriptor is closed.
///
/// # Errors
/// The kernel refuses it.
pub fn enable_stats() -> io::Result<OwnedFd> {
    /// `BPF_STATS_RUN_TIME`
    const RUN_TIME: u32 = 0;
    let mut attr = Attr::new();
    attr.set(0, RUN_TIME);
    // SAFETY: there are no pointers.
    unsafe { attr.call(command::ENABLE_STATS) }
}

/// Attaches a tracing program (fentry, fexit) with a cookie.
///
/// # Errors
/// The kernel refuses it.
pub fn link_tracing(program: BorrowedFd<'_>, attach: u32, cookie: u64) -> io::Result<OwnedFd> {
    let mut attr = Attr::new();
    attr.set(0, program.as_raw_fd() as u32);
    attr.set(8, attach);
    attr.set64(24, cookie);
    // SAFETY: there are no pointers.
    unsafe { attr.call(command::LINK_CREATE) }
}

/// Asks for this thread's scheduling policy: a call that security modules are asked about.
pub fn ask_scheduler() {
    // SAFETY: the call takes a number, and changes nothing.
    unsafe { libc::syscall(libc::SYS_sched_getscheduler, 0) };
}

/// Begins an iteration: what the program writes is read from the descriptor.
///
/// # Errors
/// The kernel refuses it.
pub fn iterate(link: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = Attr::new();
    attr.set(0, link.as_raw_fd() as u32);
    // SAFETY: there are no pointers.
    unsafe { attr.call(command::ITER_CREATE) }
}

/// Runs a raw tracepoint's program with these arguments; returns what it returns.
///
/// # Errors
/// The kernel refuses it.
pub fn run(program: BorrowedFd<'_>, arguments: &[u64]) -> io::Result<u32> {
    let mut attr = Attr::new();
    attr.set(0, program.as_raw_fd() as u32);
    attr.set(40, size_of_val(arguments) as u32);
    attr.set_pointer(48, arguments.as_ptr());
    let attr = &mut attr;
    // SAFETY: the attribute and the arguments outlive the call and are as large as is said; of both it writes but the
    // attribute's result.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command::PROG_TEST_RUN, std::ptr::from_mut(attr), size_of::<Attr>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(attr.0[1]) }
}

/// Attaches a program to its BTF tracepoint, or to the raw tracepoint of that name.
///
/// # Errors
/// The kernel refuses it.
pub fn open_raw_tracepoint(program: BorrowedFd<'_>, name: Option<&CStr>) -> io::Result<OwnedFd> {
    let mut attr = Attr::new();
    attr.set_pointer(0, name.map_or(std::ptr::null(), CStr::as_ptr));
    attr.set(8, program.as_raw_fd() as u32);
    // SAFETY: the name outlives the call, which only reads it.
    unsafe { attr.call(command::RAW_TRACEPOINT_OPEN) }
}

/// Attaches a program to a perf event with a cookie.
///
/// # Errors
/// The kernel refuses it.
pub fn link_perf_event(program: BorrowedFd<'_>, event: BorrowedFd<'_>, cookie: u64) -> io::Result<OwnedFd> {
    let mut attr = Attr::new();
    attr.set(0, program.as_raw_fd() as u32);
    attr.set(4, event.as_raw_fd() as u32);
    attr.set(8, attach_type::PERF_EVENT);
    attr.set64(16, cookie);
    // SAFETY: there are no pointers.
    unsafe { attr.call(command::LINK_CREATE) }
}

/// Attaches a program to the entry or the return of a kernel function by kprobe.multi.
///
/// # Errors
/// The kernel refuses it.
pub fn link_kprobe_multi(
    program: BorrowedFd<'_>,
    symbol: &CStr,
    returns: bool,
    cookie: u64,
) -> io::Result<OwnedFd> {
    let symbols = [symbol.as_ptr()];
    let cookies = [cookie];
    let mut attr = Attr::new();
    attr.set(0, program.as_raw_fd() as u32);
    attr.set(8, attach_type::TRACE_KPROBE_MULTI);
    attr.set(16, if returns { KPROBE_MULTI_RETURN } else { 0 });
    attr.set(20, 1);
    attr.set_pointer(24, symbols.as_ptr());
    attr.set_pointer(40, cookies.as_ptr());
    // SAFETY: both arrays have as many elements as is said, and outlive the call, which only reads them.
    unsafe { attr.call(command::LINK_CREATE) }
}

/// Attaches a program to a place in a file, or to the return of the function that is there, by uprobe.multi.
///
/// # Errors
/// The kernel refuses it.
pub fn link_uprobe_multi(
    program: BorrowedFd<'_>,
    file: &CStr,
    offset: u64,
    counter: u64,
    returns: bool,
    cookie: u64,
) -> io::Result<OwnedFd> {
    let (offsets, counters, cookies) = ([offset], [counter], [cookie]);
    let mut attr = Attr::new();
    attr.set(0, program.as_raw_fd() as u32);
    attr.set(8, attach_type::TRACE_UPROBE_MULTI);
    attr.set_pointer(16, file.as_ptr());
    attr.set_pointer(24, offsets.as_ptr());
    attr.set_pointer(32, counters.as_ptr());
    attr.set_pointer(40, cookies.as_ptr());
    attr.set(48, 1);
    // `BPF_F_UPROBE_MULTI_RETURN`
    attr.set(52, u32::from(returns));
    // SAFETY: the arrays have as many elements as is said, and outlive the call, which only reads them and the path.
    unsafe { attr.call(command::LINK_CREATE) }
}

/// Opens a perf event for a kprobe or kretprobe on a function, for a uprobe at an offset of a file, or for a tracepoint.
///
/// # Errors
/// The kernel has no such event, or refuses it.
pub fn open_perf_event(kind: u32, config: u64, target: Option<&CStr>, offset: u64) -> io::Result<OwnedFd> {
    /// `PERF_FLAG_FD_CLOEXEC`
    const CLOSE_ON_EXEC: u64 = 8;
    /// `PERF_ATTR_SIZE_VER1`: up to config2.
    const SIZE: u32 = 72;
    let mut attr = [0_u32; 32];
    attr[0] = kind;
    attr[1] = SIZE;
    (attr[2], attr[3]) = (config as u32, (config >> 32) as u32);
    // sample_period; wakeup_events
    attr[4] = 1;
    attr[12] = 1;
    let name = target.map_or(0, |target| target.as_ptr() as u64);
    (attr[14], attr[15]) = (name as u32, (name >> 32) as u32);
    (attr[16], attr[17]) = (offset as u32, (offset >> 32) as u32);
    // SAFETY: the attribute is as large as is said, and the name outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, attr.as_ptr(), -1, 0, -1, CLOSE_ON_EXEC) };
    let fd = i32::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Opens the event of a CPU that tells what is mapped there to be executed, by whom, and when on the boot clock.
///
/// # Errors
/// The kernel refuses it.
pub fn open_mapping_event(cpu: u32) -> io::Result<OwnedFd> {
    /// `PERF_TYPE_SOFTWARE`, `PERF_COUNT_SW_DUMMY`
    const SOFTWARE: u32 = 1;
    const DUMMY: u32 = 9;
    /// `PERF_ATTR_SIZE_VER5`
    const SIZE: u32 = 112;
    /// `PERF_SAMPLE_TID`, `PERF_SAMPLE_TIME`
    const TID: u32 = 1 << 1;
    const TIME: u32 = 1 << 2;
    /// Bits of the flags: disabled, mmap, comm, watermark, sample_id_all, mmap2, comm_exec, use_clockid, build_id.
    const FLAGS: u64 = 1 | 1 << 8 | 1 << 9 | 1 << 14 | 1 << 18 | 1 << 23 | 1 << 24 | 1 << 25 | 1 << 34;
    /// Bytes of records after which whoever waits is woken.
    const WAKE: u32 = 64 << 10;
    /// `PERF_FLAG_FD_CLOEXEC`
    const CLOSE_ON_EXEC: u64 = 8;
    let mut attr = [0_u32; 32];
    (attr[0], attr[1], attr[2]) = (SOFTWARE, SIZE, DUMMY);
    attr[6] = TID | TIME;
    (attr[10], attr[11]) = (FLAGS as u32, (FLAGS >> 32) as u32);
    attr[12] = WAKE;
    attr[23] = libc::CLOCK_BOOTTIME as u32;
    // SAFETY: the attribute is as large as is said, and has no pointers.
    let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, attr.as_ptr(), -1, cpu, -1, CLOSE_ON_EXEC) };
    let fd = i32::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Enables a perf event.
///
/// # Errors
/// The kernel refuses it.
pub fn enable_perf_event(event: &impl AsFd) -> io::Result<()> {
    /// `PERF_EVENT_IOC_ENABLE`
    const ENABLE: libc::c_ulong = 0x2400;
    // SAFETY: it takes no pointer.
    let result = unsafe { libc::ioctl(event.as_fd().as_raw_fd(), ENABLE as _, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
