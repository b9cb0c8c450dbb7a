//! The kernel's type information, as far as prototypes need it: aya's reader keeps its own to itself.
//!
//! The format is that of the kernel's Documentation/bpf/btf.rst. What is read is bounded by the bytes there are, every
//! walk by a number of steps.

use std::{collections::HashMap, fs::File, io::Read as _};

use crate::{
    ProbeError,
    types::{CType, Parameter, Prototype, Shape},
};

pub(crate) mod reduced;
#[cfg(test)]
mod tests;
pub mod way;
#[cfg(test)]
mod way_tests;

/// Where the kernel has it.
const PATH: &str = "/sys/kernel/btf/vmlinux";

/// Where it has that of each module.
const MODULES: &str = "/sys/kernel/btf";

/// Bytes that are read; distributions' kernels have 4 to 12 MiB.
const BYTES: u64 = 64 << 20;

/// Steps from a type to what it is made of; C's own types take a handful.
const STEPS: usize = 32;

/// Kinds of type: `BTF_KIND_*` of include/uapi/linux/btf.h.
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const PTR: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const FWD: u32 = 7;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNC: u32 = 12;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const FLOAT: u32 = 16;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

/// Type information.
pub struct Btf {
    bytes: Vec<u8>,
    /// Where each type begins; the first has number 1.
    types: Vec<u32>,
    /// Where the names begin, and end; those of a module come after the kernel's.
    names: Vec<(usize, usize)>,
}

/// Type information that isn't any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It begins otherwise.
    #[error("it has no header")]
    Header,
    /// Something lies beyond its end.
    #[error("it ends in the midst of something")]
    Short,
    /// A kind that is newer than this reader.
    #[error("it has a type of unknown kind {0}")]
    Kind(u32),
}

/// A type's fixed part.
#[derive(Clone, Copy, Debug)]
struct Type {
    name: u32,
    kind: u32,
    /// How many members, parameters or values it has.
    count: usize,
    /// Of an enumeration: it has a sign.
    flag: bool,
    /// Bytes, or another type, as its kind has it.
    size_or_type: u32,
    /// Where what follows begins.
    rest: usize,
}

// === impl Btf ===

impl Btf {
    /// Reads that of the running kernel.
    ///
    /// # Errors
    /// The kernel has none, or it can't be read.
    pub fn of_kernel() -> Result<Self, ProbeError> {
        let failed =
            |source| ProbeError::Io { what: "read the kernel's types (/sys/kernel/btf/vmlinux)", source };
        let mut bytes = Vec::new();
        let file = File::open(PATH).map_err(failed)?;
        file.take(BYTES).read_to_end(&mut bytes).map_err(failed)?;
        Self::parse(bytes).map_err(ProbeError::Types)
    }

    /// Reads type information of this machine's byte order.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, Malformed> {
        const MAGIC: u16 = 0xeb9f;
        let magic = bytes.get(..2).and_then(|magic| magic.try_into().ok()).map(u16::from_ne_bytes);
        if magic != Some(MAGIC) {
            return Err(Malformed::Header);
        }
        // Magic, version, flags; then: the header's bytes, where types begin, their bytes, and those of names.
        let header = |offset| word(&bytes, offset).ok_or(Malformed::Header);
        let [start, types, types_size, names, names_size] =
            [header(4)?, header(8)?, header(12)?, header(16)?, header(20)?];
        let section = |offset: u32, size: u32| {
            let begin = usize::try_from(u64::from(start) + u64::from(offset)).ok()?;
            let end = begin.checked_add(usize::try_from(size).ok()?)?;
            (end <= bytes.len()).then_some((begin, end))
        };
        let (mut at, end) = section(types, types_size).ok_or(Malformed::Short)?;
        let names = section(names, names_size).ok_or(Malformed::Short)?;
        let mut found = Vec::new();
        while at < end {
            let one = read(&bytes, at).ok_or(Malformed::Short)?;
            let each = match one.kind {
                kind::INT | kind::VAR | kind::DECL_TAG => 4,
                kind::ARRAY => 12,
                kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12 * one.count,
                kind::ENUM | kind::FUNC_PROTO => 8 * one.count,
                kind::PTR
                | kind::FWD
                | kind::TYPEDEF
                | kind::VOLATILE
                | kind::CONST
                | kind::RESTRICT
                | kind::FUNC
                | kind::FLOAT
                | kind::TYPE_TAG => 0,
                unknown => return Err(Malformed::Kind(unknown)),
            };
            found.push(u32::try_from(at).map_err(|_| Malformed::Short)?);
            at = one.rest + each;
        }
        if at != end {
            return Err(Malformed::Short);
        }
        Ok(Self { bytes, types: found, names: vec![names] })
    }

    /// The same with what a module adds to it: its types and names are counted on from the kernel's.
    ///
    /// # Errors
    /// There is no such module, or it has no type information.
    pub fn with_module(&self, module: &str) -> Result<Self, ProbeError> {
        let failed = |source| ProbeError::Io { what: "read a module's types (/sys/kernel/btf)", source };
        let mut bytes = Vec::new();
        let file = File::open(format!("{MODULES}/{module}")).map_err(failed)?;
        file.take(BYTES).read_to_end(&mut bytes).map_err(failed)?;
        let own = Self::parse(bytes).map_err(ProbeError::Types)?;
        let begin = self.bytes.len();
        let moved = |at: &u32| u32::try_from(*at as usize + begin).ok();
        let types = self.types.iter().copied().chain(own.types.iter().filter_map(moved)).collect();
        let names = own.names.iter().map(|(first, last)| (first + begin, last + begin));
        Ok(Self {
            types,
            names: self.names.iter().copied().chain(names).collect(),
            bytes: [self.bytes.as_slice(), &own.bytes].concat(),
        })
    }

    /// What a function takes and returns.
    pub fn function(&self, name: &str) -> Option<Prototype> {
        let function = self.find(name, kind::FUNC)?;
        self.prototype(function.size_or_type)
    }

    /// The numbers of the functions' types, by their names: those of a module, where it has one's.
    pub(crate) fn numbers_of_functions(&self) -> HashMap<String, u32> {
        let all = self
            .types
            .iter()
            .zip(1..)
            .filter_map(|(at, number)| Some((read(&self.bytes, *at as usize)?, number)));
        let functions = all.filter(|(one, _)| one.kind == kind::FUNC);
        functions
            .map(|(one, number)| (String::from_utf8_lossy(self.name(one.name)).into_owned(), number))
            .collect()
    }

    /// What a tracepoint passes to its handlers.
    pub fn raw_tracepoint(&self, event: &str) -> Option<Prototype> {
        let handler = self.find(&format!("btf_trace_{event}"), kind::TYPEDEF)?;
        let pointer = self.get(handler.size_or_type).filter(|pointer| pointer.kind == kind::PTR)?;
        let mut prototype = self.prototype(pointer.size_or_type)?;
        // The handler's own datum.
        if prototype.parameters.is_empty() {
            return None;
        }
        prototype.parameters.remove(0);
        Some(prototype)
    }

    /// What values of a type are, by the name of a typedef.
    pub fn typedef(&self, name: &str) -> Option<Shape> {
        let definition = self.find(name, kind::TYPEDEF)?;
        Some(self.shape(definition.size_or_type))
    }

    /// The functions whose names begin so.
    pub fn functions(&self, prefix: &str) -> impl Iterator<Item = String> {
        let all = self.types.iter().filter_map(|at| read(&self.bytes, *at as usize));
        let functions = all.filter(|one| one.kind == kind::FUNC).map(|one| self.name(one.name));
        let wanted = functions.filter(move |name| name.starts_with(prefix.as_bytes()));
        wanted.map(|name| String::from_utf8_lossy(name).into_owned())
    }

    fn find(&self, name: &str, kind: u32) -> Option<Type> {
        let mut all = self.types.iter().filter_map(|at| read(&self.bytes, *at as usize));
        all.find(|one| one.kind == kind && self.name(one.name) == name.as_bytes())
    }

    fn get(&self, id: u32) -> Option<Type> {
        let at = self.types.get(usize::try_from(id).ok()?.checked_sub(1)?)?;
        read(&self.bytes, *at as usize)
    }

    fn name(&self, offset: u32) -> &[u8] {
        let mut offset = offset as usize;
        let mut rest: &[u8] = &[];
        for (begin, end) in &self.names {
            if offset < end - begin {
                rest = self.bytes.get(begin + offset..*end).unwrap_or_default();
                break;
            }
            offset -= end - begin;
        }
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    fn prototype(&self, id: u32) -> Option<Prototype> {
        let prototype = self.get(id).filter(|one| one.kind == kind::FUNC_PROTO)?;
        let parameter = |index: usize| {
            let at = prototype.rest + 8 * index;
            let (name, id) = (word(&self.bytes, at)?, word(&self.bytes, at + 4)?);
            let name = String::from_utf8_lossy(self.name(name)).into_owned();
            Some(Parameter { name, ctype: self.describe(id), hidden: false })
        };
        let parameters = (0..prototype.count).map(parameter).collect::<Option<_>>()?;
        Some(Prototype { parameters, returned: Some(self.describe(prototype.size_or_type)) })
    }

    fn describe(&self, id: u32) -> CType {
        let mut text = String::new();
        self.write(id, STEPS, &mut text);
        CType { text, shape: self.shape(id) }
    }

    /// Writes a type as C does, but for functions and arrays, of which there is no more than the sort.
    fn write(&self, id: u32, steps: usize, text: &mut String) {
        let Some(one) = self.get(id).filter(|_| steps > 0) else {
            // Number 0 is void.
            text.push_str(if id == 0 { "void" } else { "?" });
            return;
        };
        let inner = one.size_or_type;
        let named = |sort: &str, text: &mut String| {
            text.push_str(sort);
            let name = self.name(one.name);
            text.push_str(if name.is_empty() { "(anonymous)" } else { "" });
            text.push_str(&String::from_utf8_lossy(name));
        };
        match one.kind {
            kind::PTR => {
                self.write(inner, steps - 1, text);
                text.push_str(if text.ends_with('*') { "*" } else { " *" });
            }
            kind::CONST if self.get(inner).is_some_and(|inner| inner.kind == kind::PTR) => {
                self.write(inner, steps - 1, text);
                text.push_str("const");
            }
            kind::CONST => {
                text.push_str("const ");
                self.write(inner, steps - 1, text);
            }
            kind::VOLATILE | kind::RESTRICT | kind::TYPE_TAG => self.write(inner, steps - 1, text),
            kind::STRUCT | kind::FWD if !one.flag || one.kind == kind::STRUCT => named("struct ", text),
            kind::UNION | kind::FWD => named("union ", text),
            kind::ENUM | kind::ENUM64 => named("enum ", text),
            kind::FUNC_PROTO => text.push_str("function"),
            kind::ARRAY => text.push_str("array"),
            _ => named("", text),
        }
    }

    fn shape(&self, id: u32) -> Shape {
        let Some(one) = self.bare(id) else { return if id == 0 { Shape::Void } else { Shape::Other } };
        let integer = |signed| match u8::try_from(one.size_or_type) {
            Ok(bytes @ (1 | 2 | 4 | 8)) => Shape::Integer { bytes, signed },
            _ => Shape::Other,
        };
        match one.kind {
            kind::INT => {
                /// Of the word behind a number: it has a sign.
                const SIGNED: u32 = 1 << 24;
                integer(word(&self.bytes, one.rest).unwrap_or(0) & SIGNED != 0)
            }
            kind::ENUM | kind::ENUM64 => integer(one.flag),
            kind::PTR => match self.bare(one.size_or_type) {
                Some(to) if to.kind == kind::INT && self.name(to.name) == b"char" => Shape::Text,
                Some(to) if matches!(to.kind, kind::STRUCT | kind::UNION | kind::FWD) => {
                    Shape::Pointer(String::from_utf8_lossy(self.name(to.name)).into_owned())
                }
                _ => Shape::Pointer(String::new()),
            },
            _ => Shape::Other,
        }
    }

    /// What is left of a type without its names and qualifiers.
    fn bare(&self, mut id: u32) -> Option<Type> {
        for _ in 0..STEPS {
            let one = self.get(id)?;
            match one.kind {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = one.size_or_type;
                }
                _ => return Some(one),
            }
        }
        None
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

fn read(bytes: &[u8], at: usize) -> Option<Type> {
    let (name, info, size_or_type) = (word(bytes, at)?, word(bytes, at + 4)?, word(bytes, at + 8)?);
    Some(Type {
        name,
        kind: info >> 24 & 0x1f,
        count: (info & 0xffff) as usize,
        flag: info >> 31 == 1,
        size_or_type,
        rest: at + 12,
    })
}
