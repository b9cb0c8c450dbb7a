//! What processes map to execute, as the kernel tells perf(1): the file, and its build-id.
//!
//! A software event that counts nothing (`PERF_COUNT_SW_DUMMY`) writes a record for each such mapping into a buffer of
//! each CPU. That takes no program and no probe, so it is there on every kernel since 5.12. Formats: perf_event_open(2)
//! and include/uapi/linux/perf_event.h.

use std::{
    fs,
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{ProbeError, sys};

mod buffer;
mod record;

use buffer::Buffer;
pub use record::{Mapped, Told};

/// The buffers of all CPUs.
#[derive(Debug)]
pub struct Loader {
    buffers: Vec<(OwnedFd, Buffer)>,
}

// === impl Loader ===

impl Loader {
    /// Begins to listen.
    ///
    /// # Errors
    /// The kernel refuses the events, or their buffers.
    pub fn open() -> Result<Self, ProbeError> {
        let failed = |source| ProbeError::Io { what: "listen for what processes map", source };
        let online = fs::read_to_string("/sys/devices/system/cpu/online").map_err(failed)?;
        let mut buffers = Vec::new();
        for cpu in cpus(&online) {
            let event = sys::open_mapping_event(cpu).map_err(failed)?;
            let buffer = Buffer::map(event.as_fd()).map_err(failed)?;
            sys::enable_perf_event(&event).map_err(failed)?;
            buffers.push((event, buffer));
        }
        Ok(Self { buffers })
    }

    /// Waits until a buffer fills, or for so long.
    ///
    /// # Errors
    /// The kernel refuses to wait.
    pub fn wait(&self, most: Duration) -> Result<(), ProbeError> {
        let mut all: Vec<_> = self
            .buffers
            .iter()
            .map(|(event, _)| PollFd::from_borrowed_fd(event.as_fd(), PollFlags::IN))
            .collect();
        match poll(&mut all, Timespec::try_from(most).ok().as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(source) => Err(ProbeError::Io { what: "wait for what processes map", source: source.into() }),
        }
    }

    /// Takes what there is, of each CPU in the order in which it happened.
    pub fn drain(&mut self, mut each: impl FnMut(Told)) {
        for (_, buffer) in &mut self.buffers {
            buffer.drain(|bytes| {
                if let Some(told) = record::parse(bytes) {
                    each(told);
                }
            });
        }
    }
}

/// The numbers in a list as `0-3,8`.
fn cpus(list: &str) -> Vec<u32> {
    /// More than any machine has.
    const MOST: u32 = 65_536;
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        (last < MOST).then_some(first..=last)
    };
    list.trim().split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus() {
        assert_eq!(cpus("0-2,5,7-8\n"), [0, 1, 2, 5, 7, 8]);
        assert_eq!(cpus("0"), [0]);
        assert_eq!(cpus(""), [0; 0]);
        assert_eq!(cpus("0-4294967295,x,-,3-1"), [0; 0]);
    }
}
