//! The pod behind every event: the real agent, the kernel's cgroups as the kubelet makes them, and an API server that
//! tells of the pods before their processes, after them, or never.

use std::process::ExitCode;

use trigon_tests::suite::{self, Need};

mod churn;
mod cluster;
mod order;
mod policies;
mod rights;
mod runtime;
mod scene;

/// What a test needs that has an agent.
const KERNEL: &[Need] = &[Need::Kernel];

fn main() -> ExitCode {
    suite::run(|suite| {
        order::tests(suite);
        cluster::tests(suite);
        runtime::tests(suite);
        policies::tests(suite);
        rights::tests(suite);
        churn::tests(suite);
    })
}
