//! Functions by their names, and by their addresses.

use zerocopy::FromBytes;

use super::{Elf, ElfError, Section, Segment, offset_to_address, text_at};

/// Symbols that one table has at most.
const SYMBOLS: u64 = 8 << 20;
/// Symbols that are read at a time.
const CHUNK: u64 = 4096;

/// `SHT_SYMTAB`, `SHT_DYNSYM`, `SHT_GNU_versym`.
const SYMTAB: u32 = 2;
const DYNSYM: u32 = 11;
const VERSIONS: u32 = 0x6fff_ffff;
/// Bit of a version that hides its symbol from those who name none.
const HIDDEN: u16 = 0x8000;
/// `STT_NOTYPE`, as functions written in assembly may have; `STT_FUNC`; `STT_GNU_IFUNC`.
const NOTYPE: u8 = 0;
const FUNC: u8 = 2;
const IFUNC: u8 = 10;

/// `Elf64_Sym`
#[derive(Clone, Copy, Debug, FromBytes)]
#[repr(C)]
struct Symbol {
    name: u32,
    info: u8,
    other: u8,
    section: u16,
    address: u64,
    bytes: u64,
}

/// What a file has by the name of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A function, at this offset of the file.
    At(u64),
    /// One that is chosen when the program starts, from several (`STT_GNU_IFUNC`): what it is at is not the function.
    ChosenLater,
    /// The name stands for nothing that is here: it is another file's, or no code.
    Elsewhere,
    /// There is no such name.
    Nothing,
}

/// A file's functions by address.
#[derive(Debug, Default)]
pub struct Functions {
    code: Vec<Segment>,
    names: Vec<u8>,
    /// Address, bytes, and where the name is.
    sorted: Vec<(u64, u32, u32)>,
}

// === impl Elf ===

impl Elf {
    /// The function of this name: `readline`; with a version, `memcpy@GLIBC_2.14`, where the file's own table of
    /// symbols has it so.
    ///
    /// # Errors
    /// The file is broken, or can't be read.
    pub fn function(&self, name: &str) -> Result<Found, ElfError> {
        let mut best = Found::Nothing;
        for table in self.tables() {
            let names = self.names_of(&table)?;
            let versions = self.versions_of(&table)?;
            let mut hidden = None;
            self.each_symbol(&table, |index, symbol| {
                let is = text_at(&names, symbol.name).is_some_and(|text| is_named(text, name));
                if !is {
                    return true;
                }
                let found = self.found(&symbol);
                // Of several versions the one that programs get that ask for none.
                let is_hidden = versions.get(index).is_some_and(|version| version & HIDDEN != 0);
                match found {
                    Found::At(_) if is_hidden => {
                        hidden = Some(found);
                        true
                    }
                    Found::At(_) => {
                        best = found;
                        false
                    }
                    _ => {
                        if best == Found::Nothing || found == Found::ChosenLater {
                            best = found;
                        }
                        true
                    }
                }
            })?;
            if matches!(best, Found::At(_)) {
                break;
            }
            best = hidden.unwrap_or(best);
        }
        Ok(best)
    }

    /// All functions; nothing where the file has been stripped of their names.
    ///
    /// # Errors
    /// The file is broken, can't be read, or has more than `most` bytes of names.
    pub fn functions(&self, most: u64) -> Result<Functions, ElfError> {
        let mut all = Functions { code: self.code().copied().collect(), ..Functions::default() };
        let tables = self.tables();
        let names = tables.iter().filter_map(|table| self.sections.get(table.link as usize));
        let size = names.fold(0_u64, |sum, names| sum.saturating_add(names.bytes));
        if size > most {
            return Err(ElfError::TooLarge { path: self.path.clone(), what: "the table of its symbols" });
        }
        for table in tables {
            let names = self.names_of(&table)?;
            let begin = all.names.len();
            all.names.extend_from_slice(&names);
            self.each_symbol(&table, |_, symbol| {
                let is_code = matches!(symbol.kind(), FUNC | IFUNC | NOTYPE)
                    && symbol.section != 0
                    && self.offset_of(symbol.address).is_some();
                let named = text_at(&names, symbol.name)
                    .is_some_and(|name| !name.is_empty() && !name.starts_with(b"$"));
                if is_code && named {
                    let name = u32::try_from(begin + symbol.name as usize).unwrap_or(u32::MAX);
                    all.sorted.push((symbol.address, u32::try_from(symbol.bytes).unwrap_or(u32::MAX), name));
                }
                true
            })?;
        }
        // Of those at one address the longest comes last, and is found.
        all.sorted.sort_unstable();
        all.sorted.dedup_by_key(|(address, bytes, _)| (*address, *bytes));
        all.sorted.shrink_to_fit();
        Ok(all)
    }

    /// The tables of symbols: the whole one first, where the file still has it.
    fn tables(&self) -> Vec<Section> {
        let of = |kind| self.sections.iter().filter(move |section| section.kind == kind).copied();
        of(SYMTAB).chain(of(DYNSYM)).take(4).collect()
    }

    fn names_of(&self, table: &Section) -> Result<Vec<u8>, ElfError> {
        let names = self.sections.get(table.link as usize);
        let names = names.ok_or_else(|| self.broken("its symbols have no names"))?;
        self.part(names.offset, names.bytes, "the table of its symbols")
    }

    fn versions_of(&self, table: &Section) -> Result<Vec<u16>, ElfError> {
        let of = |section: &&Section| {
            section.kind == VERSIONS
                && self.sections.get(section.link as usize).is_some_and(|of| of.offset == table.offset)
        };
        match self.sections.iter().find(of) {
            Some(section) if section.bytes / 2 <= SYMBOLS => self.many(section.offset, section.bytes / 2),
            _ => Ok(Vec::new()),
        }
    }

    /// Calls `each` with every symbol until it says that it has enough.
    fn each_symbol(
        &self,
        table: &Section,
        mut each: impl FnMut(usize, Symbol) -> bool,
    ) -> Result<(), ElfError> {
        let count = table.bytes / size_of::<Symbol>() as u64;
        if table.entry_bytes != size_of::<Symbol>() as u64 {
            return Err(self.broken("its symbols have an odd size"));
        }
        if count > SYMBOLS {
            return Err(ElfError::TooLarge { path: self.path.clone(), what: "the table of its symbols" });
        }
        let mut next = 0;
        while next < count {
            let offset = table.offset.checked_add(next * size_of::<Symbol>() as u64);
            let offset = offset.ok_or_else(|| self.broken("its symbols are nowhere"))?;
            let symbols: Vec<Symbol> = self.many(offset, CHUNK.min(count - next))?;
            for (index, symbol) in symbols.into_iter().enumerate() {
                if !each(next as usize + index, symbol) {
                    return Ok(());
                }
            }
            next += CHUNK;
        }
        Ok(())
    }

    fn found(&self, symbol: &Symbol) -> Found {
        match (symbol.section, symbol.kind()) {
            (0, _) => Found::Elsewhere,
            (_, IFUNC) => Found::ChosenLater,
            (_, FUNC | NOTYPE) => self.offset_of(symbol.address).map_or(Found::Elsewhere, Found::At),
            _ => Found::Elsewhere,
        }
    }
}

/// `name@VERSION` and `name@@VERSION` are of that name, too.
fn is_named(text: &[u8], name: &str) -> bool {
    let rest = text.strip_prefix(name.as_bytes());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"@"))
}

// === impl Symbol ===

impl Symbol {
    fn kind(self) -> u8 {
        self.info & 0xf
    }
}

// === impl Functions ===

impl Functions {
    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        self.names.len() + self.sorted.len() * size_of::<(u64, u32, u32)>()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// The function that is at an offset of the file, and how far from its start that is.
    pub fn at_offset(&self, offset: u64) -> Option<(String, u64)> {
        self.at(offset_to_address(self.code.iter(), offset)?)
    }

    /// The function that has an address, and how far from its start that is.
    pub fn at(&self, address: u64) -> Option<(String, u64)> {
        let after = self.sorted.partition_point(|(start, ..)| *start <= address);
        let (start, bytes, name) = *self.sorted.get(after.checked_sub(1)?)?;
        let offset = address - start;
        // One that doesn't say where it ends does so before the next one.
        if bytes > 0 && offset >= u64::from(bytes) {
            return None;
        }
        let name = String::from_utf8_lossy(text_at(&self.names, name)?);
        let name = name.split('@').next().unwrap_or_default();
        Some((name.to_owned(), offset))
    }
}
