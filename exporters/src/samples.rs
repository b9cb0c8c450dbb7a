//! Events for tests: one of each kind that a way out must get right.

use std::{sync::Arc, time::Duration};

use crate::{
    event::{
        Cgroup, Container, Credentials, Event, Exec, Exit, FileFacts, Gains, Image, Kind, Namespaces, Place,
        Pod, PodContainer, Process, ProcessFlags, Service, Timestamp, Workload,
    },
    identity::{ExecId, SpanRef, Trace},
    names::CAP_SYS_ADMIN,
};

pub(crate) mod hooks;
pub(crate) mod objects;

pub(crate) const NODE: &str = "node-1";

/// 2026-08-17T12:00:00Z.
pub(crate) const EPOCH: u64 = 1_786_968_000_000_000_000;

/// All that capabilities(7) knows: bits 0 to 40.
const ALL_CAPABILITIES: u64 = (1 << 41) - 1;

pub(crate) const HOST: Namespaces = Namespaces {
    uts: 4026531838,
    ipc: 4026531839,
    mnt: 4026531841,
    pid: 4026531836,
    pid_for_children: 4026531836,
    net: 4026531840,
    time: 4026531834,
    time_for_children: 4026531834,
    cgroup: 4026531835,
    user: 4026531837,
};

/// A process of the host's root, child of [`parent`].
pub(crate) fn process(pid: u32, image: Image) -> Process {
    let exec_id = ExecId { ktime: 1_000_000_000 + u64::from(pid), pid };
    let root = ExecId { ktime: 1_000_000_000, pid: 1 };
    Process {
        exec_id,
        parent_exec_id: Some(root),
        trace: Trace {
            id: root.trace_id(NODE),
            span: exec_id.span_id(NODE),
            parent: Some(root.span_id(NODE)),
            link: None,
        },
        start: Timestamp(EPOCH + 123_456_789),
        parent_pid: 1,
        tid: pid,
        vpid: pid,
        session: 1,
        group: pid,
        auid: u32::MAX,
        flags: ProcessFlags::EXECVE,
        // Few of root's capabilities, for snapshots that can be read; the root shell has them all.
        credentials: Credentials {
            permitted: CAP_SYS_ADMIN,
            effective: CAP_SYS_ADMIN,
            ..Credentials::default()
        },
        namespaces: HOST,
        cgroup: Arc::new(Cgroup { id: 1, path: "init.scope".into(), ..Cgroup::default() }),
        image: Arc::new(image),
    }
}

/// The first process.
pub(crate) fn parent() -> Arc<Process> {
    let mut init = process(1, Image::new("/usr/lib/systemd/systemd", "", "/", "/sbin/init\0", None));
    init.exec_id = ExecId { ktime: 1_000_000_000, pid: 1 };
    init.parent_exec_id = None;
    init.trace.span = init.exec_id.span_id(NODE);
    init.trace.parent = None;
    init.flags = ProcessFlags::PROCFS | ProcessFlags::ROOT_CWD;
    Arc::new(init)
}

pub(crate) fn event(process: Process, kind: Kind) -> Event {
    Event {
        time: Timestamp(EPOCH + 123_456_789),
        observed: Timestamp(EPOCH + 124_000_000),
        process: Arc::new(process),
        parent: Some(parent()),
        kind,
    }
}

pub(crate) fn exec(process: Process) -> Event {
    event(process, Kind::Exec(Exec::default()))
}

pub(crate) fn exit(process: Process, exit: Exit) -> Event {
    Event { time: Timestamp(EPOCH + 5_000_000_000), ..event(process, Kind::Exit(exit)) }
}

fn user(uid: u32) -> Credentials {
    Credentials {
        uid,
        gid: uid,
        euid: uid,
        egid: uid,
        suid: uid,
        sgid: uid,
        fsuid: uid,
        fsgid: uid,
        ..Credentials::default()
    }
}

fn args(args: &[&str]) -> String {
    args.iter().flat_map(|arg| [arg, "\0"]).collect()
}

/// An image with these arguments, run in `/root`.
pub(crate) fn image(binary: &str, argv: &[&str]) -> Image {
    Image::new(binary, "", "/root", &args(argv), None)
}

/// The table of events, by the names of their snapshots.
pub(crate) fn table() -> Vec<(&'static str, Event)> {
    let many: Vec<String> = (0..256).map(|n| format!("arg{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    vec![
        ("root_shell", exec(root_shell())),
        ("first_seen", first_seen()),
        ("container", exec(container())),
        ("pod", exec(placed(container(), place()))),
        ("sandbox", exec(placed(container(), Place { container: None, ..place() }))),
        ("script", exec(script())),
        ("memfd", exec(memfd())),
        ("setuid", exec(setuid())),
        ("exit_status", exit(setuid(), Exit { code: 1, ..Exit::default() })),
        (
            "killed_with_core",
            exit(
                root_shell(),
                Exit {
                    signal: 11,
                    core_dumped: true,
                    user_time: Duration::from_micros(1_500_250),
                    system_time: Duration::from_nanos(4_000_001),
                    ..Exit::default()
                },
            ),
        ),
        ("forked_only", exit(forked(), Exit { user_time: Duration::from_millis(20), ..Exit::default() })),
        ("hostile", exec(hostile())),
        ("hostile_pod", exec(placed(process(310, image("/bin/true", &["true"])), hostile_place()))),
        ("no_arguments", exec(process(300, image("/bin/true", &[])))),
        ("empty_argument", exec(process(301, image("/bin/echo", &["echo", "", "a b", "\"", ""])))),
        ("many_arguments", exec(truncated(process(302, image("/bin/echo", &many))))),
        ("rate_limit", Event::rate_limit(Timestamp(EPOCH + 7), 1_234)),
        ("no_parent", Event { parent: None, ..exec(orphan()) }),
    ]
    .into_iter()
    .chain(hooks::table())
    .chain(objects::table())
    .collect()
}

fn root_shell() -> Process {
    let file = FileFacts { inode: 77, links: 1, mode: 0o100_755, ..FileFacts::default() };
    let image = Image::new("/usr/bin/bash", "", "/root", &args(&["-bash", "-c", "ls  -l /etc"]), Some(file));
    let mut shell = process(100, image);
    shell.flags |= ProcessFlags::TTY;
    shell.auid = 0;
    shell.credentials.permitted = ALL_CAPABILITIES;
    shell.credentials.effective = ALL_CAPABILITIES;
    shell
}

fn first_seen() -> Event {
    let process = process(303, image("/usr/bin/nmap", &["nmap", "10.0.0.0/8"]));
    event(process, Kind::Exec(Exec { first_seen: true, ..Exec::default() }))
}

fn container() -> Process {
    let id = "0123456789abcdef".repeat(4);
    let mut nginx =
        process(200, Image::new("/usr/sbin/nginx", "", "/", &args(&["nginx", "-g", "daemon off;"]), None));
    nginx.flags |= ProcessFlags::ROOT_CWD;
    nginx.vpid = 1;
    nginx.credentials = Credentials {
        permitted: 0b11 | 1 << 10 | 1 << 62,
        effective: 0b11,
        inheritable: 1 << 10,
        securebits: 1 | 1 << 4 | 1 << 9,
        ..user(101)
    };
    nginx.namespaces = Namespaces {
        uts: 4026532200,
        ipc: 4026532201,
        mnt: 4026532202,
        pid: 4026532203,
        pid_for_children: 4026532203,
        net: 4026532204,
        time: 0,
        time_for_children: 0,
        ..HOST
    };
    nginx.cgroup = Arc::new(Cgroup {
        id: 4711,
        path: format!("kubepods.slice/cri-containerd-{id}.scope"),
        container: Some(Arc::new(Container { id, runtime: Some("containerd") })),
        ..Cgroup::default()
    });
    nginx.trace.parent = None;
    let from = ExecId { ktime: 7, pid: 7 };
    nginx.trace.link = Some(SpanRef { trace: from.trace_id(NODE), span: from.span_id(NODE) });
    nginx
}

/// The process in that place.
pub(crate) fn placed(process: Process, place: Place) -> Process {
    let cgroup = Cgroup::clone(&process.cgroup);
    cgroup.place.set(Some(Arc::new(place)));
    Process { cgroup: Arc::new(cgroup), ..process }
}

pub(crate) fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A web server's pod, of which not all labels are exported.
pub(crate) fn pod() -> Pod {
    let labels = pairs(&[("app", "web"), ("app.kubernetes.io/version", "3.1")]);
    Pod {
        namespace: "shop".to_owned(),
        name: "web-7d4b9c-x2x4z".to_owned(),
        uid: "8c9f5b0e-3f0a-4d0e-9a53-0f1f2c7f7a11".to_owned(),
        start: Some(Timestamp(EPOCH - 60_000_000_000)),
        workload: Some(Workload { kind: "Deployment".to_owned(), name: "web".to_owned() }),
        all_labels: Arc::new(labels.iter().cloned().chain(pairs(&[("tier", "front")])).collect()),
        labels,
        annotations: pairs(&[("example.com/owner", "team a")]),
        service: Default::default(),
    }
}

pub(crate) fn place() -> Place {
    let container = PodContainer {
        name: "nginx".to_owned(),
        id: "0123456789abcdef".repeat(4),
        runtime: "containerd".to_owned(),
        image: "docker.io/library/nginx:1.27".to_owned(),
        image_id: format!("docker.io/library/nginx@sha256:{}", "ab".repeat(32)),
        start: Some(Timestamp(EPOCH - 58_000_000_000)),
        restarts: 2,
        privileged: true,
        probes: vec![vec!["cat".to_owned(), "/tmp/healthy".to_owned()]],
    };
    Place { pod: Arc::new(pod()), container: Some(Arc::new(container)) }
}

/// A place whose every text is of somebody who means ill.
fn hostile_place() -> Place {
    let evil = |text: &str| format!("{text}\u{1b}[31m\u{202e}\u{9b}\"\\\n{{}},=\0");
    let evils = || vec![(evil("key"), evil("value")), (String::new(), String::new())];
    let pod = Pod {
        namespace: evil("namespace"),
        name: evil("name"),
        uid: evil("uid"),
        start: Some(Timestamp(u64::MAX)),
        workload: Some(Workload { kind: evil("kind"), name: evil("workload") }),
        labels: evils(),
        all_labels: Arc::new(evils().into_iter().collect()),
        annotations: evils(),
        service: Service { attributes: evils(), ..Service::default() },
    };
    let container = PodContainer {
        name: evil("container"),
        id: evil("id"),
        runtime: evil("runtime"),
        image: evil("image:@"),
        image_id: evil("@:"),
        probes: vec![vec![], vec![evil("probe")]],
        ..PodContainer::default()
    };
    Place { pod: Arc::new(pod), container: Some(Arc::new(container)) }
}

fn script() -> Process {
    let image = Image::new(
        "/usr/bin/python3.13",
        "/usr/local/bin/tool",
        "/srv",
        &args(&["/usr/bin/python3", "/usr/local/bin/tool", "--all"]),
        None,
    );
    Process { tid: 104, credentials: user(1000), auid: 1000, ..process(103, image) }
}

fn memfd() -> Process {
    let file = FileFacts { inode: 1 << 60, links: 0, mode: 0o100_777, ..FileFacts::default() };
    process(104, Image::new("/memfd:x (deleted)", "", "/tmp", &args(&["x"]), Some(file)))
}

fn setuid() -> Process {
    let gained = Gains::SETUID | Gains::SETGID | Gains::FILE_CAPS;
    let file = FileFacts { inode: 9, links: 1, mode: 0o106_755, gained, ..FileFacts::default() };
    let mut sudo =
        process(105, Image::new("/usr/bin/sudo", "", "/home/ann", &args(&["sudo", "id"]), Some(file)));
    sudo.credentials = Credentials { uid: 1000, gid: 1000, ..sudo.credentials };
    sudo.auid = 1000;
    sudo
}

fn forked() -> Process {
    let mut child = process(106, image("/usr/bin/bash", &["bash"]));
    child.flags = ProcessFlags::CLONE;
    child.start = Timestamp(EPOCH);
    child
}

fn hostile() -> Process {
    let image = Image::new(
        "/tmp/\u{1b}]0;owned\u{7}\u{202e}fdp.exe",
        "/tmp/a\nb",
        "/tmp/\r\u{85}",
        &args(&[
            "x",
            "\u{1b}[2J\u{1b}[31mred",
            "two\nlines",
            "\u{9b}31m",
            "a\u{202e}b\u{2066}c",
            "\\xff\\xfe is not UTF-8",
            "tab\there",
            "\u{7f}\u{feff}\u{e000}\u{10ffff}",
            "naïve 日本 🚀",
            "\"quoted\" \\",
        ]),
        None,
    );
    let mut process = process(107, image);
    process.flags |= ProcessFlags::ESCAPED_TEXT | ProcessFlags::TRUNC_FILENAME | ProcessFlags::TRUNC_CWD;
    process.credentials = user(65534);
    process
}

fn truncated(mut process: Process) -> Process {
    process.flags |= ProcessFlags::TRUNC_ARGS;
    process
}

fn orphan() -> Process {
    let mut kernel = process(2, Image::new("", "", "", "", None));
    kernel.parent_exec_id = None;
    kernel.parent_pid = 0;
    kernel.trace.parent = None;
    kernel.flags =
        ProcessFlags::PROCFS | ProcessFlags::KERNEL_THREAD | ProcessFlags::ERROR_ARGS | ProcessFlags::MISS;
    kernel.namespaces = Namespaces::default();
    kernel.cgroup = Arc::default();
    (kernel.vpid, kernel.session, kernel.group) = (0, 0, 0);
    kernel
}
