//! The deed of system calls: any of them, in order, with arguments from the command line.

use std::{
    ffi::{CString, OsStr},
    fs,
    io::{Error, Result},
    num::NonZeroUsize,
    os::unix::ffi::OsStrExt as _,
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{
    sys::{
        mman::{MapFlags, ProtFlags, mmap_anonymous},
        wait::{WaitStatus, waitpid},
    },
    unistd::{ForkResult, fork},
};
use syscalls::Sysno;

use crate::{Args, USAGE};

/// Makes system calls one after the other and exits 0; with the first that fails it exits with the error's number.
/// `?NAME` may fail, `32:NAME` is made as a 32-bit program makes it. `fork` is the child's from there on: the parent
/// waits for it. `sleep` takes milliseconds. `thread NAME ARG…` makes a call that blocks, on a thread of its own, and goes
/// on when it does; `join` waits for the threads.
///
/// Arguments are passed as they are (`-100`, `0x80000`), or point to what they say: `@TEXT` to a string, `#N` to as
/// many bytes, `[A,B]` to words of 64 bits, in a 32-bit call of 32. `$N` is what the call of that number (from 0)
/// returned.
pub fn calls(args: Args) -> ! {
    let words: Vec<_> = args.collect();
    let (mut results, mut threads) = (Vec::new(), Vec::new());
    for call in words.split(|word| word == ";").filter(|call| !call.is_empty()) {
        let (on_thread, call) = match call {
            [thread, call @ ..] if thread == "thread" => (true, call),
            _ => (false, call),
        };
        let name = call[0].to_str().unwrap_or_default();
        let narrow = name.trim_start_matches('?').starts_with("32:");
        let args: Vec<_> = call[1..].iter().map(|arg| argument(arg, &results, narrow)).collect();
        results.push(match (name, args.as_slice()) {
            ("fork", _) => fork_on(),
            ("sleep", [milliseconds]) => {
                thread::sleep(Duration::from_millis(*milliseconds as u64));
                0
            }
            ("join", _) => {
                threads.drain(..).for_each(|thread: JoinHandle<()>| thread.join().expect("make a call"));
                0
            }
            _ if on_thread => {
                threads.push(block(name, args));
                0
            }
            _ => system_call(name, &args),
        });
    }
    std::process::exit(0)
}

/// An editor that writes in place: opens a file, reads 340 bytes, writes 355, closes it.
pub fn edit(mut args: Args) -> ! {
    let path = args.next().unwrap_or_default();
    let open =
        system_call("openat", &[libc::AT_FDCWD as i64, pointer(&text(&path)), i64::from(libc::O_RDWR)]);
    system_call("read", &[open, pointer(&vec![0; 340]), 340]);
    system_call("lseek", &[open, 0, 0]);
    system_call("write", &[open, pointer(&vec![b'x'; 355]), 355]);
    system_call("close", &[open]);
    std::process::exit(0)
}

/// One call; ends the process where it fails, and may not.
fn system_call(name: &str, args: &[i64]) -> i64 {
    let (name, may_fail) = name.strip_prefix('?').map_or((name, false), |name| (name, true));
    let result = match name.strip_prefix("32:") {
        Some(name) => narrow_call(name, args),
        None => wide_call(name, args),
    };
    if let (Err(error), false) = (&result, may_fail) {
        eprintln!("{name}: {error}");
        std::process::exit(error.raw_os_error().unwrap_or(1));
    }
    result.unwrap_or(-1)
}

fn wide_call(name: &str, args: &[i64]) -> Result<i64> {
    let number = number(name);
    let arg = |index: usize| args.get(index).copied().unwrap_or_default();
    #[expect(unsafe_code, reason = "deeds are made of calls that have no safe wrapper")]
    // SAFETY: pointers among the arguments lead to memory that is never freed; what calls do to this process beyond
    // that is the test's deed.
    let result = unsafe { libc::syscall(number, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5)) };
    if result < 0 { Err(Error::last_os_error()) } else { Ok(result) }
}

fn number(name: &str) -> i64 {
    let number: Sysno = name.parse().unwrap_or_else(|_| panic!("{name:?} is no system call\n{USAGE}"));
    number.id().into()
}

/// Five arguments at most: the sixth is in a register that compilers want for themselves.
#[cfg(target_arch = "x86_64")]
fn narrow_call(name: &str, args: &[i64]) -> Result<i64> {
    let number: syscalls::x86::Sysno =
        name.parse().unwrap_or_else(|_| panic!("{name:?} is no 32-bit system call\n{USAGE}"));
    let arg = |index: usize| args.get(index).copied().unwrap_or_default();
    let mut result = i64::from(number.id());
    #[expect(unsafe_code, reason = "a 32-bit call is an instruction of its own")]
    // SAFETY: as of `wide_call`; `ebx` is put back, and what the kernel may change is said.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {first}",
            "int 0x80",
            "xchg rbx, {first}",
            first = inout(reg) arg(0) => _,
            inout("rax") result,
            in("rcx") arg(1), in("rdx") arg(2), in("rsi") arg(3), in("rdi") arg(4),
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
        );
    }
    // An error is the number of one, negative, in 32 bits.
    let result = result as i32;
    if (-4095..0).contains(&result) { Err(Error::from_raw_os_error(-result)) } else { Ok(result.into()) }
}

#[cfg(not(target_arch = "x86_64"))]
fn narrow_call(_: &str, _: &[i64]) -> Result<i64> {
    Err(Error::from_raw_os_error(libc::ENOSYS))
}

/// `narrow` as in a 32-bit call.
fn argument(word: &OsStr, results: &[i64], narrow: bool) -> i64 {
    let bytes = word.as_bytes();
    let wrong = || -> ! { panic!("{word:?} is no argument\n{USAGE}") };
    match bytes.split_first() {
        Some((b'@', _)) => pointer(&text(OsStr::from_bytes(&bytes[1..]))),
        Some((b'[', _)) => {
            let list = bytes[1..].strip_suffix(b"]").unwrap_or_else(|| wrong());
            let each = list.split(|byte| *byte == b',').map(OsStr::from_bytes);
            let size = if narrow { 4 } else { 8 };
            // Processors of this kind keep the lower half first.
            let word = |one| argument(one, results, narrow).to_le_bytes().into_iter().take(size);
            pointer(&each.flat_map(word).collect::<Vec<u8>>())
        }
        Some((mark, rest)) => {
            let number = |text: &[u8]| {
                let text = std::str::from_utf8(text).ok()?;
                let hexadecimal = text.strip_prefix("0x").map(|digits| u64::from_str_radix(digits, 16));
                hexadecimal.map_or_else(|| text.parse().ok(), |number| Some(number.ok()? as i64))
            };
            let found: Option<i64> = match mark {
                b'#' => number(rest).map(|size| pointer(&vec![b'x'; size as usize])),
                b'$' => number(rest).and_then(|index| results.get(index as usize).copied()),
                _ => number(bytes),
            };
            found.unwrap_or_else(|| wrong())
        }
        None => wrong(),
    }
}

fn text(text: &OsStr) -> Vec<u8> {
    CString::new(text.as_bytes()).expect("a word of the command line holds no NUL").into_bytes_with_nul()
}

/// The address of bytes that are never freed, one that 32 bits can hold.
fn pointer(bytes: &[u8]) -> i64 {
    #[cfg(target_arch = "x86_64")]
    let low = MapFlags::MAP_32BIT;
    #[cfg(not(target_arch = "x86_64"))]
    let low = MapFlags::empty();
    let size = NonZeroUsize::new(bytes.len()).unwrap_or(NonZeroUsize::MIN);
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    #[expect(unsafe_code, reason = "no safe way takes memory at an address of a kind")]
    // SAFETY: the mapping is a new one, of this size, and nobody else's.
    unsafe {
        let place = mmap_anonymous(None, size, access, MapFlags::MAP_PRIVATE | low).expect("take memory");
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), place.cast().as_ptr(), bytes.len());
        place.as_ptr() as i64
    }
}

/// Makes a call on a thread of its own; returns when that sleeps in it.
fn block(name: &str, args: Vec<i64>) -> JoinHandle<()> {
    let number = number(name).to_string();
    let own = std::process::id().to_string();
    let name = name.to_owned();
    let thread = thread::spawn(move || {
        system_call(&name, &args);
    });
    // Of a thread that runs /proc says just that; of the one that asks, that it reads.
    let sleeps = || {
        let threads = fs::read_dir("/proc/self/task").expect("list the threads");
        let others = threads.filter_map(Result::ok).filter(|thread| thread.file_name() != *own);
        let mut calls = others.filter_map(|thread| fs::read_to_string(thread.path().join("syscall")).ok());
        calls.any(|call| call.split(' ').next() == Some(&number))
    };
    while !sleeps() {
        assert!(!thread.is_finished(), "the call did not block");
        thread::yield_now();
    }
    thread
}

/// The child goes on; the parent waits, and exits as it did.
fn fork_on() -> i64 {
    #[expect(unsafe_code, reason = "std starts no process without exec")]
    // SAFETY: this program has one thread when it forks, so that the child's memory is in a consistent state.
    match unsafe { fork() }.expect("fork") {
        ForkResult::Child => 0,
        ForkResult::Parent { child } => match waitpid(child, None).expect("wait for the child") {
            WaitStatus::Exited(_, code) => std::process::exit(code),
            other => panic!("the child did not exit: {other:?}"),
        },
    }
}
