//! What policies that are tried would do, counted by the programs: `bpf/hook/try.h`.

use aya::{
    Pod,
    maps::{HashMap, MapData, MapError},
};

use super::plan::Selector;
use crate::{
    ProbeError,
    object::{Maps, typed},
};

/// Calls that a selector matched, by who made them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The number of the policy's hook.
    pub policy_hook: u32,
    /// The number of the selector within the hook.
    pub selector: u16,
    /// The id of the cgroup.
    pub cgroup: u64,
    /// The path of what the process executes, its first 255 bytes; its name in brackets, where the path is not known.
    /// Empty: all for whom there was no room.
    pub binary: Vec<u8>,
    /// Calls that matched.
    pub matched: u64,
    /// Of these, those of which there would have been an event.
    pub posted: u64,
}

/// Paths of binaries are kept this long, NUL included.
const BINARY_BYTES: usize = 256;

/// `struct try_key` of bpf/hook/try.h.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Key {
    policy_hook: u32,
    selector: u16,
    reserved: u16,
    cgroup: u64,
    binary: [u8; BINARY_BYTES],
}

/// `struct try_count` of bpf/hook/try.h.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct Count {
    matched: u64,
    posted: u64,
}

/// The map of counts.
pub(super) struct Tries(HashMap<MapData, Key, Count>);

#[expect(unsafe_code, reason = "what aya asks of keys and values")]
mod pod {
    use super::{Count, Key, Pod};

    // SAFETY: integers and an array of them, without padding: every bit pattern is a value.
    unsafe impl Pod for Key {}
    // SAFETY: as above.
    unsafe impl Pod for Count {}
}

// === impl Tries ===

impl Tries {
    pub(super) fn new(maps: &Maps) -> Result<Self, ProbeError> {
        Ok(Self(typed(maps, "tries")?))
    }

    /// Makes room for those of a selector for whom there will be none, so that no match goes uncounted.
    pub(super) fn expect(&mut self, selector: &Selector) -> Result<(), ProbeError> {
        /// `BPF_NOEXIST`: a table that is written anew does not lose counts.
        const NEW: u64 = 1;
        let key = Key {
            policy_hook: selector.policy_hook,
            selector: selector.number,
            reserved: 0,
            cgroup: 0,
            binary: [0; BINARY_BYTES],
        };
        match self.0.insert(key, Count::default(), NEW) {
            Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::EEXIST) => {
                Ok(())
            }
            result => result.map_err(failed),
        }
    }

    /// What was counted for some policies' hooks; it is forgotten.
    pub(super) fn take(&mut self, policy_hooks: &[u32]) -> Result<Vec<Tried>, ProbeError> {
        let keys: Vec<Key> = self.0.keys().collect::<Result<_, _>>().map_err(failed)?;
        let mut all = Vec::new();
        for key in keys.iter().filter(|key| policy_hooks.contains(&key.policy_hook)) {
            let Count { matched, posted } = self.0.get(key, 0).map_err(failed)?;
            self.0.remove(key).map_err(failed)?;
            if matched == 0 {
                continue;
            }
            let end = key.binary.iter().position(|byte| *byte == 0).unwrap_or(BINARY_BYTES);
            let mut binary = key.binary[..end].to_vec();
            if binary.first() == Some(&b'[') {
                binary.push(b']');
            }
            let Key { policy_hook, selector, cgroup, .. } = *key;
            all.push(Tried { policy_hook, selector, cgroup, binary, matched, posted });
        }
        Ok(all)
    }
}

fn failed(source: MapError) -> ProbeError {
    ProbeError::Map { map: "tries", source }
}
