//! From records to events: who did it, who started them, and which trace it belongs to.

use std::{sync::Arc, time::Duration};

use trigon_exporters::{
    event::{Cgroup, Event, Exec, Image, Kind, Process, ProcessFlags, Replaced, Timestamp},
    identity::{ExecId, Trace},
};
use trigon_probes::record::{
    self, ExecKey, ExecRecord, ExitRecord, Fork, Record, ReleaseRecord, TaskFacts, flags, hook_flags,
    task_flags,
};

use crate::{
    enrich::Cgroups,
    kubernetes::pods::Pods,
    policy::{
        matches::{Source, Sources, hook_of},
        outbound::own_pid,
    },
    redact::{Redaction, Redactor},
    symbols::Symbols,
    text::{first_args, push_escaped, trim_cut},
};
use clock::Clock;
use descriptors::{Descriptors, OwnerEnd};
use facts::{
    credentials_of, exit_of, file_of, flags_of, id_of, image_of_comm, namespaces_of, parent_of,
    previous_image,
};
use state::Predecessor;
use table::{End, Entry, Table};
use trace::{Rules, Subject, parse_traceparent};

pub mod bootstrap;
pub mod clock;
mod descriptors;
mod facts;
mod mappings;
pub mod state;
pub mod table;
pub mod trace;

#[cfg(test)]
mod arbitrary_tests;
#[cfg(test)]
mod tests;

/// Keeps the process table and makes events of records.
#[derive(Debug)]
pub struct Tracker {
    table: Table,
    cgroups: Cgroups,
    clock: Clock,
    settings: Settings,
    counts: Counts,
    scratch: Scratch,
    /// Until when, on the boot clock, processes were read from /proc.
    adopted_until: u64,
    predecessor: Predecessor,
    sources: Sources,
    own_pid: Option<u32>,
    descriptors: Descriptors,
    symbols: Symbols,
    redactor: Redactor,
}

/// What the tracker is told to do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the node, part of every exec_id.
    pub node: String,
    /// How traces are cut.
    pub rules: Rules,
    /// As many arguments are kept.
    pub max_args: usize,
    /// Variables of the environment that are collected.
    pub variables: Vec<String>,
    /// As many executions are known at a time.
    pub capacity: usize,
    /// How long an execution that ended stays.
    pub linger: Duration,
    /// What is masked in events.
    pub redaction: Redaction,
    /// Stack traces tell addresses, too.
    pub expose_stack_addresses: bool,
}

/// What the tracker counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Texts that weren't UTF-8.
    pub escaped_texts: u64,
    /// Exits that the kernel told twice: two last threads that ended at the same moment.
    pub duplicate_exits: u64,
    /// Executions whose start was missed.
    pub missed_starts: u64,
    /// Records of hooks whose policy was gone.
    pub orphan_hooks: u64,
    /// Followed files that were forgotten while they were open: there were too many.
    pub forgotten_files: u64,
    /// Values that looked like secrets and were masked.
    pub redacted_values: u64,
    /// Executions that policies will have known and not told.
    pub untold_executions: u64,
}

/// Buffers that are used again for every record.
#[derive(Debug, Default)]
struct Scratch {
    bytes: Vec<u8>,
    binary: String,
    cwd: String,
    script: String,
    args: String,
    environment: String,
    cgroup: String,
}

/// What was found out about an execution that is about to enter the table.
struct Sighting<'a> {
    task: &'a TaskFacts,
    /// When the execution began, on the boot clock.
    began: u64,
    parent: Option<ExecId>,
    flags: ProcessFlags,
    cgroup: Arc<Cgroup>,
    image: Arc<Image>,
    joined: Option<trigon_exporters::identity::SpanRef>,
}

// === impl Tracker ===

impl Tracker {
    /// A tracker with an empty table.
    pub fn new(settings: Settings, clock: Clock) -> Self {
        let linger = u64::try_from(settings.linger.as_nanos()).unwrap_or(u64::MAX);
        let redactor = Redactor::new(settings.redaction.clone());
        let symbols = Symbols::new(settings.expose_stack_addresses);
        Self {
            table: Table::new(settings.capacity, linger),
            cgroups: Cgroups::default(),
            clock,
            settings,
            counts: Counts::default(),
            scratch: Scratch::default(),
            adopted_until: 0,
            predecessor: Predecessor::default(),
            sources: Sources::default(),
            own_pid: own_pid(),
            descriptors: Descriptors::default(),
            symbols,
            redactor,
        }
    }

    /// Changes what can change while it runs: how traces are cut, how many arguments are kept, what is redacted.
    pub fn change(&mut self, settings: Settings) {
        self.settings.rules.max_age_ns = settings.rules.max_age_ns;
        self.settings.max_args = settings.max_args;
        self.redactor.follow(settings.redaction.clone());
        self.settings.redaction = settings.redaction;
    }

    /// The cgroups that processes are in.
    pub fn cgroups(&self) -> &Cgroups {
        &self.cgroups
    }

    /// Changes what is known of pods.
    pub fn change_pods<T>(&mut self, change: impl FnOnce(&mut Pods) -> T) -> T {
        self.cgroups.change_pods(change)
    }

    /// The table, for those who ask how it is.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The clock by which it turns the kernel's times into times of day.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The hooks that records name, shared with whoever loads policies.
    pub fn sources(&self) -> Sources {
        self.sources.clone()
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        Counts {
            forgotten_files: self.descriptors.forgotten(),
            redacted_values: self.redactor.masked(),
            ..self.counts
        }
    }

    /// How many files are open that policies follow.
    pub fn followed_files(&self) -> usize {
        self.descriptors.len()
    }

    /// Does what is due with time: follows the clock and forgets what ended long ago. Returns now.
    pub fn tick(&mut self) -> Timestamp {
        let now = self.clock.tick();
        self.table.sweep(now);
        self.clock.at(now)
    }

    /// Takes one record in; `observed` is when it was read.
    pub fn take(&mut self, record: Record<'_>, observed: Timestamp) -> Option<Event> {
        match record {
            Record::Exec(exec) => self.exec(exec, observed),
            Record::Exit(exit) => self.exit(&exit, observed),
            Record::Fork(fork) => {
                self.fork(&fork);
                None
            }
            // They come from the iterator, which `bootstrap` reads.
            Record::Task(_) => None,
            // They are of no process: `Placements` takes them.
            Record::CgroupMade(_) | Record::CgroupGone(_) => None,
            Record::Hook(hook) => self.hook(&hook, observed),
            Record::Release(release) => self.release(&release, observed),
        }
    }

    /// Forgets what files told of symbols that nobody asks for any more.
    pub fn forget_symbols(&mut self) {
        self.symbols.keep_house();
    }

    fn exec(&mut self, exec: record::Exec<'_>, observed: Timestamp) -> Option<Event> {
        let fixed = &exec.fixed;
        let time = self.clock.at(fixed.header.time);
        let id = id_of(fixed.task.key);
        let (parent, replaced) = match previous_image(fixed.task.key) {
            Some(before) => (Some(before), Some(self.replaced(before, fixed))),
            // Whoever forked it is its parent, even if that one is gone and somebody else has taken over.
            None => {
                let forked = self.table.get(id).and_then(|entry| entry.process.parent_exec_id);
                (forked.or(parent_of(fixed.task.parent)), None)
            }
        };
        let (image, mut flags) = self.image_of(&exec);
        flags |= ProcessFlags::EXECVE;
        let untold = fixed.header.flags & flags::UNTOLD != 0;
        flags.set(ProcessFlags::UNTOLD, untold);
        let cgroup = self.cgroup(fixed.task.cgroup_id, exec.cgroup, None);
        let joined = parse_traceparent(exec.traceparent).filter(|_| self.settings.rules.join_env);
        let sighting =
            Sighting { task: &fixed.task, began: fixed.header.time, parent, flags, cgroup, image, joined };
        let process = self.insert(sighting);
        // What is not told has no end that is.
        let replaced = replaced.filter(|replaced| !replaced.process.flags.contains(ProcessFlags::UNTOLD));
        if untold {
            self.counts.untold_executions += 1;
            // What was only forked, to execute this, goes with it.
            let ended = replaced.filter(|replaced| !replaced.process.flags.contains(ProcessFlags::CLONE))?;
            let Replaced { process, parent } = ended;
            return Some(Event { time, observed, process, parent, kind: Kind::Replaced });
        }
        let kind = Kind::Exec(Exec { replaced, first_seen: false });
        Some(Event { time, observed, parent: self.parent(&process), process, kind })
    }

    /// Ends the image that an exec took over from.
    fn replaced(&mut self, before: ExecId, exec: &ExecRecord) -> Replaced {
        let known = self.table.get(before).map(|entry| Arc::clone(&entry.process));
        // What was read from /proc when the exec had come already were the texts of the new image.
        let known = known.filter(|process| {
            !process.flags.contains(ProcessFlags::PROCFS) || exec.header.time > self.adopted_until
        });
        let process = match known {
            Some(process) => process,
            None => {
                let parent = parent_of(exec.task.parent);
                self.missed(before, parent, exec.task.credentials.uid, exec.task.cgroup_id, &[])
            }
        };
        self.table.end(before, exec.header.time, End::Exec);
        Replaced { parent: self.parent(&process), process }
    }

    fn fork(&mut self, fork: &Fork<'_>) {
        let task = &fork.fixed.task;
        let parent = parent_of(task.parent);
        let parent_entry =
            parent.and_then(|id| self.table.get(id)).map(|entry| (entry.process.clone(), entry.joined));
        let (parent_process, joined) = parent_entry.unzip();
        let image = match &parent_process {
            Some(parent) => Arc::clone(&parent.image),
            None => Arc::new(image_of_comm(&task.comm)),
        };
        let cgroup = self.cgroup(task.cgroup_id, fork.cgroup, parent_process.as_deref());
        // Until it executes something of its own it is as its parent.
        let untold =
            parent_process.map_or(ProcessFlags::empty(), |parent| parent.flags & ProcessFlags::UNTOLD);
        self.insert(Sighting {
            task,
            began: fork.fixed.header.time,
            parent,
            flags: ProcessFlags::CLONE | untold,
            cgroup,
            image,
            joined: joined.flatten(),
        });
    }

    fn exit(&mut self, exit: &ExitRecord, observed: Timestamp) -> Option<Event> {
        let id = id_of(exit.key);
        let process = match self.table.get(id) {
            Some(entry) if entry.ended() => {
                self.counts.duplicate_exits += 1;
                return None;
            }
            Some(entry) => Arc::clone(&entry.process),
            None => {
                let parent = previous_image(exit.key).or(parent_of(exit.parent));
                self.missed(id, parent, exit.uid, exit.cgroup_id, &exit.comm)
            }
        };
        let end = exit_of(exit);
        self.table.end(id, exit.header.time, End::Exit { code: end.code, signal: end.signal });
        if process.flags.contains(ProcessFlags::UNTOLD) {
            return None;
        }
        let time = self.clock.at(exit.header.time);
        Some(Event { time, observed, parent: self.parent(&process), process, kind: Kind::Exit(end) })
    }

    fn hook(&mut self, record: &record::Hook<'_>, observed: Timestamp) -> Option<Event> {
        // A policy that was deleted a moment ago may have records on their way still.
        let Some(source) = self.sources.get(record.fixed.policy_hook) else {
            self.counts.orphan_hooks += 1;
            return None;
        };
        let Source { hook: source, calls_out } = source;
        if let Some(calls) = calls_out {
            let own = self.own_pid.is_some_and(|pid| pid == record.fixed.key.pid);
            if !calls.matched(record.fixed.selector, own) {
                return None;
            }
        }
        let id = id_of(record.fixed.key);
        let process = match self.table.get(id) {
            Some(entry) => Arc::clone(&entry.process),
            None => {
                let process = self.missed(id, previous_image(record.fixed.key), 0, 0, &[]);
                // A socket may outlive who tracked it: no end will be told.
                if record.fixed.hook_flags & hook_flags::OWNER_GONE != 0 {
                    self.table.end(id, record.fixed.header.time, End::Exit { code: 0, signal: 0 });
                }
                process
            }
        };
        let time = self.clock.at(record.fixed.header.time);
        let mut hook = hook_of(record, source);
        hook.stacks = self.symbols.stacks(record, &process);
        let node = &self.settings.node;
        hook.descriptor = self.descriptors.observe(record, &hook, &process, node, &self.clock);
        self.redactor.hook(&mut hook);
        let kind = Kind::Hook(hook);
        Some(Event { time, observed, parent: self.parent(&process), process, kind })
    }

    fn release(&mut self, record: &ReleaseRecord, observed: Timestamp) -> Option<Event> {
        let table = &self.table;
        let owner_end = |owner: &Process| {
            let id = owner.exec_id;
            let at = table.get(id)?.ended_at()?;
            let next = ExecId { ktime: id.ktime + 1, ..id };
            Some(OwnerEnd { at, by_exec: table.get(next).is_some() })
        };
        let (process, descriptor) = self.descriptors.release(record, &self.clock, owner_end)?;
        let time = descriptor.closed;
        let kind = Kind::Descriptor(Box::new(descriptor));
        Some(Event { time, observed, parent: self.parent(&process), process, kind })
    }

    /// Enters an execution of which only this much is known.
    fn missed(
        &mut self,
        id: ExecId,
        parent: Option<ExecId>,
        uid: u32,
        cgroup_id: u64,
        comm: &[u8],
    ) -> Arc<Process> {
        self.counts.missed_starts += 1;
        let key = ExecKey { ktime: id.ktime, pid: id.pid, image: 0 };
        let mut task = TaskFacts { key, tid: id.pid, ..TaskFacts::default() };
        task.credentials.uid = uid;
        task.credentials.euid = uid;
        task.credentials.auid = u32::MAX;
        task.parent_pid = parent.map_or(0, |parent| parent.pid);
        let parent_process = parent.and_then(|id| self.table.get(id)).map(|entry| Arc::clone(&entry.process));
        let cgroup = self.cgroup(cgroup_id, record::LeafFirst::default(), parent_process.as_deref());
        let image = Arc::new(image_of_comm(comm));
        let flags = ProcessFlags::MISS;
        self.insert(Sighting { task: &task, began: id.ktime, parent, flags, cgroup, image, joined: None })
    }

    fn insert(&mut self, sighting: Sighting<'_>) -> Arc<Process> {
        let Sighting { task, began, parent, mut flags, cgroup, image, joined } = sighting;
        let id = id_of(task.key);
        let kept = self.predecessor.take(id);
        let parent = kept.map_or(parent, |kept| kept.parent);
        let joined = kept.map_or(joined, |kept| kept.joined);
        let subject = Subject { id, leads_session: task.session == id.pid, cgroup: &cgroup, began, joined };
        let above = parent.and_then(|id| self.table.get(id));
        let (trace, trace_began) = match kept {
            Some(kept) => (kept.trace, kept.trace_began),
            None => trace::place(self.settings.rules, &self.settings.node, subject, above),
        };
        // Below what is not told stands what is above it: a span that nobody sends would be no parent.
        let untold =
            above.map(|above| &above.process).filter(|above| above.flags.contains(ProcessFlags::UNTOLD));
        let trace = match untold {
            Some(above) if trace.parent == Some(above.trace.span) => {
                Trace { parent: above.trace.parent, ..trace }
            }
            _ => trace,
        };
        flags.set(ProcessFlags::KERNEL_THREAD, task.flags & task_flags::KERNEL_THREAD != 0);
        flags.set(ProcessFlags::TTY, task.flags & task_flags::TTY != 0);
        flags.set(ProcessFlags::ROOT_CWD, image.cwd() == "/");
        let process = Arc::new(Process {
            exec_id: id,
            parent_exec_id: parent,
            trace,
            start: kept.map_or_else(|| self.clock.at(began), |kept| kept.start()),
            parent_pid: if task.key.image > 0 { id.pid } else { parent.map_or(0, |parent| parent.pid) },
            tid: task.tid,
            vpid: task.vpid,
            session: task.session,
            group: task.group,
            auid: task.credentials.auid,
            flags,
            credentials: credentials_of(task),
            namespaces: namespaces_of(task),
            cgroup,
            image,
        });
        self.table.insert(Entry::new(Arc::clone(&process), trace_began, joined), began);
        process
    }

    fn parent(&self, process: &Process) -> Option<Arc<Process>> {
        process.parent_exec_id.and_then(|id| self.table.get(id)).map(|entry| Arc::clone(&entry.process))
    }

    /// The cgroup of a record; where the record has no path it may be the parent's.
    fn cgroup(&mut self, id: u64, path: record::LeafFirst<'_>, parent: Option<&Process>) -> Arc<Cgroup> {
        if let Some(parent) = parent
            && parent.cgroup.id == id
            && path.0.is_empty()
        {
            return Arc::clone(&parent.cgroup);
        }
        let scratch = &mut self.scratch;
        scratch.bytes.clear();
        path.write(false, &mut scratch.bytes);
        fill(&mut scratch.cgroup, &scratch.bytes);
        self.cgroups.get(id, &scratch.cgroup)
    }

    fn image_of(&mut self, exec: &record::Exec<'_>) -> (Arc<Image>, ProcessFlags) {
        let scratch = &mut self.scratch;
        let mut escaped = false;
        for (path, out) in [(exec.binary, &mut scratch.binary), (exec.cwd, &mut scratch.cwd)] {
            scratch.bytes.clear();
            path.write(true, &mut scratch.bytes);
            escaped |= fill(out, &scratch.bytes);
        }
        scratch.bytes.clear();
        if !exec.script.is_empty() {
            // The kernel kept what exec was given: what is relative is so to the working directory.
            if !exec.script.starts_with(b"/") {
                exec.cwd.write(true, &mut scratch.bytes);
                if !scratch.bytes.ends_with(b"/") {
                    scratch.bytes.push(b'/');
                }
            }
            scratch.bytes.extend_from_slice(exec.script.strip_prefix(b"./").unwrap_or(exec.script));
        }
        escaped |= fill(&mut scratch.script, &scratch.bytes);

        let cut = exec.fixed.header.flags & flags::TRUNC_ARGS != 0;
        let (args, left_out) = first_args(trim_cut(exec.args, cut), self.settings.max_args);
        escaped |= fill(&mut scratch.args, args);
        self.redactor.arguments(&scratch.binary, &mut scratch.args, cut);
        let cut_environment = exec.fixed.header.flags & flags::TRUNC_ENVS != 0;
        escaped |= fill(&mut scratch.environment, exec.environment);
        self.redactor.environment(&scratch.binary, &mut scratch.environment, cut_environment);
        if escaped {
            self.counts.escaped_texts += 1;
        }

        let mut found = flags_of(exec.fixed.header.flags);
        found.set(ProcessFlags::TRUNC_ARGS, cut || left_out);
        found.set(ProcessFlags::ESCAPED_TEXT, escaped);
        let file = Some(file_of(&exec.fixed));
        let image = Image::new(&scratch.binary, &scratch.script, &scratch.cwd, &scratch.args, file);
        (Arc::new(image.with_environment(&scratch.environment)), found)
    }
}

/// Puts text in place of what `out` held; returns whether anything had to be escaped.
fn fill(out: &mut String, bytes: &[u8]) -> bool {
    out.clear();
    push_escaped(bytes, out)
}
