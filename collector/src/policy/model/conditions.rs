//! What an argument or a return value must be.

use std::net::IpAddr;

use super::{Located, arguments::ArgumentSlot, expressions::Expression};

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
    /// `SubString` and `SubStringIgnCase`: any of some texts stands in it.
    Contains {
        /// ASCII's upper and lower case are the same.
        any_case: bool,
        /// The texts; none is empty.
        texts: Vec<Box<[u8]>>,
    },
    /// A number of a socket, a packet or an address: in any of some ranges, or in none.
    Field {
        /// Which.
        field: Field,
        /// In none.
        negated: bool,
        /// The ranges.
        ranges: Vec<NumberRange>,
    },
    /// `SAddr`, `DAddr` and their negations: in any of some networks, or in none.
    Address {
        /// Which end's.
        end: End,
        /// In none.
        negated: bool,
        /// The networks.
        networks: Vec<Network>,
    },
    /// `CelExpr`: it holds. Where an argument that it names can't be read, it doesn't.
    Holds(Expression),
    /// `CapabilitiesGained`: of two sets the second has one that the first hasn't.
    Gained {
        /// The sets.
        sets: [ArgumentSlot; 2],
        /// Which capabilities count: a bit for each number.
        capabilities: u64,
    },
    /// `CelExpr` or `CapabilitiesGained`, where an argument's type is `auto`.
    DeferredSeveral {
        /// The operator.
        operator: Operator,
        /// The arguments, as the filter lists them.
        arguments: Vec<ArgumentSlot>,
        /// Its values.
        values: Vec<Located<String>>,
    },
}

/// A number that sockets, packets and addresses have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// `SPort`, `SPortPriv`; of a `sockaddr` its only port.
    SourcePort,
    /// `DPort`, `DPortPriv`
    DestinationPort,
    /// `Protocol`: IPPROTO_*
    Protocol,
    /// `Family`: AF_*
    Family,
    /// `State`: TCP_*
    State,
}

/// One of the two ends of a connection or a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// `SAddr`; of a `sockaddr` its only address.
    Source,
    /// `DAddr`
    Destination,
}

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    /// How they begin; what comes after `bits` doesn't matter. None is an IPv4 address that is mapped into IPv6.
    pub address: IpAddr,
    /// In how many bits.
    pub bits: u8,
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
    SPort,
    NotSPort,
    SPortPriv,
    NotSPortPriv,
    DPort,
    NotDPort,
    DPortPriv,
    NotDPortPriv,
    SAddr,
    NotSAddr,
    DAddr,
    NotDAddr,
    Protocol,
    Family,
    State,
    SubString,
    SubStringIgnCase,
    CapabilitiesGained,
    CelExpr,
}

// === impl Number ===

impl Number {
    /// As the kernel side holds it: 64 bits, a negative one in two's complement.
    pub fn bits(self) -> u64 {
        // Every type's bounds lie within 64 bits.
        self.0 as u64
    }
}

// === impl Network ===

impl Network {
    /// Whether an address is one of these. One that is mapped into IPv6 is IPv4.
    pub fn has(&self, address: IpAddr) -> bool {
        let (own, other) = (self.address, address.to_canonical());
        own.is_ipv4() == other.is_ipv4() && first_bits(own, self.bits) == first_bits(other, self.bits)
    }
}

/// The first bits of an address as a number.
fn first_bits(address: IpAddr, bits: u8) -> u128 {
    let (number, width) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    number.checked_shr(width - u32::from(bits)).unwrap_or(0)
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
