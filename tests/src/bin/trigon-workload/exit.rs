//! Deeds about the end of a process.

use std::{io::Read as _, path::Path, thread, time::Duration};

use nix::sys::{
    resource::{RLIM_INFINITY, Resource, setrlimit},
    signal::{Signal, raise},
};
use trigon_tests::workload::{End, Fact};

use crate::{Args, child, finish, number, tell, tell_and_exit};

/// Exits at once.
pub fn exit(mut args: Args) -> ! {
    let code = number(&mut args) as u8;
    let mut texts = args.map_while(|text| text.into_string().ok());
    let mut fact = Fact::of_self(&texts.next().unwrap_or_else(|| "root".into()), End::Exit(code));
    if let Some(parent) = texts.next() {
        fact.parent = parent.parse().expect("the parent's pid");
    }
    tell(&fact);
    std::process::exit(i32::from(code))
}

/// Exits 0 when standard input ends.
pub fn live() {
    tell(&Fact::of_self("root", End::Exit(0)));
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest).expect("read standard input");
}

/// A child that a signal ends.
pub fn signal(mut args: Args) {
    let number = number(&mut args).to_string();
    let (pid, status) = finish(["die", &number]);
    tell(&child("killed", pid, true, status));
    tell_and_exit("root", 0)
}

/// A child that aborts and may dump core, in a folder of its own.
pub fn core() {
    setrlimit(Resource::RLIMIT_CORE, RLIM_INFINITY, RLIM_INFINITY).expect("allow core dumps");
    let (pid, status) = finish(["die", "6"]);
    tell(&child("aborted", pid, true, status));
    tell_and_exit("root", 0)
}

/// Ends by a signal to itself.
pub fn die(mut args: Args) {
    let signal = Signal::try_from(number(&mut args)).expect("a signal's number");
    raise(signal).expect("raise a signal");
    panic!("{signal} did not end this process");
}

/// The leader ends; another thread sees that and ends the process with 3.
pub fn in_threads() -> ! {
    let leader = std::process::id();
    thread::spawn(move || {
        // The leader is a zombie now: nothing of it can be read but its state.
        let stat = format!("/proc/self/task/{leader}/stat");
        while !std::fs::read_to_string(Path::new(&stat)).expect("read the leader's state").contains(") Z ") {
            thread::sleep(Duration::from_millis(1));
        }
        std::process::exit(3);
    });
    tell(&Fact::of_self("root", End::Exit(3)));
    // pthread_exit would look for libgcc_s, which a static program has not.
    #[expect(unsafe_code, reason = "no safe wrapper ends one thread")]
    // SAFETY: the thread's stack is never used again; what it owns stays as it is until the process ends.
    unsafe {
        libc::syscall(libc::SYS_exit, 0)
    };
    unreachable!("the leader has ended");
}
