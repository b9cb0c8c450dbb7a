use trigon_exporters::{
    event::{EventType, Gains},
    identity::{SpanRef, TraceId},
};
use trigon_probes::record::{Exec as ExecOf, ForkRecord, Header, HookRecord, LeafFirst, decode};
use zerocopy::IntoBytes as _;

use super::{
    facts::{cpu_time, gains_of},
    *,
};

pub(super) const NODE: &str = "node";
const DAY: u64 = 24 * 3600 * 1_000_000_000;
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const CONTAINER: &[u8] =
    b"cri-containerd-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope\0kubepods.slice\0";

/// Feeds a tracker with what a kernel would say.
pub(super) struct Kernel {
    pub(super) tracker: Tracker,
    pub(super) now: u64,
}

/// A process in the test: pid and start.
#[derive(Clone, Copy)]
pub(super) struct Proc(pub(super) u32, pub(super) u64);

/// What an exec says beside who it is.
#[derive(Clone, Copy, Default)]
pub(super) struct Given<'a> {
    pub(super) image: u32,
    pub(super) session: u32,
    pub(super) cgroup: (u64, &'a [u8]),
    pub(super) traceparent: &'a str,
    pub(super) script: &'a [u8],
    pub(super) args: &'a [u8],
    pub(super) environment: &'a [u8],
    pub(super) flags: u16,
    pub(super) real_parent: Option<Proc>,
}

impl Kernel {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings {
            node: NODE.to_owned(),
            rules: Rules { join_env: true, max_age_ns: DAY },
            max_args: 4,
            capacity: 100,
            linger: Duration::from_secs(1),
            variables: Vec::new(),
            redaction: Redaction::default(),
            expose_stack_addresses: false,
        };
        change(&mut settings);
        Self { tracker: Tracker::new(settings, Clock::fixed(Timestamp(1_000_000))), now: 1_000 }
    }

    pub(super) fn fork(&mut self, parent: Proc, pid: u32) -> Proc {
        self.now += 10;
        let child = Proc(pid, self.now);
        let mut fixed = ForkRecord::default();
        fixed.header.time = self.now;
        fixed.task = facts(child, 0, parent);
        let taken = self.tracker.take(Record::Fork(Fork { fixed, cgroup: LeafFirst(b"") }), Timestamp(0));
        assert!(taken.is_none());
        child
    }

    pub(super) fn exec(&mut self, process: Proc, parent: Proc, given: Given<'_>) -> Event {
        self.try_exec(process, parent, given).unwrap()
    }

    /// An exec that may not be told.
    fn try_exec(&mut self, process: Proc, parent: Proc, given: Given<'_>) -> Option<Event> {
        self.now += 10;
        let mut fixed = ExecRecord::default();
        fixed.header.time = self.now;
        fixed.header.flags = given.flags;
        fixed.task = facts(process, given.image, given.real_parent.unwrap_or(parent));
        fixed.task.session = given.session;
        fixed.task.cgroup_id = given.cgroup.0;
        fixed.links = 1;
        let exec = ExecOf {
            fixed,
            binary: LeafFirst(b"tool\0bin\0usr\0"),
            cwd: LeafFirst(b"work\0"),
            cgroup: LeafFirst(given.cgroup.1),
            script: given.script,
            traceparent: given.traceparent.as_bytes(),
            args: given.args,
            environment: given.environment,
        };
        self.tracker.take(Record::Exec(exec), Timestamp(0))
    }

    /// A child that is forked and executes something.
    pub(super) fn spawn(&mut self, parent: Proc, pid: u32, given: Given<'_>) -> (Proc, Event) {
        let child = self.fork(parent, pid);
        let event = self.exec(child, parent, given);
        (child, event)
    }

    pub(super) fn exit(&mut self, process: Proc, image: u32, code: u32) -> Option<Event> {
        self.now += 10;
        let mut record = ExitRecord { code, tid: process.0, ..ExitRecord::default() };
        record.header.time = self.now;
        record.key = key(process, image);
        record.comm[..4].copy_from_slice(b"comm");
        self.tracker.take(Record::Exit(record), Timestamp(0))
    }
}

pub(super) fn key(process: Proc, image: u32) -> ExecKey {
    ExecKey { ktime: process.1 + u64::from(image), pid: process.0, image }
}

fn facts(process: Proc, image: u32, parent: Proc) -> TaskFacts {
    TaskFacts { key: key(process, image), parent: key(parent, 0), tid: process.0, ..TaskFacts::default() }
}

pub(super) fn id(process: Proc, image: u32) -> ExecId {
    id_of(key(process, image))
}

pub(super) const ROOT: Proc = Proc(50, 500);

fn spans_of(event: &Event) -> (TraceId, Option<trigon_exporters::identity::SpanId>) {
    (event.process.trace.id, event.process.trace.parent)
}

#[test]
fn an_execution_that_is_not_told_is_known() {
    let untold = |image| Given { image, flags: flags::UNTOLD, ..Given::default() };
    let mut kernel = Kernel::new();
    let (shell, shell_event) = kernel.spawn(ROOT, 60, Given::default());
    // Neither its start nor its end, nor the end of what it forks before that executes something.
    let probe = kernel.fork(shell, 61);
    assert!(kernel.try_exec(probe, shell, untold(0)).is_none());
    let forked = kernel.fork(probe, 62);
    assert!(kernel.exit(forked, 0, 0).is_none());
    // What it starts has it as parent, and the span above it as its own.
    let (_, child) = kernel.spawn(probe, 63, Given::default());
    assert_eq!(child.process.parent_exec_id, Some(id(probe, 0)));
    assert_eq!(child.parent.as_ref().map(|parent| parent.exec_id), Some(id(probe, 0)));
    assert_eq!(spans_of(&child), (shell_event.process.trace.id, Some(shell_event.process.trace.span)));
    assert!(kernel.exit(probe, 0, 0).is_none());
    assert_eq!(kernel.tracker.counts().untold_executions, 1);
    // One that takes over a process ends what was told of it, and only that.
    let ended = kernel.try_exec(shell, ROOT, untold(1)).unwrap();
    assert!(matches!(ended.kind, Kind::Replaced), "{ended:?}");
    assert_eq!(ended.process.exec_id, id(shell, 0));
    let back = kernel.exec(shell, ROOT, Given { image: 2, ..Given::default() });
    let Kind::Exec(Exec { replaced: None, .. }) = back.kind else { panic!("{back:?}") };
    assert_eq!(back.process.trace.parent, Some(shell_event.process.trace.span));
    assert!(kernel.exit(shell, 2, 0).is_some());
}

#[test]
fn a_child_is_its_parents_and_in_its_trace() {
    let mut kernel = Kernel::new();
    let (shell, first) = kernel.spawn(ROOT, 100, Given { session: 100, ..Given::default() });
    let (_, second) = kernel.spawn(shell, 101, Given { session: 100, ..Given::default() });
    assert_eq!(second.process.parent_exec_id, Some(id(shell, 0)));
    assert_eq!(second.parent.unwrap().exec_id, id(shell, 0));
    assert_eq!(first.process.trace.id, id(shell, 0).trace_id(NODE));
    assert_eq!(second.process.trace.id, first.process.trace.id);
    assert_eq!(second.process.trace.parent, Some(id(shell, 0).span_id(NODE)));
    assert_eq!(second.process.image.binary(), "/usr/bin/tool");
    assert_eq!(second.process.image.cwd(), "/work");
    assert_eq!(second.process.start, Timestamp(1_000_000 + kernel.now));
}

#[test]
fn exec_over_exec_ends_one_execution_and_begins_the_next() {
    let mut kernel = Kernel::new();
    let (process, first) = kernel.spawn(ROOT, 100, Given::default());
    let second = kernel.exec(process, ROOT, Given { image: 1, ..Given::default() });
    assert_eq!(second.process.parent_exec_id, Some(first.process.exec_id));
    assert_eq!(second.process.parent_pid, 100);
    assert_ne!(second.process.exec_id, first.process.exec_id);
    let Kind::Exec(Exec { replaced: Some(replaced), .. }) = second.kind else {
        panic!("nothing was replaced")
    };
    assert!(Arc::ptr_eq(&replaced.process, &first.process));
    assert_eq!(second.process.trace.parent, Some(first.process.trace.span));
    let exit = kernel.exit(process, 1, 0).unwrap();
    assert_eq!(exit.process.exec_id, second.process.exec_id);
}

/// The parent is gone and another has taken the child over before the child executes anything.
#[test]
fn who_forked_stays_the_parent() {
    let mut kernel = Kernel::new();
    let (parent, _) = kernel.spawn(ROOT, 100, Given::default());
    let child = kernel.fork(parent, 101);
    kernel.exit(parent, 0, 0).unwrap();
    let event = kernel.exec(child, parent, Given { real_parent: Some(Proc(1, 1)), ..Given::default() });
    assert_eq!(event.process.parent_exec_id, Some(id(parent, 0)));
    assert!(event.parent.is_some(), "a parent that ended stays while its child lives");
}

#[test]
fn a_double_fork_keeps_its_chain() {
    let mut kernel = Kernel::new();
    let (daemon, _) = kernel.spawn(ROOT, 100, Given::default());
    let middle = kernel.fork(daemon, 101);
    let last = kernel.fork(middle, 102);
    let ended = kernel.exit(middle, 0, 0).unwrap();
    assert!(ended.process.flags.contains(ProcessFlags::CLONE));
    assert_eq!(ended.process.image.binary(), "/usr/bin/tool", "it ran its parent's image");
    let event = kernel.exec(last, middle, Given { real_parent: Some(Proc(1, 1)), ..Given::default() });
    assert_eq!(event.process.parent_exec_id, Some(id(middle, 0)));
    assert_eq!(event.process.trace.id, ended.process.trace.id);
}

#[test]
fn a_pid_that_is_used_again_is_another_process() {
    let mut kernel = Kernel::new();
    let (first, before) = kernel.spawn(ROOT, 100, Given::default());
    kernel.exit(first, 0, 0).unwrap();
    let (second, after) = kernel.spawn(ROOT, 100, Given::default());
    assert_ne!(before.process.exec_id, after.process.exec_id);
    // An exit that comes late belongs to who it says.
    assert!(kernel.exit(first, 0, 0).is_none());
    assert_eq!(kernel.tracker.counts().duplicate_exits, 1);
    assert_eq!(kernel.exit(second, 0, 0).unwrap().process.exec_id, after.process.exec_id);
}

#[test]
fn an_exit_whose_start_was_missed_is_told_with_what_is_known() {
    let mut kernel = Kernel::new();
    let exit = kernel.exit(Proc(77, 700), 0, 0x8b).unwrap();
    assert!(exit.process.flags.contains(ProcessFlags::MISS));
    assert_eq!(exit.process.image.name(), "comm");
    let Kind::Exit(how) = exit.kind else { panic!("no exit") };
    assert_eq!((how.code, how.signal, how.core_dumped), (0, 11, true));
    assert_eq!(kernel.tracker.counts().missed_starts, 1);
    // So is an image whose exec was lost.
    let (process, _) = kernel.spawn(ROOT, 100, Given::default());
    let event = kernel.exec(process, ROOT, Given { image: 3, ..Given::default() });
    let Kind::Exec(Exec { replaced: Some(replaced), .. }) = event.kind else {
        panic!("nothing was replaced")
    };
    assert_eq!(replaced.process.exec_id, id(process, 2));
    assert!(replaced.process.flags.contains(ProcessFlags::MISS));
}

#[test]
fn entering_a_container_begins_a_trace_with_a_link_back() {
    let mut kernel = Kernel::new();
    let (shim, outside) =
        kernel.spawn(ROOT, 100, Given { cgroup: (5, b"system.slice\0"), ..Given::default() });
    let inside = Given { cgroup: (6, CONTAINER), ..Given::default() };
    let (shell, entered) = kernel.spawn(shim, 101, inside);
    assert_eq!(spans_of(&entered), (id(shell, 0).trace_id(NODE), None));
    let link = SpanRef { trace: outside.process.trace.id, span: outside.process.trace.span };
    assert_eq!(entered.process.trace.link, Some(link));
    assert_eq!(entered.process.container().unwrap().runtime, Some("containerd"));
    let (_, child) = kernel.spawn(shell, 102, inside);
    assert_eq!(spans_of(&child), (entered.process.trace.id, Some(entered.process.trace.span)));
}

#[test]
fn an_old_trace_is_left_behind() {
    let mut kernel = Kernel::new();
    let (server, old) = kernel.spawn(ROOT, 100, Given::default());
    kernel.now += DAY;
    let (worker, new) = kernel.spawn(server, 101, Given::default());
    assert_eq!(new.process.trace.id, id(worker, 0).trace_id(NODE));
    assert_eq!(new.process.trace.link.unwrap().span, old.process.trace.span);
    let mut kernel = Kernel::with(|settings| settings.rules.max_age_ns = 0);
    let (server, old) = kernel.spawn(ROOT, 100, Given::default());
    kernel.now += 400 * DAY;
    let (_, new) = kernel.spawn(server, 101, Given::default());
    assert_eq!(new.process.trace.id, old.process.trace.id);
}

/// The first process that carries a TRACEPARENT is the outer span's child; what inherits the variable is its own
/// parent's child, as everything else is.
#[test]
fn a_trace_in_the_environment_is_joined_once() {
    let mut kernel = Kernel::new();
    let given = Given { traceparent: TRACEPARENT, session: 100, ..Given::default() };
    let (build, joined) = kernel.spawn(ROOT, 100, given);
    assert_eq!(joined.process.trace.id.to_string(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(joined.process.trace.parent.unwrap().to_string(), "b7ad6b7169203331");
    let (_, step) = kernel.spawn(build, 101, Given { session: 100, ..given });
    assert_eq!(spans_of(&step), (joined.process.trace.id, Some(joined.process.trace.span)));
    let forked = kernel.fork(build, 102);
    let (_, grandchild) = kernel.spawn(forked, 103, Given { session: 100, ..given });
    assert_eq!(grandchild.process.trace.parent, Some(id(forked, 0).span_id(NODE)));

    let mut kernel = Kernel::with(|settings| settings.rules.join_env = false);
    let (process, alone) = kernel.spawn(ROOT, 100, given);
    assert_eq!(alone.process.trace.id, id(process, 0).trace_id(NODE));
}

#[test]
fn a_traceparent_that_is_not_valid_changes_nothing() {
    let mut kernel = Kernel::new();
    let (parent, above) = kernel.spawn(ROOT, 100, Given::default());
    let (_, child) = kernel.spawn(parent, 101, Given { traceparent: "00-zz-zz-01", ..Given::default() });
    assert_eq!(spans_of(&child), (above.process.trace.id, Some(above.process.trace.span)));
}

#[test]
fn a_script_has_its_full_path() {
    let mut kernel = Kernel::new();
    let (_, event) = kernel.spawn(ROOT, 100, Given { script: b"./run.sh", ..Given::default() });
    assert_eq!(event.process.image.script(), Some("/work/run.sh"));
    let (_, event) = kernel.spawn(ROOT, 101, Given { script: b"/opt/run.sh", ..Given::default() });
    assert_eq!(event.process.image.script(), Some("/opt/run.sh"));
}

#[test]
fn arguments_are_cut_and_marked() {
    let mut kernel = Kernel::new();
    let (_, event) = kernel.spawn(ROOT, 100, Given { args: b"a\0b\0c\0d\0e\0", ..Given::default() });
    assert_eq!(event.process.image.args().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    assert!(event.process.flags.contains(ProcessFlags::TRUNC_ARGS));
    let cut = Given { args: b"a\0caf\xc3", flags: flags::TRUNC_ARGS, ..Given::default() };
    let (_, event) = kernel.spawn(ROOT, 101, cut);
    assert_eq!(event.process.image.args().collect::<Vec<_>>(), ["a", "caf"]);
    assert!(event.process.flags.contains(ProcessFlags::TRUNC_ARGS));
    assert!(!event.process.flags.contains(ProcessFlags::ESCAPED_TEXT));
    let (_, event) = kernel.spawn(ROOT, 102, Given { args: b"a\0\xff\xfe\0", ..Given::default() });
    assert_eq!(event.process.image.args().collect::<Vec<_>>(), ["a", "\\xff\\xfe"]);
    assert_eq!(kernel.tracker.counts().escaped_texts, 1);
}

#[test]
fn secrets_are_masked_in_arguments_and_variables() {
    let mut kernel = Kernel::new();
    let environment = b"LANG=C\0DB_PASSWORD=hunter2\0";
    let given = Given { args: b"tool\0--token=hunter2\0", environment, ..Given::default() };
    let (process, event) = kernel.spawn(ROOT, 100, given);
    assert_eq!(event.process.image.args().collect::<Vec<_>>(), ["tool", "--token=*****"]);
    let variables: Vec<_> = event.process.image.environment().collect();
    assert_eq!(variables, [("LANG", "C"), ("DB_PASSWORD", "*****")]);
    assert_eq!(kernel.tracker.counts().redacted_values, 2);
    let exit = kernel.exit(process, 0, 0).unwrap();
    assert!(Arc::ptr_eq(&exit.process.image, &event.process.image));
}

#[test]
fn cpu_time_is_what_the_scheduler_measured() {
    let times = |user_time, system_time, run_time| {
        cpu_time(&ExitRecord { user_time, system_time, run_time, ..ExitRecord::default() })
    };
    assert_eq!(times(0, 0, 700), (700, 0));
    assert_eq!(times(4_000_000, 0, 700), (700, 0));
    assert_eq!(times(0, 4_000_000, 700), (0, 700));
    assert_eq!(times(1_000, 3_000, 800), (200, 600));
    assert_eq!(times(u64::MAX, u64::MAX, u64::MAX).0, u64::MAX - u64::MAX / 2);
}

#[test]
fn gains_are_read_off_the_facts() {
    let of = |mode, file: (u32, u32), change: fn(&mut record::TaskCredentials)| {
        let mut record = ExecRecord { mode, file_uid: file.0, file_gid: file.1, ..ExecRecord::default() };
        (record.task.credentials.uid, record.task.credentials.euid) = (1000, 1000);
        (record.task.credentials.gid, record.task.credentials.egid) = (1000, 1000);
        change(&mut record.task.credentials);
        gains_of(&record)
    };
    assert_eq!(of(0o104_755, (0, 0), |who| (who.euid, who.permitted) = (0, u64::MAX)), Gains::SETUID);
    // A mount without set-uid: the file has the bit, the process gained nothing.
    assert_eq!(of(0o104_755, (0, 0), |_| ()), Gains::empty());
    assert_eq!(of(0o102_755, (0, 42), |who| who.egid = 42), Gains::SETGID);
    assert_eq!(of(0o100_755, (0, 0), |who| who.permitted = 1 << 13), Gains::FILE_CAPS);
    assert_eq!(of(0o100_755, (0, 0), |who| (who.permitted, who.ambient) = (1, 1)), Gains::empty());
}

#[test]
fn what_is_counted_has_its_types() {
    let mut kernel = Kernel::new();
    let (process, exec) = kernel.spawn(ROOT, 100, Given::default());
    assert_eq!(exec.event_type(), EventType::ProcessExec);
    assert_eq!(kernel.exit(process, 0, 0x300).unwrap().event_type(), EventType::ProcessExit);
}

/// A hook's record that is told of a socket's owner.
fn of_owner(kernel: &mut Kernel, owner: Proc, gone: u8) -> Event {
    kernel.now += 10;
    let mut record = HookRecord { key: key(owner, 0), policy_hook: 1, ..HookRecord::default() };
    record.header = Header { kind: 5, flags: 0, length: size_of::<HookRecord>() as u32, time: kernel.now };
    record.hook_flags = hook_flags::OWNER | gone;
    kernel.tracker.take(decode(record.as_bytes()).unwrap(), Timestamp(0)).unwrap()
}

#[test]
fn a_sockets_owner_may_be_gone() {
    let mut kernel = Kernel::new();
    descriptors::tests::learn(&kernel.tracker);
    let (owner, _) = kernel.spawn(ROOT, 100, Given::default());
    let told = of_owner(&mut kernel, owner, 0);
    assert_eq!(told.process.exec_id, id(owner, 0));
    assert!(matches!(told.kind, Kind::Hook(hook) if hook.socket_owner));
    // One that is known still, and one that was forgotten: of neither another end will be told.
    kernel.exit(owner, 0, 0).unwrap();
    assert_eq!(of_owner(&mut kernel, owner, hook_flags::OWNER_GONE).process.exec_id, id(owner, 0));
    let forgotten = Proc(101, 700);
    of_owner(&mut kernel, forgotten, hook_flags::OWNER_GONE);
    assert!(kernel.tracker.table().get(id(forgotten, 0)).unwrap().ended());
    // One that lives and is not known was missed: its end will be told.
    let missed = Proc(102, 800);
    of_owner(&mut kernel, missed, 0);
    assert!(kernel.exit(missed, 0, 0).is_some());
}
