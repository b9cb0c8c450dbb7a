//! What was read of a call: an argument, or what it returned.

use super::Object;

/// A value. 32 bytes, whatever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A signed number of up to 32 bits.
    Int(i32),
    /// An unsigned number of up to 32 bits.
    UInt(u32),
    /// A signed number of 64 bits.
    Long(i64),
    /// An unsigned number of 64 bits.
    Size(u64),
    /// Text.
    Text {
        /// The text; bytes that were not UTF-8 are written as `\xNN`.
        text: Box<str>,
        /// Its end is missing.
        truncated: bool,
    },
    /// Bytes.
    Bytes {
        /// The first of them.
        data: Box<[u8]>,
        /// How many there were.
        size: u64,
    },
    /// An open file.
    File(File),
    /// A path, of which nothing else is known.
    Path {
        /// The path; bytes that were not UTF-8 are written as `\xNN`.
        path: Box<str>,
        /// Its beginning is missing: it is longer or deeper than the limits allow.
        truncated: bool,
        /// It has no name in its directory any more.
        deleted: bool,
    },
    /// An object of the kernel.
    Object(Box<Object>),
}

/// An open file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// Its path; bytes that were not UTF-8 are written as `\xNN`.
    pub path: Box<str>,
    /// How it was opened (`f_flags`, see open(2)).
    pub flags: u32,
    /// File type and permissions (`i_mode`, see inode(7)); 0 where not known.
    pub mode: u32,
    /// The path's beginning is missing: it is longer or deeper than the limits allow.
    pub truncated: bool,
    /// It has no name in any directory any more.
    pub deleted: bool,
}

/// Bits of `i_mode` that tell a file's type, and a directory's.
const TYPE: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;

// === impl Value ===

impl Value {
    /// A number, as far as it fits.
    pub fn number(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(i64::from(*number)),
            Self::UInt(number) => Some(i64::from(*number)),
            Self::Long(number) => Some(*number),
            Self::Size(number) => i64::try_from(*number).ok(),
            Self::Object(object) => object.number(),
            _ => None,
        }
    }
}

// === impl File ===

impl File {
    /// It is a directory.
    pub fn is_directory(&self) -> bool {
        self.mode & TYPE == DIRECTORY
    }
}
