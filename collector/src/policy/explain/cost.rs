//! What a hook costs, on a scale: how often the kernel passes it, times what is done for each call.
//!
//! docs/policies.md ("What a policy costs") has the same scale for people; change both.

use serde::Serialize;
use trigon_probes::hooks::plan::{SIZE_RETURNED, ValueSpec, source, value_type};

use super::super::{
    compile::{self, Host, Part, lineage::Lineages},
    engine::is_late,
    model::{
        Policy,
        hooks::{Function, Hook, Point},
    },
};

/// What a hook, or a policy, costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Its class.
    pub class: Class,
    /// What the class is made of: how often, times how much.
    pub points: u64,
    /// How often the kernel passes it; of a policy, its most frequent hook.
    pub frequency: Frequency,
    /// What is looked up for a call that comes that far.
    pub lookups: u64,
    /// Texts that are copied for that: paths, strings, names of programs.
    pub texts: u64,
}

/// Five classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// 1
    Negligible,
    /// 2
    Low,
    /// 3
    Moderate,
    /// 4
    High,
    /// 5
    VeryHigh,
}

/// How often a machine that works passes a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Frequency {
    /// When something is set up: mounts, modules, tracing.
    Rare,
    /// A few times for each process: exec, exit, fork, changes of credentials.
    Process,
    /// It isn't known: taken for as frequent as opens.
    Unknown,
    /// For each file or connection that is opened, closed, looked at or deleted.
    Open,
    /// For each read, write, message or wait.
    Access,
    /// For every system call.
    EveryCall,
}

/// A text that is copied costs as much as so many lookups.
const TEXT: u64 = 3;
/// Putting a record together, where every call is posted.
const POST: u64 = 5;

const EVERY_CALL: &[&str] = &["raw_syscalls/sys_enter", "raw_syscalls/sys_exit"];

const ACCESSES: &[&str] = &[
    "read",
    "write",
    "pread64",
    "pwrite64",
    "readv",
    "writev",
    "preadv",
    "pwritev",
    "preadv2",
    "pwritev2",
    "sendto",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "sendmmsg",
    "recvmmsg",
    "sendfile",
    "splice",
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "epoll_wait",
    "epoll_pwait",
    "futex",
    "nanosleep",
    "clock_nanosleep",
    "ioctl",
    "fcntl",
    "lseek",
    "getdents64",
    "io_uring_enter",
    "mmap",
    "munmap",
    "mprotect",
    "brk",
    "clock_gettime",
    "gettimeofday",
    "rt_sigaction",
    "rt_sigprocmask",
    "security_file_permission",
    "security_mmap_file",
    "security_inode_permission",
    "vfs_read",
    "vfs_write",
    "security_file_ioctl",
    "security_socket_sendmsg",
    "security_socket_recvmsg",
    "cap_capable",
    "security_capable",
    "tcp_sendmsg",
    "tcp_recvmsg",
    "udp_sendmsg",
    "sock_sendmsg",
    "dev_hard_start_xmit",
    "ip_output",
    "sched/sched_switch",
    "sched/sched_wakeup",
    "sched/sched_waking",
    "security_inode_follow_link",
];

const OPENS: &[&str] = &[
    "open",
    "openat",
    "openat2",
    "creat",
    "close",
    "dup",
    "dup2",
    "dup3",
    "pipe",
    "pipe2",
    "stat",
    "lstat",
    "fstat",
    "newfstatat",
    "statx",
    "access",
    "faccessat",
    "faccessat2",
    "readlink",
    "readlinkat",
    "getcwd",
    "socket",
    "connect",
    "accept",
    "accept4",
    "bind",
    "shutdown",
    "getsockopt",
    "setsockopt",
    "unlink",
    "unlinkat",
    "rename",
    "renameat",
    "renameat2",
    "mkdir",
    "mkdirat",
    "chmod",
    "fchmod",
    "fchmodat",
    "chown",
    "fchown",
    "fchownat",
    "lchown",
    "truncate",
    "ftruncate",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "rmdir",
    "fd_install",
    "security_file_open",
    "do_filp_open",
    "do_sys_openat2",
    "vfs_open",
    "filp_close",
    "__fput",
    "security_inode_getattr",
    "security_socket_connect",
    "security_socket_create",
    "security_socket_bind",
    "tcp_connect",
    "tcp_close",
    "inet_csk_accept",
    "sock/inet_sock_set_state",
];

const PROCESSES: &[&str] = &[
    "execve",
    "execveat",
    "fork",
    "vfork",
    "clone",
    "clone3",
    "exit",
    "exit_group",
    "wait4",
    "waitid",
    "kill",
    "tgkill",
    "setuid",
    "setgid",
    "setreuid",
    "setregid",
    "setresuid",
    "setresgid",
    "setgroups",
    "setfsuid",
    "setfsgid",
    "capset",
    "prctl",
    "setsid",
    "setpgid",
    "prlimit64",
    "arch_prctl",
    "set_tid_address",
    "security_bprm_check",
    "security_bprm_creds_from_file",
    "security_bprm_committing_creds",
    "security_bprm_committed_creds",
    "security_task_kill",
    "commit_creds",
    "security_create_user_ns",
    "security_task_fix_setuid",
    "security_task_prctl",
    "wake_up_new_task",
    "do_exit",
    "disassociate_ctty",
    "sched/sched_process_exec",
    "sched/sched_process_exit",
    "sched/sched_process_fork",
    "task/task_newtask",
    "task/task_rename",
    "security_task_alloc",
    "security_task_free",
];

const RARE: &[&str] = &[
    "init_module",
    "finit_module",
    "delete_module",
    "bpf",
    "ptrace",
    "mount",
    "umount2",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsmount",
    "fsconfig",
    "pivot_root",
    "chroot",
    "setns",
    "unshare",
    "memfd_create",
    "process_vm_readv",
    "process_vm_writev",
    "kexec_load",
    "kexec_file_load",
    "reboot",
    "swapon",
    "swapoff",
    "sethostname",
    "setdomainname",
    "settimeofday",
    "clock_settime",
    "clock_adjtime",
    "adjtimex",
    "quotactl",
    "acct",
    "iopl",
    "ioperm",
    "perf_event_open",
    "keyctl",
    "add_key",
    "request_key",
    "userfaultfd",
    "personality",
    "mknod",
    "mknodat",
    "listen",
    "fanotify_init",
    "name_to_handle_at",
    "open_by_handle_at",
    "security_kernel_read_file",
    "security_kernel_module_request",
    "security_sb_mount",
    "security_sb_umount",
    "security_move_mount",
    "security_sb_pivotroot",
    "security_ptrace_access_check",
    "security_bpf",
    "security_bpf_prog",
    "security_bpf_map",
    "security_bpf_prog_alloc",
    "bpf_check",
    "security_locked_down",
    "security_settime64",
    "security_syslog",
    "do_init_module",
    "free_module",
    "security_socket_listen",
    "find_module_sections",
    "module/module_load",
    "module/module_free",
    "vfs_rename",
    "security_path_link",
];

/// Names whose frequency is known.
pub(super) fn known() -> impl Iterator<Item = (&'static str, Frequency)> {
    let all = [
        (EVERY_CALL, Frequency::EveryCall),
        (ACCESSES, Frequency::Access),
        (OPENS, Frequency::Open),
        (PROCESSES, Frequency::Process),
        (RARE, Frequency::Rare),
    ];
    all.into_iter().flat_map(|(names, frequency)| names.iter().map(move |name| (*name, frequency)))
}

// === impl Cost ===

impl Cost {
    /// What a hook costs by itself; none where that depends on types that only the kernel tells.
    pub fn of(policy: &Policy, hook: &Hook) -> Option<Self> {
        let marks = policy.marks();
        let part = Part {
            policy: 1,
            policy_hook: 1,
            follows: policy.follows(),
            alone: false,
            denies: false,
            method: None,
            hook,
            marks: &marks,
            scopes: &[],
            trial: false,
        };
        let plan = compile::table(&[part], Host::default(), &mut Lineages::default()).ok()?;
        let table = &plan.table;
        let dimensions = &table.dimension[..usize::from(table.dimensions)];
        // Where it applies is a lookup too.
        let mut all = hook.selectors.iter().map(Some).chain(hook.selectors.is_empty().then_some(None));
        let placed = all.any(|selector| policy.scope_of(selector).is_some());
        let lookups = dimensions.len() as u64 + u64::from(placed);
        let values = &table.value[..usize::from(table.values)];
        let looked_at = |index: usize| dimensions.iter().any(|one| usize::from(one.value) == index);
        // Each call is posted where some selector asks for nothing.
        let bare = lookups == 0;
        let texts = values.iter().enumerate();
        let texts = texts.filter(|(index, spec)| (bare || looked_at(*index)) && is_text(spec)).count() as u64;
        let work = 1 + lookups + TEXT * texts + if bare { POST } else { 0 };
        // Entry and return are two programs, and what was passed is kept between them.
        let work = work + u64::from(is_late(hook)) * 2;
        let names = names(&hook.point);
        let points = names.iter().map(|name| Frequency::of(name).weight() * work).sum();
        let frequency = names.iter().map(|name| Frequency::of(name)).max()?;
        Some(Self { class: Class::of(points), points, frequency, lookups, texts })
    }
}

fn names(point: &Point) -> Vec<String> {
    match point {
        Point::Tracepoint(point) | Point::RawTracepoint(point) => {
            vec![format!("{}/{}", point.subsystem, point.event)]
        }
        Point::Functions(functions) => {
            let name = |function: &Function| match function {
                Function::Syscall { name, .. } | Function::Symbol(name) => name.clone(),
            };
            functions.functions.iter().map(name).collect()
        }
        Point::Lsm(hook) => vec![format!("security_{hook}")],
        // How often a program comes there, nobody knows beforehand.
        Point::Process => vec!["sched/sched_process_exec".to_owned()],
        Point::Program(_) | Point::Usdt(_) => vec![point.to_string()],
    }
}

fn is_text(spec: &ValueSpec) -> bool {
    match spec.source {
        source::BINARY | source::PARENT_BINARY => true,
        source::ARG => {
            let number = (value_type::NONE..value_type::STRING).contains(&spec.kind);
            !number && spec.kind != value_type::FOLLOWED && spec.size_arg != SIZE_RETURNED
        }
        _ => false,
    }
}

// === impl Class ===

impl Class {
    /// The class of so many points.
    pub fn of(points: u64) -> Self {
        match points {
            0..100 => Self::Negligible,
            100..1_000 => Self::Low,
            1_000..5_000 => Self::Moderate,
            5_000..20_000 => Self::High,
            _ => Self::VeryHigh,
        }
    }

    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Negligible => "1 of 5, negligible",
            Self::Low => "2 of 5, low",
            Self::Moderate => "3 of 5, moderate",
            Self::High => "4 of 5, high",
            Self::VeryHigh => "5 of 5, very high",
        }
    }
}

// === impl Frequency ===

impl Frequency {
    /// That of a system call, a function or a tracepoint (`sched/sched_switch`).
    pub fn of(name: &str) -> Self {
        let call =
            name.strip_prefix("syscalls/sys_enter_").or_else(|| name.strip_prefix("syscalls/sys_exit_"));
        let name = call.unwrap_or(name);
        known().find(|(known, _)| *known == name).map_or(Self::Unknown, |(_, frequency)| frequency)
    }

    fn weight(self) -> u64 {
        match self {
            Self::Rare => 1,
            Self::Process => 10,
            Self::Open | Self::Unknown => 100,
            Self::Access => 1_000,
            Self::EveryCall => 3_000,
        }
    }

    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rare => "rarely passed",
            Self::Process => "passed for each process",
            Self::Unknown => "passed who knows how often (taken for as often as files are opened)",
            Self::Open => "passed for each file or connection that is opened",
            Self::Access => "passed for each read, write or wait",
            Self::EveryCall => "passed by every system call",
        }
    }
}
