//! The deed of text that changes under a system call.

use std::{fs, os::unix::ffi::OsStrExt as _, thread};

use crate::{Args, calls};

/// Opens a FIFO by one thread, which is held there until a writer comes. Meanwhile another overwrites the text of the
/// path with `x`, and then is that writer.
pub fn open_overwritten(mut args: Args) -> ! {
    let path = args.next().unwrap_or_default();
    let text = calls::pointer(calls::text(&path));
    let opener = thread::spawn(move || {
        let flags = i64::from(libc::O_RDONLY);
        calls::system_call("openat", &[libc::AT_FDCWD.into(), text, flags])
    });
    while !is_a_thread_in(libc::SYS_openat) {
        thread::yield_now();
    }
    #[expect(unsafe_code, reason = "no safe code changes what another thread has given away")]
    // SAFETY: within the text, which is never freed; its reader is the kernel alone, which has read it.
    unsafe {
        std::ptr::write_bytes(text as *mut u8, b'x', path.as_bytes().len());
    }
    let writer = fs::OpenOptions::new().write(true).open(&path).expect("open the FIFO");
    opener.join().expect("open the FIFO to read");
    drop(writer);
    std::process::exit(0)
}

/// Whether a thread of this process sleeps in a system call: what /proc says of one that runs is `running`.
fn is_a_thread_in(number: i64) -> bool {
    let threads = fs::read_dir("/proc/self/task").expect("list the threads");
    threads.filter_map(Result::ok).any(|thread| {
        let call = fs::read_to_string(thread.path().join("syscall")).unwrap_or_default();
        call.split(' ').next() == Some(&number.to_string())
    })
}
