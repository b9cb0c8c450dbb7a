//! Objects of the kernel among the arguments of a call: sockets, packets, credentials, modules, programs.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use super::{Credentials, File};
use crate::names::{self, kernel, sockets};

/// An object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A socket, or a struct that stands for one.
    Socket(Socket),
    /// A packet.
    Packet(Packet),
    /// The address of a socket.
    Address(Address),
    /// The address of a socket of this machine: a path, or a name that begins with `@`.
    UnixAddress {
        /// `AF_*`, by its number.
        family: u16,
        /// The path; bytes that were not UTF-8 are written as `\xNN`.
        path: Box<str>,
    },
    /// Ids and capabilities.
    Credentials(Credentials, UserNamespace),
    /// A user namespace.
    UserNamespace(UserNamespace),
    /// A capability, by its number.
    Capability(i32),
    /// A set of capabilities, one bit each.
    Capabilities(CapabilitySet, u64),
    /// A module of the kernel.
    Module(Module),
    /// An eBPF program that is loaded (`union bpf_attr`).
    ProgramAttributes(Program),
    /// An eBPF program.
    Program(Program),
    /// An eBPF map.
    Map(Map),
    /// A command of bpf(2), by its number.
    BpfCommand(i32),
    /// A perf event.
    PerfEvent(PerfEvent),
    /// A system call.
    SystemCall {
        /// Its number.
        id: u64,
        /// A 32-bit program made it, or one that does as such.
        compat: bool,
    },
    /// A network device.
    Device {
        /// Its name: `eth0`.
        name: Box<str>,
        /// Its number in its network namespace.
        index: u32,
    },
    /// The file that is about to be executed.
    Executable(File),
}

/// A socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Both ends.
    pub ends: Ends,
    /// `SOCK_*`, by its number.
    pub kind: u16,
    /// `TCP_*`, by its number, whatever the protocol.
    pub state: u8,
    /// `SO_MARK`
    pub mark: u32,
    /// `SO_PRIORITY`
    pub priority: u32,
    /// What the kernel names it by (`SO_COOKIE`), where somebody asked before; else 0.
    pub cookie: u64,
}

/// Where something comes from and goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// `AF_*`, by its number.
    pub family: u16,
    /// `IPPROTO_*`, by its number.
    pub protocol: u16,
    /// Of a socket this end's, of a packet its sender's. None where it has none, as of a socket of this machine.
    pub source: Option<IpAddr>,
    /// Its port; 0 where there is none.
    pub source_port: u16,
    /// The other end's, a packet's receiver's.
    pub destination: Option<IpAddr>,
    /// Its port; 0 where there is none.
    pub destination_port: u16,
}

/// A packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Sender and receiver.
    pub ends: Ends,
    /// The hash of its flow; 0 where the kernel had no need of it.
    pub hash: u32,
    /// Its length in bytes.
    pub length: u32,
    /// Its socket's `SO_PRIORITY`.
    pub priority: u32,
    /// Its socket's `SO_MARK`.
    pub mark: u32,
    /// How many transformations of IPsec it went through.
    pub sec_path_length: u32,
    /// How many of them the device did.
    pub sec_path_offloaded: u32,
}

/// An address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// `AF_*`, by its number.
    pub family: u16,
    /// None where the family is none of IP's.
    pub address: Option<IpAddr>,
    /// Its port.
    pub port: u16,
}

/// A user namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserNamespace {
    /// Its inode.
    pub inode: u32,
    /// How many are above it.
    pub level: i32,
    /// Its owner.
    pub uid: u32,
    /// Its owner's group.
    pub gid: u32,
}

/// A set that a process has. They are of one type in the kernel: the policy says which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum CapabilitySet {
    Any,
    Inheritable,
    Permitted,
    Effective,
}

/// A module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its name; bytes that were not UTF-8 are written as `\xNN`.
    pub name: Box<str>,
    /// Its signature is good; not known where the kernel checks none.
    pub signature_ok: Option<bool>,
    /// What it taints the kernel with, one bit each.
    pub taints: u64,
}

/// An eBPF program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// `BPF_PROG_TYPE_*`, by its number.
    pub kind: u32,
    /// How many instructions it has.
    pub instructions: u32,
    /// Its name.
    pub name: Box<str>,
}

/// An eBPF map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// `BPF_MAP_TYPE_*`, by its number.
    pub kind: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// How many entries it may have.
    pub max_entries: u32,
    /// Its name.
    pub name: Box<str>,
}

/// A perf event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerfEvent {
    /// `PERF_TYPE_*`, by its number, or the number of a PMU.
    pub kind: u32,
    /// The name of its PMU: `kprobe`.
    pub pmu: Box<str>,
    /// Which event of its type (`config` of perf_event_open(2)).
    pub config: u64,
    /// The function that it probes.
    pub function: Box<str>,
    /// Where in the function.
    pub offset: u64,
}

// === impl Object ===

impl Object {
    /// Where it comes from and goes to, if it is something that does.
    pub fn ends(&self) -> Option<&Ends> {
        match self {
            Self::Socket(socket) => Some(&socket.ends),
            Self::Packet(packet) => Some(&packet.ends),
            _ => None,
        }
    }

    /// A number that stands for it.
    pub fn number(&self) -> Option<i64> {
        match self {
            Self::Capability(number) | Self::BpfCommand(number) => Some(i64::from(*number)),
            Self::SystemCall { id, .. } => i64::try_from(*id).ok(),
            Self::Capabilities(_, bits) => i64::try_from(*bits).ok(),
            Self::UserNamespace(namespace) => Some(i64::from(namespace.inode)),
            _ => None,
        }
    }

    /// Bytes of text that it holds.
    pub fn text_bytes(&self) -> usize {
        match self {
            Self::UnixAddress { path: text, .. }
            | Self::Module(Module { name: text, .. })
            | Self::ProgramAttributes(Program { name: text, .. })
            | Self::Program(Program { name: text, .. })
            | Self::Map(Map { name: text, .. })
            | Self::Device { name: text, .. }
            | Self::Executable(File { path: text, .. }) => text.len(),
            Self::PerfEvent(event) => event.pmu.len() + event.function.len(),
            _ => 0,
        }
    }
}

/// In a few words.
impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(Socket { ends, .. }) | Self::Packet(Packet { ends, .. }) => ends.fmt(f),
            Self::Address(Address { family, address, port }) => match address {
                Some(address) => end(Some(*address), *port, f),
                None => f.write_str(&sockets::family(*family)),
            },
            Self::UnixAddress { path, .. } => f.write_str(path),
            Self::Credentials(credentials, namespace) => {
                let Credentials { uid, euid, gid, egid, .. } = credentials;
                write!(f, "uid {uid} euid {euid} gid {gid} egid {egid} user_ns {}", namespace.inode)
            }
            Self::UserNamespace(namespace) => namespace.inode.fmt(f),
            Self::Capability(number) => match u32::try_from(*number).ok().and_then(names::capability) {
                Some(name) => f.write_str(name),
                None => number.fmt(f),
            },
            Self::Capabilities(_, bits) => write!(f, "{bits:016x}"),
            Self::Module(module) => f.write_str(&module.name),
            Self::ProgramAttributes(program) | Self::Program(program) => {
                write!(f, "{} {}", kernel::program_type(program.kind), program.name)
            }
            Self::Map(map) => write!(f, "{} {}", kernel::map_type(map.kind), map.name),
            Self::BpfCommand(number) => f.write_str(&kernel::bpf_command(*number)),
            Self::PerfEvent(event) => {
                f.write_str(&kernel::perf_type(event.kind, &event.pmu))?;
                if event.function.is_empty() { Ok(()) } else { write!(f, " {}", event.function) }
            }
            Self::SystemCall { id, .. } => id.fmt(f),
            Self::Device { name, .. } => f.write_str(name),
            Self::Executable(file) => f.write_str(&file.path),
        }
    }
}

// === impl Ends ===

impl Ends {
    /// What it goes over, as OpenTelemetry has it (`network.transport`).
    pub fn transport(&self) -> Option<&'static str> {
        const UNIX: u16 = 1;
        match (self.family, self.protocol) {
            (UNIX, _) => Some("unix"),
            (_, 6) => Some("tcp"),
            (_, 17) => Some("udp"),
            _ => None,
        }
    }
}

/// `tcp 10.0.0.1:4711 -> [::1]:80`
impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.source.is_none() && self.destination.is_none() {
            return f.write_str(&sockets::family(self.family));
        }
        let protocol = sockets::protocol(self.protocol);
        let protocol = protocol.strip_prefix("IPPROTO_").unwrap_or(&protocol).to_ascii_lowercase();
        write!(f, "{protocol} ")?;
        end(self.source, self.source_port, f)?;
        f.write_str(" -> ")?;
        end(self.destination, self.destination_port, f)
    }
}

fn end(address: Option<IpAddr>, port: u16, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match address {
        Some(IpAddr::V6(address)) => write!(f, "[{address}]:{port}"),
        Some(IpAddr::V4(address)) => write!(f, "{address}:{port}"),
        None => write!(f, ":{port}"),
    }
}

/// An address of sixteen bytes, of which some stand for one of four.
pub fn address(bytes: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(bytes).to_canonical()
}
