//! How many events a way out gets in a time.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

/// So many events a second, a minute or an hour, as `1000/m`; as many may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate {
    events: u32,
    unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Second,
    Minute,
    Hour,
}

/// A text that is no rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} can't be used: a number from 1 to 4294967295 and /s, /m or /h is allowed, such as \"1000/m\"")]
pub struct NoRate(String);

/// A bucket of tokens, of which each event takes one.
#[derive(Debug)]
pub(crate) struct Bucket {
    size: f64,
    per_second: f64,
    tokens: f64,
    filled: Instant,
    dropped: u64,
    /// When the first of them was.
    dropped_since: Instant,
}

/// How often it is told what was dropped.
const REPORT_EVERY: Duration = Duration::from_secs(1);

// === impl Rate ===

impl Rate {
    /// So many a minute.
    pub(crate) const fn per_minute(events: u32) -> Self {
        Self { events, unit: Unit::Minute }
    }
}

impl FromStr for Rate {
    type Err = NoRate;

    fn from_str(text: &str) -> Result<Self, NoRate> {
        let rate = text.split_once('/').and_then(|(events, unit)| {
            let events = events.trim().parse().ok().filter(|events| *events > 0)?;
            let unit = match unit.trim() {
                "s" => Unit::Second,
                "m" => Unit::Minute,
                "h" => Unit::Hour,
                _ => return None,
            };
            Some(Self { events, unit })
        });
        rate.ok_or_else(|| NoRate(text.to_owned()))
    }
}

impl TryFrom<String> for Rate {
    type Error = NoRate;

    fn try_from(text: String) -> Result<Self, NoRate> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.to_string()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Second => "s",
            Unit::Minute => "m",
            Unit::Hour => "h",
        };
        write!(f, "{}/{unit}", self.events)
    }
}

// === impl Bucket ===

impl Bucket {
    /// A full one.
    pub(crate) fn new(rate: Rate, now: Instant) -> Self {
        let seconds = match rate.unit {
            Unit::Second => 1.0,
            Unit::Minute => 60.0,
            Unit::Hour => 3600.0,
        };
        let size = f64::from(rate.events);
        Self { size, per_second: size / seconds, tokens: size, filled: now, dropped: 0, dropped_since: now }
    }

    /// Takes a token for an event; where there is none the event is to be dropped, and is counted here.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.filled);
        self.tokens = (self.tokens + since.as_secs_f64() * self.per_second).min(self.size);
        self.filled = self.filled.max(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return true;
        }
        if self.dropped == 0 {
            self.dropped_since = now;
        }
        self.dropped += 1;
        false
    }

    /// How many events were dropped and not told of, where it is time to tell.
    pub(super) fn report(&mut self, now: Instant) -> Option<u64> {
        let due = self.dropped > 0 && now.saturating_duration_since(self.dropped_since) >= REPORT_EVERY;
        due.then(|| self.last_report()).flatten()
    }

    /// The same, at once.
    pub(super) fn last_report(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.dropped)).filter(|dropped| *dropped > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_written() {
        for text in ["1/s", "1000/m", "4294967295/h"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for text in ["", "5", "0/s", "-1/s", "5/d", "5/", "/s", "1.5/s", "4294967296/s", "5/s/s"] {
            let error = text.parse::<Rate>().unwrap_err().to_string();
            assert!(error.contains("1000/m") && error.contains(text), "{error}");
        }
    }

    #[test]
    fn a_bucket_fills_with_time_and_never_beyond_its_size() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut bucket = Bucket::new("60/m".parse().unwrap(), start);
        let mut taken = |now| (0..100).filter(|_| bucket.take(now)).count();
        assert_eq!(taken(at(0)), 60);
        assert_eq!(taken(at(999)), 0);
        assert_eq!(taken(at(1_000)), 1);
        assert_eq!(taken(at(500)), 0, "a clock that goes back gives nothing");
        assert_eq!(taken(at(11_000)), 10);
        assert_eq!(taken(at(3_600_000)), 60);
    }

    #[test]
    fn what_is_dropped_is_told_once_and_not_more_often_than_every_second() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut bucket = Bucket::new("1/h".parse().unwrap(), start);
        assert!(bucket.take(at(0)));
        assert_eq!(bucket.report(at(60_000)), None, "nothing was dropped");
        assert!(!bucket.take(at(60_000)) && !bucket.take(at(60_500)));
        assert_eq!(bucket.report(at(60_999)), None);
        assert_eq!(bucket.report(at(61_000)), Some(2));
        assert_eq!(bucket.report(at(90_000)), None);
        assert!(!bucket.take(at(90_000)));
        assert_eq!(bucket.last_report(), Some(1));
        assert_eq!(bucket.last_report(), None);
    }
}
