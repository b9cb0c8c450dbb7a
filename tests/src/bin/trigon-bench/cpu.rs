//! Cores and the time that processes spend on them.

use std::{collections::BTreeMap, fs, time::Duration};

use rustix::thread::{CpuSet, sched_setaffinity};

/// Who runs where, so that the loop that is measured and the agent don't take each other's core.
#[derive(Clone, Copy, Debug)]
pub enum Core {
    /// The loop that is measured.
    Loop,
    /// The agent, and the receiver while the loop is what is measured.
    Agent,
}

// === impl Core ===

impl Core {
    /// From now on this thread, and whatever it starts, runs on this core.
    pub fn pin(self) {
        let mut set = CpuSet::new();
        set.set(match self {
            Self::Loop => 0,
            Self::Agent => usize::from(cores() > 1),
        });
        // Where that is forbidden the figures are worse, and still true.
        if let Err(error) = sched_setaffinity(None, &set) {
            eprintln!("cannot choose a core: {error}");
        }
    }

    /// Starts something on this core and goes back to the loop's.
    pub fn start<T>(self, start: impl FnOnce() -> T) -> T {
        self.pin();
        let started = start();
        Self::Loop.pin();
        started
    }
}

/// Cores of the machine, whichever this thread may use.
fn cores() -> usize {
    fs::read_to_string("/proc/stat")
        .map(|text| text.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count())
        .unwrap_or(1)
}

/// CPU time of a process's living threads, as the scheduler measured it.
pub fn time_of(pid: u32) -> Duration {
    by_thread(pid).into_values().sum()
}

/// As [`time_of`], by the threads' names.
pub fn by_thread(pid: u32) -> BTreeMap<String, Duration> {
    let mut times = BTreeMap::new();
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("list the threads");
    let of_thread = |path: std::path::PathBuf| {
        let text = fs::read_to_string(path.join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    for path in tasks.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
        let time = Duration::from_nanos(of_thread(path).unwrap_or_default());
        *times.entry(name.trim().to_owned()).or_default() += time;
    }
    times
}

/// Resident memory of a process in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// All of it.
    pub rss: u64,
    /// What is the process's own.
    pub anonymous: u64,
    /// What the program's file backs.
    pub file: u64,
    /// What is shared, as the ring buffer is.
    pub shared: u64,
}

// === impl Memory ===

impl Memory {
    /// Of the process, now.
    pub fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("read the process's status");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.trim_matches([':', '\t', ' ']).split(' ').next()?.parse().ok())
                .unwrap_or(0)
        };
        Self {
            rss: field("VmRSS"),
            anonymous: field("RssAnon"),
            file: field("RssFile"),
            shared: field("RssShmem"),
        }
    }
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mib = |kib: u64| kib as f64 / 1024.0;
        let Self { rss, anonymous, file, shared } = *self;
        write!(
            f,
            "{:.1} MiB ({:.1} anonymous, {:.1} file, {:.1} shared)",
            mib(rss),
            mib(anonymous),
            mib(file),
            mib(shared)
        )
    }
}
