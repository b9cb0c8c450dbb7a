//! The buffer of a perf event: a page that says how far it was written and read, and the records behind it.

#![expect(unsafe_code, reason = "memory that the kernel writes to")]

use std::{
    io,
    os::fd::BorrowedFd,
    ptr::{copy_nonoverlapping, null_mut},
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Pages of records, a power of two: at 4 KiB, two thousand mappings between two looks.
const PAGES: usize = 64;
/// Offsets of `data_head` and `data_tail` in `struct perf_event_mmap_page`.
const HEAD: usize = 1024;
const TAIL: usize = 1032;

/// A mapped buffer.
#[derive(Debug)]
pub(super) struct Buffer {
    base: *mut u8,
    page: usize,
    record: Vec<u8>,
}

// SAFETY: the mapping is valid on every thread until it is dropped, and only its owner reads it.
unsafe impl Send for Buffer {}

// === impl Buffer ===

impl Buffer {
    /// Maps the buffer of an event.
    pub(super) fn map(event: BorrowedFd<'_>) -> io::Result<Self> {
        let page = rustix::param::page_size();
        // SAFETY: the kernel maps it wherever it likes, and nothing else is there.
        let base = unsafe {
            mmap(
                null_mut(),
                (PAGES + 1) * page,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                event,
                0,
            )
        }?;
        Ok(Self { base: base.cast(), page, record: Vec::new() })
    }

    /// Hands each record to `each`, and gives their room back.
    pub(super) fn drain(&mut self, mut each: impl FnMut(&[u8])) {
        // SAFETY: both lie in the first page, aligned, for as long as it is mapped.
        let (head, tail) =
            unsafe { (&*self.base.add(HEAD).cast::<AtomicU64>(), &*self.base.add(TAIL).cast::<AtomicU64>()) };
        let size = PAGES * self.page;
        let (written, mut read) = (head.load(Ordering::Acquire), tail.load(Ordering::Relaxed));
        while written.wrapping_sub(read) >= 8 {
            let mut header = [0; 8];
            self.copy(read, size, &mut header);
            let length = usize::from(u16::from_ne_bytes([header[6], header[7]]));
            if length < 8 || length as u64 > written.wrapping_sub(read) {
                // The kernel writes no such record: without its length there is no next one.
                read = written;
                break;
            }
            let mut record = std::mem::take(&mut self.record);
            record.resize(length, 0);
            self.copy(read, size, &mut record);
            each(&record);
            self.record = record;
            read = read.wrapping_add(length as u64);
        }
        tail.store(read, Ordering::Release);
    }

    /// Copies bytes from a position on, around the end of the buffer.
    fn copy(&self, position: u64, size: usize, to: &mut [u8]) {
        let at = (position % size as u64) as usize;
        let first = to.len().min(size - at);
        // SAFETY: the records are the `size` bytes behind the first page; `at + first` is no more than that, and the
        // rest, which is no longer than a record, begins at their start.
        unsafe {
            let records = self.base.add(self.page);
            copy_nonoverlapping(records.add(at), to.as_mut_ptr(), first);
            copy_nonoverlapping(records, to.as_mut_ptr().add(first), to.len() - first);
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: what `map` got, which nobody else refers to.
        let _ = unsafe { munmap(self.base.cast(), (PAGES + 1) * self.page) };
    }
}
