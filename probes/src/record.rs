//! The records that the programs write: the mirror of `bpf/record.h`, and decoding that is total.
//!
//! Whatever the bytes are, decoding ends with a record or an error, and never reads past them.

use zerocopy::FromBytes;

use crate::mirror::mirror;

pub mod object;
#[cfg(test)]
mod tests;

/// What a record could not hold or could not read: `enum record_flags`.
pub mod flags {
    #![expect(missing_docs, reason = "the names are those of bpf/record.h, which explains them")]
    pub const TRUNC_ARGS: u16 = 1 << 0;
    pub const ERROR_ARGS: u16 = 1 << 1;
    pub const ERROR_ENVS: u16 = 1 << 2;
    pub const TRUNC_BINARY: u16 = 1 << 3;
    pub const TRUNC_CWD: u16 = 1 << 4;
    pub const TRUNC_CGROUP: u16 = 1 << 5;
    pub const DELETED: u16 = 1 << 6;
    pub const TRUNC_ENVS: u16 = 1 << 7;
    pub const UNTOLD: u16 = 1 << 8;
}

/// How an argument was read: `enum arg_flags`.
pub mod arg_flags {
    #![expect(missing_docs, reason = "the names are those of bpf/record.h, which explains them")]
    pub const TRUNCATED: u16 = 1 << 0;
    pub const ABSENT: u16 = 1 << 1;
    pub const DELETED: u16 = 1 << 2;
    pub const DATA: u16 = 1 << 3;
    pub const RETURNED: u16 = 1 << 4;
}

/// How a hook's record came to be: `enum hook_flags`.
pub mod hook_flags {
    #![expect(missing_docs, reason = "the names are those of bpf/record.h, which explains them")]
    pub const MONITORED: u8 = 1 << 0;
    pub const OWNER: u8 = 1 << 1;
    pub const OWNER_GONE: u8 = 1 << 2;
}

/// Types of an argument that is a stack trace: `enum stack_type`.
pub mod stack_type {
    #![expect(missing_docs, reason = "the names are those of bpf/record.h, which explains them")]
    pub const KERNEL: u8 = 70;
    pub const USER: u8 = 71;
}

/// What a task is: `enum task_flags`.
pub mod task_flags {
    #![expect(missing_docs, reason = "the names are those of bpf/record.h, which explains them")]
    pub const KERNEL_THREAD: u32 = 1 << 0;
    pub const TTY: u32 = 1 << 1;
    pub const EXITED: u32 = 1 << 2;
}

/// Why a file is followed no longer: `enum release_reason`.
pub mod release_reason {
    #![expect(missing_docs, reason = "the names are those of bpf/record.h, which explains them")]
    pub const CLOSED: u32 = 1;
    pub const EXIT: u32 = 2;
    pub const UNFOLLOWED: u32 = 3;
    pub const FOUND: u32 = 4;
}

mirror! {
    /// What every record begins with.
    "record_header" Header { kind: u16, flags: u16, length: u32, time: u64, }

    /// One execution of an image by a process.
    #[derive(PartialEq, Eq, Hash)]
    "exec_key" ExecKey { ktime: u64, pid: u32, image: u32, }

    /// Ids and capability sets.
    "task_credentials" TaskCredentials {
        uid: u32, gid: u32, suid: u32, sgid: u32, euid: u32, egid: u32, fsuid: u32, fsgid: u32,
        securebits: u32, auid: u32,
        inheritable: u64, permitted: u64, effective: u64, ambient: u64,
    }

    /// Inodes of namespaces.
    "task_namespaces" TaskNamespaces {
        uts: u32, ipc: u32, mnt: u32, pid: u32, pid_for_children: u32,
        net: u32, time: u32, time_for_children: u32, cgroup: u32, user: u32,
    }

    /// What the kernel knows of a process.
    "task_facts" TaskFacts {
        key: ExecKey, parent: ExecKey, parent_pid: u32, tid: u32, vpid: u32, session: u32, group: u32, flags: u32,
        credentials: TaskCredentials, namespaces: TaskNamespaces, cgroup_id: u64, comm: [u8; 16],
    }

    /// A process was forked, or was there already.
    "fork_record" ForkRecord { header: Header, task: TaskFacts, cgroup_length: u32, reserved: u32, }

    /// An image began to execute.
    "exec_record" ExecRecord {
        header: Header, task: TaskFacts,
        inode: u64, links: u32, mode: u32, file_uid: u32, file_gid: u32,
        binary_length: u32, cwd_length: u32, cgroup_length: u32, script_length: u32,
        traceparent_length: u16, environment_length: u16, args_length: u32,
    }

    /// A process ended.
    "exit_record" ExitRecord {
        header: Header, key: ExecKey, parent: ExecKey, tid: u32, code: u32,
        user_time: u64, system_time: u64, run_time: u64, cgroup_id: u64,
        uid: u32, reserved: u32, comm: [u8; 16],
    }

    /// An argument of a hook's record; its text follows.
    "hook_arg" HookArg {
        kind: u8, number: u8, flags: u16, length: u32, value: u64, opened: u64, mode: u32, group: u32,
    }

    /// The span of a request; all zeros for none.
    #[derive(PartialEq, Eq)]
    "request_span" RequestSpan { trace_id: [u8; 16], span_id: [u8; 8], }

    /// A policy's hook matched; its arguments follow.
    "hook_record" HookRecord {
        header: Header, key: ExecKey, tid: u32, policy_hook: u32, selector: u16, action: u8, args: u8,
        has_return: u8, hook_flags: u8, return_action: u8, reserved: [u8; 1], returned: u64, request: RequestSpan,
    }

    /// A followed file is followed no longer.
    "release_record" ReleaseRecord { header: Header, opened: u64, group: u32, reason: u32, }

    /// A cgroup was made; its path follows.
    "cgroup_made_record" CgroupMadeRecord {
        header: Header, cgroup_id: u64, parent_id: u64, cgroup_length: u32, reserved: u32,
    }

    /// A cgroup was removed.
    "cgroup_gone_record" CgroupGoneRecord { header: Header, cgroup_id: u64, }
}

/// One record, its text borrowed from where it lies.
#[derive(Clone, Copy, Debug)]
pub enum Record<'a> {
    /// An image began to execute.
    Exec(Exec<'a>),
    /// A process ended.
    Exit(ExitRecord),
    /// A process was forked.
    Fork(Fork<'a>),
    /// A process was there already.
    Task(Fork<'a>),
    /// A policy's hook matched.
    Hook(Hook<'a>),
    /// A followed file is followed no longer.
    Release(ReleaseRecord),
    /// A cgroup was made.
    CgroupMade(CgroupMade<'a>),
    /// A cgroup was removed.
    CgroupGone(CgroupGoneRecord),
}

/// A cgroup that was made, with its path.
#[derive(Clone, Copy, Debug)]
pub struct CgroupMade<'a> {
    /// The part of fixed size.
    pub fixed: CgroupMadeRecord,
    /// Its path.
    pub cgroup: LeafFirst<'a>,
}

/// A match of a policy's hook, with its arguments.
#[derive(Clone, Copy, Debug)]
pub struct Hook<'a> {
    /// The part of fixed size.
    pub fixed: HookRecord,
    args: &'a [u8],
}

/// An argument of a hook.
#[derive(Clone, Copy, Debug)]
pub struct Arg<'a> {
    /// The part of fixed size.
    pub fixed: HookArg,
    /// Its text or bytes.
    pub data: &'a [u8],
}

/// A fork or a process that was there already, with its text.
#[derive(Clone, Copy, Debug)]
pub struct Fork<'a> {
    /// The part of fixed size.
    pub fixed: ForkRecord,
    /// The cgroup's path; empty where it is the parent's.
    pub cgroup: LeafFirst<'a>,
}

/// An exec with its text.
#[derive(Clone, Copy, Debug)]
pub struct Exec<'a> {
    /// The part of fixed size.
    pub fixed: ExecRecord,
    /// Path of the file that runs.
    pub binary: LeafFirst<'a>,
    /// Path of the working directory.
    pub cwd: LeafFirst<'a>,
    /// Path of the cgroup.
    pub cgroup: LeafFirst<'a>,
    /// Path of the script as given to exec; empty where a binary was executed.
    pub script: &'a [u8],
    /// Value of the environment's TRACEPARENT; empty where there is none.
    pub traceparent: &'a [u8],
    /// Arguments, each ended by NUL; the last one may have been cut.
    pub args: &'a [u8],
    /// The wanted variables of the environment, `NAME=value`, each ended by NUL.
    pub environment: &'a [u8],
}

/// A path as the kernel's programs write it: each component ended by NUL, the last component first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeafFirst<'a>(pub &'a [u8]);

/// The types of record, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they are those of `Record`")]
pub enum RecordType {
    Exec,
    Exit,
    Fork,
    Task,
    Hook,
    Release,
    CgroupMade,
    CgroupGone,
}

/// Bytes that are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Too short for what its type says.
    #[error("a record of {have} bytes where its type needs {need}")]
    Short {
        /// Bytes there are.
        have: usize,
        /// Bytes there should be at least.
        need: usize,
    },
    /// The header's length isn't that of the record.
    #[error("a record of {have} bytes whose header says {says}")]
    Length {
        /// Bytes there are.
        have: usize,
        /// Bytes by the header.
        says: usize,
    },
    /// Text lengths that add up to more than the record.
    #[error("a record whose text ends {beyond} bytes beyond it")]
    Text {
        /// How far.
        beyond: usize,
    },
    /// Not one of ours.
    #[error("a record of unknown type {0}")]
    UnknownType(u16),
}

/// Takes texts off the end of a record, one after the other.
struct Texts<'a>(&'a [u8]);

// === impl Record ===

/// Reads one record.
///
/// # Errors
/// Fails where the bytes are no record; nothing beyond them is read.
pub fn decode(bytes: &[u8]) -> Result<Record<'_>, DecodeError> {
    let (header, _) = split::<Header>(bytes)?;
    let says = header.length as usize;
    if says != bytes.len() {
        return Err(DecodeError::Length { have: bytes.len(), says });
    }
    match header.kind {
        1 => decode_exec(bytes).map(Record::Exec),
        2 => split(bytes).map(|(record, _)| Record::Exit(record)),
        3 => decode_fork(bytes).map(Record::Fork),
        4 => decode_fork(bytes).map(Record::Task),
        5 => decode_hook(bytes).map(Record::Hook),
        6 => split(bytes).map(|(record, _)| Record::Release(record)),
        7 => decode_cgroup(bytes).map(Record::CgroupMade),
        8 => split(bytes).map(|(record, _)| Record::CgroupGone(record)),
        kind => Err(DecodeError::UnknownType(kind)),
    }
}

/// Reads the first of several records that lie end to end; returns it and what follows it.
///
/// # Errors
/// As [`decode`]; where the header itself is broken there is no telling where the next one begins.
pub fn decode_first(bytes: &[u8]) -> Result<(Record<'_>, &[u8]), DecodeError> {
    let (header, _) = split::<Header>(bytes)?;
    let says = header.length as usize;
    let (record, rest) =
        bytes.split_at_checked(says).ok_or(DecodeError::Length { have: bytes.len(), says })?;
    Ok((decode(record)?, rest))
}

fn split<T: FromBytes>(bytes: &[u8]) -> Result<(T, &[u8]), DecodeError> {
    T::read_from_prefix(bytes).map_err(|_| DecodeError::Short { have: bytes.len(), need: size_of::<T>() })
}

fn decode_exec(bytes: &[u8]) -> Result<Exec<'_>, DecodeError> {
    let (fixed, text) = split::<ExecRecord>(bytes)?;
    let mut texts = Texts(text);
    Ok(Exec {
        binary: LeafFirst(texts.take(fixed.binary_length)?),
        cwd: LeafFirst(texts.take(fixed.cwd_length)?),
        cgroup: LeafFirst(texts.take(fixed.cgroup_length)?),
        script: texts.take(fixed.script_length)?,
        traceparent: texts.take(fixed.traceparent_length.into())?,
        args: texts.take(fixed.args_length)?,
        environment: texts.take(fixed.environment_length.into())?,
        fixed,
    })
}

fn decode_fork(bytes: &[u8]) -> Result<Fork<'_>, DecodeError> {
    let (fixed, text) = split::<ForkRecord>(bytes)?;
    let cgroup = LeafFirst(Texts(text).take(fixed.cgroup_length)?);
    Ok(Fork { fixed, cgroup })
}

fn decode_cgroup(bytes: &[u8]) -> Result<CgroupMade<'_>, DecodeError> {
    let (fixed, text) = split::<CgroupMadeRecord>(bytes)?;
    let cgroup = LeafFirst(Texts(text).take(fixed.cgroup_length)?);
    Ok(CgroupMade { fixed, cgroup })
}

/// All arguments are looked at here, so that whoever reads them later finds them whole.
fn decode_hook(bytes: &[u8]) -> Result<Hook<'_>, DecodeError> {
    let (fixed, args) = split::<HookRecord>(bytes)?;
    let mut rest = args;
    for _ in 0..fixed.args {
        (_, rest) = split_arg(rest)?;
    }
    Ok(Hook { fixed, args })
}

/// The first argument, and what follows it: the next one begins at a multiple of eight bytes.
fn split_arg(bytes: &[u8]) -> Result<(Arg<'_>, &[u8]), DecodeError> {
    let (fixed, rest) = split::<HookArg>(bytes)?;
    let length = fixed.length as usize;
    let padded = length.next_multiple_of(8);
    let short = || DecodeError::Text { beyond: padded.saturating_sub(rest.len()) };
    let (data, rest) = rest.split_at_checked(padded).ok_or_else(short)?;
    Ok((Arg { fixed, data: data.get(..length).unwrap_or(data) }, rest))
}

impl<'a> Hook<'a> {
    /// The arguments, in the policy's order.
    pub fn args(&self) -> impl Iterator<Item = Arg<'a>> + use<'a> {
        let mut rest = self.args;
        (0..self.fixed.args).map_while(move |_| {
            let (arg, after) = split_arg(rest).ok()?;
            rest = after;
            Some(arg)
        })
    }
}

impl<'a> Texts<'a> {
    fn take(&mut self, length: u32) -> Result<&'a [u8], DecodeError> {
        let length = length as usize;
        let (text, rest) = self
            .0
            .split_at_checked(length)
            .ok_or_else(|| DecodeError::Text { beyond: length - self.0.len() })?;
        self.0 = rest;
        Ok(text)
    }
}

impl Record<'_> {
    /// The record's type.
    pub fn record_type(&self) -> RecordType {
        match self {
            Self::Exec(_) => RecordType::Exec,
            Self::Exit(_) => RecordType::Exit,
            Self::Fork(_) => RecordType::Fork,
            Self::Task(_) => RecordType::Task,
            Self::Hook(_) => RecordType::Hook,
            Self::Release(_) => RecordType::Release,
            Self::CgroupMade(_) => RecordType::CgroupMade,
            Self::CgroupGone(_) => RecordType::CgroupGone,
        }
    }
}

// === impl ExecKey ===

impl ExecKey {
    /// When the process started, whatever it has executed since; nanoseconds of the boot clock.
    pub fn start(self) -> u64 {
        self.ktime.saturating_sub(u64::from(self.image))
    }
}

// === impl RecordType ===

impl RecordType {
    /// The types that come through the ring buffer, in the order of `enum record_type`.
    pub const IN_RING: [Self; 7] =
        [Self::Exec, Self::Exit, Self::Fork, Self::Hook, Self::Release, Self::CgroupMade, Self::CgroupGone];

    /// Its number in `enum record_type`.
    pub fn number(self) -> u16 {
        match self {
            Self::Exec => 1,
            Self::Exit => 2,
            Self::Fork => 3,
            Self::Task => 4,
            Self::Hook => 5,
            Self::Release => 6,
            Self::CgroupMade => 7,
            Self::CgroupGone => 8,
        }
    }

    /// The name in metrics: Tetragon's for those that become events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exec => "PROCESS_EXEC",
            Self::Exit => "PROCESS_EXIT",
            Self::Fork => "PROCESS_FORK",
            Self::Task => "PROCESS_TASK",
            Self::Hook => "HOOK",
            Self::Release => "RELEASE",
            Self::CgroupMade => "CGROUP_MADE",
            Self::CgroupGone => "CGROUP_GONE",
        }
    }
}

// === impl LeafFirst ===

impl LeafFirst<'_> {
    /// Appends the path, root first: `absolute` says whether it begins with a slash.
    pub fn write(&self, absolute: bool, out: &mut Vec<u8>) {
        let components = self.0.strip_suffix(b"\0").unwrap_or(self.0);
        if components.is_empty() {
            out.extend_from_slice(if absolute { b"/" } else { b"" });
            return;
        }
        for (index, component) in components.rsplit(|byte| *byte == 0).enumerate() {
            if absolute || index > 0 {
                out.push(b'/');
            }
            out.extend_from_slice(component);
        }
    }
}
