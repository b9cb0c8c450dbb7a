//! The kernel's types for aya, which reads and keeps all that it is given, and compares the name of each type that a program
//! knows with all of the kernel's, for each object anew: of more than a hundred thousand types some thousands are of
//! interest.

use std::{
    collections::{HashMap, HashSet},
    fs,
};

use aya::{BtfError, Endianness};

use super::{Btf, Malformed, PATH, Type, kind, read, word};
use crate::{ProbeError, objects};

/// What separates the name of a type from the variant that a program means, as in `task_struct___old`.
const VARIANT: &[u8] = b"___";

/// Stands where a type was: a pointer to void.
const NOTHING: [u32; 3] = [0, kind::PTR << 24, 0];

/// The kernel's types.
#[derive(Debug)]
pub(crate) struct Reduced {
    /// Functions and typedefs, with the kernel's numbers: what programs are attached to.
    pub(crate) targets: aya::Btf,
    /// What our programs look into, with numbers of its own: what programs are fitted to.
    pub(crate) layouts: aya::Btf,
}

/// Types that programs look into, and what they are made of.
struct Layouts<'a> {
    from: &'a Btf,
    known: &'a HashSet<&'a [u8]>,
    /// The kernel's numbers of types whose members are another's, too: it has them in it without a name.
    embedded: HashSet<u32>,
    /// The kernel's numbers, in the order of the new ones.
    order: Vec<u32>,
    /// The new ones; the first is 1.
    numbers: HashMap<u32, u32>,
}

// === impl Reduced ===

impl Reduced {
    /// Reads those of the running kernel.
    ///
    /// # Errors
    /// The kernel has none, or they can't be read.
    pub(crate) fn of_kernel() -> Result<Self, ProbeError> {
        let unread = |error| ProbeError::NoBtf(BtfError::FileError { path: PATH.into(), error });
        Self::of(fs::read(PATH).map_err(unread)?)
    }

    fn of(bytes: Vec<u8>) -> Result<Self, ProbeError> {
        let kernel = Btf::parse(bytes).map_err(ProbeError::Types)?;
        let mut own = Vec::new();
        for (name, bytes) in objects::ALL {
            let failed =
                |error: aya_obj::ParseError| ProbeError::Relocate { object: name, what: error.to_string() };
            let object = aya_obj::Object::parse(bytes).map_err(failed)?;
            if let Some(types) = object.btf {
                own.push(Btf::parse(types.to_bytes()).map_err(ProbeError::Types)?);
            }
        }
        let known = own.iter().flat_map(Btf::layout_names).collect();
        let parsed = |types: Option<Vec<u8>>| {
            let bytes = types.and_then(|types| kernel.with_types(&types));
            let bytes = bytes.ok_or(ProbeError::Types(Malformed::Short))?;
            aya::Btf::parse(&bytes, Endianness::default()).map_err(ProbeError::NoBtf)
        };
        Ok(Self { targets: parsed(Some(kernel.targets()))?, layouts: parsed(Layouts::of(&kernel, &known))? })
    }
}

// === impl Btf ===

impl Btf {
    fn all(&self) -> impl Iterator<Item = Type> {
        self.types.iter().filter_map(|at| read(&self.bytes, *at as usize))
    }

    /// The members of a struct or union: name, type, and where it is; those that the bytes have.
    fn raw_members(&self, one: Type) -> impl Iterator<Item = (u32, u32, u32)> {
        (0..one.count).map_while(move |member| {
            let next = |index: usize| word(&self.bytes, one.rest + 12 * member + 4 * index);
            Some((next(0)?, next(1)?, next(2)?))
        })
    }

    /// The names of types that a program may look into, without their variants.
    fn layout_names(&self) -> impl Iterator<Item = &[u8]> {
        let names = self.all().filter(Type::has_layout).map(|one| self.name(one.name));
        names.map(|name| {
            let variant = name.windows(VARIANT.len()).position(|part| part == VARIANT);
            name.get(..variant.unwrap_or(name.len())).unwrap_or(name)
        })
    }

    /// Functions and typedefs without what they are of, and nothing else; each has the number it had.
    fn targets(&self) -> Vec<u8> {
        let of = |one: Type| match one.kind {
            kind::FUNC | kind::TYPEDEF => [one.name, one.kind << 24, 0],
            _ => NOTHING,
        };
        self.all().flat_map(of).flat_map(u32::to_ne_bytes).collect()
    }

    /// Type information with these types, and the same names.
    fn with_types(&self, types: &[u8]) -> Option<Vec<u8>> {
        /// Bytes of the header's fields.
        const HEADER: u32 = 24;
        let (begin, end) = *self.names.first()?;
        let names = self.bytes.get(begin..end)?;
        let (types_size, names_size) = (u32::try_from(types.len()).ok()?, u32::try_from(names.len()).ok()?);
        // Magic, version and flags are the same.
        let mut bytes = self.bytes.get(..4)?.to_vec();
        for word in [HEADER, 0, types_size, types_size, names_size] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        Some([&bytes, types, names].concat())
    }
}

// === impl Type ===

impl Type {
    fn is_composite(&self) -> bool {
        matches!(self.kind, kind::STRUCT | kind::UNION | kind::ENUM | kind::ENUM64)
    }

    fn has_members(&self) -> bool {
        matches!(self.kind, kind::STRUCT | kind::UNION)
    }

    fn has_layout(&self) -> bool {
        self.is_composite() || self.kind == kind::TYPEDEF
    }
}

// === impl Layouts ===

impl<'a> Layouts<'a> {
    /// The bytes of all types of these names, and of what they have in them.
    fn of(from: &'a Btf, known: &'a HashSet<&'a [u8]>) -> Option<Vec<u8>> {
        let members = from.all().filter(Type::has_members).flat_map(|one| from.raw_members(one));
        let embedded = members.filter_map(|(name, of, _)| (name == 0).then_some(of)).collect();
        let mut layouts = Self { from, known, embedded, order: Vec::new(), numbers: HashMap::new() };
        for (one, id) in from.all().zip(1..) {
            let name = from.name(one.name);
            if one.has_layout() && !name.is_empty() && known.contains(name) {
                layouts.number(id);
            }
        }
        let mut words = Vec::new();
        let mut at = 0;
        // Each may bring others.
        while let Some(id) = layouts.order.get(at).copied() {
            layouts.write(id, &mut words)?;
            at += 1;
        }
        Some(words.into_iter().flat_map(u32::to_ne_bytes).collect())
    }

    /// The new number of a type, which is left from now on; 0 is void.
    fn number(&mut self, id: u32) -> u32 {
        if id == 0 {
            return 0;
        }
        let next = self.order.len() as u32 + 1;
        let number = *self.numbers.entry(id).or_insert(next);
        if number == next {
            self.order.push(id);
        }
        number
    }

    fn write(&mut self, id: u32, words: &mut Vec<u32>) -> Option<()> {
        /// Of a type's second word: how many members it has.
        const COUNT: u32 = 0xffff;
        let one = self.from.get(id)?;
        let next = |index: usize| word(&self.from.bytes, one.rest + 4 * index);
        let info = word(&self.from.bytes, one.rest - 8)?;
        let name = self.from.name(one.name);
        match one.kind {
            // What a pointer leads to is another type's business.
            kind::PTR => words.extend(NOTHING),
            kind::INT => words.extend([one.name, info, one.size_or_type, next(0)?]),
            kind::FLOAT | kind::FWD => words.extend([one.name, info, one.size_or_type]),
            kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                words.extend([one.name, info, self.number(one.size_or_type)]);
            }
            kind::ARRAY => {
                let (element, index, count) = (next(0)?, next(1)?, next(2)?);
                words.extend([one.name, info, one.size_or_type]);
                words.extend([self.number(element), self.number(index), count]);
            }
            // Nobody looks into it, but it has its size.
            _ if one.is_composite()
                && !name.is_empty()
                && !self.known.contains(name)
                && !self.embedded.contains(&id) =>
            {
                words.extend([0, info & !COUNT, one.size_or_type]);
            }
            kind::STRUCT | kind::UNION => {
                words.extend([one.name, info, one.size_or_type]);
                let before = words.len();
                for (name, of, offset) in self.from.raw_members(one) {
                    words.extend([name, self.number(of), offset]);
                }
                (words.len() - before == 3 * one.count).then_some(())?;
            }
            kind::ENUM | kind::ENUM64 => {
                let each = if one.kind == kind::ENUM { 2 } else { 3 };
                words.extend([one.name, info, one.size_or_type]);
                for index in 0..each * one.count {
                    words.push(next(index)?);
                }
            }
            _ => words.extend(NOTHING),
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use aya_obj::btf::BtfKind;

    use super::*;
    use crate::btf::tests;

    #[test]
    fn programs_are_fitted_as_by_all_types() {
        let Some(whole) = tests::of_kernel() else { return };
        let all = aya::Btf::parse(&whole, Endianness::default()).unwrap();
        let Reduced { targets, layouts } = Reduced::of(whole.clone()).unwrap();
        assert!(layouts.to_bytes().len() < whole.len());
        for (name, bytes) in objects::ALL {
            let fitted = |btf: &aya::Btf| {
                let mut object = aya_obj::Object::parse(bytes).unwrap();
                object.relocate_btf(btf).unwrap();
                let code = object.functions.values().map(|function| {
                    function.instructions.iter().map(|one| (one.code, one.off, one.imm)).collect::<Vec<_>>()
                });
                code.collect::<Vec<_>>()
            };
            assert!(fitted(&layouts) == fitted(&all), "{name}");
        }
        for (name, kind) in
            [("vfs_rename", BtfKind::Func), ("btf_trace_sched_process_exec", BtfKind::Typedef)]
        {
            let number = |btf: &aya::Btf| btf.id_by_type_name_kind(name, kind).unwrap();
            assert_eq!(number(&targets), number(&all), "{name}");
        }
    }

    /// As Linux 7.0 has `struct filename`: most of its members are those of another struct.
    #[test]
    fn what_stands_without_a_name_is_looked_into() {
        let int = [3, kind::INT << 24, 4, 32];
        let one_member = kind::STRUCT << 24 | 1;
        for (name, members) in [(0, 1), (1, 0)] {
            let inner = [3, one_member, 4, 3, 1, 0];
            let outer = [1, one_member, 4, name, 2, 0];
            let kernel = Btf::parse(tests::made(&[&int[..], &inner, &outer].concat())).unwrap();
            let layouts = Layouts::of(&kernel, &HashSet::from([b"a".as_slice()])).unwrap();
            let layouts = Btf::parse(kernel.with_types(&layouts).unwrap()).unwrap();
            let of_inner = layouts.get(2).unwrap();
            assert_eq!((of_inner.size_or_type, of_inner.count), (4, members));
        }
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        let Some(bytes) = tests::of_kernel() else { return };
        let broken = Btf { bytes: bytes[..bytes.len() / 2].to_vec(), ..Btf::parse(bytes).unwrap() };
        assert_eq!(broken.with_types(&[]), None);
    }
}
