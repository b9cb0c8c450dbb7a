//! Records what the kernel's programs write while known deeds are done, for the tests that replay it without root.
//!
//! `trigon-record FOLDER` writes one `NAME.records` for each deed: raw records, end to end, as the ring buffer gave
//! them. All deeds are done in a folder and a cgroup with neutral names, so that nothing in them names this machine.

use std::{
    collections::HashSet,
    fs,
    io::Read as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use trigon_probes::{
    lifecycle::{Kernel, Lifecycle, Mechanism, Options},
    record::{ExecKey, Record, decode},
    ring::Ring,
};
use trigon_tests::{place, wait};

/// Where the deeds are done.
const FOLDER: &str = "/tmp/trigon-golden";

/// The cgroup of all deeds, as systemd names a service's.
const SERVICE: &str = "system.slice/workload.service";

/// The cgroup of the deed in a container, as containerd names it under systemd.
const CONTAINER: &str = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod5f3c.slice/\
    cri-containerd-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope";

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Enough for all arguments but those of a deed that is about cutting them.
const ARGS_BYTES: u32 = 16_384;

/// Somebody who is not root: nobody, on most systems.
const NOBODY: u32 = 65_534;

/// What is recorded under one name.
struct Deed {
    name: &'static str,
    command: Command,
    args_bytes: u32,
}

fn main() {
    let folder = PathBuf::from(std::env::args_os().nth(1).expect("usage: trigon-record FOLDER"));
    let _ = fs::remove_dir_all(FOLDER);
    fs::create_dir(FOLDER).expect("make a folder for the deeds");
    fs::copy(place::workload(), program()).expect("copy the workload");
    let (service, container) = (make_cgroup(SERVICE), make_cgroup(CONTAINER));
    move_into(&service);
    let kernel = Kernel::read().expect("read what the kernel says of its types");
    for deed in deeds(&container) {
        let path = folder.join(deed.name).with_extension("records");
        let records = record(deed, &kernel);
        let bytes = records.concat();
        println!("{}: {} records, {} bytes", path.display(), records.len(), bytes.len());
        fs::write(&path, bytes).expect("write the records");
    }
    fs::remove_dir_all(FOLDER).expect("remove the folder of the deeds");
    move_into(&mount());
    remove_cgroup(SERVICE);
    remove_cgroup(CONTAINER);
}

fn program() -> PathBuf {
    Path::new(FOLDER).join("workload")
}

/// Each shows one thing, beside that processes start and end.
fn deeds(container: &Path) -> Vec<Deed> {
    let container = container.to_str().expect("the path of a cgroup is plain");
    let mut deeds = vec![
        deed("exit", "exit 42"),
        deed("tree", "tree 1 2"),
        deed("session", "setsid tree 1 1"),
        deed("fork-only", "fork-only"),
        deed("double-fork", "double-fork"),
        deed("orphan", "orphan"),
        deed("exec-over-exec", "again 2"),
        deed("thread-exec", "thread-exec"),
        deed("memfd", "memfd"),
        deed("script", "script"),
        deed("signal", "signal 9"),
        deed("core", "core"),
        deed("hostile-args", "hostile-args"),
        deed("many-args", "many-args"),
        deed("container", &format!("in-cgroup {container} tree 1 1")),
    ];
    let mut long = deed("long-args", "long-args");
    long.args_bytes = 1024;
    let mut joined = deed("traceparent", "tree 1 1");
    joined.command.env("TRACEPARENT", TRACEPARENT);
    deeds.extend([long, joined, set_uid()]);
    deeds
}

fn deed(name: &'static str, words: &str) -> Deed {
    let mut command = Command::new(program());
    command.args(words.split(' ')).env_clear();
    Deed { name, command, args_bytes: ARGS_BYTES }
}

/// A program that runs as its owner, executed by somebody else.
fn set_uid() -> Deed {
    let mut command = Command::new("/usr/bin/passwd");
    command.arg("--help").env_clear().uid(NOBODY).gid(NOBODY);
    Deed { name: "set-uid", command, args_bytes: ARGS_BYTES }
}

/// Does a deed and returns the records of its processes, in the order in which the kernel wrote them.
fn record(mut deed: Deed, kernel: &Kernel) -> Vec<Vec<u8>> {
    let options = Options {
        ring_bytes: 1 << 24,
        args_bytes: deed.args_bytes,
        join_env: true,
        cgroups: false,
        variables: Vec::new(),
        mechanism: Mechanism::Best,
    };
    let (_attached, mut ring) = Lifecycle::attach(&options, kernel).expect("attach the programs (as root)");
    let (mut reader, writer) = std::io::pipe().expect("make a pipe");
    deed.command.current_dir(FOLDER).stdin(Stdio::null()).stdout(writer);
    let mut child = deed.command.spawn().expect("start the deed");
    let root = child.id();
    // The pipe ends when the last of the deed's processes has; this process's copy of its end goes first.
    drop(deed.command);
    reader.read_to_end(&mut Vec::new()).expect("wait for the deed");
    child.wait().expect("wait for the deed's root");

    let mut family = Family { root, living: HashSet::new(), records: Vec::new() };
    let mut over = || {
        family.take(&mut ring);
        (!family.records.is_empty() && family.living.is_empty()).then_some(())
    };
    wait::until(deed.name, &mut over, || "processes whose exit was not recorded".to_owned());
    family.records
}

/// The processes that descend from the deed's root.
struct Family {
    root: u32,
    living: HashSet<(u32, u64)>,
    records: Vec<Vec<u8>>,
}

// === impl Family ===

impl Family {
    fn take(&mut self, ring: &mut Ring) {
        ring.drain(usize::MAX, |bytes| {
            let id = |key: ExecKey| (key.pid, key.start());
            let ours = match decode(bytes).expect("what the programs write can be decoded") {
                Record::Fork(fork) => {
                    let task = &fork.fixed.task;
                    // The root's pid may have been another's before; its parent is this process.
                    let root = task.key.pid == self.root && task.parent.pid == std::process::id();
                    let ours = root || self.living.contains(&id(task.parent));
                    if ours {
                        self.living.insert(id(task.key));
                    }
                    ours
                }
                Record::Exec(exec) => self.living.contains(&id(exec.fixed.task.key)),
                Record::Exit(exit) => self.living.remove(&id(exit.key)),
                // Neither comes from the lifecycle's programs.
                _ => false,
            };
            if ours {
                self.records.push(bytes.to_vec());
            }
        });
    }
}

fn mount() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("read the mounts");
    let mount =
        mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2")).expect("a cgroup2 mount");
    mount.split(' ').nth(1).expect("a mount has a path").into()
}

fn make_cgroup(path: &str) -> PathBuf {
    let folder = mount().join(path);
    fs::create_dir_all(&folder).expect("make a cgroup");
    folder
}

fn move_into(cgroup: &Path) {
    fs::write(cgroup.join("cgroup.procs"), "0").expect("move into a cgroup");
}

fn remove_cgroup(path: &str) {
    let (mount, path) = (mount(), Path::new(path));
    // The kernel frees a cgroup a moment after its last process: then it can be removed.
    wait::until(
        "the cgroup to be empty",
        || fs::remove_dir(mount.join(path)).ok(),
        || path.display().to_string(),
    );
    let above = path.ancestors().skip(1).filter(|path| *path != Path::new(""));
    above.for_each(|path| drop(fs::remove_dir(mount.join(path))));
}
