//! Arguments that are objects of the kernel, and ways through its structs, read of real calls.

use std::process::ExitCode;

use trigon_tests::suite::{self, Need};

mod functions;
mod modules;
mod objects;
mod rig;
mod sockets;
mod ways;

const KERNEL: &[Need] = &[Need::Kernel];
/// Functions of the kernel, which not every kernel lets be hooked.
const FUNCTIONS: &[Need] = &[Need::Kernel, Need::Kprobes];
const MODULE: &[Need] = &[Need::Kernel, Need::Module];

fn main() -> ExitCode {
    suite::run(|suite| {
        suite.test(
            "modules_that_are_loaded_hooked_and_unloaded",
            MODULE,
            modules::loaded_hooked_and_unloaded,
        );
        suite.test("sockets_of_a_connection", KERNEL, sockets::of_a_connection);
        suite.test("packets_and_their_device", KERNEL, sockets::packets);
        suite.test("addresses_of_a_system_call", KERNEL, sockets::addresses);
        suite.test("addresses_of_this_machine", KERNEL, sockets::unix_addresses);
        suite.test("programs_that_are_loaded", KERNEL, objects::programs_that_are_loaded);
        suite.test("what_descriptors_stand_for", KERNEL, objects::what_descriptors_stand_for);
        suite.test("credentials_and_capabilities", KERNEL, objects::credentials);
        suite.test("numbers_of_system_calls", KERNEL, objects::numbers_of_system_calls);
        suite.test("what_is_executed", KERNEL, objects::what_is_executed);
        suite.test("ways_from_the_task", KERNEL, ways::from_the_task);
        suite.test("ways_from_an_argument", KERNEL, ways::from_an_argument);
        suite.test("ways_that_lead_nowhere_are_refused", KERNEL, ways::that_lead_nowhere);
        suite.test("functions_of_sockets", FUNCTIONS, functions::of_sockets);
        suite.test("functions_of_credentials", FUNCTIONS, functions::of_credentials);
        suite.test("functions_of_programs", FUNCTIONS, functions::of_programs);
        suite.test("functions_of_files", FUNCTIONS, functions::of_files);
        suite.test("registers", FUNCTIONS, functions::registers);
        suite.test("objects_at_the_return", FUNCTIONS, functions::at_the_return);
    })
}
