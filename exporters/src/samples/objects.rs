//! What policies see of the kernel's objects, for tests.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::hooks::{hook, kprobe, specs, text, tracepoint, vi};
use crate::event::{
    Address, CapabilitySet, Credentials, Ends, Event, File, Hook, Map, Module, Object, Packet, PerfEvent,
    Program, Socket, UserNamespace, Value,
};

pub(crate) fn object(object: Object) -> Value {
    Value::Object(Box::new(object))
}

/// A connection from 10.0.0.1 to 10.0.0.2 over TCP.
pub(crate) fn ends() -> Ends {
    Ends {
        family: 2,
        protocol: 6,
        source: Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))),
        source_port: 4711,
        destination: Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2))),
        destination_port: 80,
    }
}

pub(crate) fn socket() -> Socket {
    Socket { ends: ends(), kind: 1, state: 2, mark: 0, priority: 6, cookie: 0x1_0000_0001 }
}

fn packet() -> Packet {
    let ends = Ends {
        family: 10,
        protocol: 17,
        source: Some(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        source_port: 53,
        destination: Some(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        destination_port: 5353,
    };
    Packet { ends, hash: 7, length: 90, priority: 0, mark: 42, sec_path_length: 1, sec_path_offloaded: 0 }
}

fn namespace() -> UserNamespace {
    UserNamespace { inode: 4_026_532_000, level: 1, uid: 1000, gid: 1000 }
}

fn credentials() -> Credentials {
    Credentials {
        uid: 1000,
        gid: 1000,
        securebits: 1 << 4,
        permitted: 1 << 21,
        effective: 1 << 1 | 1 << 21,
        ..Credentials::default()
    }
}

fn program() -> Program {
    Program { kind: 2, instructions: 7, name: "spy".into() }
}

fn perf_event() -> PerfEvent {
    PerfEvent { kind: 8, pmu: "kprobe".into(), config: 0, function: "tcp_connect".into(), offset: 4 }
}

fn module(signature_ok: Option<bool>) -> Module {
    Module { name: "rootkit".into(), signature_ok, taints: 1 << 12 | 1 << 13 }
}

fn call(function: &str, objects: Vec<Object>) -> Event {
    vi(hook(kprobe(function), objects.into_iter().map(object).collect()))
}

/// What is read beside the arguments.
fn data() -> Hook {
    let mut source = kprobe("security_bprm_check");
    source.args = specs(&[("", "linux_binprm")]);
    source.data = specs(&[("grandparent", "string"), ("", "cred")]);
    let file = File { path: "/bin/sh".into(), mode: 0o100_755, ..File::default() };
    let data = [Some(text("sshd")), Some(object(Object::Credentials(credentials(), namespace())))];
    Hook { data: data.into(), ..hook(source, vec![object(Object::Executable(file))]) }
}

/// The table of events, by the names of their snapshots.
pub(super) fn table() -> Vec<(&'static str, Event)> {
    let map = Map { kind: 1, key_size: 4, value_size: 8, max_entries: 16, name: "seen".into() };
    let local =
        Ends { family: 1, protocol: 0, source: None, destination: None, source_port: 0, destination_port: 0 };
    let address = Address { family: 10, address: Some(IpAddr::V6(Ipv6Addr::LOCALHOST)), port: 53 };
    let sets = [
        Object::Capabilities(CapabilitySet::Any, 0x1ff),
        Object::Capabilities(CapabilitySet::Inheritable, 0),
        Object::Capabilities(CapabilitySet::Permitted, u64::MAX),
        Object::Capabilities(CapabilitySet::Effective, 1 << 21),
    ];
    let read = |compat| {
        vi(hook(tracepoint("raw_syscalls", "sys_enter"), vec![object(Object::SystemCall { id: 3, compat })]))
    };
    vec![
        ("object_sock", call("tcp_connect", vec![Object::Socket(socket())])),
        ("object_sock_unix", call("unix_release", vec![Object::Socket(Socket { ends: local, ..socket() })])),
        ("object_skb", call("ip6_output", vec![Object::Packet(packet())])),
        ("object_sockaddr", call("security_socket_connect", vec![Object::Address(address)])),
        (
            "object_sockaddr_un",
            call("unix_bind", vec![Object::UnixAddress { family: 1, path: "@\u{1b}[31mx".into() }]),
        ),
        ("object_cred", call("commit_creds", vec![Object::Credentials(credentials(), namespace())])),
        (
            "object_capability",
            call(
                "cap_capable",
                vec![Object::UserNamespace(namespace()), Object::Capability(21), Object::Capability(99)],
            ),
        ),
        ("object_capabilities", call("security_capset", sets.into())),
        (
            "object_module",
            call("do_init_module", vec![Object::Module(module(Some(false))), Object::Module(module(None))]),
        ),
        (
            "object_program",
            call("bpf_check", vec![Object::ProgramAttributes(program()), Object::Program(program())]),
        ),
        ("object_map", call("security_bpf_map_create", vec![Object::Map(map)])),
        ("object_bpf_cmd", call("security_bpf", vec![Object::BpfCommand(5)])),
        ("object_perf_event", call("security_perf_event_alloc", vec![Object::PerfEvent(perf_event())])),
        ("object_syscall", read(false)),
        ("object_syscall_compat", read(true)),
        (
            "object_net_device",
            call("dev_hard_start_xmit", vec![Object::Device { name: "eth0".into(), index: 2 }]),
        ),
        ("object_data", vi(data())),
    ]
}
