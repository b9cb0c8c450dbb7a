//! Files that policies follow: from the records of their opening, reading and writing to one span each.
//!
//! The kernel names a followed file by the time at which a policy began to follow it. Whoever opened it is its owner,
//! also when it is another who reads it (a child, a later image) or who holds it last.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use trigon_exporters::{
    event::{Action, Descriptor, DescriptorEnd, File, Hook, Operation, Policy, Process, Timestamp, Value},
    identity::SpanId,
};
use trigon_probes::{
    hooks::SWEEP_PERIOD,
    record::{self, ReleaseRecord, release_reason},
};

use super::clock::Clock;

/// Open files at most: as many as the kernel follows (`followed` of bpf/hook/follow.h).
const CAPACITY: usize = 8192;

/// So many of those that were released last are remembered: another CPU's record may come after the release.
const RELEASED: usize = 256;

/// The followed files that are open.
#[derive(Debug, Default)]
pub struct Descriptors {
    open: BTreeMap<Key, Open>,
    released: VecDeque<Key>,
    forgotten: u64,
}

/// The kernel's name of a followed file. In the order of their opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    /// When the policy began to follow it, on the boot clock in nanoseconds.
    opened: u64,
    /// The policy, as the kernel knows it.
    group: u32,
}

/// A file that is open.
#[derive(Debug)]
struct Open {
    owner: Arc<Process>,
    policy: Arc<Policy>,
    file: File,
    fd: Option<u32>,
    opened: Timestamp,
    reads: u64,
    writes: u64,
    bytes_read: u64,
    bytes_written: u64,
    span: SpanId,
    /// When something was last done to it, on the boot clock in nanoseconds.
    touched: u64,
    /// The policy let it go by something that is no close.
    let_go: bool,
}

/// How the execution that opened a file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerEnd {
    /// On the boot clock in nanoseconds.
    pub at: u64,
    /// Its process lives on with another image.
    pub by_exec: bool,
}

// === impl Descriptors ===

impl Descriptors {
    /// How many files are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// How many files were forgotten while they were open, the oldest first, since there were too many.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Takes in what a hook's record says of a followed file; returns the file's span. None where it is about none.
    pub fn observe(
        &mut self,
        record: &record::Hook<'_>,
        hook: &Hook,
        process: &Arc<Process>,
        node: &str,
        clock: &Clock,
    ) -> Option<SpanId> {
        let mut args = record.args().zip(&hook.args);
        let (key, value) = args.find_map(|(arg, value)| {
            let key = Key { opened: arg.fixed.opened, group: arg.fixed.group };
            (key.opened != 0).then_some((key, value.as_ref()))
        })?;
        let Some(Value::File(file)) = value else { return None };
        if !self.open.contains_key(&key) {
            if self.released.contains(&key) {
                return None;
            }
            self.make_room();
        }
        // Mostly it is the record of its opening. That one may be lost, or the policy may not post it.
        let open = self.open.entry(key).or_insert_with(|| Open {
            owner: Arc::clone(process),
            policy: Arc::clone(&hook.source.policy),
            file: file.clone(),
            fd: fd_of(hook),
            opened: clock.at(key.opened),
            reads: 0,
            writes: 0,
            bytes_read: 0,
            bytes_written: 0,
            span: process.exec_id.descriptor_span_id(node, key.opened, &file.path),
            touched: key.opened,
            let_go: false,
        });
        open.touched = open.touched.max(record.fixed.header.time);
        open.count(hook);
        Some(open.span)
    }

    /// A file is followed no longer. `owner_end` is asked how the execution that opened it ended, if it has. Returns
    /// that execution and what the file was; none for one that is not known.
    pub fn release(
        &mut self,
        record: &ReleaseRecord,
        clock: &Clock,
        owner_end: impl FnOnce(&Process) -> Option<OwnerEnd>,
    ) -> Option<(Arc<Process>, Descriptor)> {
        let key = Key { opened: record.opened, group: record.group };
        let open = self.open.remove(&key)?;
        self.released.truncate(RELEASED - 1);
        self.released.push_front(key);
        let (end, closed) = match record.reason {
            release_reason::EXIT => (DescriptorEnd::ProcessExit, record.header.time),
            release_reason::UNFOLLOWED => (DescriptorEnd::Unfollowed, record.header.time),
            release_reason::FOUND => open.ended_with(owner_end(&open.owner), record.header.time),
            _ if open.let_go => (DescriptorEnd::Unfollowed, record.header.time),
            _ => (DescriptorEnd::Closed, record.header.time),
        };
        let descriptor = Descriptor {
            policy: open.policy,
            file: open.file,
            fd: open.fd,
            opened: open.opened,
            closed: clock.at(closed),
            reads: open.reads,
            writes: open.writes,
            bytes_read: open.bytes_read,
            bytes_written: open.bytes_written,
            span: open.span,
            end,
        };
        Some((open.owner, descriptor))
    }

    fn make_room(&mut self) {
        while self.open.len() >= CAPACITY && self.open.pop_first().is_some() {
            self.forgotten += 1;
        }
    }
}

/// The descriptor's number: the whole number among the arguments of what opened the file.
fn fd_of(hook: &Hook) -> Option<u32> {
    let opens = hook.action == Action::FollowFd;
    let mut numbers = hook.args.iter().flatten().filter_map(Value::number);
    numbers.next().filter(|_| opens).and_then(|number| u32::try_from(number).ok())
}

// === impl Open ===

impl Open {
    fn count(&mut self, hook: &Hook) {
        let failed = hook.returned.as_ref().and_then(Value::number).is_some_and(|number| number < 0);
        let (calls, bytes) = match hook.operation() {
            Some(Operation::Read) => (&mut self.reads, &mut self.bytes_read),
            Some(Operation::Write) => (&mut self.writes, &mut self.bytes_written),
            operation => {
                self.let_go |= hook.action == Action::UnfollowFd && operation != Some(Operation::Close);
                return;
            }
        };
        if !failed {
            *calls += 1;
            *bytes = bytes.saturating_add(hook.bytes().unwrap_or(0));
        }
    }

    /// How and when a file ended that was found closed at `found`: some time since the last look. Where its owner ended
    /// in that time, most probably with it.
    fn ended_with(&self, owner: Option<OwnerEnd>, found: u64) -> (DescriptorEnd, u64) {
        let since = found.saturating_sub(2 * SWEEP_PERIOD.as_nanos() as u64).max(self.touched);
        match owner {
            Some(OwnerEnd { at, by_exec: false }) if at >= since => (DescriptorEnd::ProcessExit, at),
            Some(OwnerEnd { at, by_exec: true }) if at >= since => (DescriptorEnd::Closed, at),
            _ => (DescriptorEnd::Closed, found),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
