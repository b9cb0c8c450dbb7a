//! The eBPF objects that build.rs makes of bpf/, as they are embedded.

use crate::ProbeError;

macro_rules! object {
    ($name:literal) => {
        // The bytes are read as 64-bit words: an array of bytes alone could lie anywhere.
        ($name, aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/", $name, ".o")))
    };
}

/// Each by the name of its source.
pub(crate) static ALL: [(&str, &[u8]); 11] = [
    object!("lifecycle"),
    object!("tasks"),
    object!("processes"),
    object!("syscalls"),
    object!("trampolines"),
    object!("kprobes"),
    object!("tracepoints"),
    object!("releases"),
    object!("sockets"),
    object!("denials"),
    object!("uprobes"),
];

/// One of them.
///
/// # Errors
/// There is none of that name.
pub(crate) fn bytes(name: &'static str) -> Result<&'static [u8], ProbeError> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, bytes)| *bytes).ok_or(ProbeError::Missing(name))
}
