//! The thread that takes records from the ring buffer and makes events of them: decode, track, route.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use prometheus::{IntCounter, local::LocalHistogram};
use tokio::sync::oneshot;
use tracing::warn;
use trigon_exporters::{
    event::EventType,
    metrics::{AgentMetrics, KubernetesMetrics, Loss},
};
use trigon_probes::{
    ProbeError, heap,
    lifecycle::Lifecycle,
    record::{DecodeError, RecordType, decode},
    ring::Ring,
};

use super::{AgentError, kernel_loss::KernelLoss, notify::Heartbeat};
use crate::{
    jobs::Jobs,
    kubernetes::waiting::Outcomes,
    pipeline::Pipeline,
    router::CHUNK,
    tracker::{Counts, table::Evictions},
};

/// How often numbers that nobody waits for are brought up to date.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// Executions that take so much memory that it is worth while to look for what they left.
const MANY: usize = 1024;

/// The thread of a [`Reader`].
pub type Thread = thread::JoinHandle<Result<(), ProbeError>>;

/// The stages that run on one thread, and what they count.
pub struct Reader {
    ring: Ring,
    lifecycle: Lifecycle,
    stages: Stages,
    jobs: Jobs<Pipeline>,
    kernel_loss: KernelLoss,
    housekept: Instant,
    state_file: PathBuf,
}

/// Where the thread counts.
pub struct Metrics {
    /// The agent's health.
    pub agent: AgentMetrics,
    /// What is known of pods; none without Kubernetes.
    pub kubernetes: Option<KubernetesMetrics>,
    /// What is lost.
    pub loss: Loss,
}

/// Decode, track, route.
struct Stages {
    pipeline: Pipeline,
    metrics: AgentMetrics,
    received: [IntCounter; RecordType::IN_RING.len()],
    delay: LocalHistogram,
    undecoded: Undecoded,
    orphan_hooks: IntCounter,
    forgotten_files: IntCounter,
    unplaced_cgroups: IntCounter,
    counted: (Counts, Evictions),
    /// The most executions that were known at once, since memory was given back.
    fullest: usize,
    kubernetes: Option<KubernetesNumbers>,
    heartbeat: Heartbeat,
}

/// What is counted of pods, and of events that wait for them.
struct KubernetesNumbers {
    metrics: KubernetesMetrics,
    counted: Outcomes,
}

/// Records that could not be decoded, by reason.
struct Undecoded {
    short: IntCounter,
    length: IntCounter,
    text: IntCounter,
    unknown_type: IntCounter,
}

// === impl Reader ===

impl Reader {
    /// The stages, ready to run.
    pub fn new(
        ring: Ring,
        lifecycle: Lifecycle,
        pipeline: Pipeline,
        jobs: Jobs<Pipeline>,
        metrics: Metrics,
        state_file: &Path,
    ) -> Self {
        let Metrics { agent: metrics, kubernetes, loss } = metrics;
        let stages = Stages {
            received: RecordType::IN_RING.map(|kind| metrics.received(kind.as_str())),
            delay: metrics.delay.local(),
            undecoded: Undecoded::new(&loss),
            orphan_hooks: loss.untyped("table", "policy_gone", RecordType::Hook.as_str()),
            unplaced_cgroups: loss.untyped("table", "placements_full", RecordType::CgroupMade.as_str()),
            forgotten_files: loss.untyped("table", "descriptors_full", EventType::TrigonDescriptor.as_str()),
            counted: Default::default(),
            fullest: 0,
            kubernetes: kubernetes.map(|metrics| KubernetesNumbers { metrics, counted: Outcomes::default() }),
            heartbeat: Heartbeat::default(),
            pipeline,
            metrics,
        };
        let kernel_loss = KernelLoss::new(lifecycle.lost(), &loss);
        Self {
            ring,
            lifecycle,
            stages,
            jobs,
            kernel_loss,
            housekept: Instant::now(),
            state_file: state_file.to_owned(),
        }
    }

    /// Tells of each turn that is taken.
    pub fn heartbeat(&self) -> Heartbeat {
        self.stages.heartbeat.clone()
    }

    /// Starts the thread. The other end of the channel is told when it ends.
    ///
    /// # Errors
    /// Fails where the system has no room for another thread.
    pub fn spawn(self) -> Result<(Thread, oneshot::Receiver<()>), AgentError> {
        let (done, ended) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("trigon-reader".to_owned())
            .spawn(move || {
                let result = self.run();
                let _ = done.send(());
                result
            })
            .map_err(|source| AgentError::System { what: "start a thread", source })?;
        Ok((thread, ended))
    }

    fn run(mut self) -> Result<(), ProbeError> {
        self.kernel_loss.update();
        while self.ring.wait()? {
            self.drain();
            while let Some(job) = self.jobs.next_now() {
                job(&mut self.stages.pipeline);
            }
            if self.housekept.elapsed() >= HOUSEKEEPING {
                self.housekept = Instant::now();
                self.kernel_loss.update();
                self.stages.metrics.ring_used.set(i64::try_from(self.ring.used()).unwrap_or(i64::MAX));
                self.stages.keep_house();
            }
        }
        // Nobody is answered any more.
        drop(self.jobs);
        // Detached first: on a busy machine there would be no end to it.
        drop(self.lifecycle);
        while self.stages.take(&mut self.ring) > 0 {}
        self.stages.pipeline.finish();
        self.kernel_loss.update();
        self.stages.keep_house();
        if !self.state_file.as_os_str().is_empty()
            && let Err(error) = self.stages.pipeline.tracker.keep_state(&self.state_file)
        {
            warn!("{error}");
        }
        Ok(())
    }

    fn drain(&mut self) {
        while self.stages.take(&mut self.ring) == CHUNK {}
    }
}

// === impl Stages ===

impl Stages {
    /// Takes at most a chunk of records through all stages; returns how many there were.
    fn take(&mut self, ring: &mut Ring) -> usize {
        self.heartbeat.beat();
        let waiting = ring.used();
        let (observed, now) = (self.pipeline.tracker.tick(), Instant::now());
        let count = ring.drain(CHUNK, |bytes| match decode(bytes) {
            Ok(record) => {
                if let Some(index) = RecordType::IN_RING.iter().position(|kind| *kind == record.record_type())
                {
                    self.received[index].inc();
                }
                self.pipeline.placements.take(&record);
                if let Some(event) = self.pipeline.tracker.take(record, observed) {
                    // What happens while a chunk is read has not waited.
                    let delay = Duration::from_nanos(observed.0.saturating_sub(event.time.0));
                    self.delay.observe(delay.as_secs_f64());
                    self.pipeline.take(event, now);
                }
            }
            Err(error) => self.undecoded.count(error),
        });
        if count > 0 {
            let capacity = self.metrics.ring_capacity.get().max(1);
            self.metrics.ring_fill.observe(waiting as f64 / capacity as f64);
            self.delay.flush();
        }
        self.pipeline.settle(now);
        self.pipeline.router.flush();
        count
    }

    fn keep_house(&mut self) {
        let (counts, evictions) = (self.pipeline.tracker.counts(), self.pipeline.tracker.table().evictions());
        let (counted, evicted) = std::mem::replace(&mut self.counted, (counts, evictions));
        let metrics = &self.metrics;
        self.pipeline.sweep(Instant::now());
        self.pipeline.tracker.forget_symbols();
        if let Some(kubernetes) = &mut self.kubernetes {
            kubernetes.update(&self.pipeline);
        }
        self.orphan_hooks.inc_by(counts.orphan_hooks - counted.orphan_hooks);
        let refused = self.pipeline.placements.refused();
        self.unplaced_cgroups.inc_by(refused.saturating_sub(self.unplaced_cgroups.get()));
        self.forgotten_files.inc_by(counts.forgotten_files - counted.forgotten_files);
        metrics.followed_files.set(i64::try_from(self.pipeline.tracker.followed_files()).unwrap_or(i64::MAX));
        metrics.placements.set(i64::try_from(self.pipeline.placements.len()).unwrap_or(i64::MAX));
        metrics.escaped_texts.inc_by(counts.escaped_texts - counted.escaped_texts);
        metrics.redacted_values.inc_by(counts.redacted_values - counted.redacted_values);
        metrics.untold_executions.inc_by(counts.untold_executions - counted.untold_executions);
        metrics.missed_starts.inc_by(counts.missed_starts - counted.missed_starts);
        metrics.duplicate_exits.inc_by(counts.duplicate_exits - counted.duplicate_exits);
        metrics.evicted("ended").inc_by(evictions.ended - evicted.ended);
        metrics.evicted("living").inc_by(evictions.living - evicted.living);
        let known = self.pipeline.tracker.table().len();
        metrics.table_size.set(i64::try_from(known).unwrap_or(i64::MAX));
        self.give_back(known);
    }

    /// Where very many have come and gone, what they took lies all over the heap, which gives nothing back by itself.
    fn give_back(&mut self, known: usize) {
        self.fullest = self.fullest.max(known);
        if self.fullest >= MANY && known < self.fullest / 4 {
            self.fullest = known;
            heap::release_freed();
        }
    }
}

// === impl KubernetesNumbers ===

impl KubernetesNumbers {
    fn update(&mut self, pipeline: &Pipeline) {
        let (present, deleted) = pipeline.tracker.cgroups().pods().count();
        self.metrics.pods(present, deleted);
        self.metrics.waiting.set(i64::try_from(pipeline.waiting.count()).unwrap_or(i64::MAX));
        let now = pipeline.waiting.outcomes();
        let before = std::mem::replace(&mut self.counted, now);
        self.metrics.waited("found", now.found - before.found);
        self.metrics.waited("without_pod", now.without_pod - before.without_pod);
        self.metrics.waited("without_container", now.without_container - before.without_container);
        self.metrics.waited("full", now.full - before.full);
    }
}

// === impl Undecoded ===

impl Undecoded {
    fn new(loss: &Loss) -> Self {
        let counter = |reason| loss.untyped("decode", reason, "unknown");
        Self {
            short: counter("short"),
            length: counter("length"),
            text: counter("text"),
            unknown_type: counter("unknown_type"),
        }
    }

    fn count(&self, error: DecodeError) {
        let counter = match error {
            DecodeError::Short { .. } => &self.short,
            DecodeError::Length { .. } => &self.length,
            DecodeError::Text { .. } => &self.text,
            DecodeError::UnknownType(_) => &self.unknown_type,
        };
        counter.inc();
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use trigon_exporters::metrics::Registry;
    use trigon_probes::record::{ExecRecord, Header};

    use super::*;

    #[test]
    fn each_record_that_is_none_is_counted_once_by_its_reason() {
        let loss = Loss::register(&Registry::new()).unwrap();
        let undecoded = Undecoded::new(&loss);
        let header = |kind: u16, length: u32| {
            let mut bytes = vec![0; size_of::<Header>()];
            bytes[offset_of!(Header, kind)..][..2].copy_from_slice(&kind.to_ne_bytes());
            bytes[offset_of!(Header, length)..][..4].copy_from_slice(&length.to_ne_bytes());
            bytes
        };
        let size = size_of::<Header>() as u32;
        // An exec whose texts are longer than what follows it.
        let mut text = header(1, size_of::<ExecRecord>() as u32);
        text.resize(size_of::<ExecRecord>(), 0xff);
        for bytes in [header(2, size), header(2, size + 1), text, header(999, size)] {
            undecoded.count(decode(&bytes).unwrap_err());
        }
        let counted = ["short", "length", "text", "unknown_type"]
            .map(|reason| loss.untyped("decode", reason, "unknown").get());
        assert_eq!(counted, [1; 4]);
    }
}
