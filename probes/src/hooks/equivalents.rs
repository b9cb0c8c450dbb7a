//! Functions of the kernel that can be seen from elsewhere, for kernels with neither trampolines nor kprobes.
//!
//! Each is passed by certain system calls, with arguments that are known when the call is entered or returns. What
//! takes another way (the kernel's own threads, io_uring, descriptors that arrive over a socket) is not seen.

/// From where a function is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// As these system calls return a new descriptor: (fd, file).
    NewDescriptor(&'static [&'static str]),
    /// As these system calls return the descriptor of a file that they opened: (file).
    OpenedFile(&'static [&'static str]),
    /// As system calls read or write a descriptor: (file, mask); which ones, and the mask.
    Access(&'static [(&'static str, u32)]),
    /// As these system calls return, having changed credentials: (cred).
    Credentials(&'static [&'static str]),
    /// At an exec: (bprm).
    Exec,
}

/// `MAY_READ`, `MAY_WRITE` of the kernel's include/linux/fs.h.
const MAY_WRITE: u32 = 2;
const MAY_READ: u32 = 4;

const OPENS: &[&str] = &["open", "openat", "openat2", "creat", "open_by_handle_at"];

/// Calls of fd_install(): `dup2` and `dup3` put a descriptor in its place by themselves.
const INSTALLS: &[&str] = &[
    "open",
    "openat",
    "openat2",
    "creat",
    "open_by_handle_at",
    "dup",
    "socket",
    "accept",
    "accept4",
    "eventfd2",
    "epoll_create1",
    "memfd_create",
    "pidfd_open",
    "timerfd_create",
    "signalfd4",
    "inotify_init1",
    "perf_event_open",
];

const ACCESSES: &[(&str, u32)] = &[
    ("read", MAY_READ),
    ("pread64", MAY_READ),
    ("readv", MAY_READ),
    ("preadv", MAY_READ),
    ("preadv2", MAY_READ),
    ("getdents64", MAY_READ),
    ("write", MAY_WRITE),
    ("pwrite64", MAY_WRITE),
    ("writev", MAY_WRITE),
    ("pwritev", MAY_WRITE),
    ("pwritev2", MAY_WRITE),
];

const CREDENTIALS: &[&str] = &[
    "setuid",
    "setgid",
    "setreuid",
    "setregid",
    "setresuid",
    "setresgid",
    "setfsuid",
    "setfsgid",
    "setgroups",
    "capset",
];

/// System calls that close a descriptor, and which of their arguments it is, from 1.
pub(super) const CLOSES: &[(&str, u32)] = &[("close", 1), ("dup2", 2), ("dup3", 2)];

/// From where a function is seen; none for those that can't be.
pub fn of(function: &str) -> Option<Seen> {
    Some(match function {
        "fd_install" => Seen::NewDescriptor(INSTALLS),
        "security_file_open" => Seen::OpenedFile(OPENS),
        "security_file_permission" => Seen::Access(ACCESSES),
        "commit_creds" => Seen::Credentials(CREDENTIALS),
        "security_bprm_check" => Seen::Exec,
        _ => return None,
    })
}
