//! From what the programs read of the kernel's objects to what events say of them. Whatever the bytes are, there is an
//! object or none.

use std::net::IpAddr;

use trigon_exporters::event::{
    Address, CapabilitySet, Credentials, Ends, Map, Module, Object, Packet, PerfEvent, Program, Socket,
    UserNamespace, address,
};
use trigon_probes::{
    hooks::plan::{COMPAT_NUMBER, value_type},
    record::{
        Arg,
        object::{self, CredFacts, Endpoint, MapFacts, PerfEventFacts, ProgramFacts, UserNsFacts, until_nul},
    },
};

use super::file_of;
use crate::text::escaped;

/// Families of IP, by their numbers (include/linux/socket.h).
const INET: u16 = 2;
const INET6: u16 = 10;

/// `enum signature` of bpf/drift.h.
const SIGNATURE_MISSING: u32 = 1;
const SIGNATURE_GOOD: u32 = 2;

/// The object that an argument is; none where it is none, or its bytes are too few.
pub(super) fn decode(arg: &Arg<'_>) -> Option<Object> {
    let (data, value, mode) = (arg.data, arg.fixed.value, arg.fixed.mode);
    Some(match arg.fixed.kind {
        value_type::SOCK | value_type::SOCKET => Object::Socket(socket(&object::read(data)?)),
        value_type::SKB => Object::Packet(packet(&object::read(data)?)),
        value_type::SOCKADDR => {
            let endpoint: Endpoint = object::read(data)?;
            let Endpoint { family, saddr, sport, .. } = endpoint;
            Object::Address(Address { family, address: ip(family, saddr), port: sport })
        }
        value_type::SOCKADDR_UN => Object::UnixAddress { family: mode as u16, path: escaped(data) },
        value_type::CRED => {
            let CredFacts { credentials, user_ns } = object::read(data)?;
            Object::Credentials(ids(&credentials), namespace(user_ns))
        }
        value_type::USER_NS => Object::UserNamespace(namespace(object::read(data)?)),
        value_type::CAPABILITY => Object::Capability(value as i32),
        value_type::CAPABILITIES => Object::Capabilities(CapabilitySet::Any, value),
        value_type::CAP_INHERITABLE => Object::Capabilities(CapabilitySet::Inheritable, value),
        value_type::CAP_PERMITTED => Object::Capabilities(CapabilitySet::Permitted, value),
        value_type::CAP_EFFECTIVE => Object::Capabilities(CapabilitySet::Effective, value),
        value_type::LOAD_INFO | value_type::MODULE => Object::Module(Module {
            name: escaped(data),
            signature_ok: match mode {
                SIGNATURE_MISSING => Some(false),
                SIGNATURE_GOOD => Some(true),
                _ => None,
            },
            taints: value,
        }),
        value_type::BPF_ATTR => Object::ProgramAttributes(program(&object::read(data)?)),
        value_type::BPF_PROG => Object::Program(program(&object::read(data)?)),
        value_type::BPF_MAP => {
            let MapFacts { kind, key_size, value_size, max_entries, name } = object::read(data)?;
            Object::Map(Map { kind, key_size, value_size, max_entries, name: escaped(until_nul(&name)) })
        }
        value_type::BPF_CMD => Object::BpfCommand(value as i32),
        value_type::PERF_EVENT => {
            let facts: PerfEventFacts = object::read(data)?;
            Object::PerfEvent(PerfEvent {
                kind: facts.kind,
                pmu: escaped(until_nul(&facts.pmu)),
                config: facts.config,
                function: escaped(until_nul(facts.function.as_flattened())),
                offset: facts.probe_offset,
            })
        }
        value_type::SYSCALL64 => Object::SystemCall { id: value & !COMPAT_NUMBER, compat: mode != 0 },
        value_type::NET_DEVICE => Object::Device { name: escaped(data), index: value as u32 },
        value_type::BINPRM => Object::Executable(file_of(arg)),
        _ => return None,
    })
}

fn ip(family: u16, bytes: [u8; 16]) -> Option<IpAddr> {
    matches!(family, INET | INET6).then(|| address(bytes))
}

fn ends(of: &Endpoint) -> Ends {
    Ends {
        family: of.family,
        protocol: of.protocol,
        source: ip(of.family, of.saddr),
        source_port: of.sport,
        destination: ip(of.family, of.daddr),
        destination_port: of.dport,
    }
}

fn socket(of: &Endpoint) -> Socket {
    Socket {
        ends: ends(of),
        kind: of.kind,
        state: of.state,
        mark: of.mark,
        priority: of.priority,
        cookie: of.cookie,
    }
}

fn packet(of: &object::Packet) -> Packet {
    Packet {
        ends: ends(&of.ends),
        hash: of.hash,
        length: of.length,
        priority: of.ends.priority,
        mark: of.ends.mark,
        sec_path_length: of.sec_path_length,
        sec_path_offloaded: of.sec_path_offloaded,
    }
}

fn namespace(of: UserNsFacts) -> UserNamespace {
    UserNamespace { inode: of.inode, level: of.level, uid: of.uid, gid: of.gid }
}

fn ids(of: &trigon_probes::record::TaskCredentials) -> Credentials {
    Credentials {
        uid: of.uid,
        gid: of.gid,
        euid: of.euid,
        egid: of.egid,
        suid: of.suid,
        sgid: of.sgid,
        fsuid: of.fsuid,
        fsgid: of.fsgid,
        securebits: of.securebits,
        permitted: of.permitted,
        effective: of.effective,
        inheritable: of.inheritable,
    }
}

fn program(of: &ProgramFacts) -> Program {
    Program { kind: of.kind, instructions: of.instructions, name: escaped(until_nul(&of.name)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trigon_probes::record::HookArg;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever the programs wrote, every type is an object that can be told, or none.
        #[test]
        fn decoding_is_total(kind in 0_u8..80, value: u64, mode: u32, data: Vec<u8>, long: bool) {
            let data = if long { data.repeat(300) } else { data };
            let fixed = HookArg { kind, value, mode, length: data.len() as u32, ..HookArg::default() };
            if let Some(object) = decode(&Arg { fixed, data: &data }) {
                prop_assert!(object.to_string().len() <= 4 * data.len() + 200);
            }
        }
    }
}
