//! The maps that tables lie in.

use std::io::ErrorKind;

use aya::{
    Pod,
    maps::{Array, HashMap, MapData, MapError},
};

use super::{
    HookId,
    attach::{tracepoint::Fields, user::Operands},
    plan::{Chain, Mask, Selector, SelectorKey, Setting, Table, selector_flags},
    sets::{Entries, Sets},
    tries::Tries,
};
use crate::{
    ProbeError,
    object::{Maps, typed},
};

/// A hook's table, and what its dimensions are looked up in.
#[derive(Clone, Debug, Default)]
pub struct TablePlan {
    /// Values and dimensions.
    pub table: Table,
    /// What dimensions are looked up in, by their number.
    pub sets: Vec<(usize, Entries)>,
    /// Selectors in the order of their bits.
    pub selectors: Vec<Selector>,
    /// Of a tracepoint, or a place in a program: what the table's arguments are, by their index.
    pub fields: Vec<FieldUse>,
    /// What selectors set arguments to, by their bits.
    pub settings: Vec<(u32, Setting)>,
    /// The ways to values; a value's `chain` counts them from 1.
    pub chains: Vec<Chain>,
}

/// A field of a tracepoint's record, or an argument of a raw one or of a place in a program, that a table looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldUse {
    /// Its number among all fields, those included that all records have.
    pub number: u8,
    /// Not what it holds is of interest, but how many bytes.
    pub is_size: bool,
}

/// Maps of where arguments are.
const FIELDS: &str = "tracepoint_fields";
const OPERANDS: &str = "user_arguments";
const SETTINGS: &str = "settings";

/// Bytes of an entry before its key: `struct htab_elem` of kernel/bpf/hashtab.c.
pub(super) const HASH_NODE: usize = 48;

/// Where a table's arguments are, for programs that are to find them.
pub(super) enum Raws {
    /// Of a tracepoint. Of a function of the kernel, nothing.
    Fields(Fields),
    /// Of a place in a program.
    Operands(Operands),
}

/// What was written for a table, so that it can be erased.
#[derive(Debug, Default)]
struct Written {
    table: u32,
    /// Of its dimensions.
    sets: Vec<u32>,
    selectors: u32,
    settings: Vec<u32>,
    chains: Vec<u32>,
}

/// The maps, typed.
pub(super) struct HookMaps {
    hooks: Array<MapData, u32>,
    tables: HashMap<MapData, u32, Table>,
    selectors: HashMap<MapData, SelectorKey, Selector>,
    chains: HashMap<MapData, u32, Chain>,
    next_chain: u32,
    sets: Sets,
    /// Policies that only watch, by their groups.
    monitored: HashMap<MapData, u32, u32>,
    pub(super) tries: Tries,
    /// By table; there once a tracepoint is.
    fields: Option<HashMap<MapData, u32, Fields>>,
    /// By table; there once a place in a program is hooked.
    operands: Option<HashMap<MapData, u32, Operands>>,
    /// What selectors set arguments to; comes together with the operands.
    settings: Option<HashMap<MapData, SelectorKey, Setting>>,
    written: Vec<Written>,
}

#[expect(unsafe_code, reason = "what aya asks of keys and values")]
mod pod {
    use super::{Chain, Mask, Pod, Selector, SelectorKey, Setting, Table};

    // SAFETY: as below.
    unsafe impl Pod for Chain {}

    // SAFETY: integers and arrays of them, without padding: every bit pattern is a value.
    unsafe impl Pod for Mask {}
    // SAFETY: as above.
    unsafe impl Pod for Table {}
    // SAFETY: as above.
    unsafe impl Pod for Selector {}
    // SAFETY: as above.
    unsafe impl Pod for SelectorKey {}
    // SAFETY: as above.
    unsafe impl Pod for Setting {}
}

// === impl HookMaps ===

impl HookMaps {
    pub(super) fn new(maps: &Maps) -> Result<Self, ProbeError> {
        Ok(Self {
            hooks: typed(maps, "hooks")?,
            tables: typed(maps, "tables")?,
            selectors: typed(maps, "selectors")?,
            chains: typed(maps, "chains")?,
            next_chain: 1,
            sets: Sets::new(maps)?,
            monitored: typed(maps, "monitored")?,
            tries: Tries::new(maps)?,
            fields: None,
            operands: None,
            settings: None,
            written: Vec::new(),
        })
    }

    /// Learns of maps that came with an object.
    pub(super) fn learn(&mut self, maps: &Maps) -> Result<(), ProbeError> {
        if self.fields.is_none() && maps.contains_key(FIELDS) {
            self.fields = Some(typed(maps, FIELDS)?);
        }
        if self.operands.is_none() && maps.contains_key(OPERANDS) {
            self.operands = Some(typed(maps, OPERANDS)?);
            self.settings = Some(typed(maps, SETTINGS)?);
        }
        Ok(())
    }

    /// Writes a table that no hook points to yet; where it does not fit, nothing of it stays.
    pub(super) fn write(&mut self, table: u32, plan: &TablePlan, raws: &Raws) -> Result<(), ProbeError> {
        self.written.push(Written { table, ..Written::default() });
        let result = self.write_parts(table, plan, raws);
        if result.is_err() {
            self.erase(table);
        }
        result
    }

    fn write_parts(&mut self, table: u32, plan: &TablePlan, raws: &Raws) -> Result<(), ProbeError> {
        fn failed(map: &'static str) -> impl Fn(MapError) -> ProbeError {
            move |source| ProbeError::Map { map, source }
        }
        let Some(written) = self.written.last_mut() else { return Ok(()) };
        let mut content = plan.table;
        for (dimension, entries) in &plan.sets {
            let set = self.sets.take(entries)?;
            written.sets.push(set);
            if let Some(dimension) = content.dimension.get_mut(*dimension) {
                dimension.set = set;
            }
        }
        for chain in &plan.chains {
            let id = self.next_chain;
            self.next_chain = id.wrapping_add(1).max(1);
            self.chains.insert(id, chain, 0).map_err(failed("chains"))?;
            written.chains.push(id);
        }
        for value in &mut content.value {
            // A table's own numbers become those of the map, where all tables' chains are.
            let chain = (value.chain as usize).checked_sub(1).and_then(|index| written.chains.get(index));
            value.chain = chain.copied().unwrap_or(0);
        }
        if let Some(settings) = &mut self.settings {
            for (selector, setting) in &plan.settings {
                let key = SelectorKey { table, selector: *selector };
                settings.insert(key, setting, 0).map_err(failed(SETTINGS))?;
                written.settings.push(*selector);
            }
        }
        for (selector, number) in plan.selectors.iter().zip(0..) {
            if selector.flags & selector_flags::TRY != 0 {
                self.tries.expect(selector)?;
            }
            let key = SelectorKey { table, selector: number };
            self.selectors.insert(key, selector, 0).map_err(failed("selectors"))?;
            written.selectors = number + 1;
        }
        match (raws, &mut self.fields, &mut self.operands) {
            _ if plan.fields.is_empty() => {}
            (Raws::Fields(fields), Some(map), _) => map.insert(table, fields, 0).map_err(failed(FIELDS))?,
            (Raws::Operands(all), _, Some(map)) => map.insert(table, all, 0).map_err(failed(OPERANDS))?,
            _ => {}
        }
        self.tables.insert(table, content, 0).map_err(failed("tables"))
    }

    /// Lets a hook use a table; 0 for none.
    pub(super) fn point(&mut self, hook: HookId, table: u32) -> Result<(), ProbeError> {
        self.hooks.set(hook.0, table, 0).map_err(|source| ProbeError::Map { map: "hooks", source })
    }

    /// Has the selectors of a group only watch, or do what they say.
    pub(super) fn set_monitored(&mut self, group: u32, monitored: bool) -> Result<(), ProbeError> {
        let set = match monitored {
            true => self.monitored.insert(group, 1, 0),
            false => match self.monitored.remove(&group) {
                Err(MapError::KeyNotFound) => Ok(()),
                Err(MapError::SyscallError(error)) if error.io_error.kind() == ErrorKind::NotFound => Ok(()),
                removed => removed,
            },
        };
        set.map_err(|source| ProbeError::Map { map: "monitored", source })
    }

    /// Bytes of kernel memory that a table takes, at most.
    pub(super) fn bytes(&self, table: u32) -> u64 {
        self.written.iter().find(|written| written.table == table).map_or(0, |written| self.bytes_of(written))
    }

    /// Erases a table that no hook points to any more. A call that is still at it finds its selectors gone, and ends.
    pub(super) fn erase(&mut self, table: u32) {
        let Some(index) = self.written.iter().position(|written| written.table == table) else { return };
        let written = self.written.swap_remove(index);
        // What isn't there needs no erasing.
        // The selectors first: without them nothing is done.
        for selector in 0..written.selectors {
            let _ = self.selectors.remove(&SelectorKey { table, selector });
        }
        if let Some(settings) = &mut self.settings {
            for selector in written.settings {
                let _ = settings.remove(&SelectorKey { table, selector });
            }
        }
        let _ = self.tables.remove(&table);
        if let Some(fields) = &mut self.fields {
            let _ = fields.remove(&table);
        }
        if let Some(operands) = &mut self.operands {
            let _ = operands.remove(&table);
        }
        for chain in written.chains {
            let _ = self.chains.remove(&chain);
        }
        written.sets.into_iter().for_each(|set| self.sets.give_back(set));
    }

    fn bytes_of(&self, written: &Written) -> u64 {
        fn node<K, V>() -> u64 {
            (HASH_NODE + size_of::<K>().next_multiple_of(8) + size_of::<V>()) as u64
        }
        node::<u32, Table>()
            + u64::from(written.selectors) * node::<SelectorKey, Selector>()
            + written.settings.len() as u64 * node::<SelectorKey, Setting>()
            + written.chains.len() as u64 * node::<u32, Chain>()
            + written.sets.iter().map(|set| self.sets.bytes(*set)).sum::<u64>()
    }
}
