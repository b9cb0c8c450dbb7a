//! Whatever records say: the tracker takes them without a panic, and what it keeps is bounded.

use std::collections::HashSet;

use proptest::{collection::vec, prelude::*, sample::select};
use trigon_probes::record::{ForkRecord, Header, LeafFirst, TaskCredentials, decode};
use zerocopy::IntoBytes as _;

use super::{
    descriptors::tests::{Deed, bytes_of, learn},
    tests::Proc,
    *,
};

const CAPACITY: usize = 8;
const MAX_ARGS: usize = 3;

/// A record with text of its own.
#[derive(Clone, Debug)]
enum Given {
    Fork(Box<ForkRecord>, Vec<u8>),
    Exec(Box<ExecRecord>, [Vec<u8>; 7]),
    Exit(Box<ExitRecord>),
    Bytes(Vec<u8>),
    /// What is due with time, at some time of the boot clock.
    Sweep(u64),
}

/// Few processes, so that they meet: they fork, follow and reuse one another; and some that can't be.
fn key() -> impl Strategy<Value = ExecKey> {
    let near = (0..6_u32, 0..4_u64, 0..3_u32);
    let far = (any::<u32>(), any::<u64>(), any::<u32>());
    // By the wire format the image's number is a part of ktime.
    prop_oneof![
        9 => near.prop_map(|(pid, start, image)| (pid, start * 1000, image)),
        1 => far,
    ]
    .prop_map(|(pid, start, image)| ExecKey {
        ktime: start.saturating_add(u64::from(image)),
        pid,
        image,
    })
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![9 => 0..10_000_u64, 1 => any::<u64>()]
}

fn header() -> impl Strategy<Value = Header> {
    (any::<u16>(), time()).prop_map(|(flags, time)| Header { kind: 0, flags, length: 0, time })
}

fn task() -> impl Strategy<Value = TaskFacts> {
    let session = prop_oneof![0..6_u32, any::<u32>()];
    (key(), key(), session, any::<u32>(), 0..3_u64, any::<[u8; 16]>(), any::<(u32, u32, u64)>()).prop_map(
        |(key, parent, session, flags, cgroup_id, comm, (uid, euid, permitted))| {
            let credentials = TaskCredentials { uid, euid, permitted, ..TaskCredentials::default() };
            TaskFacts { key, parent, session, flags, cgroup_id, comm, credentials, ..TaskFacts::default() }
        },
    )
}

/// Paths, arguments and what looks like them.
fn text() -> impl Strategy<Value = Vec<u8>> {
    const KNOWN: &[&[u8]] = &[
        b"",
        b"\0",
        b"tool\0bin\0",
        b"./run.sh",
        b"cri-containerd-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope\0kube\0",
        b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        b"\xc3",
        b"a\0\xff\xfe\0\0b",
    ];
    prop_oneof![select(KNOWN).prop_map(<[u8]>::to_vec), vec(any::<u8>(), 0..40)]
}

fn given() -> impl Strategy<Value = Given> {
    let fork = (header(), task(), text()).prop_map(|(header, task, cgroup)| {
        Given::Fork(Box::new(ForkRecord { header, task, ..ForkRecord::default() }), cgroup)
    });
    let texts = [text(), text(), text(), text(), text(), text(), text()];
    let exec = (header(), task(), any::<(u32, u32, u32)>(), texts).prop_map(|(header, task, file, texts)| {
        let (mode, file_uid, links) = file;
        let record = ExecRecord { header, task, mode, file_uid, links, ..ExecRecord::default() };
        Given::Exec(Box::new(record), texts)
    });
    let exit =
        (header(), key(), key(), any::<(u32, u64, u64, u64)>()).prop_map(|(header, key, parent, more)| {
            let (code, user_time, system_time, run_time) = more;
            let record = ExitRecord {
                header,
                key,
                parent,
                code,
                user_time,
                system_time,
                run_time,
                ..ExitRecord::default()
            };
            Given::Exit(Box::new(record))
        });
    // Whole records of bytes that nobody chose: most can be decoded.
    let bytes = (1..7_u16, vec(any::<u8>(), size_of::<Header>()..600)).prop_map(|(kind, mut bytes)| {
        let length = bytes.len() as u32;
        let header = Header { kind, flags: 0xffff, length, time: 1 };
        bytes[..size_of::<Header>()].copy_from_slice(header.as_bytes());
        Given::Bytes(bytes)
    });
    // Few files, so that they are used after their ends, and opened again.
    const DEEDS: &[Deed] = &[Deed::Open, Deed::Read(1), Deed::Write(u64::MAX), Deed::Close, Deed::LetGo];
    let hook = ((0..6_u32, 0..4_u64), time(), 0..4_u64, select(DEEDS)).prop_map(
        |((pid, start), time, opened, deed)| {
            Given::Bytes(bytes_of(Proc(pid, start * 1000), time, opened, deed))
        },
    );
    let release = (header(), 0..4_u64, 2..5_u32, 0..6_u32).prop_map(|(header, opened, group, reason)| {
        let header = Header { kind: 6, length: size_of::<ReleaseRecord>() as u32, ..header };
        Given::Bytes(ReleaseRecord { header, opened, group, reason }.as_bytes().to_vec())
    });
    prop_oneof![4 => fork, 4 => exec, 4 => exit, 4 => hook, 2 => release, 1 => bytes, 1 => time().prop_map(Given::Sweep)]
}

fn take(tracker: &mut Tracker, given: &Given) -> Option<Event> {
    let record = match given {
        Given::Fork(fixed, cgroup) => Record::Fork(Fork { fixed: **fixed, cgroup: LeafFirst(cgroup) }),
        Given::Exec(fixed, [binary, cwd, cgroup, script, traceparent, args, environment]) => {
            Record::Exec(record::Exec {
                fixed: **fixed,
                binary: LeafFirst(binary),
                cwd: LeafFirst(cwd),
                cgroup: LeafFirst(cgroup),
                script,
                traceparent,
                args,
                environment,
            })
        }
        Given::Exit(fixed) => Record::Exit(**fixed),
        Given::Bytes(bytes) => decode(bytes).ok()?,
        Given::Sweep(now) => {
            tracker.table.sweep(*now);
            return None;
        }
    };
    tracker.take(record, Timestamp(0))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn any_records_are_taken(givens in vec(given(), 0..60), join_env: bool, max_age_ns in time()) {
        let settings = Settings {
            node: "node".to_owned(),
            rules: Rules { join_env, max_age_ns },
            max_args: MAX_ARGS,
            capacity: CAPACITY,
            linger: Duration::from_nanos(500),
            variables: Vec::new(),
            redaction: Redaction::default(),
            expose_stack_addresses: false,
        };
        let mut tracker = Tracker::new(settings, Clock::fixed(Timestamp(1_000)));
        learn(&tracker);
        // Spans of followed files that log records named, and those that ended.
        let (mut named, mut ended) = (HashSet::new(), HashSet::new());
        for given in &givens {
            let event = take(&mut tracker, given);
            match event.as_ref().map(|event| &event.kind) {
                Some(Kind::Hook(hook)) => named.extend(hook.descriptor),
                Some(Kind::Descriptor(descriptor)) => {
                    prop_assert!(named.contains(&descriptor.span), "a span that nothing named");
                    prop_assert!(ended.insert(descriptor.span), "a span that ended twice");
                }
                _ => {}
            }
            prop_assert_eq!(tracker.followed_files(), named.len() - ended.len());
            prop_assert!(tracker.table().len() <= CAPACITY);
            let subject = event.as_ref().map(|event| event.process.exec_id);
            match given {
                Given::Exec(record, _) if record.header.flags & flags::UNTOLD == 0 => {
                    prop_assert_eq!(subject, Some(id_of(record.task.key)));
                }
                Given::Exec(..) => {
                    let ended = |event: &Event| matches!(event.kind, Kind::Replaced);
                    prop_assert!(event.as_ref().is_none_or(ended), "it is not told");
                }
                Given::Exit(record) => prop_assert!(subject.is_none_or(|id| id == id_of(record.key))),
                Given::Fork(..) | Given::Sweep(_) => prop_assert!(event.is_none()),
                Given::Bytes(_) => {}
            }
            let Some(event) = event else { continue };
            prop_assert!(event.process.image.args().count() <= MAX_ARGS);
            // Whoever opened a file, or was replaced, may be forgotten when it ends.
            let known = tracker.table().get(event.process.exec_id).is_some();
            let ended = matches!(event.kind, Kind::Descriptor(_) | Kind::Replaced);
            prop_assert!(known || ended, "an event's subject is known");
            // Nobody is told of a parent that is not the one that the process names.
            if let Some(parent) = &event.parent {
                prop_assert_eq!(event.process.parent_exec_id, Some(parent.exec_id));
            }
        }
    }

    /// An execution ends once, however often the kernel says so while it is remembered.
    #[test]
    fn an_exit_is_told_once(fork in (header(), task()), exits in vec((header(), any::<u32>()), 1..5)) {
        let settings = Settings {
            node: "node".to_owned(),
            rules: Rules { join_env: true, max_age_ns: 0 },
            max_args: MAX_ARGS,
            capacity: CAPACITY,
            linger: Duration::MAX,
            variables: Vec::new(),
            redaction: Redaction::default(),
            expose_stack_addresses: false,
        };
        let mut tracker = Tracker::new(settings, Clock::fixed(Timestamp(1_000)));
        let (header, task) = fork;
        let forked = ForkRecord { header, task, ..ForkRecord::default() };
        tracker.take(Record::Fork(Fork { fixed: forked, cgroup: LeafFirst(b"") }), Timestamp(0));
        let told = exits.iter().filter_map(|(header, code)| {
            let exit = ExitRecord { header: *header, key: task.key, code: *code, ..ExitRecord::default() };
            tracker.take(Record::Exit(exit), Timestamp(0))
        });
        prop_assert_eq!(told.count(), 1);
        prop_assert_eq!(tracker.counts().duplicate_exits, exits.len() as u64 - 1);
    }
}
