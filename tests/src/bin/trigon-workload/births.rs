//! Processes that are born in a cgroup, as container runtimes make them: nothing has to move.

use std::{
    ffi::CString,
    fs::File,
    io::Write as _,
    os::{
        fd::{AsRawFd as _, RawFd},
        unix::ffi::OsStringExt as _,
    },
    ptr,
};

use nix::{
    sys::wait::{WaitStatus, waitpid},
    unistd::Pid,
};

use crate::Args;

/// `CLONE_INTO_CGROUP` of clone(2), which has more bits than libc's constant.
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// Runs a program in each cgroup whose folder standard input names, a line each. An empty line waits for all of them
/// and is answered with their number.
pub fn born_in(mut args: Args) {
    let program = CString::new(args.next().expect("a program").into_vec()).expect("a path has no NUL");
    let mut children = Vec::new();
    for line in std::io::stdin().lines() {
        let folder = line.expect("read a folder");
        if !folder.is_empty() {
            let cgroup = File::open(&folder).expect("open a cgroup's folder");
            children.push(birth(cgroup.as_raw_fd(), &program));
            continue;
        }
        for child in &children {
            let end = waitpid(*child, None).expect("wait for a child");
            assert!(matches!(end, WaitStatus::Exited(_, 0)), "the program ended otherwise: {end:?}");
        }
        writeln!(std::io::stdout(), "{}", children.len()).expect("tell how many");
        children.clear();
    }
}

fn birth(cgroup: RawFd, program: &CString) -> Pid {
    let argv = [program.as_ptr(), ptr::null()];
    let environment = [ptr::null()];
    let mut args = [0_u64; 11]; // struct clone_args of linux/sched.h
    args[0] = CLONE_INTO_CGROUP;
    args[4] = libc::SIGCHLD as u64;
    args[10] = cgroup as u64;
    #[expect(unsafe_code, reason = "no safe wrapper starts a process in a cgroup")]
    // SAFETY: the arguments live until the call returns; the child has memory of its own, and does nothing but
    // system calls with what was made before.
    unsafe {
        let pid = libc::syscall(libc::SYS_clone3, args.as_ptr(), size_of_val(&args));
        if pid == 0 {
            libc::execve(program.as_ptr(), argv.as_ptr(), environment.as_ptr());
            libc::_exit(127);
        }
        assert!(pid > 0, "clone3: {}", std::io::Error::last_os_error());
        Pid::from_raw(pid as i32)
    }
}
