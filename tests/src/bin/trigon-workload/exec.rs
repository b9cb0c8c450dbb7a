//! Deeds about the ways to execute an image.

use std::{
    ffi::{CString, OsString},
    fs::{File, Permissions},
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use nix::{
    sys::memfd::{MFdFlags, memfd_create},
    unistd::fexecve as exec_descriptor,
};
use trigon_tests::workload::{self, End, Fact};

use crate::{Args, become_deed, child, finish, number, tell, tell_and_exit};

/// Leads a new session, then does the deed.
pub fn setsid(args: Args) -> ! {
    tell(&Fact::of_self("before setsid", End::Exec));
    nix::unistd::setsid().expect("lead a session");
    become_deed(args)
}

/// Moves into a cgroup (the path of its folder), then does the deed.
pub fn in_cgroup(mut args: Args) -> ! {
    let folder = PathBuf::from(args.next().unwrap_or_default());
    tell(&Fact::of_self("before the cgroup", End::Exec));
    std::fs::write(folder.join("cgroup.procs"), "0").expect("move into the cgroup");
    become_deed(args)
}

/// Executes itself anew N times, then exits 0.
pub fn again(mut args: Args) -> ! {
    let left = number(&mut args);
    if left == 0 {
        tell_and_exit("image 0", 0)
    }
    tell(&Fact::of_self(&format!("image {left}"), End::Exec));
    become_deed(["again".into(), (left - 1).to_string().into()])
}

/// A thread that is not the leader executes; the process keeps its id.
pub fn thread_exec() -> ! {
    tell(&Fact::of_self("root", End::Exec));
    let executor = thread::spawn(|| become_deed(["exit", "7", "executed by a thread"].map(Into::into)));
    panic!(
        "the thread came back: {:?}",
        executor.join().map(|never: std::convert::Infallible| match never {})
    );
}

/// Executes this program by a descriptor.
pub fn fexecve() -> ! {
    let file = File::open("/proc/self/exe").expect("open this program");
    tell(&Fact::of_self("root", End::Exec));
    execute(&file, "by descriptor")
}

/// Executes a copy of this program that has no name in any file system.
pub fn memfd() -> ! {
    let path = std::env::current_exe().expect("read the path of this program");
    // The folder's name, by which the test tells its own processes from others.
    let name = path.parent().and_then(Path::file_name).expect("a program lies in a folder");
    let mut image = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC).expect("make a memfd"));
    let mut program = File::open("/proc/self/exe").expect("open this program");
    std::io::copy(&mut program, &mut image).expect("copy this program");
    tell(&Fact::of_self("root", End::Exec));
    execute(&image, "from memory")
}

fn execute(file: &File, role: &str) -> ! {
    let args = ["workload", "exit", "0", role].map(|arg| CString::new(arg).expect("no NUL in it"));
    let never = exec_descriptor(file, &args, &[] as &[CString]);
    panic!("fexecve: {never:?}")
}

/// Executes a script whose interpreter is this program.
pub fn script() -> ! {
    let program = std::env::current_exe().expect("read the path of this program");
    let script = program.with_file_name("script");
    std::fs::write(&script, [b"#!", program.as_os_str().as_bytes(), b" interpret\n"].concat())
        .expect("write a script");
    std::fs::set_permissions(&script, Permissions::from_mode(0o755)).expect("make it executable");
    tell(&Fact::of_self("root", End::Exec));
    let folder = script.parent().expect("a script lies in a folder");
    panic!("exec: {}", Command::new("./script").current_dir(folder).arg("scripted").exec())
}

/// What the interpreter of [`script`] does: the kernel gave it the script's path and the script's own argument.
pub fn interpret(mut args: Args) -> ! {
    let script = args.next().unwrap_or_default();
    assert_eq!(script, "./script", "the kernel names the script as it was executed");
    tell_and_exit(args.next().and_then(|role| role.into_string().ok()).as_deref().unwrap_or("no argument"), 7)
}

/// A child with arguments that are hard to show.
pub fn hostile_args() -> ! {
    let deed = ["quiet", "0"].map(OsString::from).into_iter().chain(workload::hostile_args());
    let (pid, status) = finish(deed);
    tell(&child("hostile", pid, true, status));
    tell_and_exit("root", 0)
}

/// A child with one argument of 100 KiB.
pub fn long_args() -> ! {
    let (pid, status) = finish(["quiet", "0", &"x".repeat(100 * 1024), "after it"]);
    tell(&child("long", pid, true, status));
    tell_and_exit("root", 0)
}

/// A child with 300 arguments and the two of its deed.
pub fn many_args() -> ! {
    let deed = ["quiet", "0"].map(String::from).into_iter().chain((0..300).map(|index| format!("a{index}")));
    let (pid, status) = finish(deed);
    tell(&child("many", pid, true, status));
    tell_and_exit("root", 0)
}
