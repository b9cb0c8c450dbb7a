//! The ring buffer: reading it, and waiting for it at the least cost.
//!
//! Waking a sleeping reader is what costs at high rates. While records come in quickly the reader tells the
//! programs not to wake it and looks by itself every two milliseconds; when they come rarely it sleeps until woken.

use std::{
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
    ptr::null_mut,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use aya::{
    Pod,
    maps::{Array, MapData, RingBuf},
};
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    mm::{MapFlags, ProtFlags, mmap, munmap},
};

use crate::ProbeError;

/// How often the reader looks while it isn't woken.
const POLL_EVERY: Duration = Duration::from_millis(2);

/// As many records in one [`POLL_EVERY`] make it worth while to look by itself.
const BUSY: usize = 8;

/// How long it sleeps at most: a record that was written while the reader went to sleep waits no longer.
const SLEEP: Duration = Duration::from_millis(100);

/// The reader's end of the ring buffer that all programs write to.
pub struct Ring {
    records: RingBuf<MapData>,
    control: Array<MapData, Control>,
    polling: bool,
    drained: usize,
    waker: Waker,
    positions: Positions,
}

/// `struct control` of `bpf/maps.h`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Control {
    polling: u32,
    reserved: u32,
}

/// Ends the wait of a [`Ring`] from another thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Wakes>);

#[derive(Debug)]
struct Wakes {
    eventfd: OwnedFd,
    stopped: AtomicBool,
}

#[expect(unsafe_code, reason = "what aya asks of a map's value")]
// SAFETY: two u32 without padding: every bit pattern is a value.
unsafe impl Pod for Control {}

// === impl Ring ===

impl Ring {
    pub(crate) fn new(
        records: RingBuf<MapData>,
        control: Array<MapData, Control>,
    ) -> Result<Self, ProbeError> {
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|source| ProbeError::Io { what: "make an eventfd", source: source.into() })?;
        let positions = Positions::map(&records)?;
        let waker = Waker(Arc::new(Wakes { eventfd, stopped: AtomicBool::new(false) }));
        Ok(Self { records, control, polling: false, drained: 0, waker, positions })
    }

    /// Makes [`Self::wait`] return at once.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Hands at most `most` records to `each`; returns how many there were.
    pub fn drain(&mut self, most: usize, mut each: impl FnMut(&[u8])) -> usize {
        let mut count = 0;
        while count < most {
            let Some(record) = self.records.next() else { break };
            each(&record);
            count += 1;
        }
        self.drained += count;
        count
    }

    /// Waits until there may be records, or for [`Waker::wake`]; returns false once [`Waker::stop`] was called.
    ///
    /// # Errors
    /// Fails where the kernel refuses to wait or to take the wish about being woken.
    pub fn wait(&mut self) -> Result<bool, ProbeError> {
        let busy = std::mem::take(&mut self.drained) >= BUSY;
        if busy != self.polling {
            self.set_polling(busy)?;
            // What was written between the last look and the wish woke nobody.
            if !busy {
                return Ok(true);
            }
        }
        let timeout = Timespec::try_from(if busy { POLL_EVERY } else { SLEEP }).ok();
        #[expect(unsafe_code, reason = "aya's RingBuf offers its descriptor as a number only")]
        // SAFETY: the descriptor belongs to `self.records`, which outlives this borrow.
        let records = unsafe { BorrowedFd::borrow_raw(self.records.as_raw_fd()) };
        let mut both = [
            PollFd::from_borrowed_fd(self.waker.0.eventfd.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(records, PollFlags::IN),
        ];
        let fds = if busy { &mut both[..1] } else { &mut both[..] };
        match poll(fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {
                if !fds[0].revents().is_empty() {
                    self.waker.heard();
                }
                Ok(!self.waker.0.stopped.load(Ordering::Acquire))
            }
            Err(source) => Err(ProbeError::Io { what: "wait for the ring buffer", source: source.into() }),
        }
    }

    /// Bytes that wait to be read.
    pub fn used(&self) -> u64 {
        self.positions.used()
    }

    fn set_polling(&mut self, polling: bool) -> Result<(), ProbeError> {
        let control = Control { polling: u32::from(polling), reserved: 0 };
        self.control.set(0, control, 0).map_err(|source| ProbeError::Map { map: "control", source })?;
        self.polling = polling;
        Ok(())
    }
}

// === impl Waker ===

impl Waker {
    /// Ends the wait that is, or the next one.
    pub fn wake(&self) {
        // It fails only where the counter would overflow, and then the wait has ended already.
        let _ = rustix::io::write(&self.0.eventfd, &1_u64.to_ne_bytes());
    }

    /// Ends the wait, and all that would follow.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::Release);
        self.wake();
    }

    /// Takes note: the next wait waits again.
    fn heard(&self) {
        // It fails only where nobody has called, and then there is nothing to take note of.
        let _ = rustix::io::read(&self.0.eventfd, &mut [0; size_of::<u64>()]);
    }
}

/// How far the ring buffer was written and read: the first two pages of its mapping (kernel/bpf/ringbuf.c).
struct Positions {
    read: *const AtomicU64,
    written: *const AtomicU64,
    page: usize,
}

#[expect(unsafe_code, reason = "the pages are shared with the kernel, not with any thread's stack or heap")]
// SAFETY: the mapping is valid on every thread until it is dropped, and it is only read, atomically.
unsafe impl Send for Positions {}

// === impl Positions ===

impl Positions {
    #[expect(unsafe_code, reason = "aya keeps the positions to itself")]
    fn map(records: &RingBuf<MapData>) -> Result<Self, ProbeError> {
        let page = rustix::param::page_size();
        // SAFETY: the descriptor is the map's, which outlives this borrow; the kernel lets both pages be mapped for
        // reading, wherever it likes, and nothing else is mapped there.
        let map = unsafe {
            let fd = BorrowedFd::borrow_raw(records.as_raw_fd());
            mmap(null_mut(), 2 * page, ProtFlags::READ, MapFlags::SHARED, fd, 0)
        };
        let map = map.map_err(|source| ProbeError::Io {
            what: "map the positions of the ring buffer",
            source: source.into(),
        })?;
        let read = map.cast::<AtomicU64>().cast_const();
        // SAFETY: the second of the two pages that were mapped.
        let written = unsafe { map.byte_add(page) }.cast::<AtomicU64>().cast_const();
        Ok(Self { read, written, page })
    }

    #[expect(unsafe_code, reason = "aya keeps the positions to itself")]
    fn used(&self) -> u64 {
        // SAFETY: both point to mapped pages, which begin with a position each.
        let (written, read) = unsafe { (&*self.written, &*self.read) };
        written.load(Ordering::Acquire).saturating_sub(read.load(Ordering::Acquire))
    }
}

impl Drop for Positions {
    #[expect(unsafe_code, reason = "what was mapped is to be unmapped")]
    fn drop(&mut self) {
        // SAFETY: the two pages that `map` got, which nobody else refers to.
        let _ = unsafe { munmap(self.read.cast_mut().cast(), 2 * self.page) };
    }
}
