//! Calls that wait for a return that never comes: of processes that ended inside of one, such as `exit_group`.

use aya::{
    Pod,
    maps::{HashMap, MapData},
};

use super::Hooks;
use crate::{ProbeError, object::open};

/// `struct pending_key` of bpf/hook/pending.h.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct PendingKey {
    thread: u64,
    hook: u32,
    depth: u32,
}

// Only the keys are looked at; the kernel compares the sizes of values when a map is opened.
type Pending = [u8; 136];
type Captured = [u8; 8840];
type Process = [u8; 344];

#[expect(unsafe_code, reason = "what aya asks of keys")]
mod pod {
    use super::{PendingKey, Pod};

    // SAFETY: integers without padding: every bit pattern is a value.
    unsafe impl Pod for PendingKey {}
}

// === impl Hooks ===

impl Hooks {
    /// Takes out the calls of processes that have ended; returns how many. To be called now and then: what has no room
    /// for want of it is counted.
    ///
    /// # Errors
    /// The maps can't be read.
    pub fn forget_ended(&self) -> Result<usize, ProbeError> {
        let failed = |map| move |source| ProbeError::Map { map, source };
        let mut pending: HashMap<MapData, PendingKey, Pending> =
            open(&self.maps, "pending")?.try_into().map_err(failed("pending"))?;
        let mut captured: HashMap<MapData, PendingKey, Captured> =
            open(&self.maps, "captured")?.try_into().map_err(failed("captured"))?;
        let processes: HashMap<MapData, u32, Process> =
            open(&self.maps, "processes")?.try_into().map_err(failed("processes"))?;
        let ended = |key: &PendingKey| processes.get(&((key.thread >> 32) as u32), 0).is_err();
        let keys: Vec<_> = pending.keys().flatten().filter(ended).collect();
        for key in &keys {
            // What returned meanwhile isn't there.
            let _ = pending.remove(key);
            let _ = captured.remove(key);
        }
        Ok(keys.len())
    }
}
