//! From the kernel's facts to the model's.

use std::time::Duration;

use trigon_exporters::{
    event::{Credentials, Exit, FileFacts, Gains, Image, Namespaces, ProcessFlags},
    identity::ExecId,
};
use trigon_probes::record::{ExecKey, ExecRecord, ExitRecord, TaskFacts, flags};

use crate::text::push_escaped;

pub(super) fn id_of(key: ExecKey) -> ExecId {
    ExecId { ktime: key.ktime, pid: key.pid }
}

/// Process 0 is the kernel itself: nobody's parent.
pub(super) fn parent_of(key: ExecKey) -> Option<ExecId> {
    (key.pid != 0).then(|| id_of(key))
}

/// The execution that this one replaced in the same process.
pub(super) fn previous_image(key: ExecKey) -> Option<ExecId> {
    (key.image > 0).then(|| ExecId { ktime: key.ktime.saturating_sub(1), pid: key.pid })
}

pub(super) fn image_of_comm(comm: &[u8]) -> Image {
    let mut name = String::new();
    let end = comm.iter().position(|byte| *byte == 0).unwrap_or(comm.len());
    push_escaped(&comm[..end], &mut name);
    Image::new(&name, "", "", "", None)
}

pub(super) fn flags_of(record: u16) -> ProcessFlags {
    let pairs = [
        (flags::ERROR_ARGS, ProcessFlags::ERROR_ARGS),
        (flags::ERROR_ENVS, ProcessFlags::ERROR_ENVS),
        (flags::TRUNC_BINARY, ProcessFlags::TRUNC_FILENAME),
        (flags::TRUNC_CWD, ProcessFlags::TRUNC_CWD),
        (flags::TRUNC_ENVS, ProcessFlags::TRUNC_ENVS),
    ];
    pairs.into_iter().filter(|(bit, _)| record & bit != 0).map(|(_, flag)| flag).collect()
}

pub(super) fn credentials_of(task: &TaskFacts) -> Credentials {
    let from = &task.credentials;
    Credentials {
        uid: from.uid,
        gid: from.gid,
        euid: from.euid,
        egid: from.egid,
        suid: from.suid,
        sgid: from.sgid,
        fsuid: from.fsuid,
        fsgid: from.fsgid,
        securebits: from.securebits,
        permitted: from.permitted,
        effective: from.effective,
        inheritable: from.inheritable,
    }
}

pub(super) fn namespaces_of(task: &TaskFacts) -> Namespaces {
    let from = &task.namespaces;
    Namespaces {
        uts: from.uts,
        ipc: from.ipc,
        mnt: from.mnt,
        pid: from.pid,
        pid_for_children: from.pid_for_children,
        net: from.net,
        time: from.time,
        time_for_children: from.time_for_children,
        cgroup: from.cgroup,
        user: from.user,
    }
}

pub(super) fn file_of(record: &ExecRecord) -> FileFacts {
    FileFacts {
        inode: record.inode,
        links: if record.header.flags & flags::DELETED != 0 { 0 } else { record.links },
        mode: record.mode,
        uid: record.file_uid,
        gid: record.file_gid,
        gained: gains_of(record),
    }
}

/// What an exec gained by its file: credentials(7) and capabilities(7) turned round.
pub(super) fn gains_of(record: &ExecRecord) -> Gains {
    const SET_UID: u32 = 0o4000;
    const SET_GID: u32 = 0o2000;
    let who = &record.task.credentials;
    let mut gained = Gains::empty();
    gained
        .set(Gains::SETUID, record.mode & SET_UID != 0 && who.euid == record.file_uid && who.euid != who.uid);
    gained
        .set(Gains::SETGID, record.mode & SET_GID != 0 && who.egid == record.file_gid && who.egid != who.gid);
    // Who isn't root has after an exec only ambient capabilities, but for what the file gave.
    let root = who.uid == 0 || who.euid == 0;
    gained.set(Gains::FILE_CAPS, !root && who.permitted & !who.ambient != 0);
    gained
}

pub(super) fn exit_of(record: &ExitRecord) -> Exit {
    let (user, system) = cpu_time(record);
    Exit {
        // As wait(2) packs it: status in the second byte, signal in the lower seven bits, then "core dumped".
        code: (record.code >> 8) as u8,
        signal: (record.code & 0x7f) as u8,
        core_dumped: record.code & 0x80 != 0,
        user_time: Duration::from_nanos(user),
        system_time: Duration::from_nanos(system),
    }
}

/// What the tick sampled, scaled to what the scheduler measured, as the kernel's cputime_adjust() does for /proc.
pub(super) fn cpu_time(record: &ExitRecord) -> (u64, u64) {
    let (user, system, run) = (record.user_time, record.system_time, record.run_time);
    if system == 0 {
        return (run, 0);
    }
    if user == 0 {
        return (0, run);
    }
    let system = u128::from(run) * u128::from(system) / (u128::from(user) + u128::from(system));
    let system = u64::try_from(system).unwrap_or(run);
    (run - system, system)
}
