//! Sockets, by real connections: filters on them, in which network namespace they are, and whose they are.

use std::{fs, process::ExitCode};

use trigon_tests::suite::{self, Need};

mod filters;
mod namespaces;
mod owners;

const KERNEL: &[Need] = &[Need::Kernel];

/// Kernels that have functions to hook.
const FUNCTIONS: [&str; 2] = ["6.1.", "6.12."];

fn main() -> ExitCode {
    suite::run(|suite| {
        suite.test("connections_by_raw_tracepoint", KERNEL, filters::connections_by_raw_tracepoint);
        suite.test("listeners_by_raw_tracepoint", KERNEL, filters::listeners_by_raw_tracepoint);
        suite.test("connections_by_fentry", KERNEL, || filters::connections_by_function("fentries"));
        suite.test("connections_by_kprobe", KERNEL, || filters::connections_by_function("kprobes"));
        suite.test("namespaces_joined", KERNEL, namespaces::joined);
        suite.test("namespaces_apart", KERNEL, namespaces::apart);
        suite.test("owners_by_raw_tracepoint", KERNEL, owners::by_raw_tracepoint);
        suite.test("owners_by_fentry", KERNEL, || owners::by_function("fentries"));
        suite.test("owners_by_kprobe", KERNEL, || owners::by_function("kprobes"));
    })
}

/// Says so where they can't.
fn functions_can_be_hooked() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("read the release");
    let can = FUNCTIONS.iter().any(|known| release.starts_with(known));
    if !can {
        println!("not tried: this kernel's functions can't be hooked");
    }
    can
}
