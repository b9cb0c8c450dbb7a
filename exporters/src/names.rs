//! Names of the kernel's numbers: signals (signal(7)) and capabilities (capabilities(7)).

use std::borrow::Cow;

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

/// The name of the capability with this number, where it has one.
pub fn capability(number: u32) -> Option<&'static str> {
    CAPABILITIES.get(number as usize).copied()
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
    fn capabilities_have_the_kernels_numbers() {
        let expected = [(0, "CAP_CHOWN"), (21, "CAP_SYS_ADMIN"), (31, "CAP_SETFCAP"), (39, "CAP_BPF")];
        expected.into_iter().for_each(|(number, name)| assert_eq!(capability(number), Some(name)));
        assert_eq!(capability(40), Some("CAP_CHECKPOINT_RESTORE"));
        assert_eq!(capability(41), None);
        assert_eq!(capabilities(CAP_SYS_ADMIN).filter_map(capability).collect::<Vec<_>>(), ["CAP_SYS_ADMIN"]);
        assert_eq!(capabilities(1 << 63 | 1).collect::<Vec<_>>(), [0, 63]);
    }
}
