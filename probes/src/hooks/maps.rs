//! The maps that tables lie in.

use std::os::fd::AsFd as _;

use aya::{
    Pod,
    maps::{Array, HashMap, Map, MapData, MapError, lpm_trie},
};

use super::{
    HookId,
    attach::tracepoint::Fields,
    plan::{Mask, Selector, SelectorKey, TEXT_KEY_BYTES, Table},
};
use crate::{ProbeError, object::Maps};

/// A hook's table, and what its dimensions are looked up in.
#[derive(Clone, Debug, Default)]
pub struct TablePlan {
    /// Values and dimensions.
    pub table: Table,
    /// Numbers: dimension, number, how many of its upper bits count, who it satisfies.
    pub numbers: Vec<(u32, u64, u32, Mask)>,
    /// Texts from their start: dimension, text, who it satisfies.
    pub prefixes: Vec<(u32, Vec<u8>, Mask)>,
    /// Texts from their end, turned round.
    pub suffixes: Vec<(u32, Vec<u8>, Mask)>,
    /// Selectors in the order of their bits.
    pub selectors: Vec<Selector>,
    /// Of a tracepoint: what the table's arguments are, by their index.
    pub fields: Vec<FieldUse>,
}

/// A field of a tracepoint's record, or an argument of a raw one, that a table looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldUse {
    /// Its number among all fields, those included that all records have.
    pub number: u8,
    /// Not what it holds is of interest, but how many bytes.
    pub is_size: bool,
}

/// Key of a number, without its count of bits.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct NumberKey {
    table: u32,
    dimension: u32,
    value: [u8; 8],
}

/// Key of a text, without its count of bits.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct TextKey {
    table: u32,
    dimension: u32,
    text: [u8; TEXT_KEY_BYTES],
}

/// Bits of a key that table and dimension take.
const FIXED_BITS: u32 = 64;

/// Bytes of an entry before its key: `struct htab_elem` of kernel/bpf/hashtab.c, `struct lpm_trie_node` of lpm_trie.c.
const HASH_NODE: usize = 48;
const TRIE_NODE: usize = 40;

/// What was written for a table, so that it can be erased.
#[derive(Debug)]
struct Written {
    table: u32,
    numbers: Vec<(u32, NumberKey)>,
    prefixes: Vec<(u32, TextKey)>,
    suffixes: Vec<(u32, TextKey)>,
    selectors: u32,
}

/// The maps, typed.
pub(super) struct HookMaps {
    hooks: Array<MapData, u32>,
    tables: HashMap<MapData, u32, Table>,
    selectors: HashMap<MapData, SelectorKey, Selector>,
    numbers: lpm_trie::LpmTrie<MapData, NumberKey, Mask>,
    prefixes: lpm_trie::LpmTrie<MapData, TextKey, Mask>,
    suffixes: lpm_trie::LpmTrie<MapData, TextKey, Mask>,
    /// By table; there once a tracepoint is.
    fields: Option<HashMap<MapData, u32, Fields>>,
    written: Vec<Written>,
}

#[expect(unsafe_code, reason = "what aya asks of keys and values")]
mod pod {
    use super::{Mask, NumberKey, Pod, Selector, SelectorKey, Table, TextKey};

    // SAFETY: integers and arrays of them, without padding: every bit pattern is a value.
    unsafe impl Pod for Mask {}
    // SAFETY: as above.
    unsafe impl Pod for Table {}
    // SAFETY: as above.
    unsafe impl Pod for Selector {}
    // SAFETY: as above.
    unsafe impl Pod for SelectorKey {}
    // SAFETY: as above.
    unsafe impl Pod for NumberKey {}
    // SAFETY: as above.
    unsafe impl Pod for TextKey {}
}

/// A handle of its own on a map that objects share.
pub(super) fn open(maps: &Maps, name: &'static str) -> Result<Map, ProbeError> {
    let failed = |source| ProbeError::Map { map: name, source };
    let fd = maps.get(name).ok_or(ProbeError::Missing(name))?;
    let fd = fd.as_fd().try_clone_to_owned();
    let fd = fd.map_err(|source| ProbeError::Io { what: "open a map", source })?;
    MapData::from_fd(fd).and_then(Map::from_map_data).map_err(failed)
}

// === impl HookMaps ===

impl HookMaps {
    pub(super) fn new(maps: &Maps) -> Result<Self, ProbeError> {
        fn typed<T: TryFrom<Map, Error = MapError>>(
            maps: &Maps,
            name: &'static str,
        ) -> Result<T, ProbeError> {
            T::try_from(open(maps, name)?).map_err(|source| ProbeError::Map { map: name, source })
        }
        Ok(Self {
            hooks: typed(maps, "hooks")?,
            tables: typed(maps, "tables")?,
            selectors: typed(maps, "selectors")?,
            numbers: typed(maps, "numbers")?,
            prefixes: typed(maps, "prefixes")?,
            suffixes: typed(maps, "suffixes")?,
            fields: None,
            written: Vec::new(),
        })
    }

    /// Learns of maps that came with an object.
    pub(super) fn learn(&mut self, maps: &Maps) -> Result<(), ProbeError> {
        const NAME: &str = "tracepoint_fields";
        if self.fields.is_none() && maps.contains_key(NAME) {
            let fields = open(maps, NAME)?.try_into();
            self.fields = Some(fields.map_err(|source| ProbeError::Map { map: NAME, source })?);
        }
        Ok(())
    }

    /// Writes a table that no hook points to yet; where it does not fit, nothing of it stays.
    pub(super) fn write(&mut self, table: u32, plan: &TablePlan, fields: &Fields) -> Result<(), ProbeError> {
        self.written.push(Written {
            table,
            numbers: Vec::new(),
            prefixes: Vec::new(),
            suffixes: Vec::new(),
            selectors: 0,
        });
        let result = self.write_parts(table, plan, fields);
        if result.is_err() {
            self.erase(table);
        }
        result
    }

    fn write_parts(&mut self, table: u32, plan: &TablePlan, fields: &Fields) -> Result<(), ProbeError> {
        fn failed(map: &'static str) -> impl Fn(MapError) -> ProbeError {
            move |source| ProbeError::Map { map, source }
        }
        let Some(written) = self.written.last_mut() else { return Ok(()) };
        for (dimension, value, bits, mask) in &plan.numbers {
            // In the order of signed numbers, as bpf/hook/select.h turns them.
            let value = (value ^ (1 << 63)).to_be_bytes();
            let key = NumberKey { table, dimension: *dimension, value };
            let bits = FIXED_BITS + bits;
            self.numbers.insert(&lpm_trie::Key::new(bits, key), mask, 0).map_err(failed("numbers"))?;
            written.numbers.push((bits, key));
        }
        for (dimension, text, mask) in &plan.prefixes {
            let (bits, key) = TextKey::new(table, *dimension, text);
            self.prefixes.insert(&lpm_trie::Key::new(bits, key), mask, 0).map_err(failed("prefixes"))?;
            written.prefixes.push((bits, key));
        }
        for (dimension, text, mask) in &plan.suffixes {
            let (bits, key) = TextKey::new(table, *dimension, text);
            self.suffixes.insert(&lpm_trie::Key::new(bits, key), mask, 0).map_err(failed("suffixes"))?;
            written.suffixes.push((bits, key));
        }
        for (selector, number) in plan.selectors.iter().zip(0..) {
            let key = SelectorKey { table, selector: number };
            self.selectors.insert(key, selector, 0).map_err(failed("selectors"))?;
            written.selectors = number + 1;
        }
        if let Some(map) = self.fields.as_mut().filter(|_| !plan.fields.is_empty()) {
            map.insert(table, fields, 0).map_err(failed("tracepoint_fields"))?;
        }
        self.tables.insert(table, plan.table, 0).map_err(failed("tables"))
    }

    /// Lets a hook use a table; 0 for none.
    pub(super) fn point(&mut self, hook: HookId, table: u32) -> Result<(), ProbeError> {
        self.hooks.set(hook.0, table, 0).map_err(|source| ProbeError::Map { map: "hooks", source })
    }

    /// Bytes of kernel memory that a table takes, at most.
    pub(super) fn bytes(&self, table: u32) -> u64 {
        self.written.iter().find(|written| written.table == table).map_or(0, Written::bytes)
    }

    /// Erases a table that no hook points to any more. A call that is still at it finds its selectors gone, and ends.
    pub(super) fn erase(&mut self, table: u32) {
        let Some(index) = self.written.iter().position(|written| written.table == table) else { return };
        let written = self.written.swap_remove(index);
        // What isn't there needs no erasing.
        let _ = self.tables.remove(&table);
        if let Some(fields) = &mut self.fields {
            let _ = fields.remove(&table);
        }
        for (bits, key) in written.numbers {
            let _ = self.numbers.remove(&lpm_trie::Key::new(bits, key));
        }
        for (bits, key) in written.prefixes {
            let _ = self.prefixes.remove(&lpm_trie::Key::new(bits, key));
        }
        for (bits, key) in written.suffixes {
            let _ = self.suffixes.remove(&lpm_trie::Key::new(bits, key));
        }
        for selector in 0..written.selectors {
            let _ = self.selectors.remove(&SelectorKey { table, selector });
        }
    }
}

// === impl Written ===

impl Written {
    /// Bytes of kernel memory, at most: a trie has as many inner nodes as entries, and each node its value's room.
    fn bytes(&self) -> u64 {
        fn node<K, V>(head: usize) -> u64 {
            (head + size_of::<K>().next_multiple_of(8) + size_of::<V>()) as u64
        }
        let texts = self.prefixes.len() + self.suffixes.len();
        node::<u32, Table>(HASH_NODE)
            + u64::from(self.selectors) * node::<SelectorKey, Selector>(HASH_NODE)
            + 2 * self.numbers.len() as u64 * node::<NumberKey, Mask>(TRIE_NODE)
            + 2 * texts as u64 * node::<TextKey, Mask>(TRIE_NODE)
    }
}

// === impl TextKey ===

impl TextKey {
    fn new(table: u32, dimension: u32, text: &[u8]) -> (u32, Self) {
        let mut key = Self { table, dimension, text: [0; TEXT_KEY_BYTES] };
        let length = text.len().min(TEXT_KEY_BYTES);
        key.text[..length].copy_from_slice(&text[..length]);
        (FIXED_BITS + 8 * length as u32, key)
    }
}
