//! USDT probes: places that a program's author named to be looked at.
//!
//! A probe is a `nop` in the code, and a note in `.note.stapsdt` that has its place, its name and where its arguments
//! are. Source of the format: Systemtap's "User Space Probe Implementation". A probe that several places pass (inlined
//! code does) has a note for each.

use crate::{
    elf::{Elf, ElfError, Notes},
    operand::{Machine, Operand},
};

/// A place of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Whose it is: `libc`.
    pub provider: String,
    /// What it is called: `memory_sbrk_more`.
    pub name: String,
    /// Where its code is in the file.
    pub offset: u64,
    /// Where in the file the counter is of those who look at it; 0 for none. The program prepares its arguments only
    /// while somebody does.
    pub counter: u64,
    /// Each argument as the note has it, and as it is read; none for what isn't read here.
    pub arguments: Vec<(String, Option<Operand>)>,
}

/// Probes' places that a file has at most; the largest programs have thousands.
const SITES: usize = 65_536;
/// Arguments of a probe; the macros that make them have twelve.
const ARGUMENTS: usize = 32;
/// `_SDT_NOTE_TYPE`
const KIND: u32 = 3;

/// All places of a file's probes.
///
/// # Errors
/// The file is broken, can't be read, or has too many.
pub fn sites(elf: &Elf) -> Result<Vec<Site>, ElfError> {
    let notes = elf.notes(".note.stapsdt")?;
    let base = elf.section_address(".stapsdt.base")?;
    let known = Notes(&notes).filter(|note| note.owner == b"stapsdt" && note.kind == KIND);
    Ok(known.take(SITES).filter_map(|note| site(elf, base, note.text)).collect())
}

/// A note whose place is in no code is none.
fn site(elf: &Elf, base: Option<u64>, text: &[u8]) -> Option<Site> {
    let number = |at: usize| Some(u64::from_le_bytes(text.get(at..at + 8)?.try_into().ok()?));
    let (place, linked_at, counter) = (number(0)?, number(8)?, number(16)?);
    // What moved the file after it was linked did not know of notes, but moved this section.
    let moved = base.map_or(0, |base| base.wrapping_sub(linked_at));
    let mut texts = text.get(24..)?.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let (provider, name) = (texts.next()?.into_owned(), texts.next()?.into_owned());
    let arguments = split(&texts.next()?);
    let counter = match counter {
        0 => 0,
        counter => elf.place_of(counter.wrapping_add(moved))?,
    };
    let arguments = arguments.into_iter().take(ARGUMENTS).map(|text| {
        let operand = Operand::parse(&text, Machine::HERE);
        (text, operand)
    });
    Some(Site {
        provider,
        name,
        offset: elf.offset_of(place.wrapping_add(moved))?,
        counter,
        arguments: arguments.collect(),
    })
}

/// Arguments are apart by spaces; in brackets there may be some, too.
fn split(text: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    let (mut current, mut depth) = (String::new(), 0_u32);
    for character in text.chars() {
        match character {
            '[' | '(' => depth += 1,
            ']' | ')' => depth = depth.saturating_sub(1),
            ' ' if depth == 0 => {
                arguments.push(std::mem::take(&mut current));
                continue;
            }
            _ => {}
        }
        current.push(character);
    }
    arguments.push(current);
    arguments.retain(|argument| !argument.is_empty());
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_apart() {
        assert_eq!(split("-4@%edi 8@8(%rax,%rbx, 8)  4@$5"), ["-4@%edi", "8@8(%rax,%rbx, 8)", "4@$5"]);
        assert_eq!(split("8@[sp, 16] -4@w0"), ["8@[sp, 16]", "-4@w0"]);
        assert_eq!(split("   "), [""; 0]);
        assert_eq!(split("8@[sp, 16 1@x"), ["8@[sp, 16 1@x"]);
    }
}
