//! What the kernel decides is what the language says: random policies and deeds, by each mechanism that this kernel has.
//!
//! `TRIGON_SEED` repeats a run; each prints its seed. `TRIGON_ROUNDS` makes it longer.

mod calls;
mod files;
mod process;
mod random;
mod rig;
mod sockets;

use std::{
    env,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use random::Random;
use rig::{Game, Rig};
use trigon_probes::hooks::Mechanism;
use trigon_tests::suite::{self, Need};

const KERNEL: &[Need] = &[Need::Kernel];

/// The mechanisms that see a function of the kernel, by the names of their tests.
const FUNCTIONS: [(&str, Mechanism); 3] = [
    ("by_fentry", Mechanism::Trampoline),
    ("by_kprobe_multi", Mechanism::KprobeMulti),
    ("by_kprobe", Mechanism::Kprobe),
];

fn main() -> ExitCode {
    suite::run(|suite| {
        let mut test = |name: &str, game: fn() -> Game, mechanism| {
            suite.test(name, KERNEL, move || verdicts(&game(), mechanism));
        };
        test("by_sys_enter", calls::at_syscall, Mechanism::Syscalls);
        test("by_tracepoint", calls::at_tracepoint, Mechanism::Tracepoint);
        test("sockets_by_raw_tracepoint", sockets::at_tracepoint, Mechanism::RawTracepoint);
        test("sockets_held_by_sys_enter", sockets::held, Mechanism::Syscalls);
        test("opened_by_equivalent", files::opened, Mechanism::Equivalent);
        test("used_by_equivalent", files::used, Mechanism::Equivalent);
        test("held_by_sys_enter", files::held, Mechanism::Syscalls);
        for (by, mechanism) in FUNCTIONS {
            test(by, calls::at_syscall, mechanism);
            test(&format!("sockets_{by}"), sockets::at_function, mechanism);
            test(&format!("sockets_held_{by}"), sockets::held, mechanism);
            test(&format!("opened_{by}"), files::opened, mechanism);
            test(&format!("used_{by}"), files::used, mechanism);
            test(&format!("looked_at_{by}"), files::looked_at, mechanism);
            test(&format!("held_{by}"), files::held, mechanism);
        }
    })
}

fn number_from(name: &str) -> Option<u64> {
    env::var(name).ok().and_then(|text| text.parse().ok())
}

fn verdicts(game: &Game, mechanism: Mechanism) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    let seed = number_from("TRIGON_SEED").unwrap_or(now.as_millis() as u64);
    println!("{} by {}: TRIGON_SEED={seed}", game.target, mechanism.as_str());
    let mut rig = Rig::new();
    if !rig.attach(game, mechanism) {
        return;
    }
    let mut random = Random::new(seed);
    let (mut checked, mut matched) = (0, 0);
    for _ in 0..number_from("TRIGON_ROUNDS").unwrap_or(6) {
        let (one, other) = rig.round(game, &mut random);
        checked += one;
        matched += other;
    }
    println!("{checked} verdicts, {matched} of them matches: all agree");
    assert!(matched > 0 && matched < checked, "nothing was told apart");
}
