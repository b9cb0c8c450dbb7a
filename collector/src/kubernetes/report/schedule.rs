//! When a report is written. Many nodes see the same change at the same moment: each waits a random while, and
//! gathers what changes meanwhile.

use std::time::Duration;

use tokio::time::Instant;

/// When the next report is due.
#[derive(Debug)]
pub struct Schedule {
    interval: Duration,
    /// When the last one was written.
    last: Option<Instant>,
    due: Option<Instant>,
    /// Attempts in a row that failed.
    failures: u32,
}

/// Why a report could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The API server is away, or has too much to do; it may say for how long.
    Busy(Option<Duration>),
    /// It doesn't have the kind, or doesn't let the agent write it.
    Refused,
}

/// How long it is at most until the next attempt, unless the API server itself says more.
const LONGEST: Duration = Duration::from_secs(300);

/// The longest time that the API server is believed in.
const BELIEVED: Duration = Duration::from_secs(3600);

// === impl Schedule ===

impl Schedule {
    /// Nothing is due. `interval` is how long changes are gathered at most, and the least time between two reports.
    pub fn new(interval: Duration) -> Self {
        Self { interval, last: None, due: None, failures: 0 }
    }

    /// Something changed. `random` is at least 0 and less than 1.
    pub fn changed(&mut self, now: Instant, random: f64) {
        if self.due.is_none() {
            let gathered = now + self.interval.mul_f64(random);
            self.due = Some(self.last.map_or(gathered, |last| gathered.max(last + self.interval)));
        }
    }

    /// When the next report is to be written; none while nothing changed.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What was due has been written.
    pub fn written(&mut self, now: Instant) {
        self.last = Some(now);
        self.unneeded();
    }

    /// What was due says nothing new.
    pub fn unneeded(&mut self) {
        self.due = None;
        self.failures = 0;
    }

    /// What was due could not be written.
    pub fn failed(&mut self, now: Instant, failure: Failure, random: f64) {
        let doubled = self.interval.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        // At least half of it: what fails everywhere at once shall not be tried everywhere at once.
        let spread = |wait: Duration| wait.mul_f64(0.5 + random / 2.0);
        let wait = match failure {
            Failure::Busy(None) => spread(doubled),
            Failure::Busy(Some(asked)) => asked.min(BELIEVED) + spread(doubled),
            Failure::Refused => spread(LONGEST),
        };
        self.due = Some(now + wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_change_is_due_within_the_interval_and_others_are_gathered() {
        let start = Instant::now();
        let mut schedule = Schedule::new(INTERVAL);
        assert_eq!(schedule.due(), None);
        schedule.changed(start, 0.25);
        schedule.changed(start + seconds(1), 0.0);
        assert_eq!(schedule.due(), Some(start + Duration::from_millis(2500)));
    }

    #[test]
    fn two_reports_are_an_interval_apart() {
        let start = Instant::now();
        let mut schedule = Schedule::new(INTERVAL);
        schedule.changed(start, 0.0);
        schedule.written(start);
        assert_eq!(schedule.due(), None);
        schedule.changed(start + seconds(1), 0.1);
        assert_eq!(schedule.due(), Some(start + INTERVAL));
        schedule.written(start + INTERVAL);
        schedule.changed(start + seconds(100), 0.5);
        assert_eq!(schedule.due(), Some(start + seconds(105)));
    }

    #[test]
    fn what_fails_is_tried_ever_more_seldom_and_no_sooner_than_the_server_asks() {
        let start = Instant::now();
        let mut schedule = Schedule::new(INTERVAL);
        let mut waits = Vec::new();
        for _ in 0..8 {
            schedule.failed(start, Failure::Busy(None), 0.0);
            waits.push(schedule.due().unwrap() - start);
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 150, 150, 150].map(seconds));
        schedule.changed(start, 0.0);
        assert_eq!(schedule.due(), Some(start + seconds(150)), "a change is no reason to press on");
        schedule.failed(start, Failure::Busy(Some(seconds(600))), 0.0);
        assert_eq!(schedule.due(), Some(start + seconds(750)));
        schedule.failed(start, Failure::Busy(Some(Duration::MAX)), 0.0);
        assert_eq!(schedule.due(), Some(start + BELIEVED + seconds(150)));
        schedule.written(start);
        schedule.failed(start, Failure::Refused, 0.0);
        assert_eq!(schedule.due(), Some(start + seconds(150)));
    }

    #[test]
    fn a_thousand_nodes_that_see_one_change_spread_over_the_interval() {
        let start = Instant::now();
        let mut random = fastrand::Rng::with_seed(1);
        let mut per_second = [0; 10];
        for _ in 0..1000 {
            let mut schedule = Schedule::new(INTERVAL);
            schedule.changed(start, random.f64());
            per_second[(schedule.due().unwrap() - start).as_secs() as usize] += 1;
        }
        assert!(per_second.iter().all(|writes| (60..=140).contains(writes)), "{per_second:?}");
    }
}
