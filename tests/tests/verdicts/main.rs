//! What the kernel decides is what the language says: random policies and deeds, by each mechanism that this kernel has.
//!
//! `TRIGON_SEED` repeats a run; each prints its seed. `TRIGON_ROUNDS` makes it longer.

mod calls;
mod files;
mod numbers;
mod process;
mod programs;
mod random;
mod rig;
mod sockets;

use std::{
    env,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use files::Way;
use random::Random;
use rig::{Game, Rig};
use trigon_probes::hooks::Mechanism;
use trigon_tests::suite::{self, Need};

const KERNEL: &[Need] = &[Need::Kernel];

fn main() -> ExitCode {
    suite::run(|suite| {
        let mut test = |name: &str, mechanism, games: fn() -> Vec<Game>| {
            suite.test(name, KERNEL, move || verdicts(mechanism, &games()));
        };
        test("by_sys_enter", Mechanism::Syscalls, || {
            vec![calls::at_syscall(), sockets::held(), files::held()]
        });
        test("by_tracepoint", Mechanism::Tracepoint, || vec![calls::at_tracepoint()]);
        test("by_raw_tracepoint", Mechanism::RawTracepoint, || vec![sockets::changed()]);
        test("by_equivalent", Mechanism::Equivalent, || {
            vec![files::opened(Way::Function), files::used(Way::Function)]
        });
        for (name, mechanism) in [
            ("by_fentry", Mechanism::Trampoline),
            ("by_kprobe_multi", Mechanism::KprobeMulti),
            ("by_kprobe", Mechanism::Kprobe),
        ] {
            test(name, mechanism, || {
                vec![
                    calls::at_syscall(),
                    sockets::held(),
                    sockets::connecting(),
                    files::held(),
                    files::opened(Way::Function),
                    files::used(Way::Function),
                    files::looked_at(Way::Function),
                ]
            });
        }
        test("by_lsm", Mechanism::Lsm, || {
            vec![files::opened(Way::Module), files::used(Way::Module), files::looked_at(Way::Module)]
        });
        // They may decide what is returned, and these policies don't.
        for (name, mechanism) in
            [("by_fmod_ret", Mechanism::FmodRet), ("by_override_return", Mechanism::OverrideReturn)]
        {
            test(name, mechanism, || {
                vec![calls::at_syscall(), files::opened(Way::Function), files::looked_at(Way::Function)]
            });
        }
        for (name, mechanism) in
            [("by_uprobe", Mechanism::Uprobe), ("by_uprobe_multi", Mechanism::UprobeMulti)]
        {
            test(name, mechanism, || programs::functions().into_iter().chain(programs::probes()).collect());
        }
    })
}

fn number_from(name: &str) -> Option<u64> {
    env::var(name).ok().and_then(|text| text.parse().ok())
}

fn verdicts(mechanism: Mechanism, games: &[Game]) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    let seed = number_from("TRIGON_SEED").unwrap_or(now.as_millis() as u64);
    println!("{}: TRIGON_SEED={seed}", mechanism.as_str());
    let mut rig = Rig::new();
    for game in games {
        if !rig.attach(game, mechanism) {
            continue;
        }
        // Each begins anew, so that one alone can be repeated.
        let mut random = Random::new(seed);
        let (mut checked, mut matched) = (0, 0);
        for _ in 0..number_from("TRIGON_ROUNDS").unwrap_or(game.rounds) {
            let (one, other) = rig.round(game, &mut random);
            checked += one;
            matched += other;
        }
        println!("{}: {checked} verdicts, {matched} of them matches: all agree", game.target);
        assert!(matched > 0 && matched < checked, "nothing was told apart");
        rig.detach(game);
    }
}
