//! Names of what the kernel's own programs and modules are: eBPF, perf events, taints.

use std::borrow::Cow;

/// Commands of bpf(2) by their numbers (include/uapi/linux/bpf.h), as all that follow.
const COMMANDS: [&str; 38] = [
    "BPF_MAP_CREATE",
    "BPF_MAP_LOOKUP_ELEM",
    "BPF_MAP_UPDATE_ELEM",
    "BPF_MAP_DELETE_ELEM",
    "BPF_MAP_GET_NEXT_KEY",
    "BPF_PROG_LOAD",
    "BPF_OBJ_PIN",
    "BPF_OBJ_GET",
    "BPF_PROG_ATTACH",
    "BPF_PROG_DETACH",
    "BPF_PROG_TEST_RUN",
    "BPF_PROG_GET_NEXT_ID",
    "BPF_MAP_GET_NEXT_ID",
    "BPF_PROG_GET_FD_BY_ID",
    "BPF_MAP_GET_FD_BY_ID",
    "BPF_OBJ_GET_INFO_BY_FD",
    "BPF_PROG_QUERY",
    "BPF_RAW_TRACEPOINT_OPEN",
    "BPF_BTF_LOAD",
    "BPF_BTF_GET_FD_BY_ID",
    "BPF_TASK_FD_QUERY",
    "BPF_MAP_LOOKUP_AND_DELETE_ELEM",
    "BPF_MAP_FREEZE",
    "BPF_BTF_GET_NEXT_ID",
    "BPF_MAP_LOOKUP_BATCH",
    "BPF_MAP_LOOKUP_AND_DELETE_BATCH",
    "BPF_MAP_UPDATE_BATCH",
    "BPF_MAP_DELETE_BATCH",
    "BPF_LINK_CREATE",
    "BPF_LINK_UPDATE",
    "BPF_LINK_GET_FD_BY_ID",
    "BPF_LINK_GET_NEXT_ID",
    "BPF_ENABLE_STATS",
    "BPF_ITER_CREATE",
    "BPF_LINK_DETACH",
    "BPF_PROG_BIND_MAP",
    "BPF_TOKEN_CREATE",
    "BPF_PROG_STREAM_READ_BY_FD",
];

/// Types of eBPF programs.
const PROGRAM_TYPES: [&str; 33] = [
    "BPF_PROG_TYPE_UNSPEC",
    "BPF_PROG_TYPE_SOCKET_FILTER",
    "BPF_PROG_TYPE_KPROBE",
    "BPF_PROG_TYPE_SCHED_CLS",
    "BPF_PROG_TYPE_SCHED_ACT",
    "BPF_PROG_TYPE_TRACEPOINT",
    "BPF_PROG_TYPE_XDP",
    "BPF_PROG_TYPE_PERF_EVENT",
    "BPF_PROG_TYPE_CGROUP_SKB",
    "BPF_PROG_TYPE_CGROUP_SOCK",
    "BPF_PROG_TYPE_LWT_IN",
    "BPF_PROG_TYPE_LWT_OUT",
    "BPF_PROG_TYPE_LWT_XMIT",
    "BPF_PROG_TYPE_SOCK_OPS",
    "BPF_PROG_TYPE_SK_SKB",
    "BPF_PROG_TYPE_CGROUP_DEVICE",
    "BPF_PROG_TYPE_SK_MSG",
    "BPF_PROG_TYPE_RAW_TRACEPOINT",
    "BPF_PROG_TYPE_CGROUP_SOCK_ADDR",
    "BPF_PROG_TYPE_LWT_SEG6LOCAL",
    "BPF_PROG_TYPE_LIRC_MODE2",
    "BPF_PROG_TYPE_SK_REUSEPORT",
    "BPF_PROG_TYPE_FLOW_DISSECTOR",
    "BPF_PROG_TYPE_CGROUP_SYSCTL",
    "BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE",
    "BPF_PROG_TYPE_CGROUP_SOCKOPT",
    "BPF_PROG_TYPE_TRACING",
    "BPF_PROG_TYPE_STRUCT_OPS",
    "BPF_PROG_TYPE_EXT",
    "BPF_PROG_TYPE_LSM",
    "BPF_PROG_TYPE_SK_LOOKUP",
    "BPF_PROG_TYPE_SYSCALL",
    "BPF_PROG_TYPE_NETFILTER",
];

/// Types of eBPF maps.
const MAP_TYPES: [&str; 34] = [
    "BPF_MAP_TYPE_UNSPEC",
    "BPF_MAP_TYPE_HASH",
    "BPF_MAP_TYPE_ARRAY",
    "BPF_MAP_TYPE_PROG_ARRAY",
    "BPF_MAP_TYPE_PERF_EVENT_ARRAY",
    "BPF_MAP_TYPE_PERCPU_HASH",
    "BPF_MAP_TYPE_PERCPU_ARRAY",
    "BPF_MAP_TYPE_STACK_TRACE",
    "BPF_MAP_TYPE_CGROUP_ARRAY",
    "BPF_MAP_TYPE_LRU_HASH",
    "BPF_MAP_TYPE_LRU_PERCPU_HASH",
    "BPF_MAP_TYPE_LPM_TRIE",
    "BPF_MAP_TYPE_ARRAY_OF_MAPS",
    "BPF_MAP_TYPE_HASH_OF_MAPS",
    "BPF_MAP_TYPE_DEVMAP",
    "BPF_MAP_TYPE_SOCKMAP",
    "BPF_MAP_TYPE_CPUMAP",
    "BPF_MAP_TYPE_XSKMAP",
    "BPF_MAP_TYPE_SOCKHASH",
    "BPF_MAP_TYPE_CGROUP_STORAGE",
    "BPF_MAP_TYPE_REUSEPORT_SOCKARRAY",
    "BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE",
    "BPF_MAP_TYPE_QUEUE",
    "BPF_MAP_TYPE_STACK",
    "BPF_MAP_TYPE_SK_STORAGE",
    "BPF_MAP_TYPE_DEVMAP_HASH",
    "BPF_MAP_TYPE_STRUCT_OPS",
    "BPF_MAP_TYPE_RINGBUF",
    "BPF_MAP_TYPE_INODE_STORAGE",
    "BPF_MAP_TYPE_TASK_STORAGE",
    "BPF_MAP_TYPE_BLOOM_FILTER",
    "BPF_MAP_TYPE_USER_RINGBUF",
    "BPF_MAP_TYPE_CGRP_STORAGE",
    "BPF_MAP_TYPE_ARENA",
];

/// Types of perf events whose numbers are fixed (include/uapi/linux/perf_event.h).
const PERF_TYPES: [&str; 6] = [
    "PERF_TYPE_HARDWARE",
    "PERF_TYPE_SOFTWARE",
    "PERF_TYPE_TRACEPOINT",
    "PERF_TYPE_HW_CACHE",
    "PERF_TYPE_RAW",
    "PERF_TYPE_BREAKPOINT",
];

/// What a module taints the kernel with (include/linux/panic.h), by Tetragon's names of them.
const TAINTS: [(u64, &str); 8] = [
    (1 << 0, "TAINT_PROPRIETARY_MODULE"),
    (1 << 1, "TAINT_FORCED_MODULE"),
    (1 << 3, "TAINT_FORCED_UNLOAD_MODULE"),
    (1 << 10, "TAINT_STAGED_MODULE"),
    (1 << 12, "TAINT_OUT_OF_TREE_MODULE"),
    (1 << 13, "TAINT_UNSIGNED_MODULE"),
    (1 << 15, "TAINT_KERNEL_LIVE_PATCH_MODULE"),
    (1 << 18, "TAINT_TEST_MODULE"),
];

/// The name of a command of bpf(2): `BPF_PROG_LOAD`; its number where it has none.
pub fn bpf_command(number: i32) -> Cow<'static, str> {
    let known = u32::try_from(number).ok().and_then(|number| COMMANDS.get(number as usize));
    known.map_or_else(|| Cow::Owned(number.to_string()), |name| Cow::Borrowed(*name))
}

/// The name of an eBPF program's type: `BPF_PROG_TYPE_KPROBE`; its number where it has none.
pub fn program_type(number: u32) -> Cow<'static, str> {
    named(&PROGRAM_TYPES, number)
}

/// The name of an eBPF map's type: `BPF_MAP_TYPE_HASH`; its number where it has none.
pub fn map_type(number: u32) -> Cow<'static, str> {
    named(&MAP_TYPES, number)
}

/// The name of a perf event's type: `PERF_TYPE_SOFTWARE`; of a PMU that has its number from the kernel the PMU's
/// name, as `PERF_TYPE_KPROBE`.
pub fn perf_type(number: u32, pmu: &str) -> Cow<'static, str> {
    match PERF_TYPES.get(number as usize) {
        // Since 6.4 these two have PMUs of their own, though nobody asks for them by a number of theirs.
        None if matches!(pmu, "cpu_clock" | "task_clock") => Cow::Borrowed("PERF_TYPE_SOFTWARE"),
        None if !pmu.is_empty() => Cow::Owned(format!("PERF_TYPE_{}", pmu.to_ascii_uppercase())),
        _ => named(&PERF_TYPES, number),
    }
}

/// The names of what a module taints the kernel with. Bits without a name are left out.
pub fn taints(bits: u64) -> impl Iterator<Item = &'static str> {
    TAINTS.iter().filter(move |(bit, _)| bits & bit != 0).map(|(_, name)| *name)
}

fn named(names: &[&'static str], number: u32) -> Cow<'static, str> {
    match names.get(number as usize) {
        Some(name) => Cow::Borrowed(name),
        None => Cow::Owned(number.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_headers() {
        assert_eq!((bpf_command(0), bpf_command(5)), ("BPF_MAP_CREATE".into(), "BPF_PROG_LOAD".into()));
        assert_eq!((bpf_command(-1), bpf_command(999)), ("-1".into(), "999".into()));
        assert_eq!(
            (program_type(2), program_type(29)),
            ("BPF_PROG_TYPE_KPROBE".into(), "BPF_PROG_TYPE_LSM".into())
        );
        assert_eq!((map_type(27), map_type(u32::MAX)), ("BPF_MAP_TYPE_RINGBUF".into(), "4294967295".into()));
        assert_eq!(
            (perf_type(1, "software"), perf_type(8, "kprobe")),
            ("PERF_TYPE_SOFTWARE".into(), "PERF_TYPE_KPROBE".into())
        );
        assert_eq!(
            (perf_type(8, ""), perf_type(11, "task_clock")),
            ("8".into(), "PERF_TYPE_SOFTWARE".into())
        );
        assert_eq!(taints(1 << 12 | 1 << 13 | 1).count(), 3);
        assert_eq!(taints(0).next(), None);
    }
}
