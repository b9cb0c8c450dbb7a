use trigon_exporters::event::{ArgumentSpec, HookKind, HookSource, Kind, Timestamp};
use trigon_probes::{
    hooks::plan::value_type,
    record::{Header, HookArg, HookRecord, Record, decode},
};
use zerocopy::IntoBytes as _;

use super::{
    super::{Tracker, tests::*},
    *,
};

const GROUP: u32 = 3;
const PATH: &[u8] = b"/etc/passwd";

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
pub(in crate::tracker) enum Deed {
    Open,
    Read(u64),
    Write(u64),
    FailedRead,
    Close,
    LetGo,
}

fn source(function: &str) -> HookSource {
    let policy = Arc::new(Policy { name: "follow".into(), namespace: None });
    let mut source = HookSource::new(policy, HookKind::Kprobe { function: function.into() });
    source.returned = ArgumentSpec { label: None, kind: "int".into() };
    source
}

/// Teaches a tracker the hooks, by the numbers that [`bytes_of`] uses.
pub(in crate::tracker) fn learn(tracker: &Tracker) {
    let sources = tracker.sources();
    let functions = ["fd_install", "__x64_sys_read", "__x64_sys_write", "__x64_sys_close", "filp_flush"];
    for (function, number) in functions.into_iter().zip(1..) {
        assert_eq!(sources.learn(source(function), None), number);
    }
}

fn arg(kind: u8, value: u64, opened: u64, data: &[u8]) -> Vec<u8> {
    let group = if opened == 0 { 0 } else { GROUP };
    let fixed = HookArg { kind, value, opened, group, length: data.len() as u32, ..HookArg::default() };
    let mut bytes = fixed.as_bytes().to_vec();
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// The record of a deed to the file that was opened at `opened`.
pub(in crate::tracker) fn bytes_of(process: Proc, time: u64, opened: u64, deed: Deed) -> Vec<u8> {
    let followed = arg(value_type::FOLLOWED, 0, opened, PATH);
    let (policy_hook, action, args, returned) = match deed {
        Deed::Open => {
            let file = arg(value_type::FILE, 0, opened, PATH);
            (1, Action::FollowFd, vec![arg(value_type::S32, 5, 0, b""), file], None)
        }
        Deed::Read(bytes) => (2, Action::Post, vec![followed], Some(bytes)),
        Deed::FailedRead => (2, Action::Post, vec![followed], Some(u64::MAX)),
        Deed::Write(bytes) => (3, Action::Post, vec![followed], Some(bytes)),
        Deed::Close => (4, Action::UnfollowFd, vec![followed], None),
        Deed::LetGo => (5, Action::UnfollowFd, vec![followed], None),
    };
    let length = size_of::<HookRecord>() + args.iter().map(Vec::len).sum::<usize>();
    let record = HookRecord {
        header: Header { kind: 5, flags: 0, length: length as u32, time },
        key: key(process, 0),
        policy_hook,
        action: action.number(),
        args: args.len() as u8,
        has_return: u8::from(returned.is_some()),
        returned: returned.unwrap_or(0),
        ..HookRecord::default()
    };
    let mut bytes = record.as_bytes().to_vec();
    args.iter().for_each(|arg| bytes.extend_from_slice(arg));
    bytes
}

impl Kernel {
    /// Something is done to a followed file; returns the span that the event names.
    fn deed(&mut self, process: Proc, opened: u64, deed: Deed) -> Option<SpanId> {
        self.now += 10;
        let bytes = bytes_of(process, self.now, opened, deed);
        let event = self.tracker.take(decode(&bytes).unwrap(), Timestamp(0)).unwrap();
        let Kind::Hook(hook) = event.kind else { panic!("no hook") };
        hook.descriptor
    }

    fn open(&mut self, process: Proc) -> (u64, Option<SpanId>) {
        let opened = self.now + 5;
        (opened, self.deed(process, opened, Deed::Open))
    }

    fn release(&mut self, opened: u64, reason: u32) -> Option<(Arc<Process>, Descriptor)> {
        self.now += 10;
        let header = Header { kind: 6, time: self.now, ..Header::default() };
        let record = ReleaseRecord { header, opened, group: GROUP, reason };
        let event = self.tracker.take(Record::Release(record), Timestamp(0))?;
        let Kind::Descriptor(descriptor) = event.kind else { panic!("no descriptor") };
        assert_eq!(event.time, descriptor.closed);
        Some((event.process, *descriptor))
    }
}

fn start() -> (Kernel, Proc) {
    let mut kernel = Kernel::new();
    learn(&kernel.tracker);
    let (process, _) = kernel.spawn(ROOT, 100, Given::default());
    (kernel, process)
}

fn at(boot: u64) -> Timestamp {
    Timestamp(1_000_000 + boot)
}

#[test]
fn all_that_is_done_to_a_file_is_one_span_of_its_opener() {
    let (mut kernel, process) = start();
    let (opened, span) = kernel.open(process);
    assert_eq!(span, Some(id(process, 0).descriptor_span_id(NODE, opened, "/etc/passwd")));
    let child = kernel.fork(process, 101);
    for (who, deed) in [
        (process, Deed::Read(4)),
        (child, Deed::Read(6)),
        (child, Deed::FailedRead),
        (process, Deed::Write(3)),
        // A copy of the descriptor, where the function that installs it is hooked.
        (process, Deed::Open),
        (process, Deed::Close),
        (child, Deed::Close),
    ] {
        assert_eq!(kernel.deed(who, opened, deed), span);
    }
    assert_eq!(kernel.tracker.followed_files(), 1);
    let (owner, descriptor) = kernel.release(opened, release_reason::CLOSED).unwrap();
    assert_eq!(owner.exec_id, id(process, 0));
    assert_eq!(Some(descriptor.span), span);
    assert_eq!((descriptor.reads, descriptor.bytes_read), (2, 10));
    assert_eq!((descriptor.writes, descriptor.bytes_written), (1, 3));
    assert_eq!((descriptor.fd, &*descriptor.file.path), (Some(5), "/etc/passwd"));
    assert_eq!((descriptor.opened, descriptor.closed), (at(opened), at(kernel.now)));
    assert_eq!((descriptor.end, kernel.tracker.followed_files()), (DescriptorEnd::Closed, 0));
}

#[test]
fn an_end_is_told_once_and_nothing_comes_back() {
    let (mut kernel, process) = start();
    let (opened, _) = kernel.open(process);
    assert!(kernel.release(opened, release_reason::EXIT).is_some());
    assert!(kernel.release(opened, release_reason::FOUND).is_none());
    // Of another CPU, a moment late.
    assert_eq!(kernel.deed(process, opened, Deed::Read(1)), None);
    assert_eq!(kernel.tracker.followed_files(), 0);
}

#[test]
fn a_file_whose_opening_was_not_told_is_known_from_its_first_use() {
    let (mut kernel, process) = start();
    let span = kernel.deed(process, 1_005, Deed::Read(7));
    assert!(span.is_some());
    let (_, descriptor) = kernel.release(1_005, release_reason::CLOSED).unwrap();
    assert_eq!((descriptor.fd, descriptor.reads, descriptor.opened), (None, 1, at(1_005)));
}

#[test]
fn reasons_are_the_kernels() {
    let (mut kernel, process) = start();
    for (deed, reason, end) in [
        (None, release_reason::EXIT, DescriptorEnd::ProcessExit),
        (None, release_reason::UNFOLLOWED, DescriptorEnd::Unfollowed),
        (None, release_reason::FOUND, DescriptorEnd::Closed),
        (None, 99, DescriptorEnd::Closed),
        (Some(Deed::Close), release_reason::CLOSED, DescriptorEnd::Closed),
        (Some(Deed::LetGo), release_reason::CLOSED, DescriptorEnd::Unfollowed),
    ] {
        let (opened, _) = kernel.open(process);
        if let Some(deed) = deed {
            kernel.deed(process, opened, deed);
        }
        assert_eq!(kernel.release(opened, reason).unwrap().1.end, end);
    }
}

/// What is found closed some time later ended with its owner where that ended meanwhile.
#[test]
fn what_is_found_closed_may_have_ended_with_its_owner() {
    const PERIOD: u64 = SWEEP_PERIOD.as_nanos() as u64;
    let (mut kernel, process) = start();
    let ((one, _), (other, _)) = (kernel.open(process), kernel.open(process));
    kernel.exit(process, 0, 0);
    let exited = kernel.now;
    // Another holds it.
    let child = kernel.fork(process, 101);
    kernel.deed(child, other, Deed::Read(1));
    let (_, descriptor) = kernel.release(one, release_reason::FOUND).unwrap();
    assert_eq!((descriptor.end, descriptor.closed), (DescriptorEnd::ProcessExit, at(exited)));
    let (_, descriptor) = kernel.release(other, release_reason::FOUND).unwrap();
    assert_eq!((descriptor.end, descriptor.closed), (DescriptorEnd::Closed, at(kernel.now)));
    let (process, _) = kernel.spawn(ROOT, 102, Given::default());
    let ((one, _), (other, _)) = (kernel.open(process), kernel.open(process));
    kernel.exec(process, ROOT, Given { image: 1, ..Given::default() });
    let replaced = kernel.now;
    let (_, descriptor) = kernel.release(one, release_reason::FOUND).unwrap();
    assert_eq!((descriptor.end, descriptor.closed), (DescriptorEnd::Closed, at(replaced)));
    kernel.now += 3 * PERIOD;
    let (_, descriptor) = kernel.release(other, release_reason::FOUND).unwrap();
    assert_eq!((descriptor.end, descriptor.closed), (DescriptorEnd::Closed, at(kernel.now)));
}

#[test]
fn the_oldest_makes_room() {
    let (mut kernel, process) = start();
    let all: Vec<_> = (0..CAPACITY + 2).map(|_| kernel.open(process).0).collect();
    assert_eq!(kernel.tracker.followed_files(), CAPACITY);
    assert_eq!(kernel.tracker.counts().forgotten_files, 2);
    assert!(kernel.release(all[1], release_reason::CLOSED).is_none());
    assert!(kernel.release(all[2], release_reason::CLOSED).is_some());
}
