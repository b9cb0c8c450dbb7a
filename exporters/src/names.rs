//! Names of the kernel's numbers: signals (signal(7)), capabilities (capabilities(7)), flags of open(2).

use std::borrow::Cow;

pub mod kernel;
pub mod sockets;

/// Signals 1 to 31; the numbers are those of x86-64 and arm64.
const SIGNALS: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// The first real-time signal that the C library leaves to programs; it keeps 32 and 33 for itself.
const SIGRTMIN: u8 = 34;
const SIGRTMAX: u8 = 64;

const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Bits of `f_flags` and their names (open(2)), beside the two that tell how it was opened.
/// `O_SYNC` and `O_TMPFILE` hold the bits of `O_DSYNC` and `O_DIRECTORY`.
const OPEN_FLAGS: [(u32, &str); 14] = [
    (0o4_010_000, "O_SYNC"),
    (0o20_000_000 | O_DIRECTORY, "O_TMPFILE"),
    (0o100, "O_CREAT"),
    (0o200, "O_EXCL"),
    (0o400, "O_NOCTTY"),
    (0o1_000, "O_TRUNC"),
    (0o2_000, "O_APPEND"),
    (0o4_000, "O_NONBLOCK"),
    (0o10_000, "O_DSYNC"),
    (0o1_000_000, "O_NOATIME"),
    (0o2_000_000, "O_CLOEXEC"),
    (0o10_000_000, "O_PATH"),
    (O_DIRECTORY, "O_DIRECTORY"),
    (O_NOFOLLOW, "O_NOFOLLOW"),
];

/// These have other bits on arm64.
#[cfg(not(target_arch = "aarch64"))]
const O_DIRECTORY: u32 = 0o200_000;
#[cfg(not(target_arch = "aarch64"))]
const O_NOFOLLOW: u32 = 0o400_000;
#[cfg(target_arch = "aarch64")]
const O_DIRECTORY: u32 = 0o40_000;
#[cfg(target_arch = "aarch64")]
const O_NOFOLLOW: u32 = 0o100_000;

/// Bit of `CAP_SYS_ADMIN` in a set of capabilities.
pub const CAP_SYS_ADMIN: u64 = 1 << 21;

/// The name of a signal: `SIGTERM`, `SIGRTMIN+3`; the number of one that has no name; empty for 0, no signal.
pub fn signal(number: u8) -> Cow<'static, str> {
    let named = usize::from(number).checked_sub(1).and_then(|index| SIGNALS.get(index));
    match (number, named) {
        (0, _) => Cow::Borrowed(""),
        (_, Some(name)) => Cow::Borrowed(name),
        (SIGRTMIN, _) => Cow::Borrowed("SIGRTMIN"),
        (SIGRTMIN..=SIGRTMAX, _) => Cow::Owned(format!("SIGRTMIN+{}", number - SIGRTMIN)),
        _ => Cow::Owned(number.to_string()),
    }
}

/// The names of the flags that a file was opened with: `O_RDWR`, `O_CREAT`. Bits without a name are left out.
pub fn open_flags(flags: u32) -> impl Iterator<Item = &'static str> {
    let access = match flags & 3 {
        0 => "O_RDONLY",
        1 => "O_WRONLY",
        _ => "O_RDWR",
    };
    let mut rest = flags;
    let named = OPEN_FLAGS.iter().filter_map(move |(bits, name)| {
        let set = rest & bits == *bits;
        if set {
            rest &= !bits;
        }
        set.then_some(*name)
    });
    std::iter::once(access).chain(named)
}

/// The name of the capability with this number, where it has one.
pub fn capability(number: u32) -> Option<&'static str> {
    CAPABILITIES.get(number as usize).copied()
}

/// The number of the capability with this name, in upper or lower case.
pub fn capability_number(name: &str) -> Option<u32> {
    let index = CAPABILITIES.iter().position(|known| known.eq_ignore_ascii_case(name))?;
    u32::try_from(index).ok()
}

/// The numbers of the capabilities in a set, lowest first.
pub fn capabilities(set: u64) -> impl Iterator<Item = u32> {
    (0..u64::BITS).filter(move |bit| set >> bit & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_the_names_that_kill_lists() {
        let expected = [
            (0, ""),
            (1, "SIGHUP"),
            (9, "SIGKILL"),
            (11, "SIGSEGV"),
            (15, "SIGTERM"),
            (17, "SIGCHLD"),
            (31, "SIGSYS"),
            (32, "32"),
            (33, "33"),
            (34, "SIGRTMIN"),
            (35, "SIGRTMIN+1"),
            (64, "SIGRTMIN+30"),
            (65, "65"),
            (255, "255"),
        ];
        expected.into_iter().for_each(|(number, name)| assert_eq!(signal(number), name));
    }

    #[test]
    fn flags_have_the_names_of_open() {
        use rustix::fs::OFlags;
        let of = |flags: OFlags| open_flags(flags.bits()).collect::<Vec<_>>();
        assert_eq!(of(OFlags::RDONLY), ["O_RDONLY"]);
        assert_eq!(of(OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC), ["O_WRONLY", "O_CREAT", "O_TRUNC"]);
        assert_eq!(of(OFlags::RDWR | OFlags::SYNC), ["O_RDWR", "O_SYNC"]);
        assert_eq!(open_flags(0o10_002).collect::<Vec<_>>(), ["O_RDWR", "O_DSYNC"]);
        assert_eq!(of(OFlags::RDWR | OFlags::TMPFILE), ["O_RDWR", "O_TMPFILE"]);
        assert_eq!(of(OFlags::DIRECTORY | OFlags::NOFOLLOW), ["O_RDONLY", "O_DIRECTORY", "O_NOFOLLOW"]);
        assert_eq!(of(OFlags::PATH | OFlags::CLOEXEC), ["O_RDONLY", "O_CLOEXEC", "O_PATH"]);
        assert_eq!(open_flags(u32::MAX).count(), 13, "each bit is told once");
    }

    #[test]
    fn capabilities_have_the_kernels_numbers() {
        let expected = [(0, "CAP_CHOWN"), (21, "CAP_SYS_ADMIN"), (31, "CAP_SETFCAP"), (39, "CAP_BPF")];
        expected.into_iter().for_each(|(number, name)| assert_eq!(capability(number), Some(name)));
        assert_eq!(capability(40), Some("CAP_CHECKPOINT_RESTORE"));
        assert_eq!(capability(41), None);
        (0..41).for_each(|number| assert_eq!(capability(number).and_then(capability_number), Some(number)));
        assert_eq!(capability_number("cap_bpf"), Some(39));
        assert_eq!(capability_number("BPF"), None);
        assert_eq!(capabilities(CAP_SYS_ADMIN).filter_map(capability).collect::<Vec<_>>(), ["CAP_SYS_ADMIN"]);
        assert_eq!(capabilities(1 << 63 | 1).collect::<Vec<_>>(), [0, 63]);
    }
}
