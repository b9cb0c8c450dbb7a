//! What dimensions are looked up in: numbers and texts, and which selectors each satisfies.
//!
//! Dimensions that ask the same share a set: the functions of a list, a call and its 32-bit twin, the hooks of a policy
//! that looks for the same files everywhere.

use aya::{
    Pod,
    maps::{MapData, MapError, lpm_trie},
};

use super::plan::{Mask, TEXT_KEY_BYTES};
use crate::{
    ProbeError,
    object::{Maps, typed},
};

/// Entries of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entries {
    /// Numbers: the number, how many of its upper bits count, who it satisfies.
    Numbers(Vec<(u64, u32, Mask)>),
    /// Texts from their start.
    Prefixes(Vec<(Vec<u8>, Mask)>),
    /// Texts from their end, turned round.
    Suffixes(Vec<(Vec<u8>, Mask)>),
}

/// The sets that are in the kernel.
pub(super) struct Sets {
    numbers: lpm_trie::LpmTrie<MapData, NumberKey, Mask>,
    prefixes: lpm_trie::LpmTrie<MapData, TextKey, Mask>,
    suffixes: lpm_trie::LpmTrie<MapData, TextKey, Mask>,
    known: Vec<Set>,
    next: u32,
}

struct Set {
    id: u32,
    entries: Entries,
    /// Dimensions that have it.
    users: u64,
}

/// Key of a number, without its count of bits: `struct number_key` of bpf/hook/plan.h.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct NumberKey {
    set: u32,
    value: [u8; 8],
}

/// Key of a text, without its count of bits: `struct text_key` of bpf/hook/plan.h.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct TextKey {
    set: u32,
    text: [u8; TEXT_KEY_BYTES],
}

/// Bits of a key that the set takes.
const FIXED_BITS: u32 = 32;

/// Bytes of an entry before its key: `struct lpm_trie_node` of kernel/bpf/lpm_trie.c.
const NODE: usize = 40;

#[expect(unsafe_code, reason = "what aya asks of keys")]
mod pod {
    use super::{NumberKey, Pod, TextKey};

    // SAFETY: integers and arrays of them, without padding: every bit pattern is a value.
    unsafe impl Pod for NumberKey {}
    // SAFETY: as above.
    unsafe impl Pod for TextKey {}
}

// === impl Sets ===

impl Sets {
    pub(super) fn new(maps: &Maps) -> Result<Self, ProbeError> {
        Ok(Self {
            numbers: typed(maps, "numbers")?,
            prefixes: typed(maps, "prefixes")?,
            suffixes: typed(maps, "suffixes")?,
            known: Vec::new(),
            next: 1,
        })
    }

    /// The number of the set with these entries, which is written where there is none yet. It is to be given back.
    pub(super) fn take(&mut self, entries: &Entries) -> Result<u32, ProbeError> {
        if let Some(set) = self.known.iter_mut().find(|set| set.entries == *entries) {
            set.users += 1;
            return Ok(set.id);
        }
        let id = self.next;
        self.next = self.next.wrapping_add(1).max(1);
        self.known.push(Set { id, entries: entries.clone(), users: 1 });
        self.write(id, entries).inspect_err(|_| self.give_back(id))?;
        Ok(id)
    }

    /// Erases a set that was the last dimension's.
    pub(super) fn give_back(&mut self, id: u32) {
        let Some(index) = self.known.iter().position(|set| set.id == id) else { return };
        let set = &mut self.known[index];
        set.users -= 1;
        if set.users > 0 {
            return;
        }
        let set = self.known.swap_remove(index);
        // What isn't there needs no erasing.
        match &set.entries {
            Entries::Numbers(entries) => entries.iter().for_each(|(value, bits, _)| {
                let _ = self.numbers.remove(&number(id, *value, *bits));
            }),
            Entries::Prefixes(entries) => entries.iter().for_each(|(bytes, _)| {
                let _ = self.prefixes.remove(&text(id, bytes));
            }),
            Entries::Suffixes(entries) => entries.iter().for_each(|(bytes, _)| {
                let _ = self.suffixes.remove(&text(id, bytes));
            }),
        }
    }

    /// A dimension's share of the kernel memory that its set takes, in bytes, at most.
    pub(super) fn bytes(&self, id: u32) -> u64 {
        self.known.iter().find(|set| set.id == id).map_or(0, |set| set.entries.bytes() / set.users)
    }

    fn write(&mut self, id: u32, entries: &Entries) -> Result<(), ProbeError> {
        fn failed(map: &'static str) -> impl Fn(MapError) -> ProbeError {
            move |source| ProbeError::Map { map, source }
        }
        match entries {
            Entries::Numbers(entries) => entries.iter().try_for_each(|(value, bits, mask)| {
                self.numbers.insert(&number(id, *value, *bits), mask, 0).map_err(failed("numbers"))
            }),
            Entries::Prefixes(entries) => entries.iter().try_for_each(|(bytes, mask)| {
                self.prefixes.insert(&text(id, bytes), mask, 0).map_err(failed("prefixes"))
            }),
            Entries::Suffixes(entries) => entries.iter().try_for_each(|(bytes, mask)| {
                self.suffixes.insert(&text(id, bytes), mask, 0).map_err(failed("suffixes"))
            }),
        }
    }
}

// === impl Entries ===

impl Entries {
    /// A trie has as many inner nodes as entries, and each node its value's room.
    fn bytes(&self) -> u64 {
        let node = |key: usize| 2 * (NODE + key.next_multiple_of(8) + size_of::<Mask>()) as u64;
        match self {
            Self::Numbers(entries) => entries.len() as u64 * node(size_of::<NumberKey>()),
            Self::Prefixes(entries) | Self::Suffixes(entries) => {
                entries.len() as u64 * node(size_of::<TextKey>())
            }
        }
    }
}

fn number(set: u32, value: u64, bits: u32) -> lpm_trie::Key<NumberKey> {
    // In the order of signed numbers, as bpf/hook/select.h turns them.
    let value = (value ^ (1 << 63)).to_be_bytes();
    lpm_trie::Key::new(FIXED_BITS + bits, NumberKey { set, value })
}

fn text(set: u32, bytes: &[u8]) -> lpm_trie::Key<TextKey> {
    let mut key = TextKey { set, text: [0; TEXT_KEY_BYTES] };
    let length = bytes.len().min(TEXT_KEY_BYTES);
    key.text[..length].copy_from_slice(&bytes[..length]);
    lpm_trie::Key::new(FIXED_BITS + 8 * length as u32, key)
}
