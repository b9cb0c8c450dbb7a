//! Types of maps, each tried by making one.

use aya_obj::generated::bpf_map_type::{
    self, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_LPM_TRIE, BPF_MAP_TYPE_LRU_HASH,
    BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_PROG_ARRAY, BPF_MAP_TYPE_RINGBUF,
};

use super::{Bench, Need, Trial};
use crate::sys;

/// `BPF_F_NO_PREALLOC`, without which there are no tries.
const NO_PREALLOC: u32 = 1;

/// A type: name, number, size of key and value, entries, flags, and what its lack costs.
type MapKind = (&'static str, bpf_map_type, [u32; 4], &'static str);

const ALL: [MapKind; 7] = [
    ("ring buffer", BPF_MAP_TYPE_RINGBUF, [0, 0, 1 << 16, 0], "no event reaches the agent"),
    ("array", BPF_MAP_TYPE_ARRAY, [4, 8, 1, 0], "nothing can be loaded"),
    ("per-CPU array", BPF_MAP_TYPE_PERCPU_ARRAY, [4, 8, 1, 0], "nothing can be loaded"),
    ("programs", BPF_MAP_TYPE_PROG_ARRAY, [4, 4, 1, 0], "nothing can be loaded"),
    ("hash", BPF_MAP_TYPE_HASH, [4, 8, 1, 0], "no policies"),
    ("LRU hash", BPF_MAP_TYPE_LRU_HASH, [4, 8, 64, 0], "no policies"),
    ("LPM trie", BPF_MAP_TYPE_LPM_TRIE, [8, 8, 1, NO_PREALLOC], "no policies"),
];

pub(super) fn examine(bench: &Bench) -> Vec<Trial> {
    let one = |(name, kind, [key, value, entries, flags], cost): MapKind| {
        let made = sys::create_map(kind as u32, key, value, entries, flags);
        let policies = cost == "no policies";
        Trial {
            name,
            need: if policies { Need::Useful } else { Need::Required },
            outcome: bench.outcome(made.map(drop).map_err(Into::into)),
            cost,
            mend: "a kernel of 5.17 or later",
        }
    };
    ALL.map(one).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::helpers::tests::sources;

    /// Whoever uses another type of map adds it above.
    #[test]
    fn every_type_that_the_programs_use_is_tried() {
        let known: Vec<_> = ALL.iter().map(|(_, kind, ..)| format!("{kind:?}")).collect();
        let text = sources();
        let used = text.split("BPF_MAP_TYPE_").skip(1).map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_uppercase() && c != '_').unwrap_or(rest.len());
            format!("BPF_MAP_TYPE_{}", &rest[..end])
        });
        // Arrays of maps, which are older than all the rest, need another map to be made.
        for kind in used.filter(|kind| kind != "BPF_MAP_TYPE_ARRAY_OF_MAPS") {
            assert!(known.contains(&kind), "{kind} isn't tried");
        }
    }
}
