//! Notes: what the linker, the compiler or a library left in a file to be read by others.

use super::{Elf, ElfError, Section};

/// `PT_NOTE`, `SHT_NOTE`.
const SEGMENT: u32 = 4;
const SECTION: u32 = 7;
/// `NT_GNU_BUILD_ID`
const BUILD_ID: u32 = 3;
/// Bytes of notes that are read.
const NOTE_BYTES: u64 = 64 << 20;

/// A note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note<'a> {
    /// Whose it is, without the NUL: `GNU`.
    pub owner: &'a [u8],
    /// What it is, as its owner numbers them.
    pub kind: u32,
    /// What it says.
    pub text: &'a [u8],
}

/// The notes that lie one after the other.
#[derive(Clone, Debug)]
pub struct Notes<'a>(pub &'a [u8]);

// === impl Elf ===

impl Elf {
    /// The build-id that the linker gave the file; none where it gave none.
    ///
    /// # Errors
    /// The file is broken, or can't be read.
    pub fn build_id(&self) -> Result<Option<Vec<u8>>, ElfError> {
        let segments = self.segments.iter().filter(|segment| segment.kind == SEGMENT);
        let places = segments.map(|segment| (segment.offset, segment.bytes));
        let sections = self.sections.iter().filter(|section| section.kind == SECTION);
        for (offset, bytes) in places.chain(sections.map(|section| (section.offset, section.bytes))) {
            let all = self.notes_at(offset, bytes)?;
            let mut notes = Notes(&all);
            if let Some(note) = notes.find(|note| note.owner == b"GNU" && note.kind == BUILD_ID) {
                return Ok(Some(note.text.to_owned()));
            }
        }
        Ok(None)
    }

    /// The notes of a section; empty where there is none of that name.
    ///
    /// # Errors
    /// The file is broken, or can't be read.
    pub(crate) fn notes(&self, section: &str) -> Result<Vec<u8>, ElfError> {
        match self.section(section)? {
            Some(Section { kind: SECTION, offset, bytes, .. }) => self.notes_at(offset, bytes),
            _ => Ok(Vec::new()),
        }
    }

    fn notes_at(&self, offset: u64, bytes: u64) -> Result<Vec<u8>, ElfError> {
        if bytes > NOTE_BYTES {
            return Err(ElfError::TooLarge { path: self.path.clone(), what: "its notes" });
        }
        self.part(offset, bytes, "its notes")
    }
}

// === impl Notes ===

impl<'a> Iterator for Notes<'a> {
    type Item = Note<'a>;

    fn next(&mut self) -> Option<Note<'a>> {
        let number = |at: usize| Some(u32::from_le_bytes(self.0.get(at..at + 4)?.try_into().ok()?));
        let (name, text, kind) = (number(0)? as usize, number(4)? as usize, number(8)?);
        let rest = self.0.get(12..)?;
        let owner = rest.get(..name)?;
        let rest = rest.get(name.checked_next_multiple_of(4)?..)?;
        let note = Note { owner: owner.strip_suffix(b"\0").unwrap_or(owner), kind, text: rest.get(..text)? };
        // The last one need not be padded.
        self.0 = rest.get(text.checked_next_multiple_of(4)?..).unwrap_or_default();
        Some(note)
    }
}
