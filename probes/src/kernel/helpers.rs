//! Functions of the kernel that programs call, each tried by loading a program that calls it.
//!
//! The verifier looks whether there is such a helper for the type of program before it looks at the arguments: what it
//! says of those doesn't matter here.

use aya_obj::generated::bpf_func_id::{self, *};

use super::{Bench, Failure, Need, Outcome, Trial, programs::ProgramType};

/// `BPF_JMP | BPF_CALL`, `BPF_JMP | BPF_EXIT`
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;

const OLD: &str = "a kernel of 5.17 or later";
const LOCKED: &str = "boot without lockdown=confidentiality";

/// A helper: name, number, the type of program that calls it, need, cost, mend.
type Helper = (&'static str, bpf_func_id, ProgramType, Need, &'static str, &'static str);

const ALL: [Helper; 31] = {
    use Need::{Required, Useful};
    use ProgramType::{BtfTracepoint, Fentry, Fexit, Kprobe, Lsm, RawTracepoint, TaskIterator};
    const ALL: &str = "no agent";
    const READS: &str = "nothing of a process can be read";
    const POLICIES: &str = "no policies";
    const TRAMPOLINES: &str = "no fentry; kprobes or what system calls show are used instead";
    [
        ("bpf_map_lookup_elem", BPF_FUNC_map_lookup_elem, RawTracepoint, Required, ALL, OLD),
        ("bpf_map_update_elem", BPF_FUNC_map_update_elem, RawTracepoint, Required, POLICIES, OLD),
        ("bpf_map_delete_elem", BPF_FUNC_map_delete_elem, RawTracepoint, Required, POLICIES, OLD),
        ("bpf_ringbuf_reserve", BPF_FUNC_ringbuf_reserve, RawTracepoint, Required, ALL, OLD),
        ("bpf_ringbuf_submit", BPF_FUNC_ringbuf_submit, RawTracepoint, Required, ALL, OLD),
        ("bpf_ringbuf_output", BPF_FUNC_ringbuf_output, RawTracepoint, Required, ALL, OLD),
        ("bpf_ringbuf_query", BPF_FUNC_ringbuf_query, RawTracepoint, Required, ALL, OLD),
        ("bpf_get_current_task", BPF_FUNC_get_current_task, RawTracepoint, Required, ALL, OLD),
        ("bpf_get_current_pid_tgid", BPF_FUNC_get_current_pid_tgid, RawTracepoint, Required, ALL, OLD),
        ("bpf_ktime_get_boot_ns", BPF_FUNC_ktime_get_boot_ns, RawTracepoint, Required, ALL, OLD),
        ("bpf_loop", BPF_FUNC_loop, RawTracepoint, Required, ALL, OLD),
        ("bpf_strncmp", BPF_FUNC_strncmp, RawTracepoint, Required, ALL, OLD),
        ("bpf_probe_read_kernel", BPF_FUNC_probe_read_kernel, RawTracepoint, Required, READS, LOCKED),
        ("bpf_probe_read_kernel_str", BPF_FUNC_probe_read_kernel_str, RawTracepoint, Required, READS, LOCKED),
        ("bpf_probe_read_user", BPF_FUNC_probe_read_user, RawTracepoint, Required, READS, LOCKED),
        ("bpf_probe_read_user_str", BPF_FUNC_probe_read_user_str, RawTracepoint, Required, READS, LOCKED),
        (
            "bpf_seq_write",
            BPF_FUNC_seq_write,
            TaskIterator,
            Useful,
            "what ran before the agent is read from /proc, less exactly",
            OLD,
        ),
        ("bpf_for_each_map_elem", BPF_FUNC_for_each_map_elem, BtfTracepoint, Useful, POLICIES, OLD),
        (
            "bpf_send_signal",
            BPF_FUNC_send_signal,
            BtfTracepoint,
            Useful,
            "policies can't send signals (Sigkill, Signal)",
            OLD,
        ),
        ("bpf_get_current_comm", BPF_FUNC_get_current_comm, RawTracepoint, Useful, POLICIES, OLD),
        ("bpf_get_current_task_btf", BPF_FUNC_get_current_task_btf, RawTracepoint, Useful, POLICIES, OLD),
        ("bpf_get_task_stack", BPF_FUNC_get_task_stack, RawTracepoint, Useful, POLICIES, OLD),
        ("bpf_tail_call", BPF_FUNC_tail_call, BtfTracepoint, Required, ALL, OLD),
        (
            "bpf_ima_file_hash",
            BPF_FUNC_ima_file_hash,
            Lsm,
            Useful,
            "no hashes of files (imaHash)",
            "a kernel of 5.18 or later with CONFIG_IMA, and BPF among its security modules",
        ),
        (
            "bpf_override_return",
            BPF_FUNC_override_return,
            Kprobe,
            Useful,
            "Override works by LSM and fmod_ret alone",
            "a kernel with CONFIG_BPF_KPROBE_OVERRIDE",
        ),
        (
            "bpf_probe_write_user",
            BPF_FUNC_probe_write_user,
            Kprobe,
            Useful,
            "Set can't write arguments that are in memory",
            "boot without lockdown; some hardened kernels refuse it all the same",
        ),
        ("bpf_get_attach_cookie", BPF_FUNC_get_attach_cookie, Fentry, Useful, TRAMPOLINES, OLD),
        ("bpf_get_func_arg", BPF_FUNC_get_func_arg, Fentry, Useful, TRAMPOLINES, OLD),
        ("bpf_get_func_ret", BPF_FUNC_get_func_ret, Fexit, Useful, TRAMPOLINES, OLD),
        (
            "bpf_get_attach_cookie (kprobe)",
            BPF_FUNC_get_attach_cookie,
            Kprobe,
            Useful,
            "no kprobes, no tracepoints of policies",
            OLD,
        ),
        (
            "bpf_probe_read_kernel (kprobe)",
            BPF_FUNC_probe_read_kernel,
            Kprobe,
            Useful,
            "no kprobes of policies",
            LOCKED,
        ),
    ]
};

pub(super) fn examine(bench: &Bench) -> Vec<Trial> {
    ALL.map(|(name, id, by, need, cost, mend)| {
        let outcome = outcome(bench, name, id, by);
        Trial { name, need, outcome, cost, mend }
    })
    .into()
}

fn outcome(bench: &Bench, name: &str, id: bpf_func_id, by: ProgramType) -> Outcome {
    let code =
        [super::programs::instruction(CALL, 0, 0, id as i32), super::programs::instruction(EXIT, 0, 0, 0)];
    match by.load(bench, &code) {
        Err(Failure::Refused(_, log)) if is_about_arguments(&log) => Outcome::Works,
        // Refused before the verifier had a look.
        Err(Failure::Refused(error, log)) if log.is_empty() && bench.permitted => {
            Outcome::Untried(format!("no program that could call it is loaded here: {error}"))
        }
        Err(Failure::Refused(error, log)) if !log.is_empty() => {
            Outcome::Missing(format!("this kernel has no {name} for such programs: {error}: {log}"))
        }
        result => bench.outcome(result.map(drop)),
    }
}

/// Whether the verifier got past the question whether there is such a helper.
fn is_about_arguments(log: &str) -> bool {
    const NO_HELPER: [&str; 4] =
        ["unknown func", "invalid func", "cannot use helper", "type information has no"];
    !log.is_empty() && !NO_HELPER.iter().any(|text| log.contains(text))
}

#[cfg(test)]
pub(super) mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    /// All C of the programs, comments left out.
    pub(in crate::kernel) fn sources() -> String {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("bpf");
        let files =
            [root.clone(), root.join("hook")].into_iter().flat_map(|folder| fs::read_dir(folder).unwrap());
        let paths = files.map(|file| file.unwrap().path());
        let code = paths.filter(|path| path.extension().is_some_and(|one| one == "c" || one == "h"));
        let text: String = code.map(|path| fs::read_to_string(path).unwrap()).collect();
        let parts = text.split("/*").map(|part| part.split_once("*/").map_or(part, |(_, code)| code));
        parts.collect()
    }

    /// Whoever calls another helper adds it above.
    #[test]
    fn every_helper_that_the_programs_call_is_tried() {
        let text = sources();
        let used: BTreeSet<_> = text
            .match_indices("bpf_")
            .filter(|(at, _)| !text[..*at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
            .filter_map(|(at, _)| {
                let (name, _) = text[at..].split_once('(')?;
                name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_').then_some(name)
            })
            // What is no call: relocations, and bytes put in the network's order.
            .filter(|name| !name.starts_with("bpf_core_"))
            .filter(|name| !["bpf_cpu_to_be64", "bpf_htonl", "bpf_htons", "bpf_ntohs"].contains(name))
            .collect();
        assert!(used.contains("bpf_loop"), "{used:?}");
        let known: BTreeSet<_> = ALL.iter().map(|helper| helper.0).collect();
        let untried: Vec<_> = used.difference(&known).collect();
        assert!(untried.is_empty(), "{untried:?}");
    }

    #[test]
    fn the_verifier_says_whether_there_is_a_helper() {
        assert!(is_about_arguments("0: (85) call bpf_loop#181; R1 !read_ok"));
        for log in [
            "unknown func bpf_loop#181",
            "invalid func unknown#999",
            "program of this type cannot use helper bpf_seq_write#127",
            "",
        ] {
            assert!(!is_about_arguments(log), "{log}");
        }
    }
}
