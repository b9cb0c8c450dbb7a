//! What the values of a dimension satisfy.

use std::net::IpAddr;

use trigon_probes::hooks::{
    Address,
    plan::{Mask, SUFFIX_BYTES, TEXT_KEY_BYTES},
};

use super::{
    super::model::conditions::{Comparison, Network, Number, NumberRange, TextOperator},
    CompileError,
};

/// How numbers of a type are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Two's complement.
    Signed,
    /// As 64 bits without a sign.
    Unsigned,
}

/// A condition on a number: in any of some ranges, or in none. In the order of [`turned`] bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    ranges: Vec<(u64, u64)>,
    negated: bool,
}

/// A condition on a text: it begins with any of some, or with none; with its NUL where it has to be equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Texts {
    texts: Vec<Vec<u8>>,
    negated: bool,
    /// The texts are turned round, and so is what they are compared with.
    pub(super) from_end: bool,
}

/// A condition on an address: in any of some networks, or in none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Networks {
    pub(super) networks: Vec<Network>,
    pub(super) negated: bool,
}

/// The programs' order of numbers: that of two's complement.
fn turned(bits: u64) -> u64 {
    bits ^ (1 << 63)
}

// === impl Numbers ===

impl Numbers {
    /// One of some numbers, or none of them.
    pub(super) fn among(numbers: impl Iterator<Item = u64>, negated: bool, turn: Turn) -> Self {
        let ranges = numbers.flat_map(|number| pieces(number, number, turn)).collect();
        Self { ranges, negated }
    }

    /// Any that holds suffices; `NotEqual` must hold against all.
    pub(super) fn compared(comparison: Comparison, numbers: &[Number], turn: Turn) -> Self {
        let (least, greatest) = match turn {
            Turn::Signed => (i128::from(i64::MIN), i128::from(i64::MAX)),
            Turn::Unsigned => (0, i128::from(u64::MAX)),
        };
        let ranges = numbers.iter().flat_map(|number| {
            let (first, last) = match comparison {
                Comparison::GreaterThan => (number.0 + 1, greatest),
                Comparison::LessThan => (least, number.0 - 1),
                Comparison::Equal | Comparison::NotEqual | Comparison::Mask => (number.0, number.0),
            };
            if first > last { Vec::new() } else { pieces(first as u64, last as u64, turn) }
        });
        Self { ranges: ranges.collect(), negated: comparison == Comparison::NotEqual }
    }

    /// In any of some ranges, or in none.
    pub(super) fn within(ranges: &[NumberRange], negated: bool, turn: Turn) -> Self {
        let ranges = ranges.iter().flat_map(|range| pieces(range.first.bits(), range.last.bits(), turn));
        Self { ranges: ranges.collect(), negated }
    }

    fn holds(&self, number: u64) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&number)) != self.negated
    }
}

/// A range of numbers as ranges of turned bits: without a sign, the upper half comes first.
fn pieces(first: u64, last: u64, turn: Turn) -> Vec<(u64, u64)> {
    const HALF: u64 = 1 << 63;
    if turn == Turn::Unsigned && first < HALF && last >= HALF {
        return vec![(turned(first), turned(HALF - 1)), (turned(HALF), turned(last))];
    }
    vec![(turned(first), turned(last))]
}

/// For each class of numbers that the conditions tell apart, the selectors that it satisfies: what is none of the
/// entries, and entries of a number, how many of its upper bits count, and the selectors.
pub(super) fn numbers(conditions: &[(usize, Numbers)], count: usize) -> (Mask, Vec<(u64, u32, Mask)>) {
    let miss = mask(conditions, count, |numbers| numbers.negated);
    let ranges = || conditions.iter().flat_map(|(_, numbers)| &numbers.ranges);
    let mut starts: Vec<u64> =
        ranges().flat_map(|(first, last)| [Some(*first), last.checked_add(1)]).flatten().collect();
    starts.sort_unstable();
    starts.dedup();
    let mut entries = Vec::new();
    for (index, start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).map_or(u64::MAX, |next| next - 1);
        let mask = mask(conditions, count, |numbers| numbers.holds(*start));
        if mask != miss {
            blocks(*start, end, |first, bits| entries.push((turned(first), bits, mask)));
        }
    }
    (miss, entries)
}

/// Cuts a range into aligned blocks of powers of two: each a prefix of 64 bits.
fn blocks(first: u64, last: u64, mut each: impl FnMut(u64, u32)) {
    let mut at = first;
    loop {
        let left = last - at;
        // As large as its start is aligned to, and as fits: both as powers of two.
        let aligned = at.trailing_zeros();
        let fitting = left.checked_add(1).map_or(64, |size| 63 - size.leading_zeros());
        let size = aligned.min(fitting);
        each(at, 64 - size);
        let rest = 1_u64.checked_shl(size).map_or(u64::MAX, |size| size - 1);
        if left <= rest {
            return;
        }
        at += rest + 1;
    }
}

// === impl Texts ===

impl Texts {
    pub(super) fn new(operator: TextOperator, texts: &[Box<[u8]>]) -> Result<Self, CompileError> {
        let from_end = matches!(operator, TextOperator::Postfix | TextOperator::NotPostfix);
        let limit = if from_end { SUFFIX_BYTES } else { TEXT_KEY_BYTES };
        let keys = texts.iter().map(|text| {
            let key: Vec<u8> = match operator {
                TextOperator::Equal | TextOperator::NotEqual => text.iter().copied().chain([0]).collect(),
                TextOperator::Prefix | TextOperator::NotPrefix => text.to_vec(),
                TextOperator::Postfix | TextOperator::NotPostfix => text.iter().rev().copied().collect(),
            };
            if key.len() > limit {
                // Of what must be equal, the NUL is compared, too.
                Err(CompileError::TooLong { length: text.len(), limit: limit - (key.len() - text.len()) })
            } else {
                Ok(key)
            }
        });
        Ok(Self { texts: keys.collect::<Result<_, _>>()?, negated: operator.negated(), from_end })
    }

    fn holds(&self, text: &[u8]) -> bool {
        self.texts.iter().any(|key| text.starts_with(key)) != self.negated
    }
}

/// Likewise for texts. The longest entry that a text begins with decides; whatever shorter entry the text begins with,
/// that one begins with too.
pub(super) fn texts(conditions: &[(usize, Texts)], count: usize) -> (Mask, Vec<(Vec<u8>, Mask)>) {
    let miss = mask(conditions, count, |texts| texts.negated);
    let mut keys: Vec<&Vec<u8>> = conditions.iter().flat_map(|(_, texts)| &texts.texts).collect();
    keys.sort_unstable();
    keys.dedup();
    let entries =
        keys.into_iter().map(|key| (key.clone(), mask(conditions, count, |texts| texts.holds(key))));
    (miss, entries.collect())
}

/// Likewise for addresses: how they begin, in how many bits.
pub(super) fn addresses(conditions: &[(usize, Networks)], count: usize) -> (Mask, Vec<(Address, u32, Mask)>) {
    let miss = mask(conditions, count, |networks| networks.negated);
    let mut keys: Vec<Network> =
        conditions.iter().flat_map(|(_, networks)| networks.networks.iter().copied()).collect();
    keys.sort_unstable_by_key(|network| (network.address, network.bits));
    keys.dedup();
    let holds = |networks: &Networks, key: &Network| {
        let around = |network: &Network| network.bits <= key.bits && network.has(key.address);
        networks.networks.iter().any(around) != networks.negated
    };
    let entries = keys.into_iter().map(|key| {
        let (address, bits) = address_key(key);
        (address, bits, mask(conditions, count, |networks| holds(networks, &key)))
    });
    (miss, entries.collect())
}

/// As `bpf/hook/field.h` compares addresses. An IPv4 address is the end of an IPv6 one.
fn address_key(network: Network) -> (Address, u32) {
    let (version, address, fixed) = match network.address {
        IpAddr::V4(address) => (4, address.to_ipv6_mapped(), 96),
        IpAddr::V6(address) => (6, address, 0),
    };
    let mut key = [0; 17];
    key[0] = version;
    key[1..].copy_from_slice(&address.octets());
    (key, u8::BITS + fixed + u32::from(network.bits))
}

/// Likewise for bits: which selectors ask for each; what is set turns their answer from that of none being set.
pub(super) fn bits(conditions: &[(usize, u64, bool)], count: usize) -> (Mask, Vec<(u64, Mask)>) {
    let unasked = |selector: &usize| conditions.iter().all(|(asking, ..)| asking != selector);
    let negated = conditions.iter().filter(|(.., negated)| *negated).map(|(selector, ..)| *selector);
    let miss = Mask::of((0..count).filter(unasked)) | Mask::of(negated);
    let asking = |bit: u64| {
        Mask::of(
            conditions.iter().filter(|(_, bits, _)| bits >> bit & 1 == 1).map(|(selector, ..)| *selector),
        )
    };
    let entries = (0..64).map(|bit| (bit, asking(bit))).filter(|(_, mask)| *mask != Mask::default());
    (miss, entries.collect())
}

/// The selectors all of whose conditions hold.
fn mask<T>(conditions: &[(usize, T)], count: usize, holds: impl Fn(&T) -> bool) -> Mask {
    let mut fails = Mask::default();
    conditions
        .iter()
        .filter(|(_, condition)| !holds(condition))
        .for_each(|(selector, _)| fails.set(*selector));
    Mask::of((0..count).filter(|selector| !fails.has(*selector)))
}
