//! Arguments that are objects of the kernel: `tetragon.KprobeSock`, `tetragon.ProcessCredentials` and their like.
//!
//! Some of Tetragon's messages have fields in capitals; they are written as they are.

use std::{borrow::Cow, net::IpAddr};

use serde::Serialize;

use super::{
    hook::File,
    is_default,
    process::{Capabilities, Credentials, Namespace},
    scalar::{Int64, Shown},
};
use crate::{
    event::{self, CapabilitySet, Namespaces, Object, Packet, PerfEvent, Program, Socket},
    names::{self, kernel, sockets},
};

/// An argument, under the name of its kind.
#[derive(Serialize)]
pub(super) enum ObjectArgument<'a> {
    #[serde(rename = "sock_arg")]
    Socket(SocketArgument),
    #[serde(rename = "skb_arg")]
    Packet(PacketArgument),
    #[serde(rename = "sockaddr_arg")]
    Address(AddressArgument),
    #[serde(rename = "sockaddrun_arg")]
    UnixAddress(UnixAddressArgument<'a>),
    #[serde(rename = "process_credentials_arg")]
    Credentials(CredentialsArgument),
    #[serde(rename = "user_ns_arg")]
    UserNamespace(UserNamespace),
    #[serde(rename = "capability_arg")]
    Capability(CapabilityArgument),
    #[serde(rename = "kernel_cap_t_arg")]
    Capabilities(Hex),
    #[serde(rename = "cap_inheritable_arg")]
    Inheritable(Hex),
    #[serde(rename = "cap_permitted_arg")]
    Permitted(Hex),
    #[serde(rename = "cap_effective_arg")]
    Effective(Hex),
    #[serde(rename = "module_arg")]
    Module(ModuleArgument<'a>),
    #[serde(rename = "bpf_attr_arg")]
    ProgramAttributes(ProgramArgument<'a>),
    #[serde(rename = "bpf_prog_arg")]
    Program(ProgramArgument<'a>),
    #[serde(rename = "bpf_map_arg")]
    Map(MapArgument<'a>),
    #[serde(rename = "bpf_cmd_arg")]
    BpfCommand(Cow<'static, str>),
    #[serde(rename = "perf_event_arg")]
    PerfEvent(PerfEventArgument<'a>),
    #[serde(rename = "syscall_id")]
    SystemCall(SystemCallArgument),
    #[serde(rename = "net_dev_arg")]
    Device(DeviceArgument<'a>),
    #[serde(rename = "linux_binprm_arg")]
    Executable(File<'a>),
}

/// A set of capabilities, as the kernel shows it in /proc/PID/status.
type Hex = Shown<String>;

#[derive(Serialize)]
pub(super) struct SocketArgument {
    #[serde(skip_serializing_if = "is_empty")]
    family: Cow<'static, str>,
    #[serde(rename = "type", skip_serializing_if = "is_empty")]
    kind: Cow<'static, str>,
    #[serde(skip_serializing_if = "is_empty")]
    protocol: Cow<'static, str>,
    #[serde(skip_serializing_if = "is_default")]
    mark: u32,
    #[serde(skip_serializing_if = "is_default")]
    priority: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    saddr: Option<Shown<IpAddr>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    daddr: Option<Shown<IpAddr>>,
    #[serde(skip_serializing_if = "is_default")]
    sport: u16,
    #[serde(skip_serializing_if = "is_default")]
    dport: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    cookie: Option<Int64>,
    #[serde(skip_serializing_if = "is_empty")]
    state: Cow<'static, str>,
}

#[derive(Serialize)]
pub(super) struct PacketArgument {
    #[serde(skip_serializing_if = "is_default")]
    hash: u32,
    #[serde(skip_serializing_if = "is_default")]
    len: u32,
    #[serde(skip_serializing_if = "is_default")]
    priority: u32,
    #[serde(skip_serializing_if = "is_default")]
    mark: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    saddr: Option<Shown<IpAddr>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    daddr: Option<Shown<IpAddr>>,
    #[serde(skip_serializing_if = "is_default")]
    sport: u16,
    #[serde(skip_serializing_if = "is_default")]
    dport: u16,
    #[serde(skip_serializing_if = "is_default")]
    proto: u16,
    #[serde(skip_serializing_if = "is_default")]
    sec_path_len: u32,
    #[serde(skip_serializing_if = "is_default")]
    sec_path_olen: u32,
    #[serde(skip_serializing_if = "is_empty")]
    protocol: Cow<'static, str>,
    #[serde(skip_serializing_if = "is_empty")]
    family: Cow<'static, str>,
}

#[derive(Serialize)]
pub(super) struct AddressArgument {
    family: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    addr: Option<Shown<IpAddr>>,
    #[serde(skip_serializing_if = "is_default")]
    port: u16,
}

#[derive(Serialize)]
pub(super) struct UnixAddressArgument<'a> {
    family: Cow<'static, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    path: &'a str,
}

#[derive(Serialize)]
pub(super) struct CredentialsArgument {
    #[serde(flatten)]
    credentials: Credentials,
    caps: Capabilities,
    user_ns: UserNamespace,
}

/// `tetragon.UserNamespace`
#[derive(Serialize)]
pub(super) struct UserNamespace {
    level: i32,
    uid: u32,
    gid: u32,
    ns: Namespace,
}

#[derive(Serialize)]
pub(super) struct CapabilityArgument {
    value: i32,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'static str,
}

#[derive(Serialize)]
pub(super) struct ModuleArgument<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature_ok: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tainted: Vec<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ProgramArgument<'a> {
    prog_type: Cow<'static, str>,
    #[serde(skip_serializing_if = "is_default")]
    insn_cnt: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    prog_name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MapArgument<'a> {
    map_type: Cow<'static, str>,
    #[serde(skip_serializing_if = "is_default")]
    key_size: u32,
    #[serde(skip_serializing_if = "is_default")]
    value_size: u32,
    #[serde(skip_serializing_if = "is_default")]
    max_entries: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    map_name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PerfEventArgument<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    kprobe_func: &'a str,
    #[serde(rename = "Type")]
    kind: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Int64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probe_offset: Option<Int64>,
}

#[derive(Serialize)]
pub(super) struct SystemCallArgument {
    #[serde(skip_serializing_if = "is_default")]
    id: u32,
    abi: &'static str,
}

#[derive(Serialize)]
pub(super) struct DeviceArgument<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
}

fn is_empty(text: &str) -> bool {
    text.is_empty()
}

fn known(number: u64) -> Option<Int64> {
    (number != 0).then_some(Int64(number))
}

/// Tetragon's names of the ways to make a system call.
fn abi(compat: bool) -> &'static str {
    match (std::env::consts::ARCH, compat) {
        ("aarch64", false) => "arm64",
        ("aarch64", true) => "arm32",
        (_, false) => "x64",
        (_, true) => "i386",
    }
}

// === impl ObjectArgument ===

impl<'a> ObjectArgument<'a> {
    pub(super) fn new(object: &'a Object, host: &Namespaces) -> Self {
        match object {
            Object::Socket(socket) => Self::Socket(SocketArgument::new(socket)),
            Object::Packet(packet) => Self::Packet(PacketArgument::new(packet)),
            Object::Address(event::Address { family, address, port }) => Self::Address(AddressArgument {
                family: sockets::family(*family),
                addr: address.map(Shown),
                port: *port,
            }),
            Object::UnixAddress { family, path } => {
                Self::UnixAddress(UnixAddressArgument { family: sockets::family(*family), path })
            }
            Object::Credentials(credentials, namespace) => Self::Credentials(CredentialsArgument {
                credentials: Credentials::new(credentials),
                caps: Capabilities::new(credentials),
                user_ns: UserNamespace::new(namespace, host),
            }),
            Object::UserNamespace(namespace) => Self::UserNamespace(UserNamespace::new(namespace, host)),
            Object::Capability(number) => Self::Capability(CapabilityArgument {
                value: *number,
                name: u32::try_from(*number).ok().and_then(names::capability).unwrap_or_default(),
            }),
            Object::Capabilities(set, bits) => {
                let hex = Shown(format!("{bits:016x}"));
                match set {
                    CapabilitySet::Any => Self::Capabilities(hex),
                    CapabilitySet::Inheritable => Self::Inheritable(hex),
                    CapabilitySet::Permitted => Self::Permitted(hex),
                    CapabilitySet::Effective => Self::Effective(hex),
                }
            }
            Object::Module(event::Module { name, signature_ok, taints }) => Self::Module(ModuleArgument {
                name,
                signature_ok: *signature_ok,
                tainted: kernel::taints(*taints).collect(),
            }),
            Object::ProgramAttributes(program) => Self::ProgramAttributes(ProgramArgument::new(program)),
            Object::Program(program) => Self::Program(ProgramArgument::new(program)),
            Object::Map(map) => Self::Map(MapArgument {
                map_type: kernel::map_type(map.kind),
                key_size: map.key_size,
                value_size: map.value_size,
                max_entries: map.max_entries,
                map_name: &map.name,
            }),
            Object::BpfCommand(number) => Self::BpfCommand(kernel::bpf_command(*number)),
            Object::PerfEvent(PerfEvent { kind, pmu, config, function, offset }) => {
                Self::PerfEvent(PerfEventArgument {
                    kprobe_func: function,
                    kind: kernel::perf_type(*kind, pmu),
                    config: known(*config),
                    probe_offset: known(*offset),
                })
            }
            Object::SystemCall { id, compat } => {
                Self::SystemCall(SystemCallArgument { id: *id as u32, abi: abi(*compat) })
            }
            Object::Device { name, .. } => Self::Device(DeviceArgument { name }),
            Object::Executable(file) => Self::Executable(File::new(&file.path, file.truncated, file.mode)),
        }
    }
}

impl SocketArgument {
    fn new(socket: &Socket) -> Self {
        let Socket { ends, kind, state, mark, priority, cookie } = *socket;
        Self {
            family: sockets::family(ends.family),
            kind: sockets::socket_type(kind),
            // What is not of IP has protocols of its own.
            protocol: ends.source.map_or(Cow::Borrowed(""), |_| sockets::protocol(ends.protocol)),
            mark,
            priority,
            saddr: ends.source.map(Shown),
            daddr: ends.destination.map(Shown),
            sport: ends.source_port,
            dport: ends.destination_port,
            cookie: known(cookie),
            state: sockets::socket_state(state),
        }
    }
}

impl PacketArgument {
    fn new(packet: &Packet) -> Self {
        let ends = &packet.ends;
        let is_ip = ends.source.is_some();
        Self {
            hash: packet.hash,
            len: packet.length,
            priority: packet.priority,
            mark: packet.mark,
            saddr: ends.source.map(Shown),
            daddr: ends.destination.map(Shown),
            sport: ends.source_port,
            dport: ends.destination_port,
            proto: ends.protocol,
            sec_path_len: packet.sec_path_length,
            sec_path_olen: packet.sec_path_offloaded,
            protocol: if is_ip { sockets::protocol(ends.protocol) } else { Cow::Borrowed("") },
            family: if is_ip { sockets::family(ends.family) } else { Cow::Borrowed("") },
        }
    }
}

impl UserNamespace {
    fn new(of: &event::UserNamespace, host: &Namespaces) -> Self {
        let event::UserNamespace { inode, level, uid, gid } = *of;
        Self { level, uid, gid, ns: Namespace::new(inode, host.user) }
    }
}

impl<'a> ProgramArgument<'a> {
    fn new(program: &'a Program) -> Self {
        Self {
            prog_type: kernel::program_type(program.kind),
            insn_cnt: program.instructions,
            prog_name: &program.name,
        }
    }
}
