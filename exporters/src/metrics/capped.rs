//! A family with a hard limit on its series, of which those that nothing is counted in go after a while.

use std::{sync::Arc, time::Duration};

use prometheus::{IntCounter, IntCounterVec};
use rustc_hash::FxHashMap;

use super::{
    Label, MetricsConfig, Registry,
    series::{Number, One, Series},
};

#[cfg(test)]
mod tests;

/// Numbers by what happened (`WHAT` labels, which come from the agent and its policies) and by who did it (the first
/// `WHO` of [`WHO_NAMES`]).
///
/// An observation in a known series costs a look-up and an addition. What finds no room is counted under `other`: first
/// only in the labels that say who, and where that would still make too many series, in all.
#[derive(Debug)]
pub(super) struct Capped<N, const WHAT: usize, const WHO: usize> {
    series: Arc<Series<N>>,
    folded: IntCounter,
    /// The series that there are, by the values of their labels, each followed by a NUL.
    known: FxHashMap<Arc<str>, Known<N>>,
    /// Where a key is put together.
    key: String,
    /// Values that stand for whoever found no room.
    other: [&'static str; WHO],
    /// Sets of labels that there may yet be, and sets for the rest.
    room: usize,
    rest: usize,
}

/// What a family is called, and what its series are by.
pub(super) struct About<const WHAT: usize> {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    /// Names of the labels that say what happened.
    pub(super) what: [&'static str; WHAT],
    /// Sets of labels that are kept for what finds no room.
    pub(super) rest: usize,
}

/// Which of the labels that say who did it were chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Labels([bool; WHO_NAMES.len()]);

#[derive(Debug)]
struct Known<N> {
    one: Arc<One<N>>,
    /// It stands for whoever found no room, and stays.
    stays: bool,
    /// Observations when it was last looked at, and how long there have been no more.
    observed: u64,
    idle: Duration,
}

/// Names of the labels that say who did it.
pub(super) const WHO_NAMES: [&str; 4] = ["namespace", "workload", "pod", "binary"];
const LABELS: [Label; WHO_NAMES.len()] = [Label::Namespace, Label::Workload, Label::Pod, Label::Binary];
/// Bytes that the values of one series may have together: a path can be 4 KiB long, which times `max_series` would be
/// too much to hold and to serve.
const MAX_LEN: usize = 1024;
const OTHER: &str = "other";

/// Makes the family that tells of series that found no room, and registers it.
///
/// # Errors
/// Fails where the registry has a family of that name.
pub(super) fn register_folded(registry: &Registry) -> prometheus::Result<IntCounterVec> {
    registry.counters(
        "trigon_metrics_folded_total",
        "Events that were counted under the labels \"other\", since their family had metrics.max_series series or the labels were too long.",
        &["family"],
    )
}

// === impl Labels ===

impl Labels {
    pub(super) fn new(config: &MetricsConfig) -> Self {
        Self(LABELS.map(|label| config.labels.contains(&label)))
    }

    /// The values of the labels that were chosen; the others are empty.
    pub(super) fn choose(self, values: [&str; WHO_NAMES.len()]) -> [&str; WHO_NAMES.len()] {
        std::array::from_fn(|place| if self.0[place] { values[place] } else { "" })
    }
}

// === impl Capped ===

impl<N: Number, const WHAT: usize, const WHO: usize> Capped<N, WHAT, WHO> {
    /// Makes the family and registers it.
    ///
    /// # Errors
    /// Fails where the registry has a family of that name.
    pub(super) fn register(
        registry: &Registry,
        About { name, help, what, rest }: About<WHAT>,
        config: &MetricsConfig,
        folded: &IntCounterVec,
    ) -> prometheus::Result<Self> {
        let labels: Vec<&str> = what.into_iter().chain(WHO_NAMES.into_iter().take(WHO)).collect();
        let chosen = Labels::new(config);
        let sets = config.max_series / N::SERIES;
        // The sets for the rest are within the limit.
        let rest = rest.min(sets).max(1);
        Ok(Self {
            series: Series::register(registry, name, help, &labels)?,
            folded: folded.with_label_values(&[name]),
            known: FxHashMap::default(),
            key: String::new(),
            other: std::array::from_fn(|place| if chosen.0[place] { OTHER } else { "" }),
            room: sets.saturating_sub(rest),
            rest,
        })
    }

    /// The family's series, for whoever counts them.
    pub(super) fn series(&self) -> Arc<Series<N>> {
        Arc::clone(&self.series)
    }

    /// Takes an observation.
    pub(super) fn observe(&mut self, what: [&str; WHAT], who: [&str; WHO], observation: N::Observation) {
        self.make_key(what, who);
        match self.known.get(self.key.as_str()) {
            Some(known) => known.one.number.observe(observation),
            None => self.observe_new(what, observation),
        }
    }

    /// Removes the series in which nothing was counted for so long, and gives their room back; `passed` is the time
    /// since this was last called. What was counted under `other` stays.
    pub(super) fn sweep(&mut self, passed: Duration, stale_after: Duration) {
        let before = self.known.len();
        self.known.retain(|_, known| known.is_fresh(passed, stale_after));
        let gone = before - self.known.len();
        if gone > 0 {
            self.room += gone;
            self.series.replace(self.known.values().map(|known| Arc::clone(&known.one)).collect());
        }
    }

    /// Takes an observation whose series is not known; the key is that of the series.
    #[cold]
    fn observe_new(&mut self, what: [&str; WHAT], observation: N::Observation) {
        if self.room == 0 || !self.is_plain() {
            return self.observe_rest(what, observation);
        }
        self.room -= 1;
        self.add(false).number.observe(observation);
    }

    fn observe_rest(&mut self, what: [&str; WHAT], observation: N::Observation) {
        self.folded.inc();
        self.make_key(what, self.other);
        if !self.known.contains_key(self.key.as_str()) {
            // The last set is for whatever comes.
            if self.rest > 1 && self.is_plain() {
                self.rest -= 1;
                return self.add(true).number.observe(observation);
            }
            self.make_key([OTHER; WHAT], self.other);
        }
        match self.known.get_mut(self.key.as_str()) {
            Some(known) => {
                // It may be the series of somebody whose name is `other`.
                known.stays = true;
                known.one.number.observe(observation);
            }
            None => self.add(true).number.observe(observation),
        }
    }

    /// Adds the series of the key.
    fn add(&mut self, stays: bool) -> Arc<One<N>> {
        let key: Arc<str> = self.key.as_str().into();
        let one = self.series.add(Arc::clone(&key));
        let known = Known { one: Arc::clone(&one), stays, observed: 0, idle: Duration::ZERO };
        self.known.insert(key, known);
        one
    }

    fn make_key(&mut self, what: [&str; WHAT], who: [&str; WHO]) {
        self.key.clear();
        for value in what.into_iter().chain(who) {
            self.key.push_str(value);
            self.key.push('\0');
        }
    }

    /// Whether the key can be that of a series: it is short, and no value in it holds a NUL, which would make it the key
    /// of other values. No name has one, but for hostile ones.
    fn is_plain(&self) -> bool {
        self.key.len() <= MAX_LEN && self.key.bytes().filter(|byte| *byte == 0).count() == WHAT + WHO
    }
}

// === impl Known ===

impl<N: Number> Known<N> {
    fn is_fresh(&mut self, passed: Duration, stale_after: Duration) -> bool {
        let observed = self.one.number.observed();
        match observed == self.observed {
            true => self.idle += passed,
            false => (self.observed, self.idle) = (observed, Duration::ZERO),
        }
        self.stays || self.idle < stale_after
    }
}
