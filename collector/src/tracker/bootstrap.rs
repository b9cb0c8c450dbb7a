//! The processes that were there before the agent.
//!
//! The programs are attached already when this runs, so that nothing falls between: what starts or ends meanwhile
//! is in the ring buffer, and is taken after this. The kernel's task iterator gives the exact facts, /proc the
//! texts. A process that the iterator doesn't give (some kernels pass over the first one), and every process on a
//! kernel without it, is read from /proc alone.

use std::{collections::HashMap, path::Path, sync::Arc};

use procfs::ProcError;
use tracing::{debug, warn};
use trigon_exporters::{
    event::{Image, Namespaces, ProcessFlags},
    identity::ExecId,
};
use trigon_probes::{
    ProbeError,
    lifecycle::Kernel,
    record::{self, ExecKey, Record, TaskFacts, task_flags},
    tasks,
};

use super::{
    Sighting, Tracker,
    facts::{image_of_comm, namespaces_of, parent_of, previous_image},
    fill,
};
use crate::text::first_args;

mod proc;

use proc::Texts;

/// How much of the boot clock one tick of /proc's start times is, in nanoseconds (USER_HZ is 100 everywhere).
const TICK_NS: u64 = 10_000_000;

/// A process that was there.
struct Found {
    task: TaskFacts,
    cgroup: String,
}

/// What [`run`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Processes that entered the table.
    pub found: usize,
    /// Those of them whose exact start the kernel did not tell: their ids are as exact as /proc's clock ticks.
    pub inexact: usize,
    /// Processes that ended while they were read.
    pub gone: usize,
    /// The host's own namespaces, those that its kernel's threads are in.
    pub host: Namespaces,
}

/// Enters all running processes into the tracker's table.
///
/// # Errors
/// Fails where /proc can't be listed. A process that ends meanwhile is no error.
pub fn run(tracker: &mut Tracker, kernel: &Kernel, max_args_bytes: usize) -> Result<Summary, ProcError> {
    let mut found = match tasks::read(kernel) {
        Ok(records) => from_iterator(&records),
        Err(error) => {
            log_without_iterator(&error);
            HashMap::new()
        }
    };
    let mut summary = Summary::default();
    add_missing(&mut found, &mut summary)?;
    let host = found.values().find(|found| is_kernel(&found.task)).or_else(|| found.get(&1));
    summary.host = host.map(|found| namespaces_of(&found.task)).unwrap_or_default();
    // Parents before their children, so that each finds the one above it.
    let mut found: Vec<_> = found.into_values().collect();
    found.sort_by_key(|found| (found.task.key.ktime, found.task.key.pid));
    for found in found {
        let wanted = &tracker.settings.variables;
        let texts =
            if is_kernel(&found.task) { None } else { Texts::read(&found.task, max_args_bytes, wanted) };
        match texts {
            None if !is_kernel(&found.task) => summary.gone += 1,
            texts => {
                tracker.adopt(&found, texts.as_ref());
                summary.found += 1;
            }
        }
    }
    tracker.predecessor.forget();
    tracker.adopted_until = tracker.clock.tick();
    Ok(summary)
}

fn log_without_iterator(error: &ProbeError) {
    warn!(%error, "the kernel has no task iterator: processes that run already get their start times from /proc");
}

fn is_kernel(task: &TaskFacts) -> bool {
    task.flags & task_flags::KERNEL_THREAD != 0
}

fn from_iterator(mut records: &[u8]) -> HashMap<u32, Found> {
    let mut found = HashMap::new();
    while !records.is_empty() {
        match record::decode_first(records) {
            Ok((Record::Task(fork), rest)) => {
                records = rest;
                let mut path = Vec::new();
                fork.cgroup.write(false, &mut path);
                let mut cgroup = String::new();
                fill(&mut cgroup, &path);
                let task = fork.fixed.task;
                if task.flags & task_flags::EXITED == 0 {
                    found.insert(task.key.pid, Found { task, cgroup });
                }
            }
            Ok((_, rest)) => records = rest,
            Err(error) => {
                warn!(%error, "the task iterator's output is broken; the rest is read from /proc");
                break;
            }
        }
    }
    found
}

/// Adds what /proc lists and the iterator did not give.
fn add_missing(found: &mut HashMap<u32, Found>, summary: &mut Summary) -> Result<(), ProcError> {
    // The children of a process know its exact start.
    let parents: HashMap<u32, ExecKey> =
        found.values().map(|found| (found.task.parent.pid, found.task.parent)).collect();
    let mut missing = Vec::new();
    for process in procfs::process::all_processes()?.flatten() {
        let Ok(pid) = u32::try_from(process.pid()) else { continue };
        if found.contains_key(&pid) {
            continue;
        }
        match proc::facts(&process) {
            Ok(Some((mut task, cgroup))) => {
                match parents.get(&pid) {
                    Some(key) => task.key = *key,
                    None => summary.inexact += 1,
                }
                missing.push(Found { task, cgroup });
            }
            Ok(None) => {}
            Err(error) => {
                debug!(pid, %error, "a process ended while it was read");
                summary.gone += 1;
            }
        }
    }
    found.extend(missing.into_iter().map(|found| (found.task.key.pid, found)));
    // What only /proc told knows its parent by number: the exact key is the parent's own.
    let keys: HashMap<u32, ExecKey> = found.iter().map(|(pid, found)| (*pid, found.task.key)).collect();
    for found in found.values_mut() {
        if let Some(key) = keys.get(&found.task.parent.pid)
            && found.task.parent.ktime == 0
        {
            found.task.parent = *key;
        }
    }
    Ok(())
}

impl Tracker {
    fn adopt(&mut self, found: &Found, texts: Option<&Texts>) {
        let task = &found.task;
        let parent: Option<ExecId> = previous_image(task.key).or(parent_of(task.parent));
        let mut flags = ProcessFlags::PROCFS;
        let (image, joined) = match texts {
            Some(texts) => {
                flags |= texts.flags;
                let joined = texts.joined.filter(|_| self.settings.rules.join_env);
                (self.image_of_texts(texts, &mut flags), joined)
            }
            None => (Arc::new(image_of_comm(&task.comm)), None),
        };
        let cgroup = self.cgroups.get(task.cgroup_id, &found.cgroup);
        self.insert(Sighting { task, began: task.key.start(), parent, flags, cgroup, image, joined });
    }

    fn image_of_texts(&mut self, texts: &Texts, flags: &mut ProcessFlags) -> Arc<Image> {
        let scratch = &mut self.scratch;
        let (args, left_out) = first_args(&texts.args, self.settings.max_args);
        flags.set(ProcessFlags::TRUNC_ARGS, left_out || flags.contains(ProcessFlags::TRUNC_ARGS));
        let escaped = [
            fill(&mut scratch.binary, &texts.binary),
            fill(&mut scratch.cwd, &texts.cwd),
            fill(&mut scratch.args, args),
            fill(&mut scratch.environment, &texts.environment),
        ];
        flags.set(ProcessFlags::ESCAPED_TEXT, escaped.contains(&true));
        let cut = flags.contains(ProcessFlags::TRUNC_ARGS);
        self.redactor.arguments(&scratch.binary, &mut scratch.args, cut);
        let cut = flags.contains(ProcessFlags::TRUNC_ENVS);
        self.redactor.environment(&scratch.binary, &mut scratch.environment, cut);
        let image = Image::new(&scratch.binary, "", &scratch.cwd, &scratch.args, texts.file);
        Arc::new(image.with_environment(&scratch.environment))
    }
}

/// The folder of a process under /proc.
fn folder(pid: u32) -> std::path::PathBuf {
    Path::new("/proc").join(pid.to_string())
}
