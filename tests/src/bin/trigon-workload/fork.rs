//! Deeds about the birth of processes.

use std::{
    collections::VecDeque, os::unix::process::ExitStatusExt as _, process::ExitStatus, thread, time::Duration,
};

use nix::{
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, Pid, fork, getppid, setsid},
};
use trigon_tests::workload::{End, Fact};

use crate::{Args, become_deed, child, finish, number, start, tell, tell_and_exit};

/// How many processes a burst keeps in flight.
const IN_FLIGHT: usize = 8;
/// How often the reuse of a pid is tried: other processes of the machine may take it.
const REUSE_TRIES: usize = 1000;

/// A tree: each node executes this program, starts its children at once, waits for them and exits with a code that
/// its place gives.
pub fn tree(mut args: Args) -> ! {
    let (depth, width) = (number(&mut args), number(&mut args));
    let role = args.next().and_then(|role| role.into_string().ok()).unwrap_or_else(|| "0".into());
    let children: Vec<_> = (0..if depth > 0 { width } else { 0 })
        .map(|index| {
            start(["tree", &(depth - 1).to_string(), &width.to_string(), &format!("{role}.{index}")])
        })
        .collect();
    for mut child in children {
        child.wait().expect("wait for a child");
    }
    let code = role.bytes().fold(0_u8, |code, byte| code.wrapping_mul(31).wrapping_add(byte)) % 100;
    tell_and_exit(&role, code)
}

/// Many short processes at full speed.
pub fn burst(mut args: Args) -> ! {
    let count = number(&mut args);
    let mut running = VecDeque::new();
    let mut facts = Vec::new();
    for index in 0..count {
        if running.len() == IN_FLIGHT {
            facts.push(reap(&mut running));
        }
        running.push_back((index, start(["quiet", &(index % 256).to_string()])));
    }
    while !running.is_empty() {
        facts.push(reap(&mut running));
    }
    facts.iter().for_each(tell);
    tell_and_exit("root", 0)
}

fn reap(running: &mut VecDeque<(i32, std::process::Child)>) -> Fact {
    let (index, mut process) = running.pop_front().expect("a process runs");
    child(&index.to_string(), process.id(), true, process.wait().expect("wait for a child"))
}

/// Two processes with the same pid, one after the other. Tells only the root where the kernel would not give it.
pub fn reuse_pid() -> ! {
    let (first, first_status) = finish(["quiet", "1"]);
    // The fact of each try is told: all of them are executions too.
    tell(&child("first", first, true, first_status));
    for _ in 0..REUSE_TRIES {
        if std::fs::write("/proc/sys/kernel/ns_last_pid", (first - 1).to_string()).is_err() {
            break;
        }
        let (pid, status) = finish(["quiet", "2"]);
        tell(&child(if pid == first { "second" } else { "missed" }, pid, true, status));
        if pid == first {
            break;
        }
    }
    tell_and_exit("root", 0)
}

/// A child that executes nothing of its own.
pub fn fork_only() -> ! {
    let pid = fork_child(|| std::process::exit(9));
    tell(&child("forked", pid.as_raw() as u32, false, wait(pid)));
    tell_and_exit("root", 0)
}

/// A daemon's way to start: the child leads a session, the grandchild outlives the child and executes.
pub fn double_fork() -> ! {
    let pid = fork_child(|| {
        setsid().expect("lead a session");
        let middle = std::process::id();
        fork_child(move || {
            wait_for_orphanage(middle);
            become_deed(["exit", "4", "daemon", &middle.to_string()].map(Into::into))
        });
        std::process::exit(8)
    });
    tell(&child("middle", pid.as_raw() as u32, false, wait(pid)));
    tell_and_exit("root", 0)
}

/// A parent that exits before its child does.
pub fn orphan() -> ! {
    // Not waited for: it outlives this process.
    drop(start(["outlive", &std::process::id().to_string()]));
    tell_and_exit("root", 5)
}

/// Waits until the parent is gone, then exits 6. The parent told is the one that started it.
pub fn outlive(mut args: Args) -> ! {
    let parent = number(&mut args) as u32;
    let mut fact = Fact::of_self("orphan", End::Exit(6));
    fact.parent = parent;
    wait_for_orphanage(parent);
    tell(&fact);
    std::process::exit(6)
}

fn wait_for_orphanage(parent: u32) {
    while getppid().as_raw() as u32 == parent {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Forks; `body` is what the child does, and it never returns.
fn fork_child(body: impl FnOnce()) -> Pid {
    #[expect(unsafe_code, reason = "std starts no process without exec")]
    // SAFETY: this program has one thread when it forks, so that the child's memory is in a consistent state.
    match unsafe { fork() }.expect("fork") {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            body();
            unreachable!("the child came back")
        }
    }
}

fn wait(pid: Pid) -> ExitStatus {
    match waitpid(pid, None).expect("wait for a child") {
        WaitStatus::Exited(_, code) => ExitStatus::from_raw(code << 8),
        WaitStatus::Signaled(_, signal, core) => ExitStatus::from_raw(signal as i32 | i32::from(core) << 7),
        other => panic!("the child neither exited nor was killed: {other:?}"),
    }
}
