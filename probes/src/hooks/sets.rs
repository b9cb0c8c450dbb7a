//! What dimensions are looked up in: numbers, texts, addresses and so on, and which selectors each satisfies.
//!
//! Dimensions that ask the same share a set: the functions of a list, a call and its 32-bit twin, the hooks of a policy
//! that looks for the same files everywhere.

use aya::{
    Pod,
    maps::{HashMap, MapData, MapError, lpm_trie},
};

use super::{
    maps::HASH_NODE,
    plan::{Expression, Mask, TEXT_KEY_BYTES},
};
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
    /// Addresses: how each begins, in as many bits, and who it satisfies.
    Addresses(Vec<(Address, u32, Mask)>),
    /// An automaton that looks for texts in a text.
    Search {
        /// From a state by a byte to another, which has [`STATE_FOUND`] where it is among `found`.
        steps: Vec<(u32, u8, u32)>,
        /// States in which a text ends, and who looks for it.
        found: Vec<(u32, Mask)>,
    },
    /// An expression: nothing is looked up.
    Expression(Box<Expression>),
}

/// An address as it is compared: 4 or 6, then the sixteen bytes of IPv6, into which IPv4 is mapped.
pub type Address = [u8; 17];

/// `STATE_FOUND` of bpf/hook/search.h: a text ends in that state.
pub const STATE_FOUND: u32 = 1 << 31;

/// The sets that are in the kernel.
pub(super) struct Sets {
    numbers: lpm_trie::LpmTrie<MapData, NumberKey, Mask>,
    prefixes: lpm_trie::LpmTrie<MapData, TextKey, Mask>,
    suffixes: lpm_trie::LpmTrie<MapData, TextKey, Mask>,
    steps: HashMap<MapData, StepKey, u32>,
    expressions: HashMap<MapData, u32, Expression>,
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

/// `struct step_key` of bpf/hook/search.h.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct StepKey {
    set: u32,
    step: u32,
}

/// Bits of a key that the set takes.
const FIXED_BITS: u32 = 32;

/// Bytes of an entry before its key: `struct lpm_trie_node` of kernel/bpf/lpm_trie.c.
const NODE: usize = 40;

#[expect(unsafe_code, reason = "what aya asks of keys")]
mod pod {
    use super::{Expression, NumberKey, Pod, StepKey, TextKey};

    // SAFETY: integers and arrays of them, without padding: every bit pattern is a value.
    unsafe impl Pod for NumberKey {}
    // SAFETY: as above.
    unsafe impl Pod for TextKey {}
    // SAFETY: as above.
    unsafe impl Pod for StepKey {}
    // SAFETY: as above.
    unsafe impl Pod for Expression {}
}

// === impl Sets ===

impl Sets {
    pub(super) fn new(maps: &Maps) -> Result<Self, ProbeError> {
        Ok(Self {
            numbers: typed(maps, "numbers")?,
            prefixes: typed(maps, "prefixes")?,
            suffixes: typed(maps, "suffixes")?,
            steps: typed(maps, "steps")?,
            expressions: typed(maps, "expressions")?,
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
            Entries::Addresses(entries) => entries.iter().for_each(|(bytes, bits, _)| {
                let _ = self.prefixes.remove(&address(id, bytes, *bits));
            }),
            Entries::Search { steps, found } => {
                steps.iter().for_each(|(state, byte, _)| {
                    let _ = self.steps.remove(&step(id, *state, *byte));
                });
                found.iter().for_each(|(state, _)| {
                    let _ = self.numbers.remove(&number(id, u64::from(*state), 64));
                });
            }
            Entries::Expression(_) => {
                let _ = self.expressions.remove(&id);
            }
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
            Entries::Addresses(entries) => entries.iter().try_for_each(|(bytes, bits, mask)| {
                self.prefixes.insert(&address(id, bytes, *bits), mask, 0).map_err(failed("prefixes"))
            }),
            Entries::Search { steps, found } => {
                steps.iter().try_for_each(|(state, byte, next)| {
                    self.steps.insert(step(id, *state, *byte), next, 0).map_err(failed("steps"))
                })?;
                found.iter().try_for_each(|(state, mask)| {
                    self.numbers
                        .insert(&number(id, u64::from(*state), 64), mask, 0)
                        .map_err(failed("numbers"))
                })
            }
            Entries::Expression(expression) => {
                self.expressions.insert(id, **expression, 0).map_err(failed("expressions"))
            }
        }
    }
}

// === impl Entries ===

impl Entries {
    /// A trie has as many inner nodes as entries, and each node its value's room.
    fn bytes(&self) -> u64 {
        let node = |key: usize| 2 * (NODE + key.next_multiple_of(8) + size_of::<Mask>()) as u64;
        let hashed = |bytes: usize| (HASH_NODE + bytes) as u64;
        match self {
            Self::Numbers(entries) => entries.len() as u64 * node(size_of::<NumberKey>()),
            Self::Prefixes(entries) | Self::Suffixes(entries) => {
                entries.len() as u64 * node(size_of::<TextKey>())
            }
            Self::Addresses(entries) => entries.len() as u64 * node(size_of::<TextKey>()),
            Self::Search { steps, found } => {
                steps.len() as u64 * hashed(size_of::<StepKey>() + 8)
                    + found.len() as u64 * node(size_of::<NumberKey>())
            }
            Self::Expression(_) => hashed(8 + size_of::<Expression>()),
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

fn address(set: u32, bytes: &Address, bits: u32) -> lpm_trie::Key<TextKey> {
    let mut key = TextKey { set, text: [0; TEXT_KEY_BYTES] };
    key.text[..bytes.len()].copy_from_slice(bytes);
    lpm_trie::Key::new(FIXED_BITS + bits, key)
}

fn step(set: u32, state: u32, byte: u8) -> StepKey {
    StepKey { set, step: state << u8::BITS | u32::from(byte) }
}
