//! Series as they are kept between two scrapes: labels once, the number beside them.
//!
//! Prometheus's own vectors hold their lock while they copy every label of every series, and whoever counts in a series
//! that is new waits for that. Here a scrape holds the lock only while it copies pointers.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus::{
    core::{Collector, Desc},
    proto,
};

use super::Registry;

/// A family of series, shared between the one that counts and those that gather.
#[derive(Debug)]
pub(super) struct Series<N> {
    desc: Desc,
    /// Places of the labels by their names' order, in which Prometheus shows them.
    order: Vec<usize>,
    all: Mutex<Vec<Arc<One<N>>>>,
}

/// One set of labels, and its number.
#[derive(Debug)]
pub(super) struct One<N> {
    /// The values of the labels, each followed by a NUL.
    pub(super) key: Arc<str>,
    pub(super) number: N,
}

/// What a series holds.
pub(super) trait Number: Default + Send + Sync + 'static {
    /// How it moves.
    const KIND: proto::MetricType;
    /// Series that Prometheus makes of one set of labels.
    const SERIES: usize;
    /// What is observed.
    type Observation: Copy;

    /// Takes an observation.
    fn observe(&self, observation: Self::Observation);

    /// Observations so far.
    fn observed(&self) -> u64;

    /// Writes it for a scrape.
    fn write(&self, metric: &mut proto::Metric);
}

/// A counter.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

/// A histogram of times, in seconds.
#[derive(Debug, Default)]
pub(super) struct Times(Mutex<Buckets>);

#[derive(Debug, Default)]
struct Buckets {
    /// Observations of each bucket alone; the last has no bound.
    counts: [u64; BOUNDS.len() + 1],
    sum: f64,
}

/// Upper bounds in seconds, from a millisecond to a day: a program that does next to nothing, a command, a build, a
/// service.
const BOUNDS: [f64; 12] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0, 60.0, 600.0, 3600.0, 86_400.0];

struct Gathered<N>(Arc<Series<N>>);

// === impl Series ===

impl<N: Number> Series<N> {
    /// Makes a family without series and registers it.
    ///
    /// # Errors
    /// Fails where the registry has a family of that name.
    pub(super) fn register(
        registry: &Registry,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<Arc<Self>> {
        let owned = labels.iter().map(|label| (*label).to_owned()).collect();
        let desc = Desc::new(name.to_owned(), help.to_owned(), owned, HashMap::new())?;
        let mut order: Vec<usize> = (0..labels.len()).collect();
        order.sort_by_key(|place| labels[*place]);
        let series = Arc::new(Self { desc, order, all: Mutex::default() });
        registry.register_boxed(Box::new(Gathered(Arc::clone(&series))))?;
        Ok(series)
    }

    /// Adds a series, by its key. There must be none of that key.
    pub(super) fn add(&self, key: Arc<str>) -> Arc<One<N>> {
        let one = Arc::new(One { key, number: N::default() });
        self.lock().push(Arc::clone(&one));
        one
    }

    /// Leaves only these.
    pub(super) fn replace(&self, all: Vec<Arc<One<N>>>) {
        // What it held is dropped after the lock.
        let _before = std::mem::replace(&mut *self.lock(), all);
    }

    pub(super) fn name(&self) -> &str {
        &self.desc.fq_name
    }

    /// Series as Prometheus counts them.
    pub(super) fn len(&self) -> usize {
        self.lock().len() * N::SERIES
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<One<N>>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn metric(&self, one: &One<N>) -> proto::Metric {
        let values: Vec<&str> = one.key.split_terminator('\0').collect();
        let pair = |place: &usize| {
            let mut pair = proto::LabelPair::default();
            pair.set_name(self.desc.variable_labels.get(*place).cloned().unwrap_or_default());
            pair.set_value(values.get(*place).copied().unwrap_or_default().to_owned());
            pair
        };
        let mut metric = proto::Metric::from_label(self.order.iter().map(pair).collect());
        one.number.write(&mut metric);
        metric
    }
}

// === impl Gathered ===

impl<N: Number> Collector for Gathered<N> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let all = self.0.lock().clone();
        let mut family = proto::MetricFamily::default();
        family.set_name(self.0.desc.fq_name.clone());
        family.set_help(self.0.desc.help.clone());
        family.set_field_type(N::KIND);
        family.set_metric(all.iter().map(|one| self.0.metric(one)).collect());
        vec![family]
    }
}

// === impl Count ===

impl Number for Count {
    const KIND: proto::MetricType = proto::MetricType::COUNTER;
    const SERIES: usize = 1;
    type Observation = ();

    fn observe(&self, (): ()) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn observed(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn write(&self, metric: &mut proto::Metric) {
        let mut counter = proto::Counter::default();
        counter.set_value(self.observed() as f64);
        metric.set_counter(counter);
    }
}

// === impl Times ===

impl Times {
    fn lock(&self) -> MutexGuard<'_, Buckets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Number for Times {
    const KIND: proto::MetricType = proto::MetricType::HISTOGRAM;
    /// The buckets with bounds, the one without, `_sum` and `_count`.
    const SERIES: usize = BOUNDS.len() + 3;
    type Observation = f64;

    fn observe(&self, seconds: f64) {
        let mut buckets = self.lock();
        buckets.counts[BOUNDS.partition_point(|bound| *bound < seconds)] += 1;
        buckets.sum += seconds;
    }

    fn observed(&self) -> u64 {
        self.lock().counts.iter().sum()
    }

    fn write(&self, metric: &mut proto::Metric) {
        let mut histogram = proto::Histogram::default();
        let buckets = self.lock();
        let mut cumulative = 0;
        let bounded = BOUNDS.iter().zip(&buckets.counts).map(|(bound, count)| {
            cumulative += count;
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(cumulative);
            bucket
        });
        histogram.set_bucket(bounded.collect());
        histogram.set_sample_count(buckets.counts.iter().sum());
        histogram.set_sample_sum(buckets.sum);
        metric.set_histogram(histogram);
    }
}
