//! A family of counters with a hard limit on its series.

use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec};
use rustc_hash::FxHashMap;

use super::{Label, MetricsConfig, Registry};

/// Which of the labels that say who did it were chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Labels {
    pub(super) namespace: bool,
    pub(super) workload: bool,
    pub(super) pod: bool,
    pub(super) binary: bool,
}

/// Counters by what happened (`WHAT` labels, which come from the agent and its policies) and by who did it.
///
/// A count of a known series costs a look-up and an addition. What finds no room is counted under `other`: first only
/// in the labels that say who, and where that would still make too many series, in all.
#[derive(Debug)]
pub(super) struct Capped<const WHAT: usize> {
    counters: IntCounterVec,
    folded: IntCounter,
    /// Counters of the series that there are, by the values of their labels, each followed by a NUL.
    known: FxHashMap<Arc<str>, IntCounter>,
    /// Keys of the series of each pod, by its namespace and name, each followed by a NUL.
    pods: FxHashMap<Box<str>, Vec<Arc<str>>>,
    /// Likewise those that stand for whoever found no room, by what happened.
    others: FxHashMap<Box<str>, IntCounter>,
    /// Where a key is put together.
    key: String,
    /// Values that stand for whoever found no room.
    other: [&'static str; WHO],
    /// Series that there may yet be, and series for the rest.
    room: usize,
    rest: usize,
}

/// Names of the labels that say who did it.
pub(super) const WHO_NAMES: [&str; WHO] = ["namespace", "workload", "pod", "binary"];
const WHO: usize = 4;
/// Places among them.
const NAMESPACE: usize = 0;
const POD: usize = 2;
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
    pub(super) fn new(chosen: &[Label]) -> Self {
        Self {
            namespace: chosen.contains(&Label::Namespace),
            workload: chosen.contains(&Label::Workload),
            pod: chosen.contains(&Label::Pod),
            binary: chosen.contains(&Label::Binary),
        }
    }
}

// === impl Capped ===

impl<const WHAT: usize> Capped<WHAT> {
    /// Makes the family and registers it. Of its series, `rest` are kept for what finds no room.
    ///
    /// # Errors
    /// Fails where the registry has a family of that name.
    pub(super) fn register(
        registry: &Registry,
        (name, help): (&str, &str),
        what: [&str; WHAT],
        config: &MetricsConfig,
        rest: usize,
        folded: &IntCounterVec,
    ) -> prometheus::Result<Self> {
        let labels = Labels::new(&config.labels);
        let other = [labels.namespace, labels.workload, labels.pod, labels.binary]
            .map(|chosen| if chosen { OTHER } else { "" });
        let folded = folded.with_label_values(&[name]);
        let names: Vec<&str> = what.into_iter().chain(WHO_NAMES).collect();
        let counters = registry.counters(name, help, &names)?;
        Ok(Self {
            counters,
            folded,
            known: FxHashMap::default(),
            pods: FxHashMap::default(),
            others: FxHashMap::default(),
            key: String::new(),
            other,
            // The series for the rest are within the limit.
            room: config.max_series.saturating_sub(rest),
            rest,
        })
    }

    /// Counts one.
    pub(super) fn count(&mut self, what: [&str; WHAT], who: [&str; WHO]) {
        self.key.clear();
        for value in what.into_iter().chain(who) {
            self.key.push_str(value);
            self.key.push('\0');
        }
        match self.known.get(self.key.as_str()) {
            Some(counter) => counter.inc(),
            None => self.count_new(what, who),
        }
    }

    #[cold]
    fn count_new(&mut self, what: [&str; WHAT], who: [&str; WHO]) {
        // A value that holds a NUL would make the key one of other values. No name has one, but for hostile ones.
        let is_plain = self.key.bytes().filter(|byte| *byte == 0).count() == WHAT + WHO;
        if self.room == 0 || self.key.len() > MAX_LEN || !is_plain {
            return self.count_rest(what);
        }
        self.room -= 1;
        let counter = series(&self.counters, what, who);
        counter.inc();
        let key: Arc<str> = self.key.as_str().into();
        if !who[POD].is_empty() {
            let pod = format!("{}\0{}\0", who[NAMESPACE], who[POD]);
            self.pods.entry(pod.into()).or_default().push(Arc::clone(&key));
        }
        self.known.insert(key, counter);
    }

    /// Removes the series of a pod, and gives their room back. What was counted under `other` stays there.
    pub(super) fn forget_pod(&mut self, namespace: &str, pod: &str) {
        let keys = self.pods.remove(format!("{namespace}\0{pod}\0").as_str()).unwrap_or_default();
        for key in keys {
            let values: Vec<&str> = key.split_terminator('\0').collect();
            // There is such a series, since the key is known.
            let _ = self.counters.remove_label_values(&values);
            self.room += usize::from(self.known.remove(&key).is_some());
        }
    }

    fn count_rest(&mut self, what: [&str; WHAT]) {
        self.folded.inc();
        // What happened stands first in the key.
        let end: usize = what.iter().map(|value| value.len() + 1).sum();
        let key = &self.key[..end];
        if let Some(counter) = self.others.get(key) {
            return counter.inc();
        }
        // The last series is for whatever comes.
        let (key, what) = if self.rest > 1 && end <= MAX_LEN { (key, what) } else { ("", [OTHER; WHAT]) };
        let counter = self.others.entry(key.into()).or_insert_with(|| {
            self.rest = self.rest.saturating_sub(usize::from(!key.is_empty()));
            series(&self.counters, what, self.other)
        });
        counter.inc();
    }
}

fn series<const WHAT: usize>(counters: &IntCounterVec, what: [&str; WHAT], who: [&str; WHO]) -> IntCounter {
    let values: Vec<&str> = what.into_iter().chain(who).collect();
    counters.with_label_values(&values)
}
