//! Policies while the agent runs: by its socket, and by a directory that it watches.

use std::process::ExitCode;

use trigon_tests::suite::{self, Need};

mod directory;
mod rig;
mod socket;
mod states;

const KERNEL: &[Need] = &[Need::Kernel];

fn main() -> ExitCode {
    suite::run(|suite| {
        states::tests(suite);
        directory::tests(suite);
        socket::tests(suite);
    })
}
