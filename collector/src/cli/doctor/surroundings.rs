//! What matters beside the kernel: the rights of this process, what is mounted, what is set. Only looked at.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use procfs::{
    ConfigSetting, Current as _, KernelConfig,
    process::{LimitValue, Process, Status},
};
use trigon_probes::kernel::Outcome;

use super::report::{Check, Importance, Section};

/// Bits of capability sets: include/uapi/linux/capability.h.
const DAC_READ_SEARCH: u32 = 2;
const SYS_PTRACE: u32 = 19;
const SYS_ADMIN: u32 = 21;
const PERFMON: u32 = 38;
const BPF: u32 = 39;

/// Inode of the first PID namespace: `PROC_PID_INIT_INO` of the kernel's include/linux/proc_ns.h.
const FIRST_PID_NAMESPACE: u64 = 0xefff_fffc;

/// Options of the kernel's configuration that decide on what is tried; shown, never relied on.
const OPTIONS: [&str; 14] = [
    "CONFIG_BPF_SYSCALL",
    "CONFIG_BPF_JIT",
    "CONFIG_BPF_EVENTS",
    "CONFIG_BPF_LSM",
    "CONFIG_BPF_KPROBE_OVERRIDE",
    "CONFIG_DEBUG_INFO_BTF",
    "CONFIG_FUNCTION_TRACER",
    "CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS",
    "CONFIG_FPROBE",
    "CONFIG_KPROBES",
    "CONFIG_KPROBE_EVENTS",
    "CONFIG_UPROBE_EVENTS",
    "CONFIG_CGROUPS",
    "CONFIG_IA32_EMULATION",
];

pub(super) fn examine() -> Vec<Section> {
    vec![
        Section { name: "rights", checks: rights() },
        Section { name: "surroundings", checks: surroundings() },
        Section { name: "settings", checks: settings() },
    ]
}

fn rights() -> Vec<Check> {
    let status = match Process::myself().and_then(|process| process.status()) {
        Ok(status) => status,
        Err(error) => {
            return vec![Check::info("capabilities", format!("/proc/self/status can't be read: {error}"))];
        }
    };
    let capability = |name: &str, bit, need, cost| {
        let has = has(&status, bit) || matches!(bit, BPF | PERFMON) && has(&status, SYS_ADMIN);
        let outcome = match has {
            true => Outcome::Works,
            false => Outcome::NotPermitted("this process doesn't have it".to_owned()),
        };
        Check::new(name.to_owned(), &outcome, need, cost, "")
    };
    use Importance::{Required, Useful};
    let mut checks = vec![
        capability("CAP_BPF", BPF, Required, "nothing can be loaded"),
        capability("CAP_PERFMON", PERFMON, Required, "nothing that traces can be loaded"),
        capability(
            "CAP_SYS_PTRACE",
            SYS_PTRACE,
            Useful,
            "of processes that run already and belong to others, the directory and environment stay unknown",
        ),
    ];
    // Root owns what others need this for.
    if status.euid != 0 {
        checks.push(capability(
            "CAP_DAC_READ_SEARCH",
            DAC_READ_SEARCH,
            Useful,
            "tracefs, which belongs to root, can't be read by another user: no policy's tracepoints",
        ));
    }
    for check in &mut checks {
        if check.mend == super::report::AS_ROOT && check.need == Useful {
            check.mend = "run it as root, or add it to the unit's AmbientCapabilities=";
        }
    }
    checks.push(Check::info("user", format!("uid {}", status.euid)));
    if status.seccomp == Some(2) {
        checks.push(Check::info(
            "seccomp",
            "system calls are filtered; the filter has to allow bpf and perf_event_open",
        ));
    }
    if fs::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| map.split_whitespace().last() != Some("4294967295"))
    {
        checks.push(Check::info("user namespace", "not the host's: capabilities don't count for eBPF"));
    }
    checks
}

fn has(status: &Status, capability: u32) -> bool {
    status.capeff & (1 << capability) != 0
}

fn surroundings() -> Vec<Check> {
    use Importance::{Required, Useful};
    let check = |name: &str, outcome: Outcome, need, cost, mend| {
        let mut check = Check::new(name.to_owned(), &outcome, need, cost, mend);
        if !matches!(outcome, Outcome::Works) {
            check.mend = mend;
        }
        check
    };
    let mut checks = vec![
        check(
            "/proc",
            seen(fs::read_dir("/proc/self").map(drop)),
            Required,
            "what runs already can't be listed; the agent does not start",
            "mount -t proc proc /proc",
        ),
        check(
            "other users' processes in /proc",
            seen(fs::metadata("/proc/1").map(drop)),
            Useful,
            "processes that run already and belong to others stay unknown",
            "mount -o remount,hidepid=0 /proc, or run it as root",
        ),
        check(
            "PID namespace of the host",
            pid_namespace(),
            Useful,
            "pids in /proc are not those that the kernel reports: what runs already is taken for something else",
            "docker run --pid=host; hostPID: true in a pod",
        ),
        check(
            "cgroup v2",
            cgroup2(),
            Useful,
            "events don't tell their container",
            "boot with systemd.unified_cgroup_hierarchy=1, or mount -t cgroup2 none /sys/fs/cgroup/unified",
        ),
    ];
    checks.push(Check::info("tracefs", tracefs()));
    let compat = fs::exists("/proc/sys/abi/vsyscall32").unwrap_or(false);
    checks.push(Check::info(
        "32-bit programs",
        match compat {
            true => "the kernel takes their system calls; policies see them by a table of their own",
            false => "the kernel doesn't take their system calls",
        },
    ));
    checks
}

fn seen(result: io::Result<()>) -> Outcome {
    match result {
        Ok(()) => Outcome::Works,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Outcome::NotPermitted(error.to_string())
        }
        Err(error) => Outcome::Missing(error.to_string()),
    }
}

fn pid_namespace() -> Outcome {
    match fs::metadata("/proc/self/ns/pid") {
        Ok(namespace) if namespace.ino() == FIRST_PID_NAMESPACE => Outcome::Works,
        Ok(_) => Outcome::Missing("this process is in another one".to_owned()),
        Err(error) => Outcome::Untried(error.to_string()),
    }
}

fn cgroup2() -> Outcome {
    match Process::myself().and_then(|process| process.mountinfo()) {
        Ok(mounts) if mounts.0.iter().any(|mount| mount.fs_type == "cgroup2") => Outcome::Works,
        Ok(_) => Outcome::Missing("not mounted".to_owned()),
        Err(error) => Outcome::Untried(error.to_string()),
    }
}

/// What the type `tracepoint` among the programs depends on.
fn tracefs() -> String {
    let roots = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
    let found = roots.map(|root| (root, seen(fs::read_dir(Path::new(root).join("events")).map(drop))));
    let find = |wanted: fn(&Outcome) -> bool| found.iter().find(|(_, outcome)| wanted(outcome));
    if let Some((root, _)) = find(|outcome| *outcome == Outcome::Works) {
        format!("mounted on {root}")
    } else if let Some((root, _)) = find(|outcome| matches!(outcome, Outcome::NotPermitted(_))) {
        format!("only root, or CAP_DAC_READ_SEARCH, can read {root}")
    } else {
        "not mounted, or not to be read: the agent mounts it for itself, with CAP_SYS_ADMIN".to_owned()
    }
}

fn settings() -> Vec<Check> {
    let text = |path: &str| match fs::read_to_string(path) {
        Ok(text) => text.trim().to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => "not told here".to_owned(),
        Err(error) => error.to_string(),
    };
    let mut checks = vec![
        Check::info("lockdown", text("/sys/kernel/security/lockdown")),
        Check::info("active security modules", text("/sys/kernel/security/lsm")),
        Check::info("kernel.unprivileged_bpf_disabled", text("/proc/sys/kernel/unprivileged_bpf_disabled")),
        Check::info("kernel.perf_event_paranoid", text("/proc/sys/kernel/perf_event_paranoid")),
        Check::info("net.core.bpf_jit_enable", text("/proc/sys/net/core/bpf_jit_enable")),
        Check::info("RLIMIT_MEMLOCK", memlock()),
    ];
    if let Ok(KernelConfig(config)) = KernelConfig::current() {
        checks.extend(OPTIONS.map(|name| {
            let value = match config.get(name) {
                Some(ConfigSetting::Yes) => "y",
                Some(ConfigSetting::Module) => "m",
                Some(ConfigSetting::Value(value)) => value,
                None => "not set",
            };
            Check::info(name, value)
        }));
    } else {
        checks.push(Check::info("configuration of the kernel", "neither /proc/config.gz nor /boot has it"));
    }
    checks
}

fn memlock() -> String {
    let limits = Process::myself().and_then(|process| process.limits());
    let limit = match limits.map(|limits| limits.max_locked_memory.soft_limit) {
        Ok(LimitValue::Unlimited) => "unlimited".to_owned(),
        Ok(LimitValue::Value(bytes)) => format!("{bytes} bytes"),
        Err(error) => error.to_string(),
    };
    format!("{limit}; eBPF doesn't count to it since 5.11")
}
