//! `tetragon.Process` and what it holds.

use std::{cell::RefCell, fmt};

use rustc_hash::FxHashMap;
use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::value::RawValue;

use super::{
    Context, is_default,
    pod::PodOf,
    scalar::{Id, Int64, Time},
};
use crate::{
    event::{self, Gains, ProcessFlags},
    names,
    text::Arguments,
};

/// Characters of a container's id in `docker`; Tetragon keeps no more of it in the kernel.
const DOCKER_ID_LEN: usize = 31;

/// Names of flags and their order in the text, as Tetragon has them.
const FLAGS: [(ProcessFlags, &str); 9] = [
    (ProcessFlags::EXECVE, "execve"),
    (ProcessFlags::PROCFS, "procFS"),
    (ProcessFlags::ERROR_ENVS, "errorEnvs"),
    (ProcessFlags::TRUNC_ARGS, "truncArgs"),
    (ProcessFlags::MISS, "miss"),
    (ProcessFlags::ERROR_ARGS, "errorArgs"),
    (ProcessFlags::ROOT_CWD, "rootcwd"),
    (ProcessFlags::CLONE, "clone"),
    (ProcessFlags::TRUNC_CWD, "errorPathResolutionCwd"),
];

/// Names of the bits of `securebits`, lowest first (`tetragon.SecureBitsType`).
const SECURE_BITS: [&str; 8] = [
    "SecBitNoRoot",
    "SecBitNoRootLocked",
    "SecBitNoSetUidFixup",
    "SecBitNoSetUidFixupLocked",
    "SecBitKeepCaps",
    "SecBitKeepCapsLocked",
    "SecBitNoCapAmbientRaise",
    "SecBitNoCapAmbientRaiseLocked",
];

#[derive(Serialize)]
pub(super) struct Process<'a> {
    exec_id: Id<'a>,
    pid: u32,
    uid: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    cwd: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    binary: &'a str,
    #[serde(skip_serializing_if = "Arguments::is_empty")]
    arguments: Arguments<'a>,
    #[serde(skip_serializing_if = "Flags::is_empty")]
    flags: Flags,
    start_time: Time,
    auid: u32,
    #[serde(skip_serializing_if = "PodOf::is_none")]
    pod: PodOf<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    docker: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_exec_id: Option<Id<'a>>,
    cap: Capabilities,
    ns: Namespaces,
    tid: u32,
    process_credentials: Credentials,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) binary_properties: Option<BinaryProperties<'a>>,
    #[serde(skip_serializing_if = "Environment::is_empty")]
    environment_variables: Environment<'a>,
}

struct Flags(ProcessFlags);

struct Environment<'a>(&'a event::Image);

/// `tetragon.EnvVar`, whose fields begin with capitals.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Variable<'a> {
    key: &'a str,
    value: &'a str,
}

#[derive(Serialize)]
pub(super) struct Capabilities {
    #[serde(skip_serializing_if = "is_default")]
    permitted: CapabilitySet,
    #[serde(skip_serializing_if = "is_default")]
    effective: CapabilitySet,
    #[serde(skip_serializing_if = "is_default")]
    inheritable: CapabilitySet,
}

#[derive(Default, PartialEq)]
struct CapabilitySet(u64);

/// An enum's value: its name, or its number where it has none.
#[derive(Serialize)]
#[serde(untagged)]
enum Value {
    Name(&'static str),
    Number(u32),
}

#[derive(Serialize)]
struct Namespaces {
    #[serde(skip_serializing_if = "Namespace::is_none")]
    uts: Namespace,
    #[serde(skip_serializing_if = "Namespace::is_none")]
    ipc: Namespace,
    #[serde(skip_serializing_if = "Namespace::is_none")]
    mnt: Namespace,
    #[serde(skip_serializing_if = "Namespace::is_none")]
    pid: Namespace,
    #[serde(skip_serializing_if = "Namespace::is_none")]
    pid_for_children: Namespace,
    #[serde(skip_serializing_if = "Namespace::is_none")]
    net: Namespace,
    #[serde(skip_serializing_if = "Namespace::is_none")]
    time: Namespace,
    #[serde(skip_serializing_if = "Namespace::is_none")]
    time_for_children: Namespace,
    #[serde(skip_serializing_if = "Namespace::is_none")]
    cgroup: Namespace,
    #[serde(skip_serializing_if = "Namespace::is_none")]
    user: Namespace,
}

#[derive(Serialize)]
pub(super) struct Namespace {
    inum: u32,
    #[serde(skip_serializing_if = "is_default")]
    is_host: bool,
}

#[derive(Serialize)]
pub(super) struct Credentials {
    uid: u32,
    gid: u32,
    euid: u32,
    egid: u32,
    suid: u32,
    sgid: u32,
    fsuid: u32,
    fsgid: u32,
    #[serde(skip_serializing_if = "is_default")]
    securebits: SecureBits,
}

#[derive(Default, PartialEq)]
struct SecureBits(u32);

/// What is out of the ordinary about the file that was executed.
#[derive(Serialize)]
pub(super) struct BinaryProperties<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    setuid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    setgid: Option<u32>,
    #[serde(skip_serializing_if = "is_default")]
    privileges_changed: PrivilegesChanged,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<File<'a>>,
}

#[derive(Default, PartialEq)]
struct PrivilegesChanged(Gains);

#[derive(Serialize)]
struct File<'a> {
    inode: Inode,
    #[serde(skip_serializing_if = "str::is_empty")]
    path: &'a str,
}

#[derive(Serialize)]
struct Inode {
    number: Int64,
    links: u32,
}

// === impl Process ===

impl<'a> Process<'a> {
    pub(super) fn new(context: Context<'a>, process: &'a event::Process) -> Self {
        Self {
            exec_id: context.id(process.exec_id),
            pid: process.pid(),
            uid: process.credentials.euid,
            cwd: process.image.cwd(),
            binary: process.image.binary(),
            arguments: Arguments(&process.image),
            flags: Flags(process.flags),
            start_time: Time(process.start),
            auid: process.auid,
            pod: PodOf::new(process),
            docker: process.container().map_or("", |container| docker(&container.id)),
            parent_exec_id: process.parent_exec_id.map(|id| context.id(id)),
            cap: Capabilities::new(&process.credentials),
            ns: Namespaces::new(&process.namespaces, context.host),
            tid: process.tid,
            process_credentials: Credentials::new(&process.credentials),
            binary_properties: None,
            environment_variables: Environment(&process.image),
        }
    }
}

fn docker(id: &str) -> &str {
    let end = id.char_indices().nth(DOCKER_ID_LEN).map_or(id.len(), |(at, _)| at);
    &id[..end]
}

// === impl Flags ===

impl Flags {
    fn is_empty(&self) -> bool {
        FLAGS.iter().all(|(flag, _)| !self.0.contains(*flag))
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = FLAGS.iter().filter(|(flag, _)| self.0.contains(*flag)).map(|(_, name)| *name);
        f.write_str(names.next().unwrap_or_default())?;
        names.try_for_each(|name| write!(f, " {name}"))
    }
}

impl Serialize for Flags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

// === impl Environment ===

impl Environment<'_> {
    fn is_empty(&self) -> bool {
        self.0.environment().next().is_none()
    }
}

impl Serialize for Environment<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.environment().map(|(key, value)| Variable { key, value }))
    }
}

// === impl Capabilities ===

impl Capabilities {
    pub(super) fn new(credentials: &event::Credentials) -> Self {
        Self {
            permitted: CapabilitySet(credentials.permitted),
            effective: CapabilitySet(credentials.effective),
            inheritable: CapabilitySet(credentials.inheritable),
        }
    }
}

thread_local! {
    /// Lists that were written before: most processes have one of a handful of sets, and root's is a kilobyte long.
    static LISTS: RefCell<FxHashMap<u64, Box<RawValue>>> = RefCell::default();
}

/// As many lists are kept; when there are more, all are forgotten.
const MAX_LISTS: usize = 64;

impl Serialize for CapabilitySet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        LISTS.with_borrow_mut(|lists| {
            if let Some(list) = lists.get(&self.0) {
                return list.serialize(serializer);
            }
            let list = serde_json::value::to_raw_value(&CapabilityNames(self.0)).map_err(S::Error::custom)?;
            if lists.len() >= MAX_LISTS {
                lists.clear();
            }
            lists.entry(self.0).or_insert(list).serialize(serializer)
        })
    }
}

/// The names of a set, one by one.
struct CapabilityNames(u64);

impl Serialize for CapabilityNames {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(names::capabilities(self.0).map(|number| match names::capability(number) {
            // Tetragon's enum lacks the prefix here, and readers of protojson refuse a name that they don't know.
            Some("CAP_DAC_OVERRIDE") => Value::Name("DAC_OVERRIDE"),
            Some(name) => Value::Name(name),
            None => Value::Number(number),
        }))
    }
}

// === impl Namespaces ===

impl Namespaces {
    fn new(of: &event::Namespaces, host: &event::Namespaces) -> Self {
        let namespace = Namespace::new;
        Self {
            uts: namespace(of.uts, host.uts),
            ipc: namespace(of.ipc, host.ipc),
            mnt: namespace(of.mnt, host.mnt),
            pid: namespace(of.pid, host.pid),
            pid_for_children: namespace(of.pid_for_children, host.pid),
            net: namespace(of.net, host.net),
            time: namespace(of.time, host.time),
            time_for_children: namespace(of.time_for_children, host.time),
            cgroup: namespace(of.cgroup, host.cgroup),
            user: namespace(of.user, host.user),
        }
    }
}

impl Namespace {
    pub(super) fn new(inum: u32, host: u32) -> Self {
        Self { inum, is_host: inum == host }
    }

    /// The kernel has none of that kind.
    fn is_none(&self) -> bool {
        self.inum == 0
    }
}

// === impl Credentials ===

impl Credentials {
    pub(super) fn new(of: &event::Credentials) -> Self {
        Self {
            uid: of.uid,
            gid: of.gid,
            euid: of.euid,
            egid: of.egid,
            suid: of.suid,
            sgid: of.sgid,
            fsuid: of.fsuid,
            fsgid: of.fsgid,
            securebits: SecureBits(of.securebits),
        }
    }
}

impl Serialize for SecureBits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bits = (0..u32::BITS).filter(|bit| self.0 >> bit & 1 == 1);
        serializer.collect_seq(bits.map(|bit| match SECURE_BITS.get(bit as usize) {
            Some(name) => Value::Name(name),
            None => Value::Number(1 << bit),
        }))
    }
}

// === impl BinaryProperties ===

impl<'a> BinaryProperties<'a> {
    /// None for an ordinary file.
    pub(super) fn of(process: &'a event::Process) -> Option<Self> {
        let facts = process.image.file?;
        let gained = facts.gained;
        let unlinked = facts.links == 0 && facts.inode != 0;
        (unlinked || !gained.is_empty()).then(|| Self {
            setuid: gained.contains(Gains::SETUID).then_some(process.credentials.euid),
            setgid: gained.contains(Gains::SETGID).then_some(process.credentials.egid),
            privileges_changed: PrivilegesChanged(gained),
            file: unlinked.then(|| File {
                inode: Inode { number: Int64(facts.inode), links: facts.links },
                path: process.image.binary(),
            }),
        })
    }
}

impl Serialize for PrivilegesChanged {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let reasons = [
            (Gains::FILE_CAPS, "PRIVILEGES_RAISED_EXEC_FILE_CAP"),
            (Gains::SETUID, "PRIVILEGES_RAISED_EXEC_FILE_SETUID"),
            (Gains::SETGID, "PRIVILEGES_RAISED_EXEC_FILE_SETGID"),
        ];
        serializer
            .collect_seq(reasons.iter().filter(|(gain, _)| self.0.contains(*gain)).map(|(_, name)| name))
    }
}
