//! One process as /proc shows it.

use std::{
    fs::File,
    io::Read as _,
    os::unix::{ffi::OsStringExt as _, fs::MetadataExt as _},
    path::Path,
};

use procfs::{ProcResult, process::Process};
use trigon_exporters::{
    event::{FileFacts, ProcessFlags},
    identity::SpanRef,
};
use trigon_probes::{
    lifecycle::MAX_ENVIRONMENT_BYTES,
    record::{ExecKey, TaskFacts, task_flags},
};

use super::{TICK_NS, folder};
use crate::tracker::trace::parse_traceparent;

/// As much of an environment is looked through.
const MAX_ENVIRON: u64 = 1 << 20;

/// Bytes of one variable that is collected, with its NUL: `ENV_BYTES` of the kernel's programs.
const VARIABLE_BYTES: usize = 1024;

/// `PF_KTHREAD` of the kernel's include/linux/sched.h, in the flags of /proc/PID/stat.
const PF_KTHREAD: u32 = 0x0020_0000;

/// What only the process's own memory and files tell.
#[derive(Debug)]
pub struct Texts {
    pub binary: Vec<u8>,
    pub cwd: Vec<u8>,
    /// Each argument ended by NUL.
    pub args: Vec<u8>,
    /// The wanted variables, each ended by NUL.
    pub environment: Vec<u8>,
    pub joined: Option<SpanRef>,
    pub file: Option<FileFacts>,
    pub flags: ProcessFlags,
}

// === impl Texts ===

impl Texts {
    /// Reads the texts of a process; none where it has ended, or where its pid is another's by now.
    pub fn read(task: &TaskFacts, max_args_bytes: usize, wanted: &[String]) -> Option<Self> {
        let folder = folder(task.key.pid);
        let mut flags = ProcessFlags::empty();
        let root = link(&folder.join("root"));
        let binary = link(&folder.join("exe"));
        let (binary, deleted) = match binary.strip_suffix(b" (deleted)") {
            Some(binary) => (binary.to_vec(), true),
            None => (binary, false),
        };
        let mut args = head(&folder.join("cmdline"), max_args_bytes as u64 + 1);
        if args.len() > max_args_bytes {
            args.truncate(max_args_bytes);
            args.truncate(crate::text::trim_cut(&args, true).len());
            flags |= ProcessFlags::TRUNC_ARGS;
        }
        let environ = head(&folder.join("environ"), MAX_ENVIRON);
        let joined =
            environ.split(|byte| *byte == 0).find_map(|variable| variable.strip_prefix(b"TRACEPARENT="));
        let (environment, cut) = select(&environ, wanted);
        flags.set(ProcessFlags::TRUNC_ENVS, cut);
        let texts = Self {
            environment,
            binary: within(&root, binary),
            cwd: within(&root, link(&folder.join("cwd"))),
            args,
            joined: joined.and_then(parse_traceparent),
            file: file(&folder.join("exe"), deleted),
            flags,
        };
        // A pid that still is the same process's after all was read was so all the while.
        (start_ticks(task.key.pid)? == task.key.start() / TICK_NS).then_some(texts)
    }
}

/// What the kernel's iterator would have told of a process; none for one that has ended and is yet to be reaped.
pub fn facts(process: &Process) -> ProcResult<Option<(TaskFacts, String)>> {
    let (stat, status) = (process.stat()?, process.status()?);
    if stat.state == 'Z' {
        return Ok(None);
    }
    let number = |value: i32| u32::try_from(value).unwrap_or(0);
    let key = ExecKey { ktime: stat.starttime.saturating_mul(TICK_NS), pid: number(stat.pid), image: 0 };
    let mut task = TaskFacts { key, ..TaskFacts::default() };
    task.parent.pid = number(stat.ppid);
    task.parent_pid = task.parent.pid;
    task.tid = task.key.pid;
    task.vpid = status.nspid.as_ref().and_then(|pids| pids.last()).map_or(task.key.pid, |pid| number(*pid));
    task.session = number(stat.session);
    task.group = number(stat.pgrp);
    if stat.flags & PF_KTHREAD != 0 {
        task.flags |= task_flags::KERNEL_THREAD;
    }
    if stat.tty_nr != 0 {
        task.flags |= task_flags::TTY;
    }
    let who = &mut task.credentials;
    (who.uid, who.euid, who.suid, who.fsuid) = (status.ruid, status.euid, status.suid, status.fuid);
    (who.gid, who.egid, who.sgid, who.fsgid) = (status.rgid, status.egid, status.sgid, status.fgid);
    who.auid = process.loginuid().unwrap_or(u32::MAX);
    (who.inheritable, who.permitted, who.effective) = (status.capinh, status.capprm, status.capeff);
    who.ambient = status.capamb.unwrap_or(0);
    namespaces(process, &mut task);
    let comm = stat.comm.as_bytes();
    let length = comm.len().min(task.comm.len() - 1);
    task.comm[..length].copy_from_slice(&comm[..length]);
    Ok(Some((task, cgroup(process))))
}

fn namespaces(process: &Process, task: &mut TaskFacts) {
    let Ok(namespaces) = process.namespaces() else { return };
    let to = &mut task.namespaces;
    for (name, namespace) in &namespaces.0 {
        let inode = u32::try_from(namespace.identifier).unwrap_or(0);
        match name.to_str() {
            Some("uts") => to.uts = inode,
            Some("ipc") => to.ipc = inode,
            Some("mnt") => to.mnt = inode,
            Some("pid") => to.pid = inode,
            Some("pid_for_children") => to.pid_for_children = inode,
            Some("net") => to.net = inode,
            Some("time") => to.time = inode,
            Some("time_for_children") => to.time_for_children = inode,
            Some("cgroup") => to.cgroup = inode,
            Some("user") => to.user = inode,
            _ => {}
        }
    }
}

/// As the kernel's programs choose: the unified hierarchy, or where everything is in its root, a legacy one.
fn cgroup(process: &Process) -> String {
    let Ok(groups) = process.cgroups() else { return String::new() };
    let path_of = |wanted: &str| {
        let mut groups = groups.0.iter();
        let group = groups.find(|group| match wanted {
            "" => group.hierarchy == 0,
            controller => group.controllers.iter().any(|name| name == controller),
        })?;
        Some(group.pathname.trim_start_matches('/').to_owned()).filter(|path| !path.is_empty())
    };
    ["", "memory", "pids"].into_iter().find_map(path_of).unwrap_or_default()
}

/// The variables of an environment that are wanted, as the kernel's programs keep them, and whether that left out
/// something of them.
fn select(environ: &[u8], wanted: &[String]) -> (Vec<u8>, bool) {
    let (mut kept, mut cut) = (Vec::new(), false);
    for variable in environ.split(|byte| *byte == 0) {
        let name = variable.split(|byte| *byte == b'=').next().unwrap_or_default();
        if name.len() == variable.len() || !wanted.iter().any(|wanted| wanted.as_bytes() == name) {
            continue;
        }
        let whole = variable.len() < VARIABLE_BYTES;
        let variable = &variable[..variable.len().min(VARIABLE_BYTES - 1)];
        let fits = kept.len() + variable.len() < MAX_ENVIRONMENT_BYTES;
        if fits {
            kept.extend_from_slice(variable);
            kept.push(0);
        }
        cut |= !fits || !whole;
    }
    (kept, cut)
}

fn start_ticks(pid: u32) -> Option<u64> {
    let pid = i32::try_from(pid).ok()?;
    Process::new(pid).and_then(|process| process.stat()).ok().map(|stat| stat.starttime)
}

fn link(path: &Path) -> Vec<u8> {
    std::fs::read_link(path).map(|target| target.into_os_string().into_vec()).unwrap_or_default()
}

/// A path as the process sees it, where its root directory isn't the system's.
fn within(root: &[u8], path: Vec<u8>) -> Vec<u8> {
    match path.strip_prefix(root) {
        Some([]) if root != b"/" => b"/".to_vec(),
        Some(rest) if rest.starts_with(b"/") => rest.to_vec(),
        _ => path,
    }
}

fn head(path: &Path, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        // What could be read before an error is better than nothing.
        let _ = file.take(most).read_to_end(&mut bytes);
    }
    bytes
}

fn file(exe: &Path, deleted: bool) -> Option<FileFacts> {
    let meta = std::fs::metadata(exe).ok()?;
    Some(FileFacts {
        inode: meta.ino(),
        links: if deleted { 0 } else { u32::try_from(meta.nlink()).unwrap_or(u32::MAX) },
        mode: meta.mode(),
        uid: meta.uid(),
        gid: meta.gid(),
        ..FileFacts::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn this() -> TaskFacts {
        let process = Process::myself().unwrap();
        facts(&process).unwrap().unwrap().0
    }

    #[test]
    fn this_process_is_read() {
        let task = this();
        let texts = Texts::read(&task, 1 << 14, &[]).unwrap();
        assert_eq!(texts.binary, std::env::current_exe().unwrap().into_os_string().into_vec());
        assert_eq!(texts.cwd, std::env::current_dir().unwrap().into_os_string().into_vec());
        assert_eq!(task.parent_pid, std::os::unix::process::parent_id());
        assert!(texts.args.ends_with(b"\0"));
        assert_ne!(task.namespaces.mnt, 0);
    }

    #[test]
    fn wanted_variables_are_selected() {
        let wanted = ["LANG".to_owned(), "EMPTY".to_owned(), "LONG".to_owned()];
        let select = |environ: &[u8]| select(environ, &wanted);
        assert_eq!(select(b"LANGUAGE=x\0LANG=C=d\0LANG\0EMPTY=\0"), (b"LANG=C=d\0EMPTY=\0".to_vec(), false));
        let (kept, cut) = select(format!("LONG={}\0LANG=C\0", "x".repeat(5000)).as_bytes());
        assert!(cut && kept.ends_with(b"x\0LANG=C\0"));
        assert_eq!(kept.len(), VARIABLE_BYTES + 7);
        let (kept, cut) = select("LANG=0123456789\0".repeat(1000).as_bytes());
        assert!(cut && kept.len() <= MAX_ENVIRONMENT_BYTES && kept.len() > MAX_ENVIRONMENT_BYTES - 17);
    }

    #[test]
    fn a_pid_that_is_another_process_now_is_none() {
        let mut task = this();
        task.key.ktime += 2 * TICK_NS;
        assert!(Texts::read(&task, 1 << 14, &[]).is_none());
        task.key.pid = u32::MAX;
        assert!(Texts::read(&task, 1 << 14, &[]).is_none());
    }

    #[test]
    fn paths_are_as_the_process_sees_them() {
        assert_eq!(within(b"/", b"/bin/ls".to_vec()), b"/bin/ls");
        assert_eq!(within(b"/jail", b"/jail/bin/ls".to_vec()), b"/bin/ls");
        assert_eq!(within(b"/jail", b"/jail".to_vec()), b"/");
        assert_eq!(within(b"/jail", b"/jailer".to_vec()), b"/jailer");
    }
}
