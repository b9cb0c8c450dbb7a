//! What the programs tell of the kernel's objects: the mirror of `bpf/object.h`, which explains the fields.
//!
//! An argument whose type is an object has its struct for text. Filters look at its numbers where they lie in it, by
//! offset and width.

use zerocopy::FromBytes;

use super::TaskCredentials;
use crate::mirror::mirror;

mirror! {
    /// A socket or an address.
    #[derive(PartialEq, Eq)]
    "endpoint" Endpoint {
        saddr: [u8; 16], daddr: [u8; 16], cookie: u64, mark: u32, priority: u32,
        family: u16, kind: u16, protocol: u16, sport: u16, dport: u16, state: u8, reserved: [u8; 5],
    }

    /// A packet.
    #[derive(PartialEq, Eq)]
    "packet" Packet {
        ends: Endpoint, hash: u32, length: u32, sec_path_length: u32, sec_path_offloaded: u32,
        ethernet_protocol: u16, reserved: [u16; 3],
    }

    /// A user namespace.
    #[derive(PartialEq, Eq)]
    "user_ns_facts" UserNsFacts { inode: u32, level: i32, uid: u32, gid: u32, }

    /// Credentials.
    "cred_facts" CredFacts { credentials: TaskCredentials, user_ns: UserNsFacts, }

    /// An eBPF program.
    #[derive(PartialEq, Eq)]
    "program_facts" ProgramFacts { kind: u32, instructions: u32, name: [u8; 16], }

    /// An eBPF map.
    #[derive(PartialEq, Eq)]
    "map_facts" MapFacts { kind: u32, key_size: u32, value_size: u32, max_entries: u32, name: [u8; 16], }

    /// A perf event; the name of its function in pieces of 32 bytes.
    "perf_event_facts" PerfEventFacts {
        config: u64, probe_offset: u64, kind: u32, reserved: u32, pmu: [u8; 16], function: [[u8; 32]; 4],
    }
}

/// Reads one of these structs from an argument's text; none where that is too short.
pub fn read<T: FromBytes>(text: &[u8]) -> Option<T> {
    T::read_from_prefix(text).ok().map(|(value, _)| value)
}

/// Text up to its NUL, or all there is.
pub fn until_nul(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_equals_the_headers() {
        crate::mirror::check("object.h", LAYOUTS);
    }

    #[test]
    fn texts_end_at_their_nul() {
        assert_eq!(until_nul(b"kprobe\0\0x"), b"kprobe");
        assert_eq!(until_nul(b"sixteen bytes..."), b"sixteen bytes...");
        assert_eq!(until_nul(b""), b"");
        assert!(read::<Endpoint>(&[0; 63]).is_none());
        assert_eq!(read::<Endpoint>(&[0; 65]), Some(Endpoint::default()));
    }
}
