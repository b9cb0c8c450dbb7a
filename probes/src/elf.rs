//! Programs and libraries as files: the places of their functions, and what they say of themselves.
//!
//! The file may be anybody's and say anything: each part is read by its own `pread`, is checked against the file's
//! length, and has a limit. Formats: the System V ABI, "Object Files"; the version symbols of the Linux Standard Base.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::{FileExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};
use zerocopy::FromBytes;

mod notes;
mod symbols;
#[cfg(test)]
mod tests;

pub use notes::{Note, Notes};
pub use symbols::{Found, Functions};

/// Bytes of a part of a file that is read as a whole: names of symbols. Those of the largest programs have a tenth.
const PART_BYTES: u64 = 512 << 20;
/// Headers of segments. Programs have about ten.
const SEGMENTS: u16 = 1024;
/// Headers of sections.
const SECTIONS: u16 = 16_384;

/// A file of a program or a library, open.
#[derive(Debug)]
pub struct Elf {
    path: PathBuf,
    file: File,
    facts: FileId,
    length: u64,
    segments: Vec<Segment>,
    sections: Vec<Section>,
}

/// Which file it is, by whatever name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// The file system's device.
    pub device: u64,
    /// The file's inode.
    pub inode: u64,
    /// When its contents or its inode were changed last, in nanoseconds since the Unix epoch.
    pub changed: i64,
}

/// Why a file can't be read as a program's.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// The system refuses it.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is a directory, a device, a pipe or a socket.
    #[error("{} is no regular file", .0.display())]
    NotAFile(PathBuf),
    /// It is no ELF file.
    #[error("{} is no ELF file", .0.display())]
    NotElf(PathBuf),
    /// It is one of another machine.
    #[error("{} is no 64-bit program of this machine's architecture", .0.display())]
    Foreign(PathBuf),
    /// What it says of itself doesn't hold.
    #[error("{} is broken: {what}", path.display())]
    Broken {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// A part of it is too large.
    #[error("{}: {what} is larger than what is read", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// What.
        what: &'static str,
    },
}

/// `Elf64_Ehdr`
#[derive(Clone, Copy, FromBytes)]
#[repr(C)]
struct Header {
    magic: [u8; 4],
    class: u8,
    data: u8,
    version: u8,
    rest: [u8; 9],
    kind: u16,
    machine: u16,
    file_version: u32,
    entry: u64,
    segments: u64,
    sections: u64,
    flags: u32,
    header_bytes: u16,
    segment_bytes: u16,
    segment_count: u16,
    section_bytes: u16,
    section_count: u16,
    names: u16,
}

/// `Elf64_Phdr`
#[derive(Clone, Copy, Debug, FromBytes)]
#[repr(C)]
struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    physical: u64,
    bytes: u64,
    memory: u64,
    align: u64,
}

/// `Elf64_Shdr`
#[derive(Clone, Copy, Debug, FromBytes)]
#[repr(C)]
struct Section {
    name: u32,
    kind: u32,
    flags: u64,
    address: u64,
    offset: u64,
    bytes: u64,
    link: u32,
    info: u32,
    align: u64,
    entry_bytes: u64,
}

/// `PT_LOAD`, `PF_X`.
const LOADED: u32 = 1;
const EXECUTABLE: u32 = 1;
/// `EM_X86_64`, `EM_AARCH64`.
const MACHINE: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };

// === impl Elf ===

impl Elf {
    /// Opens a file, whatever it turns out to be: nothing but a regular file is opened for reading, so that no pipe
    /// keeps the caller waiting and no device does anything. Symbolic links are followed.
    ///
    /// # Errors
    /// It can't be read, is no regular file, or no program of this machine.
    pub fn open(path: &Path) -> Result<Self, ElfError> {
        let refused = |source: io::Error| ElfError::Read { path: path.to_owned(), source };
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let place = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| refused(error.into()))?;
        Self::of_place(path, &place)
    }

    /// The same of what was opened with `O_PATH`; `path` is what errors call it.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn of_place(path: &Path, place: &OwnedFd) -> Result<Self, ElfError> {
        let refused = |source: io::Error| ElfError::Read { path: path.to_owned(), source };
        let facts = rustix::fs::fstat(place).map_err(|error| refused(error.into()))?;
        if rustix::fs::FileType::from_raw_mode(facts.st_mode) != rustix::fs::FileType::RegularFile {
            return Err(ElfError::NotAFile(path.to_owned()));
        }
        let file = File::open(format!("/proc/self/fd/{}", place.as_raw_fd())).map_err(refused)?;
        Self::of_file(path, file)
    }

    /// The same of a regular file that is open for reading.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn of_file(path: &Path, file: File) -> Result<Self, ElfError> {
        let refused = |source: io::Error| ElfError::Read { path: path.to_owned(), source };
        let facts = file.metadata().map_err(refused)?;
        let mut elf = Self {
            path: path.to_owned(),
            file,
            length: facts.len(),
            facts: FileId {
                device: facts.dev(),
                inode: facts.ino(),
                changed: facts.ctime().saturating_mul(1_000_000_000).saturating_add(facts.ctime_nsec()),
            },
            segments: Vec::new(),
            sections: Vec::new(),
        };
        if elf.length < size_of::<Header>() as u64 {
            return Err(ElfError::NotElf(path.to_owned()));
        }
        let header: Header = elf.one(0)?;
        if header.magic != *b"\x7fELF" {
            return Err(ElfError::NotElf(path.to_owned()));
        }
        // 64 bits, little-endian.
        if (header.class, header.data, header.machine) != (2, 1, MACHINE) {
            return Err(ElfError::Foreign(path.to_owned()));
        }
        if header.segment_count > SEGMENTS || header.section_count > SECTIONS {
            return Err(ElfError::TooLarge { path: path.to_owned(), what: "the table of its parts" });
        }
        if header.segment_count > 0 {
            elf.same_size(header.segment_bytes, size_of::<Segment>())?;
            elf.segments = elf.many(header.segments, header.segment_count.into())?;
        }
        if header.section_count > 0 {
            elf.same_size(header.section_bytes, size_of::<Section>())?;
            elf.sections = elf.many(header.sections, header.section_count.into())?;
        }
        Ok(elf)
    }

    /// Which file it is.
    pub fn id(&self) -> FileId {
        self.facts
    }

    /// The file, to be attached to or to be read.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where in the file the code is that will be at an address; none where the address is in no code.
    pub fn offset_of(&self, address: u64) -> Option<u64> {
        let within = |segment: &&Segment| {
            address.checked_sub(segment.address).is_some_and(|offset| offset < segment.bytes)
        };
        let segment = self.code().find(within)?;
        segment.offset.checked_add(address - segment.address)
    }

    /// The address that an offset in the file will have; none where there is no code.
    pub fn address_of(&self, offset: u64) -> Option<u64> {
        offset_to_address(self.code(), offset)
    }

    /// How far from a place in the code an instruction is that returns; none where there is none in reach. Both are mapped
    /// together, and so it is as far in a process.
    ///
    /// # Errors
    /// The file is broken.
    pub(crate) fn way_to_return(&self, offset: u64) -> Result<Option<i32>, ElfError> {
        /// Code that is read at a time. The function's own `ret` is near, as a rule.
        const REACH: u64 = 1 << 20;
        let within =
            |segment: &&Segment| offset.checked_sub(segment.offset).is_some_and(|from| from < segment.bytes);
        // On arm64 such functions aren't returned from yet.
        let Some(segment) = self.code().find(within).filter(|_| cfg!(target_arch = "x86_64")) else {
            return Ok(None);
        };
        let end = segment.offset.saturating_add(segment.bytes);
        let after = self.part(offset, (end - offset).min(REACH), "its code")?;
        if let Some(way) = position_of_return(&after) {
            return Ok(i32::try_from(way).ok());
        }
        let from = segment.offset.max(offset.saturating_sub(REACH));
        let before = self.part(from, offset - from, "its code")?;
        let way = position_of_return(&before).and_then(|at| i32::try_from(before.len() - at).ok());
        Ok(way.map(|way| -way))
    }

    /// Where in the file something is that will be at an address, code or not.
    pub(crate) fn place_of(&self, address: u64) -> Option<u64> {
        let loaded = self.segments.iter().filter(|segment| segment.kind == LOADED);
        let mut within = loaded.filter(|segment| {
            address.checked_sub(segment.address).is_some_and(|offset| offset < segment.bytes)
        });
        let segment = within.next()?;
        segment.offset.checked_add(address - segment.address)
    }

    /// The address of a section; none where there is no such section.
    ///
    /// # Errors
    /// The file is broken.
    pub(crate) fn section_address(&self, name: &str) -> Result<Option<u64>, ElfError> {
        Ok(self.section(name)?.map(|section| section.address))
    }

    /// A section by its name; the names are in one of the sections, whose number the header has.
    fn section(&self, name: &str) -> Result<Option<Section>, ElfError> {
        let header: Header = self.one(0)?;
        let Some(names) = self.sections.get(usize::from(header.names)) else { return Ok(None) };
        let names = self.part(names.offset, names.bytes, "its section names")?;
        let named = |section: &&Section| text_at(&names, section.name) == Some(name.as_bytes());
        Ok(self.sections.iter().find(named).copied())
    }

    fn code(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|one| one.kind == LOADED && one.flags & EXECUTABLE != 0)
    }

    fn broken(&self, what: &'static str) -> ElfError {
        ElfError::Broken { path: self.path.clone(), what }
    }

    fn same_size(&self, said: u16, known: usize) -> Result<(), ElfError> {
        if usize::from(said) == known { Ok(()) } else { Err(self.broken("its headers have an odd size")) }
    }

    fn one<T: FromBytes>(&self, offset: u64) -> Result<T, ElfError> {
        let mut all = self.many(offset, 1)?;
        all.pop().ok_or_else(|| self.broken("it ends too early"))
    }

    fn many<T: FromBytes>(&self, offset: u64, count: u64) -> Result<Vec<T>, ElfError> {
        let bytes = count.checked_mul(size_of::<T>() as u64).ok_or_else(|| self.broken("its size"))?;
        let bytes = self.part(offset, bytes, "a table")?;
        let each = bytes.chunks_exact(size_of::<T>());
        Ok(each.filter_map(|bytes| T::read_from_bytes(bytes).ok()).collect())
    }

    /// Bytes of the file.
    fn part(&self, offset: u64, bytes: u64, what: &'static str) -> Result<Vec<u8>, ElfError> {
        if offset.checked_add(bytes).is_none_or(|end| end > self.length) {
            return Err(self.broken("it ends before what its headers name"));
        }
        if bytes > PART_BYTES {
            return Err(ElfError::TooLarge { path: self.path.clone(), what });
        }
        let mut part = vec![0; usize::try_from(bytes).unwrap_or(0)];
        // It may have become shorter meanwhile.
        self.file
            .read_exact_at(&mut part, offset)
            .map_err(|source| ElfError::Read { path: self.path.clone(), source })?;
        Ok(part)
    }
}

/// The first byte that is `ret`, wherever it stands: the processor takes it for one where it is sent there.
fn position_of_return(code: &[u8]) -> Option<usize> {
    const RETURN: u8 = 0xc3;
    code.iter().position(|byte| *byte == RETURN)
}

fn offset_to_address<'a>(mut segments: impl Iterator<Item = &'a Segment>, offset: u64) -> Option<u64> {
    let within =
        |segment: &&Segment| offset.checked_sub(segment.offset).is_some_and(|offset| offset < segment.bytes);
    let segment = segments.find(within)?;
    segment.address.checked_add(offset - segment.offset)
}

/// A text that ends with NUL, or with the table.
fn text_at(table: &[u8], offset: u32) -> Option<&[u8]> {
    let text = table.get(usize::try_from(offset).ok()?..)?;
    Some(&text[..text.iter().position(|byte| *byte == 0).unwrap_or(text.len())])
}
