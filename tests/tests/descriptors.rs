//! Followed descriptors: one span each, from open to close, whatever becomes of the descriptor meanwhile.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{IoSlice, IoSliceMut, Read as _, Seek as _, Write as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    thread,
};

use rustix::{
    io::dup2,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, recvmsg, sendmsg,
    },
};
use tempfile::TempDir;
use trigon_probes::{
    hooks::{
        Choice, Hooks, SWEEP_PERIOD, TablePlan, Target,
        plan::{Mask, PostArg, Selector, Table, ValueSpec, selector_flags, value_type},
    },
    lifecycle::{self, Kernel, Lifecycle, Options},
    record::{Record, decode, release_reason},
};
use trigon_tests::{
    agent::Running,
    otlp::{Attributes as _, Log, Protocol, Receiver, Span},
    policies::FOLLOW,
    rig,
    suite::{self, Need},
    wait,
    workload::Workload,
};

const KERNEL: &[Need] = &[Need::Kernel];

/// A policy may say what becomes of copies; an open file that is followed needs no telling.
const COPY: &str = "
  - call: sys_dup2
    syscall: true
    args:
    - {index: 0, type: int}
    - {index: 1, type: int}
    selectors:
    - matchActions:
      - {action: CopyFD, argFd: 0, argName: 1}
";

/// An agent that follows the files of a folder, and one file there.
struct Rig {
    _folder: TempDir,
    file: PathBuf,
    receiver: Receiver,
    agent: Running,
}

/// What went through a file, and how it ended.
#[derive(Debug, PartialEq)]
struct Access<'a> {
    reads: i64,
    bytes_read: i64,
    writes: i64,
    bytes_written: i64,
    end: &'a str,
}

fn main() -> ExitCode {
    suite::run(|suite| {
        for (name, test) in [
            ("a_followed_file_is_a_span", a_followed_file_is_a_span as fn()),
            ("a_copy_is_the_same_span", a_copy_is_the_same_span),
            ("a_copy_by_dup2_needs_no_telling", a_copy_by_dup2_needs_no_telling),
            ("who_closes_and_opens_again_has_two_spans", who_closes_and_opens_again_has_two_spans),
            ("a_shell_closes_by_dup2_and_opens_again", a_shell_closes_by_dup2_and_opens_again),
            ("a_child_reads_and_holds_on", a_child_reads_and_holds_on),
            ("the_next_image_reads_on", the_next_image_reads_on),
            ("close_on_exec_ends_it", close_on_exec_ends_it),
            ("the_end_of_a_process_ends_it", the_end_of_a_process_ends_it),
            ("dup2_over_it_ends_it", dup2_over_it_ends_it),
            ("a_message_carries_it", a_message_carries_it),
            ("who_never_closes_fills_nothing", who_never_closes_fills_nothing),
            ("a_policy_that_goes_lets_go", a_policy_that_goes_lets_go),
        ] {
            suite.test(name, KERNEL, test);
        }
    })
}

// === impl Rig ===

impl Rig {
    fn new() -> Self {
        Self::with(FOLLOW)
    }

    fn with(policy: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("trigon-files-").tempdir().expect("make a folder");
        let (file, yaml) = (folder.path().join("held"), folder.path().join("policy.yaml"));
        fs::write(&file, "0123456789").expect("write a file");
        let policy = policy.replace("FOLDER", folder.path().to_str().expect("a plain path"));
        fs::write(&yaml, policy.replace("PIDS", "")).expect("write the policy");
        let receiver = Receiver::open();
        let agent = rig::Rig::agent(&receiver, Protocol::Grpc, "");
        let agent = agent.argument("--policy").argument(yaml.to_str().expect("a plain path")).start();
        Self { _folder: folder, file, receiver, agent }
    }

    fn open(&self) -> File {
        File::options().read(true).write(true).open(&self.file).expect("open the file")
    }

    /// Waits for so many spans of the file.
    fn until_spans(&self, count: usize) {
        let what = format!("{count} spans of {}", self.file.display());
        self.receiver.until(&what, |received| {
            (received.spans.iter().filter(|span| self.is_access(span)).count() >= count).then_some(())
        });
    }

    /// Waits for so many spans of the file and stops the agent: there must be no more, and nothing lost. Returns the
    /// spans in the order of their starts, and the log records of the file.
    fn finish(self, count: usize) -> (Vec<Span>, Vec<Log>) {
        self.until_spans(count);
        self.agent.until_metrics("no followed file", |metrics| {
            (metrics.sum("trigon_followed_files", &[]) == 0.0).then_some(())
        });
        let metrics = self.agent.metrics();
        let lost = metrics.labels("trigon_lost_events_total", &[("stage", "kernel")]);
        assert!(lost.is_empty(), "lost: {lost:?}");
        let received = self.receiver.received();
        let ours = |log: &Log| log.text("file.path").is_some_and(|path| Path::new(path) == self.file);
        let mut spans: Vec<_> = received.spans.iter().filter(|span| self.is_access(span)).cloned().collect();
        assert_eq!(spans.len(), count, "{spans:?}");
        spans.sort_by_key(|span| span.record.start_time_unix_nano);
        (spans, received.logs.into_iter().filter(ours).collect())
    }

    fn is_access(&self, span: &Span) -> bool {
        span.record.name == "file.access"
            && span.text("file.path").is_some_and(|path| Path::new(path) == self.file)
    }
}

fn access(span: &Span) -> Access<'_> {
    let number = |key| span.int(key).expect("a number");
    Access {
        reads: number("trigon.file.reads"),
        bytes_read: number("trigon.file.bytes_read"),
        writes: number("trigon.file.writes"),
        bytes_written: number("trigon.file.bytes_written"),
        end: span.text("trigon.descriptor.end").expect("how it ended"),
    }
}

fn read(reads: i64, bytes_read: i64, end: &str) -> Access<'_> {
    Access { reads, bytes_read, writes: 0, bytes_written: 0, end }
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every record about the file names its one span.
fn check_records(span: &Span, logs: &[Log]) {
    let id = hex(&span.record.span_id);
    for log in logs {
        assert_eq!(log.text("trigon.descriptor.span_id"), Some(id.as_str()), "{log:?}");
    }
}

fn log<'a>(logs: &'a [Log], name: &str) -> &'a Log {
    let found = logs.iter().find(|log| log.record.event_name == name);
    found.unwrap_or_else(|| panic!("no {name} in {logs:?}"))
}

/// Reads so many bytes by one call.
fn read_bytes(file: &mut File, count: usize) {
    file.read_exact(&mut vec![0; count]).expect("read the file");
}

fn shell(script: &str) {
    let status = Command::new("sh").args(["-c", script]).stdin(Stdio::null()).status().expect("run sh");
    assert!(status.success(), "{script}: {status}");
}

fn a_followed_file_is_a_span() {
    let rig = Rig::new();
    let mut file = rig.open();
    read_bytes(&mut file, 4);
    read_bytes(&mut file, 2);
    file.write_all(b"abc").expect("write");
    drop(file);
    let (spans, logs) = rig.finish(1);
    let span = &spans[0];
    let expected = Access { reads: 2, bytes_read: 6, writes: 1, bytes_written: 3, end: "closed" };
    assert_eq!(access(span), expected);
    assert_eq!(span.text("trigon.policy.name"), Some("follow"));
    assert!(span.int("trigon.file.descriptor").is_some_and(|fd| fd > 2), "{span:?}");
    assert_eq!(span.int("process.pid"), Some(i64::from(std::process::id())));
    check_records(span, &logs);
    // Below the process's own span, from the open to the close.
    let (open, close) = (log(&logs, "file.open"), log(&logs, "file.close"));
    assert_eq!(span.record.parent_span_id, open.record.span_id);
    assert_eq!(span.record.trace_id, open.record.trace_id);
    assert!(span.record.start_time_unix_nano <= open.record.time_unix_nano);
    assert!(span.record.end_time_unix_nano >= close.record.time_unix_nano);
    assert_eq!(logs.len(), 5, "{logs:?}");
}

fn a_copy_is_the_same_span() {
    let rig = Rig::new();
    let first = rig.open();
    let mut copy = first.try_clone().expect("copy the descriptor");
    drop(first);
    thread::sleep(3 * SWEEP_PERIOD);
    read_bytes(&mut copy, 3);
    drop(copy);
    let (spans, logs) = rig.finish(1);
    assert_eq!(access(&spans[0]), read(1, 3, "closed"));
    check_records(&spans[0], &logs);
}

fn a_copy_by_dup2_needs_no_telling() {
    let rig = Rig::with(&format!("{}{COPY}", FOLLOW.trim_end_matches('\n')));
    let (first, other) = (rig.open(), File::open("/dev/null").expect("open /dev/null"));
    let mut copy = OwnedFd::from(other);
    dup2(&first, &mut copy).expect("dup2");
    drop(first);
    read_bytes(&mut File::from(copy), 3);
    let (spans, logs) = rig.finish(1);
    assert_eq!(access(&spans[0]), read(1, 3, "closed"));
    check_records(&spans[0], &logs);
}

fn who_closes_and_opens_again_has_two_spans() {
    let rig = Rig::new();
    for count in [2, 3] {
        read_bytes(&mut rig.open(), count);
    }
    let (spans, _) = rig.finish(2);
    assert_eq!(access(&spans[0]), read(1, 2, "closed"));
    assert_eq!(access(&spans[1]), read(1, 3, "closed"));
    assert_ne!(spans[0].record.span_id, spans[1].record.span_id);
}

/// The next file has the memory of the one before, and all else that it has but its life.
fn a_shell_closes_by_dup2_and_opens_again() {
    const TIMES: usize = 20;
    let rig = Rig::new();
    let script = format!("for i in $(seq {TIMES}); do read line < {}; done; true", rig.file.display());
    shell(&script);
    let (spans, _) = rig.finish(TIMES);
    for span in &spans {
        let Access { bytes_read, end, .. } = access(span);
        assert_eq!((bytes_read, end), (10, "closed"));
    }
}

fn a_child_reads_and_holds_on() {
    let rig = Rig::new();
    let mut file = rig.open();
    read_bytes(&mut file, 2);
    file.rewind().expect("seek");
    // A shell reads by read(2), to the end of the line or byte by byte. It ends when this process's copy is gone.
    let go = rig.file.with_file_name("go");
    let script = format!("read line; until [ -e {} ]; do sleep 0.1; done", go.display());
    let mut command = Command::new("sh");
    let mut child = command.args(["-c", &script]).stdin(file).spawn().expect("run sh");
    drop(command);
    fs::write(go, "").expect("write a file");
    assert!(child.wait().expect("wait for sh").success());
    let (spans, logs) = rig.finish(1);
    let Access { reads, bytes_read, end, .. } = access(&spans[0]);
    assert!(reads >= 2 && bytes_read == 12, "{:?}", access(&spans[0]));
    assert_eq!(end, "process_exit");
    check_records(&spans[0], &logs);
    // It is this process's, although another read it too.
    assert_eq!(spans[0].int("process.pid"), Some(i64::from(std::process::id())));
    assert!(logs.iter().any(|log| log.int("process.pid") != spans[0].int("process.pid")), "{logs:?}");
}

fn the_next_image_reads_on() {
    let rig = Rig::new();
    let script = format!("exec 3< {}; exec sh -c 'read line <&3; true'", rig.file.display());
    shell(&script);
    let (spans, logs) = rig.finish(1);
    let Access { bytes_read, end, .. } = access(&spans[0]);
    assert_eq!((bytes_read, end), (10, "process_exit"));
    check_records(&spans[0], &logs);
    let (open, read) = (log(&logs, "file.open"), log(&logs, "file.read"));
    assert_eq!(spans[0].record.parent_span_id, open.record.span_id);
    assert_ne!(open.record.span_id, read.record.span_id, "another execution read it");
}

fn close_on_exec_ends_it() {
    let rig = Rig::new();
    let workload = Workload::new();
    let mut command = workload.command(["open-and".as_ref(), rig.file.as_os_str(), "live".as_ref()]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("start the workload");
    rig.until_spans(1);
    assert!(child.try_wait().expect("ask for its status").is_none(), "the process lives on");
    drop(child.stdin.take());
    child.wait().expect("wait for the workload");
    let (spans, _) = rig.finish(1);
    assert_eq!(access(&spans[0]), read(0, 0, "closed"));
}

fn the_end_of_a_process_ends_it() {
    let rig = Rig::new();
    shell(&format!("exec 3< {}; read line <&3; true", rig.file.display()));
    let (spans, logs) = rig.finish(1);
    let Access { bytes_read, end, .. } = access(&spans[0]);
    assert_eq!((bytes_read, end), (10, "process_exit"));
    check_records(&spans[0], &logs);
    assert_eq!(spans[0].record.parent_span_id, log(&logs, "file.open").record.span_id);
}

fn dup2_over_it_ends_it() {
    let rig = Rig::new();
    let mut file = rig.open();
    read_bytes(&mut file, 2);
    let mut file = OwnedFd::from(file);
    dup2(File::open("/dev/null").expect("open /dev/null"), &mut file).expect("dup2");
    rig.until_spans(1);
    // The number is another file's now.
    assert_eq!(File::from(file).read(&mut [0; 4]).expect("read"), 0);
    let (spans, logs) = rig.finish(1);
    assert_eq!(access(&spans[0]), read(1, 2, "closed"));
    check_records(&spans[0], &logs);
}

fn a_message_carries_it() {
    let rig = Rig::new();
    let file = rig.open();
    let (near, far) = UnixStream::pair().expect("make a pair of sockets");
    let fds = [file.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = SendAncillaryBuffer::new(&mut space);
    assert!(message.push(SendAncillaryMessage::ScmRights(&fds)));
    sendmsg(&near, &[IoSlice::new(b"x")], &mut message, SendFlags::empty()).expect("send");
    drop(file);
    // No process holds it now.
    thread::sleep(3 * SWEEP_PERIOD);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut received = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(&far, &mut [IoSliceMut::new(&mut byte)], &mut received, RecvFlags::empty()).expect("receive");
    let fd = received.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    read_bytes(&mut File::from(fd.expect("a descriptor")), 5);
    let (spans, logs) = rig.finish(1);
    assert_eq!(access(&spans[0]), read(1, 5, "closed"));
    check_records(&spans[0], &logs);
}

/// More files than the kernel follows at a time.
fn who_never_closes_fills_nothing() {
    const PROCESSES: usize = 45;
    const EACH: usize = 200;
    let rig = Rig::new();
    let workload = Workload::new();
    for _ in 0..PROCESSES {
        let each = EACH.to_string();
        let mut command = workload.command(["hold".as_ref(), rig.file.as_os_str(), each.as_ref()]);
        assert!(command.status().expect("run the workload").success());
    }
    let (spans, _) = rig.finish(PROCESSES * EACH);
    let ids: HashSet<_> = spans.iter().map(|span| &span.record.span_id).collect();
    assert_eq!(ids.len(), spans.len(), "each has a span of its own");
    let ends: HashSet<_> = spans.iter().map(|span| access(span).end).collect();
    assert_eq!(ends, HashSet::from(["process_exit"]));
}

/// The kernel's side alone: what a policy that is deleted followed is told to be followed no longer.
fn a_policy_that_goes_lets_go() {
    const GROUP: u32 = 7;
    let kernel = Kernel::read().expect("read the kernel's types");
    let options = Options {
        ring_bytes: 1 << 20,
        args_bytes: 1024,
        join_env: false,
        cgroups: false,
        variables: Vec::new(),
        mechanism: lifecycle::Mechanism::Best,
    };
    let (lifecycle, mut ring) = Lifecycle::attach(&options, &kernel).expect("attach to the lifecycle");
    let mut hooks = Hooks::new(lifecycle.shared(), &kernel).expect("make the hooks' maps");
    let target = Target::Function("fd_install".to_owned());
    hooks.attach(&kernel, &target, false, Choice::Best).expect("attach");
    hooks.set_table(&target, &follow_all(GROUP)).expect("set the table");
    let file = File::open("/dev/null").expect("open /dev/null");
    hooks.set_table(&target, &TablePlan::default()).expect("set the table");
    let mut followed = HashSet::new();
    let mut released = HashSet::new();
    let mut drain = |followed: &mut HashSet<u64>, released: &mut HashSet<u64>| {
        ring.drain(usize::MAX, |bytes| match decode(bytes) {
            Ok(Record::Hook(hook)) if hook.fixed.key.pid == std::process::id() => {
                followed.extend(hook.args().map(|arg| arg.fixed.opened));
                assert!(hook.args().all(|arg| arg.fixed.group == GROUP));
            }
            Ok(Record::Release(release)) if release.reason == release_reason::UNFOLLOWED => {
                assert_eq!(release.group, GROUP);
                released.insert(release.opened);
            }
            _ => {}
        });
    };
    drain(&mut followed, &mut released);
    assert!(!followed.is_empty() && released.is_empty(), "{followed:?} {released:?}");
    hooks.unfollow(GROUP + 1).expect("unfollow");
    drain(&mut followed, &mut released);
    assert!(released.is_empty(), "{released:?}");
    hooks.unfollow(GROUP).expect("unfollow");
    wait::until(
        "the releases",
        || {
            drain(&mut followed, &mut released);
            followed.iter().all(|opened| released.contains(opened)).then_some(())
        },
        String::new,
    );
    drop(file);
}

/// A table of one selector that follows and posts every file that gets a descriptor.
fn follow_all(group: u32) -> TablePlan {
    let mut table = Table { selectors: Mask::of([0]), values: 1, ..Table::default() };
    table.value[0] = ValueSpec { index: 1, kind: value_type::FILE, ..ValueSpec::default() };
    let flags = selector_flags::POST | selector_flags::FOLLOW;
    let mut selector = Selector { next: 1, flags, args: 1, group, ..Selector::default() };
    selector.arg[0] = PostArg { value: 0, ..PostArg::default() };
    TablePlan { table, selectors: vec![selector], ..TablePlan::default() }
}
