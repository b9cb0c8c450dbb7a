//! What an operator does with an agent that runs: asks it, follows it, changes its configuration.

use std::process::ExitCode;

use trigon_tests::suite::{self, Need};

mod ask;
mod follow;
mod reload;

const KERNEL: &[Need] = &[Need::Kernel];

fn main() -> ExitCode {
    suite::run(|suite| {
        ask::tests(suite);
        follow::tests(suite);
        reload::tests(suite);
    })
}
