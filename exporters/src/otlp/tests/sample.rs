//! Events to export.

use std::{sync::Arc, time::Duration};

use crate::{
    event::{
        Cgroup, Container, Credentials, Event, Exec, Exit, FileFacts, Gains, Image, Kind, Namespaces,
        Process, ProcessFlags, Replaced, Timestamp,
    },
    identity::{ExecId, SpanId, SpanRef, Trace, TraceId},
    node::Node,
};

/// 2026-11-24T10:00:00Z.
pub(super) const NOON: u64 = 1_795_514_400_000_000_000;

pub(super) fn node() -> Node {
    Node {
        name: "node-1".to_owned(),
        kubernetes: false,
        host_id: Some("0123456789abcdef0123456789abcdef".to_owned()),
        arch: Some("amd64".to_owned()),
        os_name: Some("Debian GNU/Linux".to_owned()),
        os_version: Some("12".to_owned()),
        ..Node::default()
    }
}

pub(super) fn container(id: &str) -> Arc<Container> {
    Arc::new(Container { id: id.to_owned(), runtime: Some("containerd") })
}

pub(super) fn cgroup(container: Option<Arc<Container>>) -> Arc<Cgroup> {
    Arc::new(Cgroup { id: 77, path: "system.slice/a.service".to_owned(), container, ..Cgroup::default() })
}

/// A process with every fact set.
pub(super) fn process(pid: u32) -> Process {
    let exec_id = ExecId { ktime: 5_000_000 + u64::from(pid), pid };
    let parent = ExecId { ktime: 4_000_000, pid: 10 };
    let file = FileFacts { inode: 9, links: 1, mode: 0o104_755, uid: 0, gid: 0, gained: Gains::SETUID };
    Process {
        exec_id,
        parent_exec_id: Some(parent),
        trace: Trace {
            id: parent.trace_id("node-1"),
            span: exec_id.span_id("node-1"),
            parent: Some(parent.span_id("node-1")),
            link: None,
        },
        start: Timestamp(NOON),
        parent_pid: 10,
        tid: pid,
        vpid: 3,
        session: 8,
        group: 9,
        auid: 1000,
        flags: ProcessFlags::EXECVE | ProcessFlags::TTY,
        credentials: Credentials { uid: 1000, euid: 0, suid: 2, ..Credentials::default() },
        namespaces: Namespaces::default(),
        cgroup: cgroup(None),
        image: Arc::new(Image::new("/usr/bin/curl", "", "/srv", "curl\0-s\0two words\0", Some(file))),
    }
}

/// The process that started [`process`].
pub(super) fn parent() -> Process {
    let child = process(20);
    let exec_id = ExecId { ktime: 4_000_000, pid: 10 };
    let trace = Trace { span: exec_id.span_id("node-1"), parent: None, ..child.trace };
    Process { exec_id, parent_exec_id: None, trace, ..child }
}

/// A span of an application.
pub(super) fn elsewhere() -> SpanRef {
    SpanRef { trace: TraceId([7; 16]), span: SpanId([8; 8]) }
}

pub(super) fn event(process: Process, kind: Kind) -> Event {
    Event {
        time: Timestamp(NOON + 1_500_000_000),
        observed: Timestamp(NOON + 1_500_001_000),
        process: Arc::new(process),
        parent: Some(Arc::new(parent())),
        kind,
    }
}

pub(super) fn exec(process: Process) -> Event {
    event(process, Kind::Exec(Exec::default()))
}

pub(super) fn exec_over(process: Process, replaced: Process) -> Event {
    event(
        process,
        Kind::Exec(Exec {
            replaced: Some(Replaced { process: Arc::new(replaced), parent: None }),
            ..Exec::default()
        }),
    )
}

pub(super) fn exit(process: Process, code: u8, signal: u8) -> Event {
    event(
        process,
        Kind::Exit(Exit {
            code,
            signal,
            core_dumped: signal == 11,
            user_time: Duration::from_millis(250),
            system_time: Duration::from_micros(1),
        }),
    )
}

/// As many executions, begun and ended: twice as many events.
pub(super) fn lifecycles(count: u32) -> Vec<Event> {
    (1..=count).flat_map(|pid| [exec(process(pid)), exit(process(pid), 0, 0)]).collect()
}
