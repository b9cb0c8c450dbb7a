//! Does a deed of known shape with real processes. Each execution that takes part prints one fact (a JSON line).

mod births;
mod calls;
mod exec;
mod exit;
mod files;
mod fork;

use std::{
    ffi::{OsStr, OsString},
    io::Write as _,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::Path,
    process::{Child, Command, ExitStatus},
};

use trigon_tests::workload::{End, Fact};

/// The rest of a command line.
type Args = std::iter::Skip<std::env::ArgsOs>;

const USAGE: &str = "trigon-workload DEED [ARG…]
  exit CODE [ROLE [PARENT]]                           exit at once; the parent is told where it has gone since
  live                  wait for the end of standard input, exit 0
  quiet CODE            exit, telling nothing         burst N             N short processes, 8 at a time
  tree DEPTH WIDTH      a tree of processes           reuse-pid           two processes, one pid
  fork-only             a fork that executes nothing  double-fork         a daemon's way to start
  orphan                a parent that exits first     in-cgroup PATH DEED…  the deed, in a cgroup
  setsid DEED…          the deed, leading a new session
  again N               exec over exec, N times       thread-exec         exec by a thread that is not the leader
  fexecve | memfd       exec of a descriptor          script              exec of a #! script
  hostile-args | long-args | many-args                exec with odd arguments
  signal NUMBER         a child that a signal ends    core                a child that dumps core
  exit-in-threads       the leader ends first, another thread ends the process
  born-in PROGRAM       a program in each cgroup that standard input names; an empty line waits for them
  hold PATH N           opens a file N times, closes none, exits 0
  open-and PATH DEED…   opens a file, to be closed at the next exec, and executes the deed
  calls NAME ARG… ; …   system calls: see calls.rs    (as `vi`) PATH       an editor that writes in place";

fn main() {
    let mut args = std::env::args_os().skip(1);
    // By this name it is an editor, as busybox is.
    if std::env::args_os().next().is_some_and(|name| Path::new(&name).ends_with("vi")) {
        calls::edit(args)
    }
    let deed = args.next().unwrap_or_default();
    match deed.to_str().unwrap_or_default() {
        "born-in" => births::born_in(args),
        "calls" => calls::calls(args),
        "exit" => exit::exit(args),
        "quiet" => std::process::exit(number(&mut args)),
        "live" => exit::live(),
        "signal" => exit::signal(args),
        "core" => exit::core(),
        "die" => exit::die(args),
        "exit-in-threads" => exit::in_threads(),
        "tree" => fork::tree(args),
        "burst" => fork::burst(args),
        "reuse-pid" => fork::reuse_pid(),
        "fork-only" => fork::fork_only(),
        "double-fork" => fork::double_fork(),
        "orphan" => fork::orphan(),
        "outlive" => fork::outlive(args),
        "hold" => files::hold(args),
        "open-and" => files::open_and(args),
        "setsid" => exec::setsid(args),
        "in-cgroup" => exec::in_cgroup(args),
        "again" => exec::again(args),
        "thread-exec" => exec::thread_exec(),
        "fexecve" => exec::fexecve(),
        "memfd" => exec::memfd(),
        "script" => exec::script(),
        "interpret" => exec::interpret(args),
        "hostile-args" => exec::hostile_args(),
        "long-args" => exec::long_args(),
        "many-args" => exec::many_args(),
        _ => panic!("unknown deed {deed:?}\n{USAGE}"),
    }
}

/// Prints a fact in one write, which a pipe keeps whole.
fn tell(fact: &Fact) {
    std::io::stdout().write_all(format!("{fact}\n").as_bytes()).expect("tell a fact");
}

/// Tells what this process is and exits.
fn tell_and_exit(role: &str, code: u8) -> ! {
    tell(&Fact::of_self(role, End::Exit(code)));
    std::process::exit(i32::from(code))
}

/// The next argument as a number.
fn number(args: &mut Args) -> i32 {
    let text = args.next().unwrap_or_default();
    text.to_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("{text:?} is no number\n{USAGE}"))
}

/// This program, by the path that it was started with.
fn myself() -> Command {
    Command::new(std::env::current_exe().expect("read the path of this program"))
}

/// Starts this program with another deed.
fn start<S: AsRef<OsStr>>(deed: impl IntoIterator<Item = S>) -> Child {
    myself().args(deed).spawn().expect("start a child")
}

/// Starts this program with another deed and waits for it.
fn finish<S: AsRef<OsStr>>(deed: impl IntoIterator<Item = S>) -> (u32, ExitStatus) {
    let mut child = start(deed);
    (child.id(), child.wait().expect("wait for a child"))
}

/// Replaces this process by another deed of this program.
fn become_deed(deed: impl IntoIterator<Item = OsString>) -> ! {
    panic!("exec: {}", myself().args(deed).exec())
}

/// A child of this process that ended, told by this process.
fn child(role: &str, pid: u32, exec: bool, status: ExitStatus) -> Fact {
    let end = match (status.code(), status.signal()) {
        (Some(code), _) => End::Exit(code as u8),
        (None, Some(number)) => End::Signal { number: number as u8, core: status.core_dumped() },
        (None, None) => panic!("{role} neither exited nor was killed: {status:?}"),
    };
    Fact { role: role.into(), pid, parent: std::process::id(), start: None, session: None, exec, end }
}
