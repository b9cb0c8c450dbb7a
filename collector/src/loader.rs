//! What processes map to execute, for policies with `loader: true`: a thread of its own listens while there is one.
//!
//! The kernel tells of a mapping by process id and time only, in a buffer of each CPU. So mappings wait until what
//! happened before them on other CPUs is known, and go to the reader's thread, which knows the processes.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use prometheus::IntCounter;
use rustix::time::{ClockId, clock_gettime};
use tracing::warn;
use trigon_exporters::{
    event::{Event, EventType, Kind, Loader as Loaded},
    metrics::Loss,
};
use trigon_probes::{
    ProbeError,
    loader::{Loader, Mapped, Told},
};

use crate::pipeline::{self, Pipeline};

/// A mapping that is to be told of.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// What the kernel told.
    pub mapped: Mapped,
    /// When its process took over the image that the mapping is of, if that was seen: on the boot clock.
    pub exec: Option<u64>,
    /// How often its process was looked for in vain.
    pub tries: u8,
}

/// What starts to listen.
#[derive(Clone)]
pub struct Source {
    pipeline: pipeline::Handle,
    full: IntCounter,
    nobody: IntCounter,
}

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Listening {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// How often it looks, where nothing hurries it.
const ROUND: Duration = Duration::from_millis(100);
/// Rounds that a mapping waits for its process to become known.
const TRIES: u8 = 5;
/// Executions whose moment is remembered until what they mapped is told.
const EXECS: usize = 65_536;

// === impl Source ===

impl Source {
    /// Tells through the reader's thread.
    pub fn new(pipeline: pipeline::Handle, loss: &Loss) -> Self {
        let counter = |stage, reason| loss.untyped(stage, reason, EventType::ProcessLoader.as_str());
        Self { pipeline, full: counter("kernel", "perf_buffer_full"), nobody: counter("table", "no_process") }
    }

    /// Begins to listen.
    ///
    /// # Errors
    /// The kernel refuses, or the system has no room for another thread.
    pub fn listen(&self) -> Result<Listening, ProbeError> {
        let (loader, stop) = (Loader::open()?, Arc::new(AtomicBool::new(false)));
        let (source, stopped) = (self.clone(), Arc::clone(&stop));
        let thread = thread::Builder::new()
            .name("trigon-loader".to_owned())
            .spawn(move || source.run(loader, &stopped))
            .map_err(|source| ProbeError::Io { what: "start a thread", source })?;
        Ok(Listening { stop, thread: Some(thread) })
    }

    fn run(&self, mut loader: Loader, stop: &AtomicBool) {
        let (unknown, again) = channel();
        let mut execs: HashMap<u32, u64> = HashMap::new();
        let (mut told, mut complete_until) = (Vec::new(), 0);
        loop {
            let stopping = stop.load(Ordering::Relaxed);
            // What was written before this moment is all there when the buffers have been read.
            let now = boot_time();
            loader.drain(|one| match one {
                Told::Lost(count) => self.full.inc_by(count),
                other => told.push(other),
            });
            told.sort_by_key(Told::time);
            let until = if stopping { u64::MAX } else { complete_until };
            let rest = told.split_off(told.partition_point(|one| one.time() < until));
            let mut batch: Vec<Mapping> = again.try_iter().flatten().collect();
            for one in std::mem::replace(&mut told, rest) {
                match one {
                    Told::Exec { pid, time } => {
                        if execs.len() >= EXECS {
                            execs.clear();
                        }
                        execs.insert(pid, time);
                    }
                    Told::Mapped(mapped) => {
                        let exec = execs.get(&mapped.pid).copied();
                        batch.push(Mapping { mapped, exec, tries: 0 });
                    }
                    Told::Lost(_) => {}
                }
            }
            complete_until = now;
            if !batch.is_empty() {
                let (unknown, nobody) = (unknown.clone(), self.nobody.clone());
                if self
                    .pipeline
                    .blocking_give(move |pipeline| give(pipeline, batch, &unknown, &nobody))
                    .is_err()
                {
                    return;
                }
            }
            if stopping {
                return;
            }
            if let Err(error) = loader.wait(ROUND) {
                warn!(%error, "what processes map is told of no longer");
                return;
            }
            // A buffer that fills wakes it early: still no more than a hundred rounds in a second.
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

/// Makes events of mappings whose process is known; the others come back, or are given up.
fn give(pipeline: &mut Pipeline, batch: Vec<Mapping>, again: &Sender<Vec<Mapping>>, nobody: &IntCounter) {
    let (observed, now) = (pipeline.tracker.tick(), Instant::now());
    let mut unknown = Vec::new();
    for (mut mapping, process) in pipeline.tracker.whose(batch, TRIES) {
        let Some((process, parent)) = process else {
            mapping.tries += 1;
            if mapping.tries > TRIES {
                nobody.inc();
            } else {
                unknown.push(mapping);
            }
            continue;
        };
        let path = crate::text::escaped(&mapping.mapped.path);
        let loaded = Loaded { path, build_id: mapping.mapped.build_id.into() };
        let time = pipeline.tracker.time_of(mapping.mapped.time);
        let kind = Kind::Loader(Box::new(loaded));
        pipeline.take(Event { time, observed, process, parent, kind }, now);
    }
    pipeline.router.flush();
    // The thread may have ended meanwhile.
    let _ = again.send(unknown);
}

fn boot_time() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

// === impl Listening ===

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It looks once more, and ends.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
