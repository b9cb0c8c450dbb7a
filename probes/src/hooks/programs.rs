//! Loaded programs: what they take, and the runs that they missed.

use std::{
    fs,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use crate::sys;

/// Counts runs that hooks' programs missed, since one was running on that CPU already. Its clones count together.
#[derive(Clone, Debug, Default)]
pub struct Missed(Arc<Mutex<Runs>>);

#[derive(Debug, Default)]
struct Runs {
    programs: Vec<Weak<OwnedFd>>,
    /// What programs had missed that are gone.
    gone: u64,
}

/// A loaded program.
#[derive(Debug)]
pub(super) struct Loaded {
    fd: Arc<OwnedFd>,
    bytes: u64,
    missed: Missed,
}

// === impl Missed ===

impl Missed {
    /// Runs that were missed so far.
    pub fn total(&self) -> u64 {
        let runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let living = runs.programs.iter().filter_map(Weak::upgrade);
        runs.gone + living.map(|program| sys::missed_runs(program.as_fd())).sum::<u64>()
    }

    pub(super) fn watch(&self, program: OwnedFd) -> Loaded {
        let bytes = memlock(program.as_fd());
        let fd = Arc::new(program);
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        runs.programs.push(Arc::downgrade(&fd));
        Loaded { fd, bytes, missed: self.clone() }
    }
}

// === impl Loaded ===

impl Loaded {
    /// Bytes of kernel memory that its code takes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl AsFd for Loaded {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        let mut runs = self.missed.0.lock().unwrap_or_else(PoisonError::into_inner);
        runs.gone += sys::missed_runs(self.fd.as_fd());
        let this = Arc::downgrade(&self.fd);
        runs.programs.retain(|program| !program.ptr_eq(&this));
    }
}

/// What the kernel accounts for a program: proc_pid_fdinfo(5).
fn memlock(program: BorrowedFd<'_>) -> u64 {
    let path = format!("/proc/self/fdinfo/{}", program.as_raw_fd());
    let info = fs::read_to_string(path).unwrap_or_default();
    let value = info.lines().find_map(|line| line.strip_prefix("memlock:"));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}
