//! Files that are what they say, and files that aren't.

use std::{fs, io::Write as _, path::Path};

use proptest::prelude::*;

use super::*;
use crate::usdt;

/// This test's own program: it has symbols, and what the linker left.
fn own() -> Vec<u8> {
    fs::read("/proc/self/exe").unwrap()
}

fn of_bytes(bytes: &[u8]) -> Result<Elf, ElfError> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Elf::of_file(Path::new("the file"), file)
}

/// Asks a file for everything.
fn read_all(bytes: &[u8]) {
    let Ok(elf) = of_bytes(bytes) else { return };
    let _ = elf.function("main");
    let _ = elf.build_id();
    let _ = usdt::sites(&elf);
    if let Ok(functions) = elf.functions(1 << 20) {
        let _ = (functions.at(0), functions.at(u64::MAX), functions.at_offset(u64::MAX));
    }
    let _ = (elf.way_to_return(0), elf.way_to_return(u64::MAX));
    let _ = (elf.offset_of(u64::MAX), elf.address_of(u64::MAX), elf.place_of(u64::MAX));
}

/// The headers, and as much of the rest as keeps the cases quick.
fn head() -> Vec<u8> {
    let mut bytes = own();
    bytes.truncate(1 << 14);
    bytes
}

#[test]
fn a_function_is_where_it_is() {
    #[expect(unsafe_code, reason = "a symbol of a known name")]
    // SAFETY: nothing else has this name.
    #[unsafe(no_mangle)]
    #[inline(never)]
    extern "C" fn trigon_test_function(number: u64) -> u64 {
        std::hint::black_box(number)
    }
    assert_eq!(trigon_test_function(4), 4);
    let elf = Elf::open(Path::new("/proc/self/exe")).unwrap();
    let Found::At(offset) = elf.function("trigon_test_function").unwrap() else { panic!("it is there") };
    let address = elf.address_of(offset).unwrap();
    assert_eq!(elf.offset_of(address), Some(offset));
    let functions = elf.functions(1 << 30).unwrap();
    assert_eq!(functions.at_offset(offset), Some(("trigon_test_function".to_owned(), 0)));
    assert_eq!(functions.at(address + 1), Some(("trigon_test_function".to_owned(), 1)));
    if cfg!(target_arch = "x86_64") {
        let way = elf.way_to_return(offset).unwrap().unwrap();
        let ret = usize::try_from(offset.strict_add_signed(way.into())).unwrap();
        assert_eq!(own()[ret], 0xc3);
    }
    assert_eq!(elf.function("there is none").unwrap(), Found::Nothing);
    assert!(matches!(elf.functions(1), Err(ElfError::TooLarge { .. })));
}

#[test]
fn what_is_no_program_is_refused() {
    assert!(matches!(Elf::open(Path::new("/")), Err(ElfError::NotAFile(_))));
    assert!(matches!(Elf::open(Path::new("/dev/null")), Err(ElfError::NotAFile(_))));
    assert!(matches!(Elf::open(Path::new("/nowhere/at/all")), Err(ElfError::Read { .. })));
    assert!(matches!(of_bytes(b""), Err(ElfError::NotElf(_))));
    assert!(matches!(of_bytes(&[b'#'; 100]), Err(ElfError::NotElf(_))));
    let mut foreign = head();
    foreign[18] = 0xff;
    assert!(matches!(of_bytes(&foreign), Err(ElfError::Foreign(_))));
    let mut narrow = head();
    narrow[4] = 1;
    assert!(matches!(of_bytes(&narrow), Err(ElfError::Foreign(_))));
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
    // To open it for reading would be to wait for a writer.
    assert!(matches!(Elf::open(&pipe), Err(ElfError::NotAFile(_))));
}

#[test]
fn a_file_that_ends_too_early_is_broken() {
    let bytes = own();
    for length in (0..bytes.len()).step_by(bytes.len() / 64 + 1) {
        read_all(&bytes[..length]);
    }
    assert!(matches!(of_bytes(&bytes[..64]), Err(ElfError::Broken { .. })));
}

#[test]
fn notes_end_where_they_end() {
    let note = |name: u32, text: u32, kind: u32| [name, text, kind].map(u32::to_le_bytes).concat();
    let mut bytes = note(4, 3, 7);
    bytes.extend_from_slice(b"GNU\0abc");
    let mut notes = Notes(&bytes);
    assert_eq!(notes.next(), Some(Note { owner: b"GNU", kind: 7, text: b"abc" }));
    assert_eq!(notes.next(), None);
    for bytes in [note(u32::MAX, 0, 0), note(0, u32::MAX, 0), note(1, 0, 0), vec![0; 11]] {
        assert_eq!(Notes(&bytes).next(), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        read_all(&bytes);
    }

    /// Bytes of the headers, where it hurts most.
    #[test]
    fn any_change_is_read_or_refused(
        changes in proptest::collection::vec((0_usize..1024, any::<u8>()), 1..32),
        sections in any::<u16>(),
    ) {
        let mut bytes = head();
        let length = bytes.len() as u64;
        // The tables lie within what is left of the file.
        bytes[40..48].copy_from_slice(&(length / 2).to_le_bytes());
        bytes[60..62].copy_from_slice(&(sections % 64).to_le_bytes());
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        read_all(&bytes);
    }
}
