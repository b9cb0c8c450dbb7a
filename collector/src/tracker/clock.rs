//! From the kernel's boot clock to the time of day.

use rustix::time::{ClockId, Timespec, clock_gettime};
use trigon_exporters::event::Timestamp;

/// How long an offset between the clocks is taken as right, in nanoseconds.
const RESAMPLE_NS: u64 = 10_000_000_000;

/// Turns times of the boot clock into times of day. The offset follows what NTP and people do to the clock, but
/// only at [`Clock::tick`], so that events which are read together keep their distances.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    offset: i128,
    sampled: u64,
}

// === impl Clock ===

impl Clock {
    /// Reads both clocks.
    pub fn new() -> Self {
        let (offset, sampled) = sample();
        Self { offset, sampled }
    }

    /// A clock with a known offset: the boot clock's zero at `epoch`.
    pub fn fixed(epoch: Timestamp) -> Self {
        Self { offset: i128::from(epoch.0), sampled: u64::MAX }
    }

    /// Now, on the boot clock in nanoseconds; reads the clocks anew when that was long ago.
    pub fn tick(&mut self) -> u64 {
        let now = nanoseconds(clock_gettime(ClockId::Boottime)) as u64;
        if now.saturating_sub(self.sampled) > RESAMPLE_NS {
            *self = Self::new();
        }
        now
    }

    /// The time of day at `boot` nanoseconds of the boot clock.
    pub fn at(&self, boot: u64) -> Timestamp {
        Timestamp(u64::try_from(self.offset + i128::from(boot)).unwrap_or(0))
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// The offset of the time of day from the boot clock: of some pairs of readings the one that was made quickest.
fn sample() -> (i128, u64) {
    let pair = || {
        let before = nanoseconds(clock_gettime(ClockId::Boottime));
        let day = nanoseconds(clock_gettime(ClockId::Realtime));
        let after = nanoseconds(clock_gettime(ClockId::Boottime));
        (after - before, day - (before + after) / 2, after)
    };
    let (_, offset, now) = (0..5).map(|_| pair()).min_by_key(|(took, _, _)| *took).unwrap_or_default();
    (offset, u64::try_from(now).unwrap_or(0))
}

fn nanoseconds(time: Timespec) -> i128 {
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_time_becomes_time_of_day() {
        let mut clock = Clock::new();
        let now = clock.tick();
        let day = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let distance = clock.at(now).0.abs_diff(day.as_nanos() as u64);
        assert!(distance < 60_000_000_000, "{distance} ns apart");
        assert_eq!(Clock::fixed(Timestamp(1_000)).at(5), Timestamp(1_005));
    }
}
