//! Policies that prevent: by security modules, by functions that return at once, by signals; and that only watch.
//!
//! Where the kernel can't prevent a thing, the policy has to be refused by name, and where it only observes, served.

use std::process::ExitCode;

use trigon_tests::suite::{self, Need};

mod enforcers;
mod hashes;
mod modes;
mod prevented;
mod rig;

const KERNEL: &[Need] = &[Need::Kernel];

fn main() -> ExitCode {
    suite::run(|suite| {
        prevented::tests(suite);
        modes::tests(suite);
        enforcers::tests(suite);
        hashes::tests(suite);
    })
}
