//! The process table: every execution that lives, and those that ended while something may still ask for them.

use std::{collections::VecDeque, sync::Arc};

use rustc_hash::FxHashMap;
use trigon_exporters::{
    event::Process,
    identity::{ExecId, SpanRef},
};

/// How many entries with children are passed over in search of one without.
const SECOND_CHANCES: usize = 64;

/// All executions that are known. Bounded: it forgets, and counts what it forgot.
#[derive(Debug)]
pub struct Table {
    entries: FxHashMap<ExecId, Entry>,
    /// Executions that ended, oldest first, with the time of their end on the boot clock in nanoseconds.
    ended: VecDeque<(u64, ExecId)>,
    /// Executions in the order they came, for when nothing that ended is left to forget.
    arrivals: VecDeque<ExecId>,
    capacity: usize,
    linger_ns: u64,
    evictions: Evictions,
}

/// One execution.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What is known of it.
    pub process: Arc<Process>,
    /// When its trace began: start of the trace's root on the boot clock in nanoseconds.
    pub trace_began: u64,
    /// The span that its environment named (TRACEPARENT): what its children inherit.
    pub joined: Option<SpanRef>,
    state: State,
    end: Option<End>,
    children: u32,
    ended_at: u64,
}

/// How an execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its process ended.
    Exit {
        /// Exit status.
        code: u8,
        /// Number of the signal that ended it; 0 for none.
        signal: u8,
    },
    /// Another execution took over its process.
    Exec,
}

/// Where an execution is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Living,
    /// It ended a moment ago: late events may still ask for it.
    Lingering,
    /// It ended, and only its children keep it.
    Ended,
}

/// How many entries were forgotten before their time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evictions {
    /// Ended ones that had children, or were still within their linger time.
    pub ended: u64,
    /// Living ones.
    pub living: u64,
}

// === impl Entry ===

impl Entry {
    /// A living execution without children.
    pub fn new(process: Arc<Process>, trace_began: u64, joined: Option<SpanRef>) -> Self {
        Self { process, trace_began, joined, state: State::Living, end: None, children: 0, ended_at: 0 }
    }

    /// The execution ended.
    pub fn ended(&self) -> bool {
        self.state != State::Living
    }

    /// When it ended, on the boot clock in nanoseconds.
    pub fn ended_at(&self) -> Option<u64> {
        self.ended().then_some(self.ended_at)
    }

    /// How it ended; none while it lives.
    pub fn end(&self) -> Option<End> {
        self.end
    }
}

// === impl Table ===

impl Table {
    /// A table of at most `capacity` executions that keeps those that ended for `linger_ns` nanoseconds.
    pub fn new(capacity: usize, linger_ns: u64) -> Self {
        Self {
            entries: FxHashMap::default(),
            ended: VecDeque::new(),
            arrivals: VecDeque::new(),
            capacity: capacity.max(1),
            linger_ns,
            evictions: Evictions::default(),
        }
    }

    /// The execution of that id.
    pub fn get(&self, id: ExecId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// The executions that have not ended.
    pub fn living(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(|entry| !entry.ended())
    }

    /// All of them, in no order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many executions are known.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many there may be.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many were forgotten before their time.
    pub fn evictions(&self) -> Evictions {
        self.evictions
    }

    /// Adds an execution, or takes over what became known of one that is there already.
    pub fn insert(&mut self, mut entry: Entry, now: u64) {
        let id = entry.process.exec_id;
        let parent = entry.process.parent_exec_id;
        if let Some(before) = self.entries.get_mut(&id) {
            entry.children = before.children;
            let before = std::mem::replace(before, entry);
            let before = before.process.parent_exec_id;
            if before != parent {
                self.count_child(parent, 1);
                self.release(before);
            }
            return;
        }
        self.make_room(now);
        self.entries.insert(id, entry);
        self.arrivals.push_back(id);
        self.count_child(parent, 1);
    }

    /// Marks an execution as ended at `now` on the boot clock. It stays while its children live, and some time more.
    pub fn end(&mut self, id: ExecId, now: u64, how: End) {
        if let Some(entry) = self.entries.get_mut(&id)
            && entry.state == State::Living
        {
            entry.state = State::Lingering;
            entry.end = Some(how);
            entry.ended_at = now;
            self.ended.push_back((now, id));
        }
    }

    /// Forgets what ended long enough ago and has no children.
    pub fn sweep(&mut self, now: u64) {
        while let Some((at, id)) = self.ended.front().copied() {
            if at.saturating_add(self.linger_ns) > now {
                break;
            }
            self.ended.pop_front();
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.state = State::Ended;
                if entry.children == 0 {
                    self.remove(id);
                }
            }
        }
        // Ids of what is gone pile up in the order of arrival: they cost nothing until they outnumber the entries.
        if self.arrivals.len() > 2 * self.entries.len() + 1024 {
            self.arrivals.retain(|id| self.entries.contains_key(id));
        }
    }

    fn make_room(&mut self, now: u64) {
        if self.entries.len() < self.capacity {
            return;
        }
        self.sweep(now);
        while self.entries.len() >= self.capacity {
            if let Some((_, id)) = self.ended.pop_front() {
                if self.remove(id) {
                    self.evictions.ended += 1;
                }
            } else if !self.evict_by_arrival() {
                break;
            }
        }
    }

    /// Forgets the execution that came first, but for those with children: they are asked for the most. Where all
    /// that it looks at have some, the first of them goes.
    fn evict_by_arrival(&mut self) -> bool {
        let mut tries = SECOND_CHANCES;
        while let Some(id) = self.arrivals.pop_front() {
            let Some(entry) = self.entries.get(&id) else { continue };
            if entry.children > 0 && tries > 0 {
                tries -= 1;
                self.arrivals.push_back(id);
                continue;
            }
            match entry.state {
                State::Living => self.evictions.living += 1,
                State::Lingering | State::Ended => self.evictions.ended += 1,
            }
            return self.remove(id);
        }
        false
    }

    fn remove(&mut self, id: ExecId) -> bool {
        let Some(entry) = self.entries.remove(&id) else { return false };
        self.release(entry.process.parent_exec_id);
        true
    }

    fn count_child(&mut self, parent: Option<ExecId>, one: u32) {
        if let Some(parent) = parent.and_then(|id| self.entries.get_mut(&id)) {
            parent.children += one;
        }
    }

    /// Takes one child off a parent; one that ended and waited for its last child goes, and so on upwards.
    fn release(&mut self, parent: Option<ExecId>) {
        let mut next = parent;
        while let Some(id) = next.take() {
            let Some(entry) = self.entries.get_mut(&id) else { break };
            entry.children = entry.children.saturating_sub(1);
            if entry.state == State::Ended && entry.children == 0 {
                next = self.entries.remove(&id).and_then(|entry| entry.process.parent_exec_id);
            }
        }
    }
}

#[cfg(test)]
mod tests;
