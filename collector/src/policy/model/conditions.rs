//! What an argument or a return value must be.

use super::Located;

/// A test of one value, its operands parsed for the value's type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A number against each of some numbers: any that holds suffices, `NotEqual` must hold against all.
    Compare(Comparison, Vec<Number>),
    /// `InMap`, `InRange` and their negations: a number in any of some ranges, or in none.
    Within {
        /// In none.
        negated: bool,
        /// The ranges, as in the file: they may overlap.
        ranges: Vec<NumberRange>,
    },
    /// Text, or a path, against each of some texts: any that holds suffices, a negation must hold against all.
    Text(TextOperator, Vec<Box<[u8]>>),
    /// `FileType` and `NotFileType`.
    FileType {
        /// None of these.
        negated: bool,
        /// The types.
        types: Vec<FileType>,
    },
    /// The value's type is `auto`: `check::condition` makes another of it once the kernel told the type.
    Deferred(Operator, Vec<Located<String>>),
}

/// A number. It lies in its type's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Number(pub i128);

/// Numbers from the first to the last, both among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NumberRange {
    /// The first.
    pub first: Number,
    /// The last, no less.
    pub last: Number,
}

/// How a number is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// It is the same.
    Equal,
    /// It is another.
    NotEqual,
    /// It is greater.
    GreaterThan,
    /// It is less.
    LessThan,
    /// They have a bit in common.
    Mask,
}

/// How text is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TextOperator {
    /// It is the same.
    Equal,
    /// It is another.
    NotEqual,
    /// It begins so.
    Prefix,
    /// It doesn't begin so.
    NotPrefix,
    /// It ends so.
    Postfix,
    /// It doesn't end so.
    NotPostfix,
}

/// A type of file: `S_IFMT` in inode(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileType {
    /// `sock`
    Socket,
    /// `lnk`
    Symlink,
    /// `reg`
    Regular,
    /// `blk`
    Block,
    /// `dir`
    Directory,
    /// `chr`
    Character,
    /// `fifo`
    Fifo,
}

/// Every operator of `matchArgs` and `matchReturnArgs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named as in the file; Condition says what they do")]
pub enum Operator {
    Equal,
    NotEqual,
    Prefix,
    NotPrefix,
    Postfix,
    NotPostfix,
    GreaterThan,
    LessThan,
    Mask,
    InMap,
    NotInMap,
    InRange,
    NotInRange,
    FileType,
    NotFileType,
}

// === impl Number ===

impl Number {
    /// As the kernel side holds it: 64 bits, a negative one in two's complement.
    pub fn bits(self) -> u64 {
        // Every type's bounds lie within 64 bits.
        self.0 as u64
    }
}

// === impl FileType ===

impl FileType {
    /// The bits of a file's mode that say so.
    pub fn mode(self) -> u16 {
        match self {
            Self::Socket => 0o140_000,
            Self::Symlink => 0o120_000,
            Self::Regular => 0o100_000,
            Self::Block => 0o060_000,
            Self::Directory => 0o040_000,
            Self::Character => 0o020_000,
            Self::Fifo => 0o010_000,
        }
    }
}

// === impl TextOperator ===

impl TextOperator {
    /// Whether it must hold against all of its operands, rather than any.
    pub fn negated(self) -> bool {
        matches!(self, Self::NotEqual | Self::NotPrefix | Self::NotPostfix)
    }
}
