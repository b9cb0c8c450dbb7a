//! Loaded programs and their maps: what they take of the kernel's memory, how often they ran, for how long, and the
//! runs that they missed.
//!
//! The kernel counts by program, and forgets with it. Here it is by hook and mechanism, and what a program had that is
//! gone stays: a reload replaces programs, and a counter must not fall.

use std::{
    collections::HashMap,
    fs,
    ops::{AddAssign, Sub},
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use crate::{ProbeError, hooks::Target, object::Maps, sys};

/// The programs of one part of the agent. Its clones count together.
#[derive(Clone, Debug, Default)]
pub struct Programs(Arc<Mutex<Ledger>>);

#[derive(Debug, Default)]
struct Ledger {
    loaded: Vec<Entry>,
    /// Hooks that are seen from programs which all of them share.
    sharing: Vec<Place>,
    costs: HashMap<Place, Cost>,
}

/// A program as long as it is loaded.
#[derive(Debug)]
struct Entry {
    fd: Weak<OwnedFd>,
    place: Place,
    /// Its cost is that of the hooks that share it; of its own place where there are none.
    shared: bool,
    /// What is in the ledger already.
    known: Cost,
}

/// Where a program runs, and how it comes there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Where.
    pub at: At,
    /// How, as people read it: `tp_btf`, or the name of a [`crate::hooks::Mechanism`].
    pub mechanism: &'static str,
}

/// Where a program runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum At {
    /// At a hook of policies.
    Hook(Target),
    /// Where the agent itself needs it: a tracepoint, or a function.
    Own(&'static str),
}

/// What programs cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// How often they ran while the kernel measured ([`RunTimes`]).
    pub runs: u64,
    /// How long these runs took together, in nanoseconds.
    pub nanoseconds: u64,
    /// Runs that the kernel left out, since the program, or another, was running on that CPU already.
    pub missed: u64,
}

/// A loaded program.
#[derive(Debug)]
pub(crate) struct Loaded {
    fd: Arc<OwnedFd>,
    bytes: u64,
    programs: Programs,
}

/// Keeps a hook among those that are seen from shared programs.
#[derive(Debug)]
pub(crate) struct Share {
    place: Place,
    programs: Programs,
}

/// Maps, by the part of the agent that they are of. Its clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Footprint(Arc<Mutex<Vec<PartMap>>>);

/// A map as long as it is there.
type PartMap = (Part, Weak<OwnedFd>);

/// A part of what the agent has in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Programs that see processes start and end, with their maps.
    Lifecycle,
    /// The ring buffer of all records.
    RingBuffer,
    /// Which policies' scopes each cgroup is in.
    Placements,
    /// Programs and maps of policies' hooks, and what all of them share.
    Hooks,
}

/// The kernel measures how often and how long programs run, all that it has, as long as this is held.
#[derive(Debug)]
pub struct RunTimes {
    // None where the machine's owner has it measured.
    _held: Option<OwnedFd>,
}

// === impl Programs ===

impl Programs {
    /// What the programs of each place cost so far, those that are gone included.
    pub fn costs(&self) -> Vec<(Place, Cost)> {
        let mut ledger = self.lock();
        ledger.settle();
        ledger.costs.iter().map(|(place, cost)| (place.clone(), *cost)).collect()
    }

    /// Runs that were missed so far.
    pub(crate) fn missed(&self) -> u64 {
        let mut ledger = self.lock();
        ledger.settle();
        ledger.costs.values().map(|cost| cost.missed).sum()
    }

    /// Bytes of kernel memory that their code takes.
    pub(crate) fn bytes(&self) -> u64 {
        let living: Vec<_> = self.lock().loaded.iter().filter_map(|entry| entry.fd.upgrade()).collect();
        living.iter().map(|program| memlock(program.as_fd())).sum()
    }

    pub(crate) fn watch(&self, program: OwnedFd, place: Place) -> Loaded {
        self.keep(program, place, false)
    }

    /// As [`Self::watch`], where [hooks that share it](Self::share) bear the cost.
    pub(crate) fn watch_shared(&self, program: OwnedFd, place: Place) -> Loaded {
        self.keep(program, place, true)
    }

    /// From now on a hook has its share of what shared programs cost.
    pub(crate) fn share(&self, place: Place) -> Share {
        let mut ledger = self.lock();
        // What they cost up to now is the others'.
        ledger.settle();
        ledger.costs.entry(place.clone()).or_default();
        ledger.sharing.push(place.clone());
        Share { place, programs: self.clone() }
    }

    fn keep(&self, program: OwnedFd, place: Place, shared: bool) -> Loaded {
        let bytes = memlock(program.as_fd());
        let fd = Arc::new(program);
        let mut ledger = self.lock();
        if !shared {
            // It has a row before it runs for the first time.
            ledger.costs.entry(place.clone()).or_default();
        }
        ledger.loaded.push(Entry { fd: Arc::downgrade(&fd), place, shared, known: Cost::default() });
        Loaded { fd, bytes, programs: self.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Ledger ===

impl Ledger {
    /// Enters what the programs have cost since the last time.
    fn settle(&mut self) {
        for index in 0..self.loaded.len() {
            if let Some(program) = self.loaded[index].fd.upgrade() {
                self.enter(index, program.as_fd());
            }
        }
    }

    fn enter(&mut self, index: usize, program: BorrowedFd<'_>) {
        // One that the kernel tells nothing of has cost nothing more.
        let Some(now) = sys::cost(program) else { return };
        let entry = &mut self.loaded[index];
        let new = now - entry.known;
        entry.known = now;
        let one = [entry.place.clone()];
        let bearers = if entry.shared && !self.sharing.is_empty() { self.sharing.as_slice() } else { &one };
        for (place, share) in bearers.iter().zip(new.split(bearers.len() as u64)) {
            *self.costs.entry(place.clone()).or_default() += share;
        }
    }
}

// === impl Cost ===

impl Cost {
    /// Even shares of it, that are all of it together.
    fn split(self, shares: u64) -> impl Iterator<Item = Self> {
        let of = move |all: u64, index: u64| all / shares + u64::from(index < all % shares);
        (0..shares).map(move |index| Self {
            runs: of(self.runs, index),
            nanoseconds: of(self.nanoseconds, index),
            missed: of(self.missed, index),
        })
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.runs += other.runs;
        self.nanoseconds += other.nanoseconds;
        self.missed += other.missed;
    }
}

impl Sub for Cost {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            runs: self.runs.saturating_sub(before.runs),
            nanoseconds: self.nanoseconds.saturating_sub(before.nanoseconds),
            missed: self.missed.saturating_sub(before.missed),
        }
    }
}

// === impl Place ===

impl Place {
    /// Where the agent itself needs a program.
    pub(crate) fn own(at: &'static str, mechanism: &'static str) -> Self {
        Self { at: At::Own(at), mechanism }
    }
}

// === impl Loaded ===

impl Loaded {
    /// Bytes of kernel memory that its code takes.
    pub(crate) fn bytes(&self) -> u64 {
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
        let this = Arc::downgrade(&self.fd);
        let mut ledger = self.programs.lock();
        if let Some(index) = ledger.loaded.iter().position(|entry| entry.fd.ptr_eq(&this)) {
            ledger.enter(index, self.fd.as_fd());
            ledger.loaded.swap_remove(index);
        }
    }
}

// === impl Share ===

impl Drop for Share {
    fn drop(&mut self) {
        let mut ledger = self.programs.lock();
        ledger.settle();
        if let Some(index) = ledger.sharing.iter().position(|place| *place == self.place) {
            ledger.sharing.swap_remove(index);
        }
    }
}

// === impl Footprint ===

impl Footprint {
    /// Counts those maps that are of no part yet to a part.
    pub(crate) fn add(&self, part: Part, maps: &Maps) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for map in maps.values() {
            let map = Arc::downgrade(map);
            if !known.iter().any(|(_, other)| other.ptr_eq(&map)) {
                known.push((part, map));
            }
        }
    }

    /// Bytes of kernel memory of a part's maps.
    pub(crate) fn bytes(&self, part: Part) -> u64 {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(_, map)| map.strong_count() > 0);
        let of_part: Vec<_> =
            known.iter().filter(|(of, _)| *of == part).filter_map(|(_, map)| map.upgrade()).collect();
        drop(known);
        of_part.iter().map(|map| memlock(map.as_fd())).sum()
    }
}

// === impl Part ===

impl Part {
    /// Each.
    pub const ALL: [Self; 4] = [Self::Lifecycle, Self::RingBuffer, Self::Placements, Self::Hooks];

    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lifecycle => "lifecycle",
            Self::RingBuffer => "ring_buffer",
            Self::Placements => "placements",
            Self::Hooks => "hooks",
        }
    }
}

// === impl RunTimes ===

impl RunTimes {
    /// Has the kernel measure, which makes each run of a program, any program's, a little longer.
    ///
    /// # Errors
    /// The kernel refuses it: that takes CAP_SYS_ADMIN.
    pub fn measure() -> Result<Self, ProbeError> {
        const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";
        match sys::enable_stats() {
            Ok(held) => Ok(Self { _held: Some(held) }),
            Err(_) if fs::read_to_string(SWITCH).is_ok_and(|text| text.trim() == "1") => {
                Ok(Self { _held: None })
            }
            Err(source) => Err(ProbeError::RunTimes(source)),
        }
    }
}

/// What the kernel accounts for a program or a map: proc_pid_fdinfo(5).
fn memlock(object: BorrowedFd<'_>) -> u64 {
    let path = format!("/proc/self/fdinfo/{}", object.as_raw_fd());
    let info = fs::read_to_string(path).unwrap_or_default();
    let value = info.lines().find_map(|line| line.strip_prefix("memlock:"));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_all_of_it() {
        let cost = Cost { runs: 8, nanoseconds: 1_000, missed: 1 };
        let shares: Vec<_> = cost.split(3).collect();
        assert_eq!(shares[0], Cost { runs: 3, nanoseconds: 334, missed: 1 });
        assert_eq!(shares[2], Cost { runs: 2, nanoseconds: 333, missed: 0 });
        let mut sum = Cost::default();
        shares.into_iter().for_each(|share| sum += share);
        assert_eq!(sum, cost);
    }
}
