//! Whole numbers of all types.

use trigon_tests::reference::Value;

use crate::random::Random;

/// A type of whole numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Integer {
    pub name: &'static str,
    pub bits: u32,
    pub signed: bool,
    /// It is a set of capabilities, or where one is.
    pub set: bool,
}

const fn integer(name: &'static str, bits: u32, signed: bool) -> Integer {
    Integer { name, bits, signed, set: false }
}

pub const TYPES: [Integer; 8] = [
    integer("int8", 8, true),
    integer("uint8", 8, false),
    integer("int16", 16, true),
    integer("uint16", 16, false),
    integer("int", 32, true),
    integer("uint32", 32, false),
    integer("int64", 64, true),
    integer("uint64", 64, false),
];

const fn set(name: &'static str) -> Integer {
    Integer { name, bits: 64, signed: false, set: true }
}

pub const SETS: [Integer; 4] =
    [set("kernel_cap_t"), set("cap_inheritable"), set("cap_permitted"), set("cap_effective")];

/// Where something happens to numbers, or close to it.
const NUMBERS: [i64; 16] = [
    0,
    1,
    2,
    7,
    8,
    100,
    127,
    128,
    255,
    256,
    32_768,
    65_535,
    i32::MAX as i64,
    u32::MAX as i64,
    i64::MAX,
    i64::MIN,
];

/// One of these numbers, or close to it.
pub fn number(random: &mut Random) -> i64 {
    let near = random.below(5) as i64 - 2;
    let number = random.of(&NUMBERS).wrapping_add(near);
    if random.one_in(4) { number.wrapping_neg() } else { number }
}

// === impl Integer ===

impl Integer {
    /// What a register says where this is looked for.
    pub fn of(self, register: i64) -> i128 {
        let bits = i128::from(register as u64) & ((1 << self.bits) - 1);
        if self.signed && bits >> (self.bits - 1) == 1 { bits - (1 << self.bits) } else { bits }
    }

    /// What is read there. An address of the kernel's is where a set is, and here there is none.
    pub fn read(self, register: i64) -> Option<Value> {
        (!self.set || register >= 0).then_some(Value::Number(self.of(register)))
    }
}
