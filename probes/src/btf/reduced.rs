//! The kernel's types without those that no program of ours looks into.
//!
//! aya fits a program to the kernel by comparing the name of each type that the program knows with all of the kernel's, for
//! each object anew. Of more than ten thousand structs a hundred are of interest: the others lose their names and members.

use std::{collections::HashSet, fs};

use aya::{BtfError, Endianness};

use super::{Btf, Malformed, PATH, Type, kind, read, word};
use crate::{ProbeError, objects};

/// What separates the name of a type from the variant that a program means, as in `task_struct___old`.
const VARIANT: &[u8] = b"___";

/// The kernel's types as aya reads them: its functions and typedefs, and what our programs know by name.
///
/// # Errors
/// The kernel has none, or they can't be read.
pub(crate) fn of_kernel() -> Result<aya::Btf, ProbeError> {
    let unread = |error| ProbeError::NoBtf(BtfError::FileError { path: PATH.into(), error });
    let kernel = Btf::parse(fs::read(PATH).map_err(unread)?).map_err(ProbeError::Types)?;
    let mut own = Vec::new();
    for (name, bytes) in objects::ALL {
        let failed =
            |error: aya_obj::ParseError| ProbeError::Relocate { object: name, what: error.to_string() };
        let object = aya_obj::Object::parse(bytes).map_err(failed)?;
        if let Some(types) = object.btf {
            own.push(Btf::parse(types.to_bytes()).map_err(ProbeError::Types)?);
        }
    }
    let known = own.iter().flat_map(Btf::composites).collect();
    let reduced = kernel.reduced(&known).ok_or(ProbeError::Types(Malformed::Short))?;
    aya::Btf::parse(&reduced, Endianness::default()).map_err(ProbeError::NoBtf)
}

// === impl Btf ===

impl Btf {
    /// The names of structs, unions and enumerations.
    fn composites(&self) -> impl Iterator<Item = &[u8]> {
        let all = self.types.iter().filter_map(|at| read(&self.bytes, *at as usize));
        let names = all.filter(Type::is_composite).map(|one| self.name(one.name));
        names.map(|name| {
            let variant = name.windows(VARIANT.len()).position(|part| part == VARIANT);
            name.get(..variant.unwrap_or(name.len())).unwrap_or(name)
        })
    }

    /// Its bytes without what is in structs, unions and enumerations of other names than these, without their names, and
    /// without prototypes. Each type has the number it had, and what can be a member its size.
    fn reduced(&self, known: &HashSet<&[u8]>) -> Option<Vec<u8>> {
        /// Of a type's second word: how many members it has.
        const COUNT: u32 = 0xffff;
        /// Stands where a type was: a pointer to void.
        const NOTHING: [u32; 3] = [0, kind::PTR << 24, 0];
        let mut types = Vec::new();
        let ends = self.types.iter().skip(1).map(|at| *at as usize);
        let (first, length) = (word(&self.bytes, 8)?, word(&self.bytes, 12)?);
        let header = word(&self.bytes, 4)? as usize;
        let last = header + first as usize + length as usize;
        for (begin, end) in self.types.iter().zip(ends.chain([last])) {
            let one = read(&self.bytes, *begin as usize)?;
            let name = self.name(one.name);
            let less = match one.kind {
                kind::FUNC_PROTO | kind::DATASEC => Some(NOTHING),
                _ if one.is_composite() && !name.is_empty() && !known.contains(name) => {
                    Some([0, word(&self.bytes, *begin as usize + 4)? & !COUNT, one.size_or_type])
                }
                _ => None,
            };
            match less {
                None => types.extend_from_slice(self.bytes.get(*begin as usize..end)?),
                Some(words) => words.iter().for_each(|word| types.extend_from_slice(&word.to_ne_bytes())),
            }
        }
        let (begin, end) = *self.names.first()?;
        let names = self.bytes.get(begin..end)?;
        let sizes = [0, types.len(), types.len(), names.len()];
        let mut bytes = self.bytes.get(..8)?.to_vec();
        for size in sizes {
            bytes.extend_from_slice(&u32::try_from(size).ok()?.to_ne_bytes());
        }
        // Newer headers have more.
        bytes.extend_from_slice(self.bytes.get(bytes.len()..header)?);
        Some([&bytes, &types, names].concat())
    }
}

// === impl Type ===

impl Type {
    fn is_composite(&self) -> bool {
        matches!(self.kind, kind::STRUCT | kind::UNION | kind::ENUM | kind::ENUM64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::tests;

    #[test]
    fn programs_are_fitted_as_by_all_types() {
        let Some(whole) = tests::of_kernel() else { return };
        let all = aya::Btf::parse(&whole, Endianness::default()).unwrap();
        let reduced = of_kernel().unwrap();
        assert!(reduced.to_bytes().len() < whole.len() * 3 / 4);
        for (name, bytes) in objects::ALL {
            let fitted = |btf: &aya::Btf| {
                let mut object = aya_obj::Object::parse(bytes).unwrap();
                object.relocate_btf(btf).unwrap();
                let code = object.functions.values().map(|function| {
                    function.instructions.iter().map(|one| (one.code, one.off, one.imm)).collect::<Vec<_>>()
                });
                code.collect::<Vec<_>>()
            };
            assert!(fitted(&reduced) == fitted(&all), "{name}");
        }
        for (name, kind) in [
            ("vfs_rename", aya_obj::btf::BtfKind::Func),
            ("btf_trace_sched_process_exec", aya_obj::btf::BtfKind::Typedef),
        ] {
            let number = |btf: &aya::Btf| btf.id_by_type_name_kind(name, kind).unwrap();
            assert_eq!(number(&reduced), number(&all), "{name}");
        }
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        let Some(bytes) = tests::of_kernel() else { return };
        let broken = Btf { bytes: bytes[..bytes.len() / 2].to_vec(), ..Btf::parse(bytes).unwrap() };
        assert_eq!(broken.reduced(&HashSet::new()), None);
    }
}
